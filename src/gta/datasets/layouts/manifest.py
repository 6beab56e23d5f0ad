"""The users' own list: a CSV or JSON-lines file with the columns path, label and, if wanted, start, end, split."""

import csv
import difflib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gta.datasets.layouts.common import (
    SPLIT_NAMES,
    Listed,
    NamedVideo,
    first_existing,
    lines,
    one_form,
    read_text,
    split_existing,
    with_labels,
)
from gta.errors import DataError
from gta.stored import StoredError, parse_json
from gta.video.remote import joined

MANIFEST_SUFFIXES = (".csv", ".jsonl", ".ndjson", ".txt")
# mmaction2's lists are called `kinetics400_train_list_videos.txt` and the like.
_PEERS_LIST = "*_{split}_list_*.txt"
_PEERS_ROW = re.compile(r"(?P<path>.*\S)(?:[ \t]*[,;][ \t]*|[ \t]+)(?P<label>\d+)$")
# mmaction2's lists of frame folders have the number of frames between path and label; it is not needed.
_FRAME_COUNT = re.compile(r"[ \t]+\d+$")
# Where their videos lie beside the list.
_PEERS_FOLDERS = ("", "videos_{split}", "rawframes_{split}", "videos", "rawframes", "{split}")
# A list without header has class numbers; their names lie beside it, if anywhere.
_CLASS_FILES = ("label_map.txt", "classes.txt", "labels.txt")


def find_manifest(root: Path, split: str) -> Path | None:
    """The manifest of a split: `root` itself if it is a file, `<split>.csv`, `manifest.csv`, or the same as .jsonl.

    Lists of other code bases, `<split>.txt` and `*_<split>_list_*.txt`, are manifests without a header.
    """
    if root.is_file():
        return root if root.suffix.lower() in MANIFEST_SUFFIXES else None
    names = [*SPLIT_NAMES.get(split, ()), "manifest"]
    found = [root / f"{name}{suffix}" for name in names for suffix in MANIFEST_SUFFIXES]
    if root.is_dir():
        found += (path for name in names for path in sorted(root.glob(_PEERS_LIST.format(split=name))))
    # A text file is a list only if it looks like one.
    return next((path for path in found if path.is_file() and (path.suffix != ".txt" or _is_headerless(path))), None)


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
    every = list(_rows(source))
    rows = [row for row in every if row.split is None or row.split in SPLIT_NAMES[split]]
    if not rows:
        raise DataError(f"{source}: the list has no videos of the split '{split}'")
    _require_all_labels_or_none(rows, source)
    if classes is not None and all(row.is_number for row in rows) and "0" not in classes:
        rows = [_with_class_of_number(row, classes, source) for row in rows]  # the numbers count the model's classes
    videos = [row.video for row in rows]
    present, missing = split_existing(videos)
    if not present:
        raise DataError(f"{source}: none of its {len(missing)} videos exist, e.g. {missing[0]}")
    names = list(classes) if classes is not None else _classes(root, source, every)
    return with_labels(present, names, source, missing)


def _classes(root: Path, source: Path, every: list["_Row"]) -> list[str]:
    """Class names over the training list, or over `source` (whose rows are `every`) where there is none."""
    training = find_manifest(root, "train") or source
    rows = every if training == source else list(_rows(training))
    if rows and all(row.is_number for row in rows):
        return [str(number) for number in range(max(int(row.video.name or 0) for row in rows) + 1)]
    if rows and rows[0].names is not None:
        return list(rows[0].names)
    chosen = {row.video.name for row in rows if row.split is None or row.split in SPLIT_NAMES["train"]}
    names = {name for name in chosen if name is not None}
    return sorted(names or {row.video.name for row in rows if row.video.name is not None})


def _with_class_of_number(row: "_Row", classes: Sequence[str], source: Path) -> "_Row":
    number = int(row.video.name or 0)
    if number >= len(classes):
        raise DataError(f"{source}: line {row.line} has class {number}, but there are only {len(classes)} classes")
    return replace(row, video=replace(row.video, name=classes[number]))


def _require_all_labels_or_none(rows: list["_Row"], source: Path) -> None:
    """One row without a label among labelled ones is a slip; a list without any is a test list."""
    unlabelled = [row for row in rows if row.video.name is None]
    if unlabelled and len(unlabelled) < len(rows):
        raise DataError(
            f"{source}: line {unlabelled[0].line} has no label ({unlabelled[0].video.path.name}); "
            f"{len(rows) - len(unlabelled)} other rows have one"
        )


