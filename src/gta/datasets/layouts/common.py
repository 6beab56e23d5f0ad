"""What the layouts share: the records they produce, and looking at folders and text files."""

import itertools
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gta.errors import DataError
from gta.stored import StoredError, parse_json
from gta.types import VideoRecord
from gta.video.pictures import PICTURE_CODECS, is_picture_name
from gta.video.remote import remote_address

# What files of the containers that the reader opens are called; FFmpeg itself lists only some of these names.
VIDEO_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("mp4", "m4v", "mov", "qt", "3gp", "3gpp", "3g2", "mj2", "psp", "ismv", "f4v", "mkv", "mk3d", "webm", "avi"),
        *(
            "divx",
            "xvid",
            "wmv",
            "asf",
            "dvr-ms",
            "wtv",
            "flv",
            "kux",
            "swf",
            "mpg",
            "mpeg",
            "mpe",
            "m1v",
            "m2v",
            "mpv",
        ),
        *("mp2v", "m2p", "vob", "mod", "evo", "ts", "mts", "m2ts", "m2t", "trp", "tod", "ogv", "ogm", "ogg", "rm"),
        *("rmvb", "mxf", "gxf", "lxf", "dv", "dif", "nut", "ivf", "y4m", "obu", "av1", "h261", "h263", "h264", "264"),
        *("avc", "h26l", "h265", "265", "hevc", "h266", "266", "vvc", "vc1", "evc", "avs", "avs2", "avs3", "mjpeg"),
        *("mjpg", "gif", "apng", "fli", "flc", "nsv", "nuv", "amv", "bik", "bk2", "smk", "roq", "thp", "usm", "viv"),
    )
)
PICTURE_SUFFIXES = frozenset(PICTURE_CODECS)
# Other names in use for the three splits.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "validation", "valid", "validate"),
    "test": ("test", "testing"),
}
# Files that belong to a data set without being videos: not worth a word.
_OTHER_SUFFIXES = frozenset([".csv", ".json", ".jsonl", ".ndjson", ".txt", ".npz", ".md"])
# Label of a video whose class the data set does not tell.
UNKNOWN_LABEL = -1


@dataclass(frozen=True)
class Listed:
    """What a layout found.

    Args:
        classes: class names in the order of their numbers.
        records: the labelled videos that are there.
        missing: videos that the list names but that are not there.
        wrong: videos whose label is not among the classes, as (path, label); `source` is the list they come from.
        source: the list or folder that was read.
    """

    classes: tuple[str, ...]
    records: tuple[VideoRecord, ...]
    missing: tuple[Path, ...] = ()
    wrong: tuple[tuple[Path, str], ...] = ()
    source: Path = Path()

    def require_known_labels(self) -> None:
        """Refuse a list with labels that are not among the classes.

        Raises:
            DataError: there is one; the text names the first.
        """
        if self.wrong:
            path, name = self.wrong[0]
            raise DataError(
                f"{self.source}: the label '{name}' of {path.name} is not among the {len(self.classes)} classes"
            )


def one_form(name: str) -> str:
    """A class name in Unicode's composed form (NFC): file systems and editors write accents in two ways."""
    return unicodedata.normalize("NFC", name)


@dataclass(frozen=True)
class NamedVideo:
    """A listed video with its class still as a name; None where the list does not tell."""

    path: Path
    name: str | None
    start_seconds: float | None = None
    end_seconds: float | None = None


def with_labels(
    videos: Iterable[NamedVideo], classes: Sequence[str], source: Path, missing: Iterable[Path] = ()
) -> Listed:
    """Turn class names into numbers.

    Args:
        videos: the videos.
        classes: class names in the order of their numbers.
        source: the list that the videos come from, for errors.
        missing: videos that were listed but are not there.
    """
    numbers = {one_form(name): number for number, name in enumerate(classes)}
    records: list[VideoRecord] = []
    wrong: list[tuple[Path, str]] = []
    for video in videos:
        label = UNKNOWN_LABEL if video.name is None else numbers.get(one_form(video.name))
        if label is None:
            wrong.append((video.path, str(video.name)))
        else:
            records.append(VideoRecord(video.path, label, video.start_seconds, video.end_seconds))
    return Listed(tuple(classes), tuple(records), tuple(missing), tuple(wrong), source)


