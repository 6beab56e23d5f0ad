"""The table of results as a file: Parquet, CSV or JSON lines, by the suffix. Rows are written as they come."""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gta.csv_files import table_text
from gta.errors import OptionError
from gta.extras import require
from gta.files import atomic_path, sha256, write_json
from gta.stored import StoredError, read_json
from gta.video.remote import remote_address

SUFFIXES = (".parquet", ".csv", ".jsonl")
COLUMNS = ("path", "labels", "scores", "duration", "error")
_PLAN_KEY = b"gta"
_ROWS_AT_A_TIME = 10_000


def check_output(output: Path) -> None:
    """Refuse an output that could not be written in the end.

    Raises:
        OptionError: it is an address, its suffix is none of the formats, or Parquet's library is not installed.
    """
    if (address := remote_address(output)) is not None:
        raise OptionError(f"`output` is {address}: tables are written to local disks only; name a local file")
    if output.suffix.lower() not in SUFFIXES:
        raise OptionError(f"`output` is {output}: its name must end in {', '.join(SUFFIXES)}")
    if output.suffix.lower() == ".parquet":
        require("pyarrow", "writing Parquet", extra="bulk")


def write_table(output: Path, rows: Iterable[Mapping[str, Any]], plan: Mapping[str, Any]) -> None:
    """Write the rows, atomically; one part of them is in memory at a time.

    Args:
        output: the file.
        rows: mappings with the entries of `COLUMNS`.
        plan: what the prediction is about; in the metadata of Parquet, beside other files as `plan_file`.
    """
    _write_rows(output, rows, plan)
    if output.suffix.lower() != ".parquet":
        write_json(plan_file(output), {"sha256": sha256(output), "plan": dict(plan)})


def plan_file(output: Path) -> Path:
    """What tells of a table without metadata what it was made from, so that repeating the command makes nothing."""
    return output.with_name(f"{output.name}.plan.json")


def _write_rows(output: Path, rows: Iterable[Mapping[str, Any]], plan: Mapping[str, Any]) -> None:
    parts = _parts(rows)
    with atomic_path(output) as temporary:
        if output.suffix.lower() == ".parquet":
            _write_parquet(temporary, parts, plan)
            return
        with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            if output.suffix.lower() == ".csv":
                file.write(table_text(COLUMNS, ()))
                for part in parts:
                    file.write(table_text(COLUMNS, map(_cells, part)).split("\n", 1)[1])
            else:
                for part in parts:
                    file.writelines(
                        json.dumps({name: row[name] for name in COLUMNS}, allow_nan=False) + "\n" for row in part
                    )


def read_plan(output: Path) -> Any:
    """What the prediction of an existing table was about; None where nothing tells."""
    if output.suffix.lower() != ".parquet":
        return _plan_beside(output)
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        metadata = parquet.read_schema(output).metadata or {}
        return json.loads(metadata[_PLAN_KEY])
    except (pyarrow.ArrowInvalid, KeyError, ValueError):
        return None


def _plan_beside(output: Path) -> Any:
    """The plan of a file without metadata, if it is still the one that was written."""
    try:
        found = read_json(plan_file(output))
    except (FileNotFoundError, StoredError):
        return None
    if not isinstance(found, dict) or found.get("sha256") != sha256(output):
        return None
    return found.get("plan")


def _parts(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    source = iter(rows)
    while part := list(itertools.islice(source, _ROWS_AT_A_TIME)):
        yield part


def _cells(row: Mapping[str, Any]) -> list[Any]:
    return [json.dumps(row[name]) if name in ("labels", "scores") else row[name] for name in COLUMNS]


def _write_parquet(path: Path, parts: Iterable[list[Mapping[str, Any]]], plan: Mapping[str, Any]) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    schema = pyarrow.schema(
        [
            pyarrow.field("path", pyarrow.string(), nullable=False),
            pyarrow.field("labels", pyarrow.list_(pyarrow.string())),
            pyarrow.field("scores", pyarrow.list_(pyarrow.float32())),
            pyarrow.field("duration", pyarrow.float64()),
            pyarrow.field("error", pyarrow.string()),
        ],
        metadata={_PLAN_KEY: json.dumps(plan).encode()},
    )
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for part in parts:
            writer.write_table(pyarrow.Table.from_pylist([_utf8(row) for row in part], schema=schema))


def _utf8(row: Mapping[str, Any]) -> dict[str, Any]:
    """Parquet's texts are UTF-8; bytes of a file's name that are not become escapes."""
    clean = {name: row[name] for name in COLUMNS}
    for name in ("path", "error"):
        if isinstance(clean[name], str):
            clean[name] = clean[name].encode("utf-8", errors="backslashreplace").decode("utf-8")
    return clean
