"""Configurations as frozen dataclasses with their ranges at the fields; every error is one line that names the field.

pydantic checks types and ranges and gives the JSON schema; here its errors become `OptionError`s in the user's words.
"""

import json
import types
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from functools import wraps
from numbers import Integral
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar, Union, dataclass_transform, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BeforeValidator, ConfigDict, Field, Strict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass
from pydantic_core import PydanticCustomError

from gta.errors import OptionError
from gta.stored import shown

Config = TypeVar("Config")


def _no_stand_in(value: Any) -> Any:
    if isinstance(value, bool | str | bytes):
        raise PydanticCustomError("number_type", "not a number")
    return value


def _only_whole(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise PydanticCustomError("number_type", "not a whole number")
    return value


# Python refuses what files refuse; NumPy's numbers are numbers.
Number = BeforeValidator(_no_stand_in)
"""Neither True for 1 nor "0.01" for 0.01."""
WholeNumber = BeforeValidator(_only_whole)
"""The same, and not 3.0 for 3."""
Switch = Annotated[bool, Strict()]
"""True or False, neither 1 nor "yes"."""

# Ranges that several fields share.
Count = Annotated[int, Field(ge=1), WholeNumber]
Whole = Annotated[int, Field(ge=0), WholeNumber]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), Number]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), Number]
Share = Annotated[float, Field(ge=0, le=1), Number]
"""In [0, 1]."""
Fraction = Annotated[float, Field(ge=0, lt=1), Number]
"""In [0, 1)."""
Factor = Annotated[float, Field(gt=0, le=1), Number]
"""In (0, 1]."""

_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    Path: "a path",
    type(None): "null",
}


@dataclass_transform(frozen_default=True)
def settings(section: str = "") -> Callable[[type[Config]], type[Config]]:
    """Make a class a frozen dataclass whose fields are checked when it is built.

    Args:
        section: where its fields stand in the whole configuration, such as "data.clip"; errors name them so.

    Raises (when an instance is built):
        OptionError: a value has another type, lies outside its range, or breaks a rule of `__post_init__` (which
            raises `ValueError` for that).
    """

    def decorate(kind: type[Config]) -> type[Config]:
        options = ConfigDict(extra="forbid", use_attribute_docstrings=True)
        made: Any = checked_dataclass(frozen=True, config=options)(kind)
        build = made.__init__

        @wraps(build)
        def checked(self: Any, *values: Any, **named: Any) -> None:
            try:
                build(self, *values, **named)
            except ValidationError as error:
                raise _explained(made, error, named) from None

        made.__init__ = checked
        made.__section__ = section
        return made

    return decorate


