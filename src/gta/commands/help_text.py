"""The help that tyro prints, made readable: flowing text, no empty defaults, the usual options first."""

import re
import textwrap
from collections.abc import Collection

_OPTION = re.compile(r"^[│ ] (-\S+)")
# "(default: None)", "(default: '')" and "(default: )", also where the frame breaks the line between the two words.
_NO_DEFAULT = re.compile(r"\(default:(?: |\s*│\n│\s*|\s*\n\s*)(?:None|'')?\)")
_EMPTY = re.compile(r"^│\s+│\n", re.M)
_CONTINUED = re.compile(r"^│(\s{4,})\S")


def without_empty_defaults(text: str) -> str:
    """Help without the defaults that say nothing: an option that may be left out says itself what happens then."""
    return _EMPTY.sub("", _NO_DEFAULT.sub(lambda found: re.sub(r"[^\s│]", " ", found[0]), text))


def shorten(text: str, common: Collection[str], command: str) -> str:
    """Help without the options that few need, and how to see them."""
    kept: list[str] = []
    number, show = 0, True
    for line in text.splitlines():
        option = _OPTION.match(line)
        if option:
            show = option[1].split(",")[0] in common or option[1].startswith("-h")
            number += not show
        elif not line.startswith(("│", "   ")):
            show = True
            if line.startswith("╰") and kept and kept[-1].startswith("╭"):  # nothing is left in this frame
                kept.pop()
                continue
        if show:
            kept.append(line)
    return "\n".join([*kept, f"{number} more options: {command} --help-all" if number else ""]).rstrip() + "\n"


def reflow(text: str, columns: int) -> str:
    """Help whose texts fill their lines: tyro keeps the line breaks of docstrings, and does not break long lines.

    Args:
        text: framed help.
        columns: width of the terminal.
    """
    lines: list[str] = []
    waiting: list[str] = []  # the lines of one option's text
    for line in [*text.splitlines(), ""]:
        if _CONTINUED.match(line):
            waiting.append(line)
            continue
        lines += _filled(lines, waiting)
        waiting = []
        framed = line.startswith((" ", "│", "╭", "╰", "usage:"))
        lines += [line] if framed else textwrap.wrap(line, columns, break_on_hyphens=False) or [""]
    return "\n".join(lines[:-1]) + "\n"


def _filled(before: list[str], continued: list[str]) -> list[str]:
    """The lines that continue an option's text, filled; one that begins beside the option is taken off `before`."""
    if not continued:
        return []
    found = _CONTINUED.match(continued[0])
    assert found is not None
    start, end = found.end() - 1, len(continued[0]) - 1
    name = before[-1][:start]
    beside = name.endswith("  ") or not name.strip("│ ")
    if beside:
        continued = [before.pop(), *continued]
    words = " ".join(line[start:end].strip() for line in continued)
    texts = textwrap.wrap(words, end - start - 1, break_on_hyphens=False, break_long_words=False)
    heads = [name if beside else "│".ljust(start)] + ["│".ljust(start)] * len(texts)
    return [f"{head}{text}".ljust(end) + "│" for head, text in zip(heads, texts, strict=False)]
