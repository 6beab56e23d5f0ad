"""Reading back what was stored: JSON and single values, where every fault is a `StoredError` (floor 0).

Files get damaged, cut, edited by hand, or come from strangers. Whoever reads one checks presence, type and range of
everything before using it, and turns the `StoredError` into the `GtaError` that names the file.
"""

import json
import math
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LARGEST = 2**53
"""Largest count that is believed: beyond it, JSON readers do not agree on whole numbers."""

_DEEPEST = 32  # levels of plain values inside each other
_MOST = 2_000_000  # plain values in one description; lists that hold each other twice would grow without end

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


class StoredError(ValueError):
    """A stored value is missing or does not fit; the text says which and what it must be, without the file's name."""


def shown(value: object) -> str:
    """A value for a message: short, on one line, whatever it is."""
    try:
        return " ".join(_SHORT.repr(value).split())
    except ValueError:  # Python does not print whole numbers of thousands of digits
        return f"a {type(value).__name__} too large to print"


# ---- single values ------------------------------------------------------------------------------------------------


def whole(value: object, name: str, low: int = 0, high: int = LARGEST) -> int:
    """`value` if it is a whole number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise StoredError(f"{name} is {shown(value)}: it must be a whole number from {low} to {high}")
    return value


def real(value: object, name: str, low: float = -math.inf, high: float = math.inf) -> float:
    """`value` as a float if it is a finite number in [low, high]."""
    if not isinstance(value, bool) and isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number) and low <= number <= high:
            return number
    limits = "" if (low, high) == (-math.inf, math.inf) else f" from {low:g} to {high:g}"
    raise StoredError(f"{name} is {shown(value)}: it must be a finite number{limits}")


def truth(value: object, name: str) -> bool:
    """`value` if it is True or False."""
    if not isinstance(value, bool):
        raise StoredError(f"{name} is {shown(value)}: it must be true or false")
    return value


def text(value: object, name: str, longest: int = 1000) -> str:
    """`value` if it is a text of 1 to `longest` characters."""
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise StoredError(f"{name} is {shown(value)}: it must be a string of 1 to {longest} characters")
    return value


def mapping(value: object, name: str) -> Mapping[str, Any]:
    """`value` if it is a mapping whose keys are texts."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise StoredError(f"{name} is a {type(value).__name__}: it must be a mapping by name")
    return value


def sequence(value: object, name: str) -> list[Any]:
    """`value` if it is a list."""
    if not isinstance(value, list):
        raise StoredError(f"{name} is a {type(value).__name__}, not a list")
    return value


def entry(values: Mapping[str, Any], name: str, of: str = "") -> Any:
    """The entry `name` of a mapping; `of` says whose it is."""
    if name not in values:
        raise StoredError(f"{of + ' ' if of else ''}lacks {name}")
    return values[name]


def plain(value: object, name: str) -> Any:
    """A copy of `value` in plain JSON values: texts, finite numbers, truth values, null, lists, mappings by name.

    Bounds depth and number of values, so that neither a file without end nor one that refers to itself gets through.
    """
    left = [_MOST]

    def copy(part: object, depth: int) -> Any:
        left[0] -= 1
        if depth > _DEEPEST or left[0] < 0:
            raise StoredError(f"{name} is nested too deeply or too large")
        if part is None or isinstance(part, str | bool):
            return part
        if isinstance(part, int):
            return whole(part, f"a number in {name}", -LARGEST)
        if isinstance(part, float):
            return real(part, f"a number in {name}")
        if isinstance(part, list | tuple):
            return [copy(item, depth + 1) for item in part]
        if isinstance(part, Mapping):
            return {key: copy(item, depth + 1) for key, item in mapping(part, f"a part of {name}").items()}
        raise StoredError(f"{name} holds a {type(part).__name__}: only plain values are read")

    return copy(value, 0)


# ---- JSON ---------------------------------------------------------------------------------------------------------


def parse_json(source: str) -> Any:
    """The value of a JSON text.

    Raises:
        StoredError: it is not JSON, holds NaN or infinity (not JSON either), or is nested too deeply.
    """

    def refuse(constant: str) -> None:
        raise StoredError(f"not valid JSON ({constant} is not a JSON value)")

    try:
        return json.loads(source, parse_constant=refuse)
    except StoredError:
        raise
    except json.JSONDecodeError as error:
        raise StoredError(f"not valid JSON ({error.msg} at line {error.lineno}, column {error.colno})") from error
    except RecursionError:
        raise StoredError("not valid JSON (nested too deeply)") from None
    except ValueError as error:  # a whole number of thousands of digits
        raise StoredError("not valid JSON (a number is too long)") from error


def read_json(path: Path) -> Any:
    """The value of a JSON file, which may be anything that JSON can say: check it before use.

    Raises:
        StoredError: it is not text, or not JSON that `parse_json` reads.
        OSError: it is missing or cannot be read.
    """
    try:
        return parse_json(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise StoredError(f"not UTF-8 text (byte {error.start})") from error
