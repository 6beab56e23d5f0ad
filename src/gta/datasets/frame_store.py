"""Decoded frames of a small data set in one file, so that the cells of a grid do not decode the same videos again.

A grid trains dozens of models for dozens of epochs on the same small videos; decoding them each time costs more than a
tiny network does. The store is filled by the ordinary reader from the encoded files, holds exactly its frames (before
any resizing), and stands in for the reader inside `VideoDataset`; sampling, cropping, flipping and batching are not
touched. All processes of a study read the same file with positioned reads, so it is in memory once, in the system's
cache.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import torch

from gta.datasets.index import stamp_of
from gta.errors import DataError, VideoError
from gta.files import atomic_path, write_json
from gta.stored import StoredError, entry, mapping, read_json, shown, whole
from gta.types import VideoRecord
from gta.video.pictures import Fit
from gta.video.reading import open_video

_FRAMES = "frames.bin"
_TABLE = "frames.json"


class FrameStore:
    """Frames of the videos of a data set, by path; made by `build_store`.

    Args:
        folder: where the store lies.

    Raises:
        DataError: there is no store, or it is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        table = self.folder / _TABLE
        try:
            self._videos = _read_table(self.folder)
            self._file = os.open(self.folder / _FRAMES, os.O_RDONLY)
        except (OSError, StoredError) as error:
            raise DataError(f"{table}: no usable store of frames ({error}): delete {self.folder}") from error

    def open(self, record: VideoRecord) -> "StoredVideo | None":
        """The frames of a video, for a `with` block; None if the store does not have it as the file is now.

        A video that could not be read when the store was made is not in it.
        """
        row = self._videos.get(_key(record.path))
        if row is None or record.start_seconds is not None or record.end_seconds is not None:
            return None
        offset, num_frames, height, width, size, changed = row
        if not num_frames or stamp_of(record.path) != (size, changed):
            return None
        return StoredVideo(record.path, self._file, offset, (num_frames, height, width, 3))

    def __len__(self) -> int:
        return len(self._videos)


class StoredVideo:
    """One video of a store; a `gta.video.reading.VideoSource`."""

    def __init__(self, path: Path, file: int, offset: int, shape: tuple[int, int, int, int]) -> None:
        self.path = path
        self._file = file
        self._offset = offset
        self._shape = shape

    def __enter__(self) -> "StoredVideo":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held."""

    @property
    def num_frames(self) -> int:
        """Frames of the video."""
        return self._shape[0]

    def frame_range(self, start_seconds: float | None, end_seconds: float | None) -> tuple[int, int]:
        """All frames; parts of videos are not stored."""
        return 0, self.num_frames

    def read(self, indices: Sequence[int], *, fit: Fit | None = None) -> torch.Tensor:
        """Frames with the given numbers, uint8 (T, C, H, W), channels last in memory; arguments as of `VideoFile`.

        Raises:
            IndexError: a number lies outside the video.
            ValueError: no numbers.
        """
        if not indices:
            raise ValueError("no frame indices were given")
        frames = {index: self._frame(index, fit) for index in sorted(set(indices))}
        return torch.stack([frames[index].permute(1, 2, 0) for index in indices]).permute(0, 3, 1, 2)

    def _frame(self, index: int, fit: Fit | None) -> torch.Tensor:
        if not 0 <= index < self.num_frames:
            raise IndexError(f"frame {index} is out of range: {self.path} has {self.num_frames} frames")
        shape = self._shape[1:]
        length = shape[0] * shape[1] * shape[2]
        data = os.pread(self._file, length, self._offset + index * length)
        picture = torch.from_numpy(np.frombuffer(bytearray(data), dtype=np.uint8).reshape(shape)).permute(2, 0, 1)
        return picture if fit is None else fit(picture)


def store_size(records: Sequence[VideoRecord], *, sample: int = 8) -> int:
    """Bytes that the frames of these videos take, judged from the number and the first frame of a sample of them."""
    chosen = records[:: max(len(records) // sample, 1)]
    return sum(map(_size, chosen)) * len(records) // max(len(chosen), 1)


def missing_room(folder: str | Path, size: int) -> int:
    """Bytes that a store of `size` bytes would lack on the disk of `folder`; 0 if it fits."""
    folder = Path(folder)
    there = folder / _FRAMES
    kept = there.stat().st_size if there.exists() else 0
    return max(size - kept - shutil.disk_usage(folder if folder.exists() else folder.parent).free, 0)


def _size(record: VideoRecord) -> int:
    """Bytes of the frames of a video; 0 of one that cannot be read."""
    try:
        with open_video(record.path) as video:
            return video.num_frames * video.read([0]).nbytes
    except VideoError:
        return 0


def _decode(record: VideoRecord) -> np.ndarray:
    """Every frame of a video, uint8 (T, H, W, 3); none of one that cannot be read."""
    try:
        with open_video(record.path) as video:
            return video.read(range(video.num_frames)).permute(0, 2, 3, 1).contiguous().numpy()
    except VideoError:
        return np.empty((0, 1, 1, 3), np.uint8)  # whoever opens it goes to the file, and reports what is wrong


def build_store(
    folder: str | Path, records: Sequence[VideoRecord], *, on_video: Callable[[], None] | None = None
) -> FrameStore:
    """Decode every frame of every video into a store, or open the store that is there already.

    Args:
        folder: where the store is to lie; a store of other or changed files there is made anew.
        records: whole videos, small enough that all of their frames fit on the disk.
        on_video: called after each video that is decoded.

    Videos that cannot be read are left to their files, where whoever opens them is told.
    """
    folder = Path(folder)
    stamps = {_key(record.path): stamp_of(record.path) for record in records}
    if _is_current(folder, stamps):
        return FrameStore(folder)
    (folder / _TABLE).unlink(missing_ok=True)
    table: dict[str, list[int]] = {}
    offset = 0
    with atomic_path(folder / _FRAMES) as temporary, temporary.open("wb") as file:
        for record in records:
            frames = _decode(record)
            file.write(frames.tobytes())
            key = _key(record.path)
            table[key] = [offset, *frames.shape[:3], *stamps[key]]
            offset += frames.nbytes
            if on_video:
                on_video()
    write_json(folder / _TABLE, {"videos": table})
    return FrameStore(folder)


def _key(path: Path) -> str:
    """The name of a video in the table: the same from whatever folder, and through whatever link, it is reached."""
    return os.path.realpath(path)


def _is_current(folder: Path, stamps: dict[str, tuple[int, int]]) -> bool:
    try:
        videos = _read_table(folder)
    except (OSError, StoredError):
        return False  # it is made anew
    return {path: row[4:] for path, row in videos.items()} == stamps


def _read_table(folder: Path) -> dict[str, tuple[int, ...]]:
    """Video -> offset, frames, height, width, and the stamp of its file (size, time of change).

    Raises:
        StoredError: the table is damaged, or tells of more bytes than the file of frames has.
        OSError: one of the two files is missing.
    """
    table = {}
    room = (folder / _FRAMES).stat().st_size
    for path, row in mapping(entry(mapping(read_json(folder / _TABLE), "the table"), "videos"), "videos").items():
        if not isinstance(row, list) or len(row) != 6:
            raise StoredError(f"the entry of {shown(path)} is not six numbers")
        offset, frames, height, width, *_ = values = tuple(
            whole(value, f"a number of {shown(path)}", low, 2**63 - 1)
            for value, low in zip(row, (0, 0, 1, 1, 0, 0), strict=True)
        )
        if offset + frames * height * width * 3 > room:
            raise StoredError(f"the frames of {shown(path)} are not all in the file")
        table[path] = values
    return table