@dataclass(frozen=True)
class _Row:
    """One row of a list: the video, its split in lower case if named, and its line.

    `is_number` tells that the label is a bare class number; `names` are the classes of a file beside the list.
    """

    video: NamedVideo
    split: str | None
    line: int
    is_number: bool = False
    names: tuple[str, ...] | None = None


def _rows(source: Path) -> Iterator[_Row]:
    headerless = None if source.suffix.lower() in (".jsonl", ".ndjson") else _headerless(source)
    if headerless is not None:
        yield from headerless
        return
    for number, row in _json_rows(source) if source.suffix.lower() in (".jsonl", ".ndjson") else _csv_rows(source):
        path = row.get("path")
        if not isinstance(path, str) or not path.strip():
            raise DataError(f"{source}: line {number} has no 'path'")
        label = row.get("label")
        start, end = (_seconds(row.get(key), key, number, source) for key in ("start", "end"))
        if start is not None and end is not None and end <= start:
            raise DataError(f"{source}: line {number} ends at {end:g} s, not after its start at {start:g} s")
        name = one_form(str(label).strip()) if label is not None and str(label).strip() else None
        video = NamedVideo(joined(source.parent, path.strip()), name, start, end)
        yield _Row(video, _split(row.get("split"), number, source), number)


def _split(value: object, number: int, source: Path) -> str | None:
    """The split that a row names; a misspelt one would make its videos vanish in silence."""
    text = str(value).strip().lower() if value is not None else ""
    if not text:
        return None
    known = [name for names in SPLIT_NAMES.values() for name in names]
    if text not in known:
        close = difflib.get_close_matches(text, known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"it must be one of {', '.join(SPLIT_NAMES)}"
        raise DataError(f"{source}: line {number} has the split '{value}': {hint}")
    return text


def _headerless(source: Path) -> list[_Row] | None:
    """The rows of a list as PySlowFast and mmaction2 have it, `path label` or `path num_frames label`; else None.

    Numbers of classes tell such a list from one with a header. The separator is a space, a comma, a semicolon or a
    tab; a path may contain it. Names of the classes are taken from a file beside the list (`label_map.txt`).
    """
    found = [(number, text.strip()) for number, text in enumerate(read_text(source).split("\n"), 1) if text.strip()]
    if not _is_headerless(source):
        return None
    named = first_existing(source.parent, _CLASS_FILES)
    names = tuple(map(one_form, lines(named))) if named is not None and named != source else None
    base = _peers_base(source, found[0][1])
    rows: list[_Row] = []
    for number, text in found:
        matched = _PEERS_ROW.match(text)
        if matched is None:
            raise DataError(f"{source}: line {number} is '{text}', expected <path> <class number>")
        path, label = matched["path"].strip().strip('"'), int(matched["label"])
        if _FRAME_COUNT.search(path) and not (base / path).exists():
            path = _FRAME_COUNT.sub("", path)
        if names is not None and label >= len(names):
            raise DataError(f"{source}: line {number} has class {label}, but {named} names only {len(names)}")
        name = str(label) if names is None else names[label]
        rows.append(_Row(NamedVideo(joined(base, path), name), None, number, names is None, names))
    return rows


def _is_headerless(source: Path) -> bool:
    """Whether the first line that is not blank is `path label` with a number."""
    first = next((line for line in read_text(source).split("\n") if line.strip()), "")
    return _PEERS_ROW.match(first.strip()) is not None


def _peers_base(source: Path, row: str) -> Path:
    """The folder that the paths of a list without header are relative to: where its first video is, or its own."""
    matched = _PEERS_ROW.match(row)
    path = _FRAME_COUNT.sub("", matched["path"].strip().strip('"')) if matched else row
    splits = [split for split, names in SPLIT_NAMES.items() if any(name in source.stem.lower() for name in names)]
    places = (source.parent / name.format(split=splits[0] if splits else "") for name in _PEERS_FOLDERS)
    return next((place for place in places if (place / path).exists()), source.parent)


def _csv_rows(source: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    text = read_text(source)
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        columns = [name.strip().lower() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        if not {"path", "label"} <= set(columns):
            raise DataError(
                f"{source}: the first line must name the columns path and label, and may name start, end, split"
            )
        for row in reader:
            if None in row:  # more values than columns
                raise DataError(
                    f"{source}: line {reader.line_num} has {len(columns) + len(row[None])} values for {len(columns)} "
                    f"columns; put a label that contains '{delimiter}' into quotation marks"
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f"{source}: line {reader.line_num} is not CSV ({error})") from None


def _json_rows(source: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(read_text(source).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except StoredError as error:
            raise DataError(f"{source}: line {number}: {error}") from error
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
