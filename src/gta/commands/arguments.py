"""Command-line arguments from dataclasses, with errors as one line (tyro does the parsing)."""

import contextlib
import io
import re
from typing import TypeVar

import tyro

from gta.errors import OptionError

Arguments = TypeVar("Arguments")

_BORDER = re.compile(r"^[│\s]+|[│\s]+$")
_RULE = re.compile(r"^[─╭╰╮╯\s].*[─╭╰╮╯]")


def parse_arguments(
    kind: type[Arguments], arguments: list[str], *, command: str, default: Arguments | None = None
) -> Arguments:
    """Parse `arguments` into the dataclass `kind`.

    Args:
        kind: a dataclass; field docstrings are the help texts, `tyro.conf.Positional[...]` marks positional fields.
        arguments: the words after the command's name.
        command: what `--help` and errors call the program, e.g. "gta train".
        default: an instance whose values are the defaults (a recipe's configuration).

    Raises:
        OptionError: an option is unknown, missing or ill-typed; the text says which and what to do.
        SystemExit: with code 0, after `--help`.
    """
    captured = io.StringIO()
    try:
        with contextlib.redirect_stderr(captured):
            if default is None:
                return tyro.cli(kind, args=arguments, prog=command)
            return tyro.cli(kind, args=arguments, prog=command, default=default)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
    raise OptionError(_one_line(captured.getvalue(), command))


def name_options(text: str) -> str:
    """An error's text with the fields of a training configuration as the options that set them.

    `data.clip.crop_size` becomes `--data.clip.crop-size`; everything else stays as it is.
    """
    from gta.config import TrainConfig
    from gta.settings import field_names

    names = "|".join(re.escape(name) for name in sorted(field_names(TrainConfig), reverse=True) if "." in name)
    return re.sub(rf"(?<![\w./-])({names})(?![\w/-])", lambda found: f"--{found[1].replace('_', '-')}", text)


def _one_line(box: str, command: str) -> str:
    """Fold tyro's framed message into one line: the complaint, the nearest option if there is one, where to look."""
    sections: list[list[str]] = [[]]
    for line in box.splitlines():
        text = _BORDER.sub("", line)
        if not text:
            continue
        if _RULE.match(text):
            sections.append([])
        else:
            sections[-1].append(text)
    sections = [section for section in sections if section]
    complaint = " ".join(sections[0]) if sections else "the options could not be read"
    parts = [complaint.rstrip(".")]
    for section in sections[1:]:
        if section[0].startswith("Perhaps you meant") and len(section) > 1:
            parts.append(f"did you mean {section[1].split()[0]}?")
    parts.append(f"see {command} --help")
    return "; ".join(parts)
