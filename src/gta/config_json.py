"""Configurations as plain JSON values and back, with every value checked against its field's annotation (floor 0)."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from gta.errors import OptionError

Config = TypeVar("Config")


def config_to_json(config: Any) -> dict[str, Any]:
    """Turn a configuration (dataclasses of plain values) into JSON values: paths become strings, tuples lists."""
    return {
        item.name: config_to_json(value) if is_dataclass(value := getattr(config, item.name)) else _plain(value)
        for item in fields(config)
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def config_from_json(kind: type[Config], values: Any) -> Config:
    """Build the configuration that `config_to_json` wrote.

    Raises:
        OptionError: `values` is no mapping, or has a field that `kind` has not, or a value that does not fit.
    """
    if not isinstance(values, dict):
        raise OptionError(f"a {kind.__name__} is expected, not {type(values).__name__}")
    known = {item.name for item in fields(kind)}  # pyright: ignore[reportArgumentType]
    unknown = sorted(set(values) - known)
    if unknown:
        raise OptionError(
            f"{kind.__name__} has no field named {', '.join(unknown)}: written by another version of gta?"
        )
    needed = [item.name for item in fields(kind) if item.default is MISSING and item.default_factory is MISSING]  # pyright: ignore[reportArgumentType]
    missing = [name for name in needed if name not in values]
    if missing:
        raise OptionError(f"a {kind.__name__} needs {', '.join(missing)}")
    hints = get_type_hints(kind)
    typed = {name: _typed(hints[name], value) for name, value in values.items()}
    for name, value in typed.items():
        if not _fits(hints[name], value):
            raise OptionError(f"{name} of a {kind.__name__} is {value!r}: it must be {_words(hints[name])}")
    return kind(**typed)


def _fits(hint: Any, value: Any) -> bool:
    """Whether a value has the type that a field's annotation names (an int counts as a float, a bool as no number)."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in parts
    if origin in (Union, UnionType):
        return any(_fits(part, value) for part in parts)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        expected = (parts[0],) * len(value) if parts[1:] == (...,) else parts
        return len(value) == len(expected) and all(map(_fits, expected, value))
    if origin is not None:  # mappings
        return isinstance(value, Mapping) and all(
            _fits(parts[0], name) and _fits(parts[1], item) for name, item in value.items()
        )
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    return isinstance(value, hint)


def _words(hint: Any) -> str:
    """What an annotation asks for, for a message."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(map(repr, parts))
    if origin in (Union, UnionType):
        return " or ".join(map(_words, parts))
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", NoneType: "null"}
    return names.get(hint, "a list" if origin is tuple else "a mapping" if origin is not None else str(hint))


def _typed(hint: Any, value: Any) -> Any:
    if isinstance(hint, type) and is_dataclass(hint):
        return config_from_json(hint, value)
    if isinstance(value, str) and (hint is Path or Path in get_args(hint)):
        return Path(value)
    kinds = (hint, *get_args(hint))
    if float in kinds and int not in kinds and isinstance(value, int) and not isinstance(value, bool):
        return float(value)  # JSON writes 1.0 as 1
    return tuple(value) if isinstance(value, list) else value
