"""UTD-MHAD (Chen, Jafari and Kehtarnavaz, ICIP 2015): 27 actions of 8 people, told apart by the files' names.

`a<action>_s<subject>_t<trial>[_color].avi`, in any folders. Protocol: odd subjects train, even ones test.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from gta.datasets.layouts.common import Listed, NamedVideo, is_video_name, with_labels
from gta.errors import DataError

UTD_MHAD_CLASSES: tuple[str, ...] = (
    "swipe left",
    "swipe right",
    "wave",
    "clap",
    "throw",
    "cross arms",
    "basketball shoot",
    "draw x",
    "draw circle clockwise",
    "draw circle counter-clockwise",
    "draw triangle",
    "bowling",
    "boxing",
    "baseball swing",
    "tennis swing",
    "arm curl",
    "tennis serve",
    "push",
    "knock",
    "catch",
    "pick up and throw",
    "jog",
    "walk",
    "sit to stand",
    "stand to sit",
    "lunge",
    "squat",
)
"""Names of the actions a1 to a27."""
_PAIRS = (
    ("swipe left", "swipe right"),
    ("draw circle clockwise", "draw circle counter-clockwise"),
    ("sit to stand", "stand to sit"),
)
UTD_MHAD_REVERSALS: dict[str, str] = {name: other for a, b in _PAIRS for name, other in ((a, b), (b, a))}
"""The chiral pairs, actions that differ in the direction of a motion: class -> its counterpart.

Only nearly each other's time reversal: a swipe also begins with raising the arm on one side.
"""

_NAME = re.compile(r"a(\d{1,2})_s(\d)_t(\d+)(?:_(?:color|depth))?", re.IGNORECASE)
_TRAIN: dict[int, tuple[int, ...]] = {1: (1, 3, 5, 7), 2: (1, 3, 5), 3: (3, 5, 7)}
_TEST: dict[int, tuple[int, ...]] = {1: (2, 4, 6, 8), 2: (7,), 3: (1,)}


def holds_utd_mhad(root: Path) -> bool:
    """Whether the videos in a folder, or in the folders right inside it, are named as those of UTD-MHAD."""
    names = [name for folder in _folders(root) for name in os.listdir(folder) if is_video_name(name)]
    return bool(names) and all(_NAME.fullmatch(os.path.splitext(name)[0]) for name in names)


def list_utd_mhad(root: Path, split: str, classes: Sequence[str] | None, fold: int) -> Listed:
    """List UTD-MHAD: subjects 1, 3, 5 and 7 train; `val` and `test` both mean 2, 4, 6 and 8, the usual protocol.

    To choose settings without a look at the test people, folds 2 and 3 hold out one of the training people (7 and 1).

    Raises:
        DataError: none of the split's videos is there.
    """
    subjects = (_TRAIN if split == "train" else _TEST)[fold]
    videos: list[NamedVideo] = []
    for folder in _folders(root):
        for name in os.listdir(folder):
            found = _NAME.fullmatch(os.path.splitext(name)[0]) if is_video_name(name) else None
            if found is not None and int(found[2]) in subjects:
                action = int(found[1])
                known = 1 <= action <= len(UTD_MHAD_CLASSES)
                videos.append(NamedVideo(folder / name, UTD_MHAD_CLASSES[action - 1] if known else f"a{action}"))
    if not videos:
        people = ", ".join(map(str, subjects))
        raise DataError(f"{root}: there is no video a<action>_s<subject>_t<trial> of the subjects {people}")
    videos.sort(key=lambda video: [int(number) for number in re.findall(r"\d+", video.path.stem)])
    return with_labels(videos, UTD_MHAD_CLASSES if classes is None else classes, root)


def _folders(root: Path) -> list[Path]:
    """The folder and those right inside it (the colour videos come as RGB.zip, which holds a folder RGB)."""
    with os.scandir(root) as entries:
        inside = sorted(entry.path for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    return [root, *map(Path, inside)]
