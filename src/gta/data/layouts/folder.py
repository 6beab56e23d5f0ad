"""A folder per class: `root/<split>/<class>/<video>`, or `root/<class>/<video>` with a split made from the names."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from gta.data.layouts.common import SPLIT_NAMES, Listed, NamedVideo, folders, split_folder, videos_in, with_labels
from gta.errors import DataError

# Share of each class that goes to validation where the user made no split.
_VALIDATION_SHARE = 5


def list_folder(root: Path, split: str, classes: Sequence[str] | None) -> Listed:
    """List a folder-per-class tree.

    Without split folders, of each class every fifth video by the hash of its name is for validation (at least one if
    there are two): the same for everybody, whatever the order of the files.

    Raises:
        DataError: the split or a class has no videos, or a class folder is not among `classes`.
    """
    splits = {name: found for name in SPLIT_NAMES if (found := split_folder(root, name)) is not None}
    if not splits:
        return _hash_split(root, split, classes)
    if split not in splits:
        raise DataError(f"{root}: there is no folder for the split '{split}', only for {', '.join(sorted(splits))}")
    base = splits[split]
    names = tuple(classes) if classes is not None else tuple(folders(splits.get("train", base)))
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
    names = tuple(classes) if classes is not None else tuple(sorted({video.name for video in found if video.name}))
    validation = _validation_videos(found)
    chosen = [video for video in found if (video.path in validation) == (split == "val")]
    if not chosen:
        raise DataError(f"{root}: too few videos to set some aside for the split '{split}'; two per class are needed")
    return with_labels(chosen, names, root)


def _validation_videos(videos: list[NamedVideo]) -> set[Path]:
    by_class: dict[str | None, list[Path]] = {}
    for video in videos:
        by_class.setdefault(video.name, []).append(video.path)
    chosen: set[Path] = set()
    for paths in by_class.values():
        ranked = sorted(paths, key=lambda path: hashlib.sha256(path.name.encode("utf-8", "replace")).digest())
        count = max(len(ranked) // _VALIDATION_SHARE, 1 if len(ranked) > 1 else 0)
        chosen.update(ranked[:count])
    return chosen
