"""Something-Something v1 (numbered pictures, CSV lists) and v2 (.webm files, JSON lists) in their official layouts."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from gta.datasets.layouts.common import Listed, NamedVideo, first_existing, is_video_name, lines, read_json, with_labels
from gta.errors import DataError

_V1 = "something-something-v1-"
_V2_PREFIXES = ("", "labels/", "something-something-v2-", "annotations/")
_LIST_NAMES = {"train": "train", "val": "validation", "test": "test"}
V1_VIDEOS = "20bn-something-something-v1"
V2_VIDEOS = ("20bn-something-something-v2", "videos")


def without_brackets(template: str) -> str:
    """The label that belongs to a Something-Something template: `Holding [something]` is `Holding something`."""
    return template.replace("[", "").replace("]", "")


def v2_file(root: Path, name: str) -> Path | None:
    """One of v2's JSON files, wherever the release put it."""
    return first_existing(root, (f"{prefix}{name}.json" for prefix in _V2_PREFIXES))


def list_v1(root: Path, split: str, classes: Sequence[str] | None) -> Listed:
    """List Something-Something v1: `something-something-v1-{labels,train,validation,test}.csv` and frame folders.

    Raises:
        DataError: a list is missing or malformed, no listed video is there, or a label is unknown.
    """
    names = list(classes) if classes is not None else lines(root / f"{_V1}labels.csv")
    source = root / f"{_V1}{_LIST_NAMES[split]}.csv"
    folder = root / V1_VIDEOS
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; unpack the videos of Something-Something v1 there")
    present = _by_stem(folder)
    videos, missing = [], []
    for number, line in enumerate(lines(source), start=1):
        identity, separator, label = line.partition(";")
        if not separator and split != "test":
            raise DataError(f"{source}: line {number} is '{line}', expected <id>;<label>")
        identity = identity.strip()
        path = folder / present.get(identity, identity)
        (videos if identity in present else missing).append(NamedVideo(path, label.strip() if separator else None))
    return _listed(videos, names, source, missing)


def list_v2(root: Path, split: str, classes: Sequence[str] | None) -> Listed:
    """List Something-Something v2: `labels.json`, `{train,validation,test}.json` and .webm files.

    A video's class is its template with the brackets taken away. The test list has no labels; those of
    `test-answers.csv` are used where that file is there.

    Raises:
        DataError: a list is missing or malformed, no listed video is there, or a label is unknown.
    """
    names = list(classes) if classes is not None else _v2_classes(root)
    source = v2_file(root, _LIST_NAMES[split])
    if source is None:
        raise DataError(f"{root}: there is no {_LIST_NAMES[split]}.json for the split '{split}'")
    entries = read_json(source)
    if not isinstance(entries, list):
        raise DataError(f"{source}: expected a JSON list of videos")
    folder = next((root / name for name in V2_VIDEOS if (root / name).is_dir()), None)
    if folder is None:
        raise DataError(f"{root}: there is no folder {' or '.join(V2_VIDEOS)} with the videos")
    present = _by_stem(folder)
    answers = _v2_answers(root) if split == "test" else {}
    videos, missing = [], []
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict) or "id" not in entry:
            raise DataError(f"{source}: entry {number} has no 'id'")
        identity = str(entry["id"])
        template = entry.get("template", answers.get(identity))
        if not isinstance(entry["id"], str | int) or not isinstance(template, str | None):
            raise DataError(f"{source}: entry {number}: 'id' and 'template' must be strings")
        if template is None and split != "test":
            raise DataError(f"{source}: the video {identity} has no 'template'")
        name = None if template is None else without_brackets(template)
        path = folder / present.get(identity, f"{identity}.webm")
        (videos if identity in present else missing).append(NamedVideo(path, name))
    return _listed(videos, names, source, missing)


def _by_stem(folder: Path) -> dict[str, str]:
    """Videos in a folder, files and folders of pictures, by name without suffix.

    One look at the disk instead of one per video. `gta data prepare` may have turned files into folders or the reverse.
    """
    found: dict[str, str] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_video_name(entry.name):
                found[os.path.splitext(entry.name)[0]] = entry.name
            elif not entry.name.startswith(".") and entry.is_dir():
                found[entry.name] = entry.name
    return found


def _v2_classes(root: Path) -> list[str]:
    source = v2_file(root, "labels")
    if source is None:
        raise DataError(f"{root}: there is no labels.json")
    labels = read_json(source)
    try:
        numbered = {int(str(number)): without_brackets(name) for name, number in labels.items()}
    except (AttributeError, ValueError):
        raise DataError(f'{source}: expected a JSON object of class names and numbers, {{"name": "0", ...}}') from None
    if sorted(numbered) != list(range(len(labels))):
        raise DataError(f"{source}: the numbers of the {len(labels)} classes are not 0 to {len(labels) - 1}")
    return [numbered[number] for number in range(len(numbered))]


def _v2_answers(root: Path) -> dict[str, str]:
    source = first_existing(root, (f"{folder}test-answers.csv" for folder in ("", "labels/", "annotations/")))
    if source is None:
        return {}
    pairs = (line.partition(";") for line in lines(source))
    return {identity.strip(): label.strip() for identity, _, label in pairs}


def _listed(videos: list[NamedVideo], names: list[str], source: Path, missing: Iterable[NamedVideo]) -> Listed:
    absent = [video.path for video in missing]
    if not videos and not absent:
        raise DataError(f"{source}: the list is empty")
    if not videos:
        raise DataError(f"{source}: none of its {len(absent)} videos exist, e.g. {absent[0]}")
    return with_labels(videos, names, source, absent)
