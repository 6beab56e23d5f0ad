"""Command-line arguments from dataclasses, with errors as one line (tyro does the parsing).

One vocabulary for all commands: `CheckpointPath`, `DataPath`, ... are the positionals; `renamed` keeps an old flag
working for one release, with a notice; `--help` shows the options that most users need, `--help-all` all of them.
"""

import contextlib
import io
import os
import re
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from gta.commands.help_text import reflow, shorten, without_empty_defaults
from gta.errors import OptionError
from gta.terminal import print_line

Arguments = TypeVar("Arguments")

CheckpointPath = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="CHECKPOINT")]
DataPath = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DATA")]
OptionalDataPath = Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="[DATA]")]
VideoPath = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="VIDEO")]
VideoPaths = Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="VIDEO ...")]
SourcePath = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SOURCE")]
DestinationPath = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DEST")]

_BORDER = re.compile(r"^[│\s]+|[│\s]+$")
_RULE = re.compile(r"^[─╭╰╮╯\s].*[─╭╰╮╯]")


def parse_arguments(
    kind: type[Arguments],
    arguments: list[str],
    *,
    command: str,
    default: Arguments | None = None,
    renamed: Mapping[str, str] | None = None,
    common: Collection[str] | None = None,
    about: str | None = None,
) -> Arguments:
    """Parse `arguments` into the dataclass `kind`.

    Args:
        kind: a dataclass; field docstrings are the help texts, `tyro.conf.Positional[...]` marks positional fields.
        arguments: the words after the command's name.
        command: what `--help` and errors call the program, e.g. "gta train".
        default: an instance whose values are the defaults (a recipe's configuration).
        renamed: flags of the last release -> what they are called now; they still work, with a notice.
        common: the options that `--help` shows, all if not given; `--help-all` always shows all.
        about: what `--help` says first; by default, the docstring of `kind`.

    Raises:
        OptionError: an option is unknown, missing or ill-typed; the text says which and what to do.
        SystemExit: with code 0, after `--help`.
    """
    words = _with_new_names(arguments, renamed or {}, command)
    everything = "--help-all" in words
    words = ["--help" if word == "--help-all" else word for word in words]
    # tyro draws its frames for the encoding of stdout; an error is taken apart below, whatever the terminal can show.
    wanted = bool({"-h", "--help"}.intersection(words))
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8" if wanted else "utf-8"
    shown = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace", write_through=True)
    captured = io.StringIO()
    try:
        with _OPTIONAL, _narrow_terminal(), contextlib.redirect_stderr(captured), contextlib.redirect_stdout(shown):
            if default is None:
                return tyro.cli(kind, args=words, prog=command, description=about)
            return tyro.cli(kind, args=words, prog=command, description=about, default=default)
    except SystemExit as stop:
        if stop.code in (0, None):
            shown.seek(0)
            text = reflow(without_empty_defaults(shown.read()), _columns())
            if command.startswith("gta train"):  # its data set is an option of the configuration, with a short form
                text = text.replace("[-h] [OPTIONS]", "[-h] [DATA] [OPTIONS]", 1)
            print(text if everything or common is None else shorten(text, common, command), end="")
            raise
    raise OptionError(_one_line(captured.getvalue(), command))


def changed_options(options: Any, *names: str) -> list[str]:
    """Those of some fields of a command's options that do not have their defaults, as they are typed: `--top-k`."""
    return [
        f"--{item.name.replace('_', '-')}"
        for item in fields(options)
        if item.name in names and getattr(options, item.name) != item.default
    ]


@contextlib.contextmanager
def _narrow_terminal() -> Iterator[None]:
    """At most 120 columns: in wider ones tyro puts frames side by side, which `shorten` reads as one."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(_columns())
    try:
        yield
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before


def _columns() -> int:
    return min(shutil.get_terminal_size().columns, 120)


_OPTIONAL = ConstructorRegistry()


@_OPTIONAL.primitive_rule
def _optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """`X | None` as X: that an option may be left out is no value to choose, so that help does not list it."""
    parts = get_args(info.type)
    if get_origin(info.type) not in (Union, UnionType) or NoneType not in parts:
        return None
    rest: Any = Union[tuple(part for part in parts if part is not NoneType)]  # noqa: UP007
    inner = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(cast(Any, rest), info.markers))
    if not isinstance(inner, PrimitiveConstructorSpec):
        return None
    return replace(
        inner,
        instance_from_str=lambda words: None if words == ["None"] else inner.instance_from_str(words),
        is_instance=lambda value: value is None or inner.is_instance(value),
        str_from_instance=lambda value: ["None"] if value is None else inner.str_from_instance(value),
    )


@_OPTIONAL.primitive_rule
def _places(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Stages and their blocks in turn: `res3 2 res4 1,3 res5 all`."""
    parts = get_args(info.type)
    if get_origin(info.type) is not Mapping or len(parts) != 2 or Literal["all"] not in get_args(parts[1]):
        return None

    def read(words: list[str]) -> dict[str, Any]:
        if len(words) % 2:
            raise ValueError(f"give stages and their blocks in turn, such as {_PLACES}")
        return {stage: _blocks(stage, which) for stage, which in zip(words[::2], words[1::2], strict=True)}

    def written(which: Any) -> str:
        if isinstance(which, int | str):
            return str(which)
        return ",".join(map(str, which)) + "," * (len(which) == 1)

    return PrimitiveConstructorSpec(
        nargs="*",
        metavar="[STAGE BLOCKS [STAGE BLOCKS ...]]",
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, Mapping),
        str_from_instance=lambda value: [word for stage, which in value.items() for word in (stage, written(which))],
    )


_PLACES = "res3 2 res4 1,3 res5 all"


def _blocks(stage: str, which: str) -> Any:
    """A number of blocks, their indices (a single one with a comma after it), or `all`."""
    if which == "all":
        return which
    try:
        return tuple(map(int, which.removesuffix(",").split(","))) if "," in which else int(which)
    except ValueError:
        raise ValueError(
            f"{stage} is {which!r}: give a number of blocks, their indices with commas, or all, such as {_PLACES}"
        ) from None


def _with_new_names(arguments: list[str], renamed: Mapping[str, str], command: str) -> list[str]:
    """The words with flags of the last release as they are called now; each is noted on stderr."""
    words = []
    for word in arguments:
        flag, equals, value = word.partition("=")
        now = renamed.get(flag.replace("_", "-"))
        if now is not None:
            print_line(
                f"{command}: {flag} is now {now}; the old name will be removed in the next release", file=sys.stderr
            )
        words.append(word if now is None else f"{now}{equals}{value}")
    return words


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
