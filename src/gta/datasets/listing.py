"""Finding the labelled videos of a data set from its folder: `open_videos`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from gta.config import Fold, KnownLayout, Layout, Split
from gta.datasets.index import DataIndex, load_index
from gta.datasets.layouts.common import SPLIT_NAMES, Listed, folders, videos_in
from gta.datasets.layouts.folder import list_folder
from gta.datasets.layouts.kinetics import is_kinetics_list, kinetics_list, list_kinetics
from gta.datasets.layouts.manifest import find_manifest, list_manifest
from gta.datasets.layouts.something import list_v1, list_v2, v2_file
from gta.datasets.layouts.splits import hmdb_lists, list_hmdb51, list_ucf101, ucf_lists
from gta.datasets.layouts.utd_mhad import holds_utd_mhad, list_utd_mhad
from gta.errors import DataError, OptionError
from gta.types import VideoRecord


@dataclass(frozen=True)
class VideoList:
    """The videos of one split of a data set.

    Args:
        root: folder (or manifest file) of the data set.
        layout: how it is organised.
        split: which part of it this is.
        classes: class names; a record's label is a position in it, or -1 where the data set does not tell.
        records: the videos that are there.
        missing: videos that the data set lists but that are not there.
        index: what `gta data check` learned about the files, if it was run.
    """

    root: Path
    layout: KnownLayout
    split: Split
    classes: tuple[str, ...]
    records: tuple[VideoRecord, ...]
    missing: tuple[Path, ...] = ()
    index: DataIndex | None = None

    def __len__(self) -> int:
        return len(self.records)


def detect_layout(root: Path) -> KnownLayout:
    """Tell a data set's layout from the files in its folder.

    Raises:
        DataError: the folder is missing or empty, or looks like none of the layouts.
    """
    check_root(root)
    if root.is_file():
        if find_manifest(root, "train") is None:
            raise DataError(f"{root}: a list of videos must be a .csv or .jsonl file")
        return "manifest"
    if (root / "something-something-v1-labels.csv").exists():
        return "ssv1"
    if v2_file(root, "labels") is not None:
        return "ssv2"
    lists = [found for split in SPLIT_NAMES if (found := kinetics_list(root, split)) is not None]
    if any(is_kinetics_list(found) for found in lists):
        return "kinetics"
    if ucf_lists(root) is not None:
        return "ucf101"
    if hmdb_lists(root) is not None:
        return "hmdb51"
    if any(find_manifest(root, split) is not None for split in SPLIT_NAMES):
        return "manifest"
    if holds_utd_mhad(root):
        return "utd_mhad"
    if folders(root):
        return "folder"
    if videos_in(root):
        raise DataError(f"{root}: the videos lie in no class folders; put them into {root}/<class name>/")
    raise DataError(f"{root}: this does not look like a data set; the documentation lists the supported layouts")


def check_root(root: Path) -> None:
    """Refuse a folder that is missing or empty.

    Raises:
        DataError: it is.
    """
    if not root.exists():
        raise DataError(f"{root}: no such folder; name the folder of a data set")
    if root.is_dir() and not any(root.iterdir()):
        raise DataError(f"{root}: the folder is empty; put videos into {root}/<class name>/")


def open_videos(
    root: str | Path,
    split: Split,
    layout: Layout = "auto",
    classes: Sequence[str] | None = None,
    *,
    fold: int = 1,
    index: Path | None = None,
) -> VideoList:
    """List the videos of one split of a data set; looks at lists and folders, opens no video.

    Args:
        root: folder of the data set, or a manifest file.
        split: `train`, `val` or `test`.
        layout: layout of the data set; `auto` detects it.
        classes: class names in the order of a model's outputs; the data set's own order if None.
        fold: which of the splits of UCF-101, HMDB-51 or UTD-MHAD, 1 to 3.
        index: file of the index; if not given, beside the data or in the user's cache.

    Raises:
        DataError: the folder is missing, empty or of no known layout; a list is missing or malformed; a class has no
            videos; a label is not among `classes`; no video of the split is there.
    """
    root = Path(root)
    if split not in get_args(Split):
        raise OptionError(f"split is '{split}': it must be one of {', '.join(get_args(Split))}")
    check_root(root)
    chosen: KnownLayout = detect_layout(root) if layout == "auto" else layout
    listed = list_layout(root, split, chosen, classes, fold)
    listed.require_known_labels()
    return VideoList(root, chosen, split, listed.classes, listed.records, listed.missing, load_index(root, index))


def list_layout(
    root: Path, split: Split, layout: KnownLayout, classes: Sequence[str] | None = None, fold: int = 1
) -> Listed:
    """List one split as its layout has it, labels that are not among the classes included (`Listed.wrong`).

    Raises:
        DataError: as `open_videos`, but for such labels.
        OptionError: there is no such layout or fold.
    """
    if fold not in get_args(Fold):
        raise OptionError(f"fold is {fold}: it must be {' or '.join(map(str, get_args(Fold)))}")
    if layout == "folder":
        return list_folder(root, split, classes)
    if layout == "ssv1":
        return list_v1(root, split, classes)
    if layout == "ssv2":
        return list_v2(root, split, classes)
    if layout == "kinetics":
        return list_kinetics(root, split, classes)
    if layout == "manifest":
        return list_manifest(root, split, classes)
    if layout == "ucf101":
        return list_ucf101(root, split, classes, fold)
    if layout == "hmdb51":
        return list_hmdb51(root, split, classes, fold)
    if layout == "utd_mhad":
        return list_utd_mhad(root, split, classes, fold)
    raise OptionError(f"layout is '{layout}': it must be auto or one of {', '.join(get_args(KnownLayout))}")
