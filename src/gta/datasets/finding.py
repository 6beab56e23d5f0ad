"""Finding videos that nobody has labelled: from files, folders, glob patterns and lists to the paths of videos."""

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gta.datasets.layouts.common import is_video_name
from gta.errors import DataError
from gta.video.folder import frame_number
from gta.video.pictures import is_picture_name

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class FoundVideos:
    """What `find_videos` found.

    Args:
        videos: video files and folders of frames, each once, in the order in which they were named; those of a folder
            sorted by name.
        ignored: files in the folders that are not videos.
    """

    videos: tuple[Path, ...]
    ignored: tuple[Path, ...]


def find_videos(sources: Iterable[str | Path]) -> FoundVideos:
    """List the videos that `sources` name; opens none of them.

    Args:
        sources: video files (taken as they are, whether they exist or not, so that the reader can say what is wrong
            with them), folders of numbered frames (each one video), folders that hold videos at any depth, and glob
            patterns (`clips/**/*.mp4`).

    Raises:
        DataError: a folder holds no videos, or a pattern fits no file.
    """
    videos: dict[Path, None] = {}
    ignored: dict[Path, None] = {}
    for source in sources:
        path = Path(source)
        if path.is_dir():
            found, others = _in_folder(path)
            if not found:
                raise DataError(f"{path}: there are no videos in this folder")
        elif path.exists() or not glob.has_magic(str(source)):
            found, others = [path], []
        else:
            matches = [Path(name) for name in sorted(glob.glob(str(source), recursive=True))]
            found = [match for match in matches if is_frame_folder(match) or is_video_name(match.name)]
            others = [match for match in matches if match not in set(found) and match.is_file()]
            if not found:
                raise DataError(f"{source}: no video matches this pattern")
        videos |= dict.fromkeys(found)
        ignored |= dict.fromkeys(others)
    return FoundVideos(tuple(videos), tuple(ignored))


def read_path_list(source: str | Path) -> list[str]:
    """Read a text file with one path, address or pattern per line; empty lines and lines beginning with # are left out.

    Relative paths are relative to the working folder, as they are on the command line.

    Args:
        source: the file; `-` reads standard input.

    Raises:
        DataError: the file is missing, is not text, or names nothing.
    """
    name = "standard input" if str(source) == STANDARD_INPUT else str(source)
    try:
        text = sys.stdin.read() if str(source) == STANDARD_INPUT else Path(source).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{source}: no such file; name a text file with one path per line") from None
    except IsADirectoryError:
        raise DataError(f"{source}: this is a folder; name a text file with one path per line") from None
    except UnicodeDecodeError:
        raise DataError(f"{name}: not a text file (UTF-8) with one path per line") from None
    lines = [line.strip() for line in text.splitlines()]
    paths = [line for line in lines if line and not line.startswith("#")]
    if not paths:
        raise DataError(f"{name}: no path in it; write one per line")
    return paths


def is_frame_folder(path: Path) -> bool:
    """Whether this is a folder with numbered pictures (and no video beside them), which together are one video."""
    return path.is_dir() and _are_frames(_names(path))


def _are_frames(names: list[str]) -> bool:
    has_frames = any(is_picture_name(name) and frame_number(name) is not None for name in names)
    return has_frames and not any(map(is_video_name, names))


def _in_folder(root: Path) -> tuple[list[Path], list[Path]]:
    """Videos in a folder, and the files in it that are none."""
    videos, others = [], []
    for folder in _walk(root):
        names = _names(folder)
        if _are_frames(names):
            videos.append(folder)
            names = [name for name in names if not is_picture_name(name)]
        for name in names:
            path = folder / name
            if path.is_file():
                (videos if is_video_name(name) else others).append(path)
    return sorted(videos), sorted(others)


def _walk(root: Path) -> Iterator[Path]:
    """A folder and all below it that are not hidden; links to folders are not followed, so that it ends."""
    for folder, below, _ in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield Path(folder)


def _names(folder: Path) -> list[str]:
    """Names of what a folder holds, but for hidden files."""
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))
