"""Reading videos that are stored as a folder of numbered pictures (Something-Something v1 comes this way)."""

import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gta.data.pictures import Fit, stack_frames
from gta.errors import VideoError
from gta.types import VideoInfo

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
# The rate at which Something-Something v1 was turned into pictures; a folder of pictures does not tell its own.
PICTURES_PER_SECOND = 12.0

_NUMBER = re.compile(r"(\d+)\D*$")


def frame_number(name: str) -> int | None:
    """The number at the end of a picture's name (`00007.jpg`, `img_00007.jpg`), or None."""
    found = _NUMBER.search(Path(name).stem)
    return int(found.group(1)) if found else None


class FrameFolder:
    """A video stored as numbered pictures, with the interface of `VideoFile`; a context manager.

    Args:
        path: the folder. Its pictures are taken in the order of their numbers, whatever the zero padding.
        names: names of the pictures in order, where they are known from an earlier reading.

    Raises:
        VideoError: the folder is missing, holds no numbered pictures, or numbers are missing between them.
    """

    def __init__(self, path: str | Path, *, names: Sequence[str] | None = None) -> None:
        self.path = Path(path)
        self.names = tuple(self._list() if names is None else names)

    def __enter__(self) -> "FrameFolder":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing stays open between reads."""

    @property
    def num_frames(self) -> int:
        """Number of pictures."""
        return len(self.names)

    def frame_range(self, start_seconds: float | None, end_seconds: float | None) -> tuple[int, int]:
        """Numbers (first, stop) of the pictures between two moments, at 12 pictures per second.

        Raises:
            VideoError: no picture lies between them.
        """
        first = 0 if start_seconds is None else int(start_seconds * PICTURES_PER_SECOND)
        stop = self.num_frames
        if end_seconds is not None:
            stop = min(stop, round(end_seconds * PICTURES_PER_SECOND))
        if first >= stop:
            raise VideoError(self.path, f"no picture lies between {start_seconds} s and {end_seconds} s")
        return first, stop

    def info(self) -> VideoInfo:
        """Describe the video; decodes its first picture to learn the size."""
        first = self.read([0])
        return VideoInfo(
            path=self.path,
            num_frames=self.num_frames,
            fps=PICTURES_PER_SECOND,
            duration_seconds=self.num_frames / PICTURES_PER_SECOND,
            width=first.shape[3],
            height=first.shape[2],
            codec="png" if self.names[0].lower().endswith(".png") else "mjpeg",
        )

    def read(self, indices: Sequence[int], *, fit: Fit | None = None) -> torch.Tensor:
        """Decode the pictures with the given numbers, counted from 0.

        Args and returns as in `VideoFile.read`: uint8 (T, C, H, W).

        Raises:
            IndexError: a number lies outside the folder.
            VideoError: a picture is missing, damaged, or of another size than the others.
        """
        if not indices:
            raise ValueError("no frame indices were given")
        pictures: dict[int, torch.Tensor] = {}
        size: torch.Size | None = None
        for index in sorted(set(indices)):
            if not 0 <= index < self.num_frames:
                raise IndexError(f"frame {index} of {self.path}, which has {self.num_frames}")
            picture = self._decode(self.names[index])
            if size is not None and picture.shape != size:
                now, before = (f"{shape[2]}x{shape[1]}" for shape in (picture.shape, size))
                raise VideoError(self.path, f"the picture changes from {before} to {now} at {self.names[index]}")
            size = picture.shape
            pictures[index] = picture if fit is None else fit(picture)
        return stack_frames([pictures[index] for index in indices])

    def _list(self) -> list[str]:
        try:
            found = [entry.name for entry in self.path.iterdir() if entry.suffix.lower() in PICTURE_SUFFIXES]
        except FileNotFoundError:
            raise VideoError(self.path, "no such folder of frames") from None
        except NotADirectoryError:
            raise VideoError(self.path, "this is a file, not a folder of frames") from None
        numbered = sorted((number, name) for name in found if (number := frame_number(name)) is not None)
        if not numbered:
            raise VideoError(self.path, "the folder holds no numbered pictures (00001.jpg, ...)")
        present = {number for number, _ in numbered}
        if len(present) != len(numbered):
            raise VideoError(self.path, "two of its pictures have the same number")
        first, last = numbered[0][0], numbered[-1][0]
        if last - first + 1 != len(present):
            missing = next(number for number in range(first, last) if number not in present)
            raise VideoError(self.path, f"picture number {missing} is missing ({len(present)} of {first}..{last})")
        return [name for _, name in numbered]

    def _decode(self, name: str) -> torch.Tensor:
        """One picture as uint8 (3, H, W), channels last in memory like a decoded video frame."""
        try:
            data = (self.path / name).read_bytes()
        except FileNotFoundError:
            raise VideoError(self.path, f"{name} is missing") from None
        if not data:
            raise VideoError(self.path, f"{name} is empty (0 bytes)")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                picture = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
        except (
            OSError,
            SyntaxError,
            ValueError,
            Image.DecompressionBombWarning,
            Image.DecompressionBombError,
        ) as error:
            reason = str(error).replace(repr(data), "").partition("<_io")[0].strip(" .") or "not a picture"
            raise VideoError(self.path, f"{name} is damaged ({reason})") from error
        return torch.from_numpy(picture).permute(2, 0, 1)
