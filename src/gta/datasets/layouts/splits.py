"""UCF-101 and HMDB-51: videos in class folders and text files that say which belong to the three official splits."""

import re
from collections.abc import Sequence
from pathlib import Path

from gta.datasets.layouts.common import Listed, NamedVideo, first_existing, lines, split_existing, with_labels
from gta.errors import DataError

_UCF_LISTS = ("ucfTrainTestlist", "UCF101TrainTestSplits-RecognitionTask/ucfTrainTestlist", "splits", "")
_UCF_VIDEOS = ("UCF-101", "UCF101", "videos")
_HMDB_LISTS = (
    "testTrainMulti_7030_splits",
    "test_train_splits/testTrainMulti_7030_splits",
    "test_train_splits",
    "splits",
)
_HMDB_VIDEOS = ("hmdb51_org", "hmdb51", "hmdb51_sta", "videos")
_HMDB_TRAIN, _HMDB_TEST = "1", "2"


def ucf_lists(root: Path) -> Path | None:
    """The folder with UCF-101's `trainlist01.txt`, or None."""
    found = first_existing(root, (f"{folder}/trainlist01.txt".lstrip("/") for folder in _UCF_LISTS))
    return found.parent if found else None


def hmdb_lists(root: Path) -> Path | None:
    """The folder with HMDB-51's `<class>_test_split1.txt` files, or None."""
    for folder in _HMDB_LISTS:
        if (root / folder).is_dir() and next((root / folder).glob("*_test_split[123].txt"), None):
            return root / folder
    return None


def list_ucf101(root: Path, split: str, classes: Sequence[str] | None, fold: int) -> Listed:
    """List UCF-101: `classInd.txt`, `trainlist0<fold>.txt`, `testlist0<fold>.txt`.

    The data set has no validation split: `val` and `test` both mean the test list, as everybody reports it.

    Raises:
        DataError: a list is missing or malformed, or none of its videos is there.
    """
    base = ucf_lists(root)
    if base is None:
        raise DataError(f"{root}: there is no ucfTrainTestlist/trainlist01.txt")
    source = base / f"{'train' if split == 'train' else 'test'}list{fold:02d}.txt"
    names = list(classes) if classes is not None else _ucf_classes(base / "classInd.txt")
    videos_root = next((root / name for name in _UCF_VIDEOS if (root / name).is_dir()), root)
    videos = []
    for line in lines(source):
        name = re.sub(r"\s+\d+$", "", line)  # the training lists carry the class number as well
        if "/" not in name:
            raise DataError(f"{source}: '{line}' is not <class>/<video>")
        videos.append(NamedVideo(videos_root / name, name.split("/")[0]))
    return _existing(videos, names, source)


def list_hmdb51(root: Path, split: str, classes: Sequence[str] | None, fold: int) -> Listed:
    """List HMDB-51: `<class>_test_split<fold>.txt` with lines `<video> 1` (train), `2` (test) or `0` (unused).

    The data set has no validation split: `val` and `test` both mean the test videos, as everybody reports it.

    Raises:
        DataError: a list is missing or malformed, or none of its videos is there.
    """
    base = hmdb_lists(root)
    if base is None:
        raise DataError(f"{root}: there is no testTrainMulti_7030_splits/ with <class>_test_split1.txt files")
    sources = sorted(base.glob(f"*_test_split{fold}.txt"))
    if not sources:
        raise DataError(f"{base}: there is no file for split {fold}")
    suffix = f"_test_split{fold}.txt"
    names = list(classes) if classes is not None else [source.name.removesuffix(suffix) for source in sources]
    videos_root = next((root / name for name in _HMDB_VIDEOS if (root / name).is_dir()), root)
    wanted = _HMDB_TRAIN if split == "train" else _HMDB_TEST
    videos = []
    for source in sources:
        name = source.name.removesuffix(suffix)
        for line in lines(source):
            video, _, mark = line.rpartition(" ")
            if mark not in ("0", _HMDB_TRAIN, _HMDB_TEST) or not video:
                raise DataError(f"{source}: '{line}' is not <video> followed by 0, 1 or 2")
            if mark == wanted:
                videos.append(NamedVideo(videos_root / name / video.strip(), name))
    return _existing(videos, names, base)


def _ucf_classes(source: Path) -> list[str]:
    if not source.exists():
        raise DataError(f"{source}: no such file; it belongs to the split files of UCF-101")
    return [line.split(maxsplit=1)[-1] for line in lines(source)]


def _existing(videos: list[NamedVideo], names: list[str], source: Path) -> Listed:
    present, missing = split_existing(videos)
    if not present:
        example = f", e.g. {missing[0]}" if missing else ""
        raise DataError(f"{source}: none of its {len(missing)} videos exist{example}")
    return with_labels(present, names, source, missing)