# What `gta data prepare` may have made of a video: another container, or a folder of pictures.
_PREPARED_SUFFIXES = (".mp4", ".webm", ".mkv", ".avi", "")


class _Folders:
    """What lies in the folders of listed videos; each folder is looked at once, not each video several times."""

    def __init__(self) -> None:
        self._names: dict[str, frozenset[str]] = {}

    def find(self, path: Path) -> Path | None:
        """The video itself, or what `gta data prepare` made of it, or None."""
        folder, name = os.path.split(path)
        names = self._names.get(folder)
        if names is None:
            names = self._names[folder] = _names_in(folder)
        if name in names:
            return path
        stem = os.path.splitext(name)[0]
        found = next((stem + suffix for suffix in _PREPARED_SUFFIXES if stem + suffix in names), None)
        return None if found is None else Path(folder, found)


def _names_in(folder: str) -> frozenset[str]:
    """Names in a folder, without links that lead nowhere; none if there is no such folder."""
    try:
        with os.scandir(folder or ".") as entries:
            return frozenset(entry.name for entry in entries if not entry.is_symlink() or os.path.exists(entry.path))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()


def split_existing(videos: Iterable[NamedVideo]) -> tuple[list[NamedVideo], list[Path]]:
    """Tell the videos that are there, with the paths they have, from the paths of those that are not."""
    folders = _Folders()
    present, missing = [], []
    for video in videos:
        found = video.path if remote_address(video.path) is not None else folders.find(video.path)
        if found is None:
            missing.append(video.path)
        else:
            present.append(video if found is video.path else replace(video, path=found))
    return present, missing


def read_text(path: Path) -> str:
    """Read UTF-8 text, with or without a byte-order mark and with any line ends.

    Raises:
        DataError: the file is missing or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: this is a folder, not a list of videos") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: the file is missing or not JSON.
    """
    try:
        return parse_json(read_text(path))
    except StoredError as error:
        raise DataError(f"{path}: {error}") from error


def lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank, stripped."""
    return [line.strip() for line in read_text(path).split("\n") if line.strip()]


def folders(path: Path) -> list[str]:
    """Names of the folders in a folder, sorted, hidden ones left out."""
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def is_video_name(name: str) -> bool:
    """Whether a file's name looks like a video's."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES and not name.startswith(".")


def videos_in(path: Path) -> list[Path]:
    """Videos right inside a folder, sorted: files with a video's suffix, and folders that hold pictures."""
    found = []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                if holds_pictures(Path(entry.path)):
                    found.append(entry.name)
            elif is_video_name(entry.name):
                found.append(entry.name)
    return [path / name for name in sorted(found)]


def holds_pictures(path: Path) -> bool:
    """Whether the first few entries of a folder, hidden ones left out, contain a numbered picture."""
    with os.scandir(path) as entries:
        names = (entry.name for entry in entries if not entry.name.startswith("."))
        for name in itertools.islice(names, 8):
            if is_picture_name(name) and os.path.splitext(name)[0][-1:].isdigit():
                return True
    return False


def first_existing(root: Path, names: Iterable[str]) -> Path | None:
    """The first of `names` that exists below `root`."""
    return next((root / name for name in names if (root / name).exists()), None)


def split_folder(root: Path, split: str) -> Path | None:
    """The folder of a split below `root` under any of its usual names in any case (`Train`), or None.

    Raises:
        DataError: there are several, such as `train` and `Train`.
    """
    found = [name for name in folders(root) if name.lower() in SPLIT_NAMES[split]] if root.is_dir() else []
    if len(found) > 1:
        raise DataError(f"{root}: {' and '.join(found)} are both folders of the split '{split}'; keep one of them")
    return root / found[0] if found else None


def ignored_files(folder: Path) -> Counter[str]:
    """Files right inside a class folder that count as no video, by suffix; hidden ones and lists are left out."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".") and not entry.is_dir()]
    suffixes = (os.path.splitext(name)[1].lower() for name in names if not is_video_name(name))
    return Counter(suffix or "(no suffix)" for suffix in suffixes if suffix not in _OTHER_SUFFIXES)
