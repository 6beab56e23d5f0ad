"""Text for the terminal: names of files and classes come from anywhere and must not steer it (ground floor).

An escape sequence in a file's name could recolour, move or clear what is shown, a line break could forge a line, and
marks of writing direction could turn it round.
"""

import json
import sys
import unicodedata
from typing import Any

# Line and paragraph separators, and the marks that change the direction of what follows. Those that only join or
# separate letters (zero-width joiner) stay: emoji and several scripts need them.
_STEERING = frozenset("\u2028\u2029\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def printable(text: object) -> str:
    """One line of text in which whatever steers a terminal is shown as an escape sequence, as Python writes it."""
    characters = str(text)
    if characters.isascii() and characters.isprintable():
        return characters
    return "".join(_escaped(character) if _steers(character) else character for character in characters)


def quantity(number: int, one: str, several: str | None = None) -> str:
    """A number with its noun: `1 step`, `3 steps`; `several` is the plural if it is not made with an s."""
    return f"{number} {one if number == 1 else several or one + 's'}"


def print_line(text: object = "", *, file: Any = None) -> None:
    """Print one line, made `printable`, to a text stream (standard output if not given)."""
    print(printable(text), file=file or sys.stdout)


def print_json(value: Any) -> None:
    """Print JSON that steers no terminal either; it reads back to the same value."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    print("".join(f"\\u{ord(c):04x}" if _steers(c) and c != "\n" else c for c in text))


def _steers(character: str) -> bool:
    return character in _STEERING or unicodedata.category(character) in ("Cc", "Cs")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
