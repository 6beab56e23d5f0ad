"""The users' own list: a CSV or JSON-lines file with the columns path, label and, if wanted, start, end, split."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gta.data.layouts.common import (
    SPLIT_NAMES,
    Listed,
    NamedVideo,
    first_existing,
    read_text,
    split_existing,
    with_labels,
)
from gta.errors import DataError

MANIFEST_SUFFIXES = (".csv", ".jsonl", ".ndjson")


def find_manifest(root: Path, split: str) -> Path | None:
    """The manifest of a split: `root` itself if it is a file, `<split>.csv`, `manifest.csv`, or the same as .jsonl."""
    if root.is_file():
        return root if root.suffix.lower() in MANIFEST_SUFFIXES else None
    names = [*SPLIT_NAMES.get(split, ()), "manifest"]
    return first_existing(root, (f"{name}{suffix}" for name in names for suffix in MANIFEST_SUFFIXES))


def list_manifest(root: Path, split: str, classes: Sequence[str] | None) -> Listed:
    """List a manifest. Paths are relative to the manifest's folder; `start` and `end` are in seconds.

    One file can hold all splits in a column `split`; without that column every video belongs to the split that is
    asked for. Class names are sorted, over the training list where there is one, unless `classes` gives their order.

    Raises:
        DataError: the manifest is missing or malformed, no listed video is there, or a label is unknown.
    """
    source = find_manifest(root, split)
    if source is None:
        raise DataError(f"{root}: there is no {split}.csv, {split}.jsonl, manifest.csv or manifest.jsonl")
    videos = [video for video, named in _videos(source) if named is None or named in SPLIT_NAMES[split]]
    if not videos:
        raise DataError(f"{source}: the list has no videos of the split '{split}'")
    present, missing = split_existing(videos)
    if not present:
        raise DataError(f"{source}: none of its {len(missing)} videos is there, e.g. {missing[0]}")
    names = list(classes) if classes is not None else _classes(root, source)
    return with_labels(present, names, source, missing)


def _classes(root: Path, source: Path) -> list[str]:
    training = find_manifest(root, "train") or source
    pairs = list(_videos(training))
    chosen = {video.name for video, split in pairs if split is None or split in SPLIT_NAMES["train"]}
    names = {name for name in chosen if name is not None}
    return sorted(names or {video.name for video, _ in pairs if video.name is not None})


def _videos(source: Path) -> Iterator[tuple[NamedVideo, str | None]]:
    rows = _csv_rows(source) if source.suffix.lower() == ".csv" else _json_rows(source)
    for number, row in rows:
        path = row.get("path")
        if not isinstance(path, str) or not path.strip():
            raise DataError(f"{source}: line {number} has no 'path'")
        label = row.get("label")
        start, end = (_seconds(row.get(key), key, number, source) for key in ("start", "end"))
        if start is not None and end is not None and end <= start:
            raise DataError(f"{source}: line {number} ends at {end:g} s, not after its start at {start:g} s")
        name = str(label).strip() if label not in (None, "") else None
        split = str(row["split"]).strip().lower() if row.get("split") else None
        yield NamedVideo(source.parent / path.strip(), name, start, end), split


def _csv_rows(source: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    text = read_text(source)
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
    if not {"path", "label"} <= set(reader.fieldnames):
        raise DataError(
            f"{source}: the first line must name the columns path and label, and may name start, end, split"
        )
    for row in reader:
        yield reader.line_num, row


def _json_rows(source: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(read_text(source).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{source}: line {number} is not JSON ({error.msg})") from error
        if not isinstance(row, dict):
            raise DataError(f'{source}: line {number} is not an object with "path" and "label"')
        yield number, row


def _seconds(value: object, column: str, number: int, source: Path) -> float | None:
    if value is None or value == "":
        return None
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise DataError(f"{source}: line {number} has {column} '{value}', not a number of seconds")
    return seconds