def config_to_json(config: Any) -> dict[str, Any]:
    """Turn a configuration (dataclasses of plain values) into JSON values: paths become strings, tuples lists."""
    return {
        item.name: config_to_json(value) if is_dataclass(value := getattr(config, item.name)) else _plain(value)
        for item in fields(config)
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def config_from_json(kind: type[Config], values: Any) -> Config:
    """Build the configuration that `config_to_json` wrote; types must fit exactly (but 1 is a number, too).

    Raises:
        OptionError: `values` is no mapping, or has a field that `kind` has not, or a value that does not fit.
    """
    if not isinstance(values, Mapping):
        raise OptionError(f"a {kind.__name__} is expected, not {type(values).__name__}")
    try:
        text = json.dumps(values, ensure_ascii=False)
    except (ValueError, RecursionError) as error:
        raise OptionError(f"{kind.__name__}: a value in it is too long or nested too deeply") from error
    try:  # pydantic refuses the surrogates that stand for bytes in names of files that are not UTF-8
        found = TypeAdapter(kind).validate_json(text.translate(_BYTES_AWAY), strict=True)
    except ValidationError as error:
        raise _explained(kind, error, values) from None
    return _with_bytes(found) if any(map(text.__contains__, map(chr, _BYTES_AWAY))) else found


_BYTES_AWAY = {0xDC00 + byte: 0x10DC00 + byte for byte in range(0x80, 0x100)}  # to private characters and back
_BYTES_BACK = {private: surrogate for surrogate, private in _BYTES_AWAY.items()}


def _with_bytes(config: Config) -> Config:
    """A configuration whose texts and paths have their surrogates again."""
    changes: dict[str, Any] = {}
    for item in fields(config):  # pyright: ignore[reportArgumentType]
        value = getattr(config, item.name)
        if is_dataclass(value):
            changes[item.name] = _with_bytes(value)
        elif isinstance(value, str | Path):
            changes[item.name] = type(value)(str(value).translate(_BYTES_BACK))
    return replace(config, **changes)  # pyright: ignore[reportArgumentType]


def json_schema(kind: type[Any]) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a configuration: types, ranges, defaults, meanings."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **TypeAdapter(kind).json_schema()}


def field_names(kind: type[Any], prefix: str = "") -> list[str]:
    """Dotted names of all fields of a configuration, nested ones included: `data.clip.crop_size`."""
    names: list[str] = []
    hints = get_type_hints(kind)
    for item in fields(kind):
        name = f"{prefix}{item.name}"
        names.append(name)
        if is_dataclass(hints[item.name]):
            names += field_names(hints[item.name], f"{name}.")
    return names


def no_field(name: str, known: Collection[str], short_names: Collection[str]) -> OptionError:
    """The error about a name that no field has, with the name that may be meant.

    Args:
        name: what was given.
        known: dotted names of all fields.
        short_names: what the command line calls fields for short.
    """
    close = get_close_matches(name.replace("-", "_"), [*known, *short_names], n=1)
    if close:
        return OptionError(f"there is no field {name}: did you mean {close[0]}?")
    return OptionError(
        f"there is no field {name}"
        + (f": short names are {', '.join(short_names)}" if short_names and "." not in name else "")
    )


def override(
    config: Config, changes: Mapping[str, Any], short_names: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> Config:
    """A copy of a configuration with other values.

    Args:
        config: the configuration; it stays as it is.
        changes: values by dotted name, e.g. `{"optim.lr": 0.01}`. A mapping for a section, `{"optim": {"lr": 0.01}}`,
            changes the fields that it names, as in a file.
        short_names: short name -> the fields that it sets, for names without a dot.

    Raises:
        OptionError: there is no such field, it is set twice, or the value does not fit.
    """
    known = field_names(type(config))
    sections = {name.rpartition(".")[0] for name in known}
    values: dict[str, Any] = {}
    for given, value in changes.items():
        short = is_short(given, value, short_names, sections)
        for name, inner in _dotted(dict.fromkeys(short_names[given], value) if short else {given: value}, sections):
            if name in values:
                raise OptionError(f"{name} is set twice{f', also by {given}' if short else ''}: set it once")
            values[name] = inner
    deeper: dict[str, dict[str, Any]] = {}
    direct: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise no_field(name, known, short_names)
        head, _, rest = name.partition(".")
        if rest:
            deeper.setdefault(head, {})[rest] = value
        else:
            direct[head] = value
    for head, inner in deeper.items():
        direct[head] = override(direct.get(head, getattr(config, head)), inner)
    return replace(config, **direct)  # pyright: ignore[reportArgumentType]


def is_short(name: str, value: Any, short_names: Container[str], sections: Container[str]) -> bool:
    """Whether a name at the top is a short one; where a section has the same name, only with a text as its value."""
    return name in short_names and (name not in sections or isinstance(value, str | Path))


def _dotted(changes: Mapping[str, Any], sections: Container[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Values by dotted name; mappings for sections are taken apart."""
    for key, value in changes.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and name in sections:
            yield from _dotted(value, sections, f"{name}.")
        else:
            yield name, value


def _walk(kind: type[Any], location: tuple[int | str, ...]) -> tuple[tuple[str, ...], Any]:
    """Names of the fields along a location (without pydantic's own steps), and the annotation of the last."""
    names: list[str] = []
    hint: Any = kind
    for step in location:
        if not is_dataclass(hint):
            break
        hints = get_type_hints(hint, include_extras=True)
        names.append(str(step))
        if step not in hints:
            break
        hint = hints[str(step)]
    return tuple(names), hint


def _explained(kind: type[Any], error: ValidationError, values: Mapping[str, Any]) -> OptionError:
    """The first problem as one line: the field, its value, and what it must be."""
    problem = error.errors(include_url=False)[0]
    names, hint = _walk(kind, problem["loc"])
    section = getattr(kind, "__section__", None)
    field = ".".join((*filter(None, [section]), *names))
    if section is None and names:  # a plain dataclass, whose place in a file only the caller knows
        field = f"{field} of a {kind.__name__}"
    if problem["type"] in ("unexpected_keyword_argument", "unexpected_positional_argument"):
        return OptionError(f"there is no field {field}: written by another version of gta?")
    if problem["type"] in ("missing", "missing_argument") and isinstance(problem["loc"][-1], str):
        every = error.errors(include_url=False)
        missing = [_walk(kind, one["loc"])[0][-1] for one in every if one["type"] == problem["type"]]
        return OptionError(f"a {kind.__name__} needs {', '.join(missing)}")
    if problem["type"] == "value_error":  # a rule between fields, from __post_init__
        rule = problem.get("ctx", {})["error"]  # it names the field itself, relative to its class
        return OptionError(f"{field}.{rule}" if field else str(rule))
    if problem["type"] in ("dataclass_type", "dataclass_exact_type", "mapping_type"):
        return OptionError(f"{field or kind.__name__} is {shown(problem['input'])}: it must be a mapping of fields")
    value = _value_at(names, values, problem["input"])
    found = (
        f"'{value}'"
        if isinstance(value, str) and len(value) < 60
        else shown(tuple(value) if isinstance(value, list) else value)
    )
    wrong_type = problem["type"].startswith(("number_", "int_", "float_"))  # number_type, int_from_float, ...
    return OptionError(f"{field} is {found}: it must {_rule(hint, wrong_type)}")


def _value_at(names: tuple[str, ...], values: Any, fallback: Any) -> Any:
    """The whole value of a field: pydantic tells only the innermost part that does not fit."""
    for name in names:
        if not isinstance(values, Mapping) or name not in values:
            return fallback
        values = values[name]
    return values


def _rule(hint: Any, wrong_type: bool = False) -> str:
    """What an annotation asks for: "be 1 or more", "lie in [0, 1)", "be 'a' or 'b'", "be a whole number".

    If the value is of another type, its range alone would not say what is wrong: "be a whole number, 1 or more".
    """
    if get_origin(hint) is not Annotated:
        parts = [part for part in get_args(hint) if get_origin(part) is Annotated]
        if get_origin(hint) in (Union, types.UnionType) and len(parts) == 1:
            others = [part for part in get_args(hint) if part is not parts[0]]
            rule = _rule(parts[0], wrong_type)
            return (", or " if rule.startswith("be a whole number,") else " or ").join(
                (rule, *(_words(other) for other in others))
            )
        return f"be {_words(hint, wrong_type)}"
    inner, *notes = get_args(hint)
    bounds = [item for note in notes for item in getattr(note, "metadata", [note])]
    low = next((f"[{b.ge:g}" if isinstance(b, Ge) else f"({b.gt:g}" for b in bounds if isinstance(b, Ge | Gt)), None)
    high = next((f"{b.le:g}]" if isinstance(b, Le) else f"{b.lt:g})" for b in bounds if isinstance(b, Le | Lt)), None)
    number = f"{_words(inner)} " if wrong_type or (inner is int and high) else ""
    if low and high:
        return f"be {number}in {low}, {high}" if number else f"lie in {low}, {high}"
    if low and low[0] == "(":
        return f"be {number}above {low[1:]}"
    if low:
        return f"be {number.rstrip() + ', ' if number else ''}{low[1:]} or more"
    example = next((note.examples[0] for note in notes if getattr(note, "examples", None)), None)
    return f"be {_words(inner)}{'' if example is None else f', such as {example}'}"


def _words(hint: Any, wrong_type: bool = False) -> str:
    """What a plain annotation asks for."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _rule(hint, wrong_type).removeprefix("be ").removeprefix("lie ")
    if origin is Literal:
        return " or ".join(map(repr, parts))
    if origin in (Union, types.UnionType):
        return " or ".join(map(_words, parts))
    if origin is tuple:
        if parts[1:] == (...,):
            return f"a list, each {_words(parts[0], wrong_type)}"
        return f"{len(parts)} values, each {_words(parts[0], wrong_type)}"
    return _WORDS.get(hint, "a mapping" if origin is not None else str(hint))
