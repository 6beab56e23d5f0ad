"""Configurations in files: YAML or JSON, with `extends` naming a recipe or another file.

    # yaml-language-server: $schema=train.schema.json
    extends: finetune
    data:
      root: videos
    optim:
      lr: 0.01

The short names of the command line work at the top, too: `epochs: 3` for `run: {max_epochs: 3}`. Every error names the
file and the line.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError

from gta.config import TrainConfig, config_from_json, config_to_json
from gta.errors import OptionError
from gta.recipes import RECIPES
from gta.settings import field_names, is_short, json_schema, no_field
from gta.short_names import SHORT_NAMES

SUFFIXES = (".yaml", ".yml", ".json")
_EXTENDS = "extends"
_MAX_BYTES = 1 << 20
_Lines = dict[tuple[str, ...], int]


class _Loader(yaml.SafeLoader):
    """YAML without its surprises: `1e-3` is a number, and there are no aliases, which can unfold to any size."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse aliases (`*name`); `extends` is how values are shared here."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise ComposerError(None, None, "aliases are not supported, use extends", mark)
        return super().compose_node(parent, index)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def read_config_file(path: str | Path) -> TrainConfig:
    """Read a training configuration from a YAML or JSON file; what the file leaves out has its default.

    Args:
        path: the file. Its key `extends` names a recipe (`finetune`) or another file, relative to this one, whose
            values are the defaults. `config.json` of a run folder is such a file, too.

    Raises:
        OptionError: the file is missing or not valid YAML or JSON, has an unknown field or a value that does not fit,
            or files extend each other in a circle; the text names file and line.
    """
    return _read(Path(path), ())


def find_config(name: str | Path) -> TrainConfig:
    """The configuration that a word after `gta train`, or the first argument of `gta.train`, stands for.

    Args:
        name: name of a recipe, path of a configuration file, or a run folder, whose own configuration it is.

    Raises:
        OptionError: it is none of these, or the file is no valid configuration (see `read_config_file`).
    """
    path, name = Path(name), str(name)
    if name in RECIPES:
        return RECIPES[name]()
    if (path / "config.json").exists():
        stored = read_config_file(path / "config.json")
        return replace(stored, run=replace(stored.run, folder=path))  # the folder may have been moved
    if name.endswith(SUFFIXES):
        return read_config_file(path)
    close = get_close_matches(name, RECIPES, n=1)
    hint = f"did you mean '{close[0]}'?" if close else "gta train --list shows the recipes"
    raise OptionError(f"'{name}' is neither a recipe, a configuration file nor a run folder: {hint}")


def write_yaml(config: TrainConfig) -> str:
    """A configuration as YAML text that `read_config_file` reads back to the same."""
    return yaml.safe_dump(config_to_json(config), sort_keys=False, allow_unicode=True, width=120)


def file_schema() -> dict[str, Any]:
    """The JSON schema of configuration files, for editors that check and complete them."""
    schema = json_schema(TrainConfig)
    extends = {"type": "string", "description": "A recipe, or another file whose values are the defaults."}
    return {**schema, "properties": {_EXTENDS: extends, **schema["properties"], **_short_properties(schema)}}


def _short_properties(schema: dict[str, Any]) -> dict[str, Any]:
    """What the schema says of short names: the same as of the first field that each sets."""
    found: dict[str, Any] = {}
    for short, names in SHORT_NAMES.items():
        at = schema
        for step in names[0].split("."):
            at = schema["$defs"][at["$ref"].rpartition("/")[2]] if "$ref" in at else at
            at = at["properties"][step]
        short_for = f"hort for {' and '.join(names)}."
        found[short] = {**at, "description": f"S{short_for}"}
        if section := schema["properties"].get(short):
            text = f"{section['description']} A text is s{short_for}"
            found[short] = {"description": text, "anyOf": [section, {"type": "string"}]}
    return found


def _read(path: Path, before: tuple[Path, ...]) -> TrainConfig:
    if path.resolve() in before:
        raise OptionError(f"{path}: it extends itself, via {before[-1].name}")
    values, lines = _parse(path)
    base = config_to_json(_base(path, values, lines, (*before, path.resolve())))
    _expand_short_names(path, values, lines)
    _check_names(path, values, lines)
    merged = _merge(base, values)
    try:
        return config_from_json(TrainConfig, merged)
    except OptionError as error:
        told = re.sub(r"^(\S+) is None:", r"\1 is null:", str(error))  # as the file has it
        raise OptionError(f"{_file_and_line(path, str(error), lines)}: {told}") from None


def _base(path: Path, values: dict[str, Any], lines: _Lines, before: tuple[Path, ...]) -> TrainConfig:
    """The configuration whose values hold where this file has none."""
    name = values.pop(_EXTENDS, None)
    if name is None:
        return TrainConfig()
    where = f"{path}:{lines.get((_EXTENDS,), 1)}"
    if not isinstance(name, str):
        raise OptionError(f"{where}: extends is {name!r}: it must be the name of a recipe or a file")
    if name in RECIPES:
        return RECIPES[name]()
    if not name.endswith(SUFFIXES):
        close = get_close_matches(name, RECIPES, n=1)
        hint = f"did you mean {close[0]}?" if close else "gta train --list shows the recipes"
        raise OptionError(f"{where}: extends names neither a recipe nor a file: {name}; {hint}")
    target = path.parent / name
    if not target.exists():
        raise OptionError(f"{where}: extends names a file that is not there: {target}")
    return _read(target, before)


