"""Kinetics: CSV lists (label, youtube_id, time_start, time_end, split) and videos in class folders."""

import csv
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path

from gta.datasets.layouts.common import (
    SPLIT_NAMES,
    Listed,
    NamedVideo,
    first_existing,
    folders,
    is_video_name,
    one_form,
    read_text,
    split_folder,
    with_labels,
)
from gta.errors import DataError

_PREFIXES = ("", "annotations/", "kinetics_400_", "kinetics400_", "kinetics-400_")


def kinetics_list(root: Path, split: str) -> Path | None:
    """The CSV list of a split, wherever the release put it."""
    return first_existing(root, (f"{prefix}{name}.csv" for prefix in _PREFIXES for name in SPLIT_NAMES[split]))


def is_kinetics_list(path: Path) -> bool:
    """Whether a CSV file has the header of Kinetics' lists."""
    head = read_text(path).partition("\n")[0]
    return "youtube_id" in head.lower()


def list_kinetics(root: Path, split: str, classes: Sequence[str] | None) -> Listed:
    """List Kinetics. Videos that are gone from the internet are usual: they are counted, not an error.

    A video is looked for in the split's folder, in its class folder or beside, by its name with the times
    (`<id>_000010_000020.mp4`, any suffix) or without. One without (`<id>.mp4`) is the whole video, of which the row's
    times are read.

    Raises:
        DataError: the list or the folder is missing or malformed, or none of the listed videos is there.
    """
    source = kinetics_list(root, split)
    if source is None:
        raise DataError(f"{root}: there is no {split}.csv")
    rows = _rows(source)
    folder = split_folder(root, split)
    if folder is None:
        raise DataError(f"{root}: there is no folder '{split}' with the videos of {source.name}")
    names = list(classes) if classes is not None else _classes(root)
    present = _videos_by_stem(folder)
    videos, missing = [], []
    for row in rows:
        identity = row["youtube_id"].strip()
        start, end = (_seconds(row, column, source) for column in ("time_start", "time_end"))
        stem = f"{identity}_{round(start):06d}_{round(end):06d}"
        label = one_form((row.get("label") or "").strip()) or None
        if (path := present.get(stem)) is not None:
            videos.append(NamedVideo(path, label))
        elif (path := present.get(identity)) is not None:
            if end <= start:
                raise DataError(f"{source}: {identity} ends at {end:g} s, not after its start at {start:g} s")
            videos.append(NamedVideo(path, label, start, end))
        else:
            missing.append(folder / (label or "") / f"{stem}.mp4")
    if not videos:
        raise DataError(f"{source}: none of its {len(missing)} videos is in {folder}")
    return with_labels(videos, names, source, missing)


def _rows(source: Path) -> list[dict[str, str]]:
    text = io.StringIO(read_text(source), newline="")
    reader = csv.DictReader(text, skipinitialspace=True, strict=True)
    try:
        columns = [name.strip().lower() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        if not {"youtube_id", "time_start", "time_end"} <= set(columns):
            raise DataError(
                f"{source}: the first line must name the columns label,youtube_id,time_start,time_end,split"
            )
        rows: list[dict[str, str]] = []
        for row in reader:
            if None in row:
                raise DataError(
                    f"{source}: line {reader.line_num} has more values than the {len(columns)} columns; put a label "
                    "with a comma into quotation marks"
                )
            if row["youtube_id"]:
                rows.append(row)
    except csv.Error as error:
        raise DataError(f"{source}: line {reader.line_num} is not CSV ({error})") from None
    return rows


def _seconds(row: dict[str, str], column: str, source: Path) -> float:
    try:
        seconds = float(row[column])
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise DataError(f"{source}: {column} of {row['youtube_id']} is '{row[column]}', not a number of seconds")
    return seconds


def _classes(root: Path) -> list[str]:
    """All class names, sorted: the numbering that every public code base uses."""
    names: set[str] = set()
    for split in ("train", "val"):
        source = kinetics_list(root, split)
        if source is not None:
            names.update(label for row in _rows(source) if (label := one_form((row.get("label") or "").strip())))
    if not names:
        raise DataError(f"{root}: neither train.csv nor val.csv names a class")
    return sorted(names)


def _videos_by_stem(folder: Path) -> dict[str, Path]:
    """Videos in a folder and in its class folders, by their name without suffix."""
    found: dict[str, Path] = {}
    for parent in [folder, *(folder / name for name in folders(folder))]:
        with os.scandir(parent) as entries:
            for entry in entries:
                if is_video_name(entry.name):
                    found[os.path.splitext(entry.name)[0]] = parent / entry.name
                elif (
                    parent != folder and not entry.name.startswith(".") and entry.is_dir()
                ):  # frames extracted by `gta data prepare`
                    found[entry.name] = parent / entry.name
    return found
