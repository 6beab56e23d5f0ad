"""A folder per class: `root/<split>/<class>/<video>`, or `root/<class>/<video>` with a split made from the names."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from gta.datasets.layouts.common import (
    SPLIT_NAMES,
    VIDEO_SUFFIXES,
    Listed,
    NamedVideo,
    folders,
    one_form,
    split_folder,
    videos_in,
    with_labels,
)
from gta.errors import DataError

# One video in so many goes to validation where the user made no split.
_VALIDATION_SHARE = 5


def list_folder(root: Path, split: str, classes: Sequence[str] | None) -> Listed:
    """List a folder-per-class tree.

    Without split folders, about every fifth video is for validation, by the hash of its class and its name without
    suffix: the same ones for everybody, whatever other files there are, and the same ones in a converted copy.

    Raises:
        DataError: the split or a class has no videos, or a class folder is not among `classes`.
    """
    splits = {name: found for name in SPLIT_NAMES if (found := split_folder(root, name)) is not None}
    if not splits:
        return _hash_split(root, split, classes)
    if split not in splits:
        raise DataError(f"{root}: there is no folder for the split '{split}', only for {', '.join(sorted(splits))}")
    base = splits[split]
    names = tuple(classes) if classes is not None else _class_names(splits.get("train", base))
    if not names:
        raise DataError(f"{base}: the folder holds no class folders; put videos into {base}/<class name>/")
    return with_labels(_videos_of(base), names, base)


def _videos_of(base: Path) -> list[NamedVideo]:
    found = []
    for name in folders(base):
        inside = videos_in(base / name)
        if not inside:
            raise DataError(f"{base / name}: the class '{name}' has no videos; add some or remove the folder")
        found.extend(NamedVideo(path, name) for path in inside)
    if not found:
        raise DataError(f"{base}: the folder holds no videos; put them into {base}/<class name>/")
    return found


def _hash_split(root: Path, split: str, classes: Sequence[str] | None) -> Listed:
    if split == "test":
        raise DataError(f"{root}: there is no folder for the split 'test'; use 'val', or make train, val and test")
    found = _videos_of(root)
    names = tuple(classes) if classes is not None else _class_names(root)
    chosen = [video for video in found if _is_for_validation(video.path) == (split == "val")]
    if not chosen:
        raise DataError(
            f"{root}: none of its {len(found)} videos falls to the split '{split}', where one in five goes to val; "
            "add more, or make the folders train and val"
        )
    return with_labels(chosen, names, root)


def _class_names(base: Path) -> tuple[str, ...]:
    return tuple(sorted({one_form(name) for name in folders(base)}))


def _is_for_validation(path: Path) -> bool:
    stem = path.name if path.suffix.lower() not in VIDEO_SUFFIXES else path.stem
    digest = hashlib.sha256(one_form(f"{path.parent.name}/{stem}").encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") % _VALIDATION_SHARE == 0