def _parse(path: Path) -> tuple[dict[str, Any], _Lines]:
    """The file's values, and the line of each key."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise OptionError(f"{path}: it is larger than {_MAX_BYTES >> 20} MiB, too large for a configuration file")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise OptionError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise OptionError(f"{path}: this is a folder, not a configuration file") from None
    except UnicodeDecodeError:
        raise OptionError(f"{path}: not a text file (UTF-8)") from None
    try:
        # JSON is nearly YAML, so one parser tells the lines of both; but where they differ, JSON's own has the word.
        node = yaml.compose(text, _Loader)
        lines = dict(_key_lines(node, (), path))
        values = json.loads(text) if path.suffix == ".json" else yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise OptionError(f"{path}:{line}: not valid {path.suffix[1:].upper()} ({error.problem})") from None
    except yaml.YAMLError as error:
        raise OptionError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    except json.JSONDecodeError as error:
        raise OptionError(f"{path}:{error.lineno}: not valid JSON ({error.msg})") from None
    except RecursionError:
        raise OptionError(f"{path}: its values are nested too deeply") from None
    except ValueError as error:  # a date or a tagged number that is none
        raise OptionError(f"{path}: not valid {path.suffix[1:].upper()} ({error})") from None
    if values is None:
        return {}, lines
    if not isinstance(values, dict):
        raise OptionError(f"{path}:1: a configuration is a mapping of fields, not {type(values).__name__}")
    return values, lines


def _key_lines(node: yaml.Node | None, keys: tuple[str, ...], path: Path) -> Iterable[tuple[tuple[str, ...], int]]:
    """Lines of all keys, counted from 1.

    Raises:
        OptionError: a key stands twice in one mapping, of which YAML would take the last in silence.
    """
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        if key.tag != "tag:yaml.org,2002:str":
            raise OptionError(f"{path}:{key.start_mark.line + 1}: a field's name must be a string")
        if key.value in seen:
            raise OptionError(f"{path}:{key.start_mark.line + 1}: {'.'.join((*keys, key.value))} is set twice")
        seen.add(key.value)
        yield (*keys, key.value), key.start_mark.line + 1
        yield from _key_lines(value, (*keys, key.value), path)


def _expand_short_names(path: Path, values: dict[str, Any], lines: _Lines) -> None:
    """Put the values of short names (`epochs: 3`) where their fields are (`run: {max_epochs: 3}`)."""
    sections = _sections()
    for short in [name for name, value in values.items() if is_short(name, value, SHORT_NAMES, sections)]:
        value, line = values.pop(short), lines[(short,)]
        for name in SHORT_NAMES[short]:
            *outer, last = name.split(".")
            inner: Any = values
            for section in outer:
                inner = inner.setdefault(section, {}) if isinstance(inner, dict) else None
            if not isinstance(inner, dict):
                raise OptionError(f"{path}:{line}: {short} sets {name}, but {'.'.join(outer)} is no mapping of fields")
            if last in inner:
                raise OptionError(f"{path}:{line}: {name} is set twice, also by {short}: set it once")
            inner[last] = value
            lines[tuple(name.split("."))] = line


def _sections() -> set[str]:
    """Dotted names of the fields that have fields."""
    return {name.rpartition(".")[0] for name in field_names(TrainConfig)}


def _check_names(path: Path, values: dict[str, Any], lines: _Lines) -> None:
    """Refuse fields that the configuration does not have."""
    known = field_names(TrainConfig)
    sections = _sections()

    def visit(inner: dict[Any, Any], keys: tuple[str, ...]) -> None:
        for key, value in inner.items():
            name = ".".join((*keys, str(key)))
            where = f"{path}:{lines.get((*keys, str(key)), 1)}"
            if name not in known:
                raise OptionError(f"{where}: {no_field(name, known, SHORT_NAMES)}")
            if "." in key:  # as on the command line and in Python
                nested = key.replace(".", ": {") + ": ..." + "}" * key.count(".")
                raise OptionError(f"{where}: sections are nested in a file: write {nested} instead of {key}")
            if isinstance(value, dict) and name in sections:
                visit(value, (*keys, str(key)))

    visit(values, ())


def _merge(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The base's values, overridden; sections are merged, everything else is replaced."""
    sections = _sections()

    def merge(below: Any, above: Any, section: str) -> Any:
        if section in sections and isinstance(below, dict) and isinstance(above, dict):
            prefix = f"{section}." if section else ""
            return {**below, **{key: merge(below.get(key), above[key], f"{prefix}{key}") for key in above}}
        return above

    return merge(base, values, "")


def _file_and_line(path: Path, problem: str, lines: _Lines) -> str:
    """File and line of the field that an error's text begins with, or of another that it names and the file sets.

    The file alone if the value comes from its base.
    """
    named = [tuple(name.split(".")) for name in re.findall(r"[a-z_]+(?:\.[a-z_]+)+", problem)]
    keys = next((keys for keys in named if keys in lines), tuple(problem.split(" ", 1)[0].split(".")))
    while keys and keys not in lines:
        keys = keys[:-1]
    return f"{path}:{lines[keys]}" if keys else str(path)
