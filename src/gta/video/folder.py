"""Reading videos that are stored as a folder of numbered pictures (Something-Something v1 comes this way)."""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import SupportsIndex

import torch

from gta.errors import VideoError
from gta.types import VideoInfo
from gta.video.limits import MEMORY_LIMIT_BYTES, MemoryBudget
from gta.video.pictures import PICTURE_CODECS, ROUNDING, Clip, Fit, frame_numbers, is_picture_name
from gta.video.still import read_picture

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
        path: the folder. Its pictures are taken in the order of their numbers, whatever the zero padding. The numbers
            may go up in steps (0, 5, 10, ...); hidden files are passed over.
        names: names of the pictures in order, where they are known from an earlier reading.
        memory_limit_bytes: decoded pictures that one `read` may hold.

    Raises:
        VideoError: the folder is missing, holds no numbered pictures, or numbers are missing between them.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        names: Sequence[str] | None = None,
        memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
    ) -> None:
        self.path = Path(path)
        self._memory_limit = memory_limit_bytes
        self.names = tuple(self._list() if names is None else names)

    def __enter__(self) -> "FrameFolder":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing stays open between reads."""

    @property
    def num_frames(self) -> int:
        """Number of pictures."""
        return len(self.names)

    @property
    def duration_seconds(self) -> float:
        """How long the pictures last at 12 per second."""
        return self.num_frames / PICTURES_PER_SECOND

    def frame_range(self, start_seconds: float | None, end_seconds: float | None) -> tuple[int, int]:
        """Numbers (first, stop) of the pictures between two moments, at 12 pictures per second.

        Raises:
            VideoError: no image lies between them.
        """
        first = 0 if start_seconds is None else int(start_seconds * PICTURES_PER_SECOND + ROUNDING)
        stop = self.num_frames
        if end_seconds is not None:
            stop = min(stop, round(end_seconds * PICTURES_PER_SECOND))
        if first >= stop:
            raise VideoError(self.path, f"no image lies between {start_seconds} s and {end_seconds} s")
        return first, stop

    def info(self) -> VideoInfo:
        """Describe the video; decodes its first picture to learn the size."""
        first = self.read([0])
        return VideoInfo(
            path=self.path,
            num_frames=self.num_frames,
            fps=PICTURES_PER_SECOND,
            duration_seconds=self.duration_seconds,
            width=first.shape[3],
            height=first.shape[2],
            codec=PICTURE_CODECS[Path(self.names[0]).suffix.lower()],
        )

    def read(self, indices: Iterable[SupportsIndex], *, fit: Fit | None = None) -> torch.Tensor:
        """Decode the pictures with the given numbers, counted from 0.

        Args and returns as in `VideoFile.read`: uint8 (T, C, H, W).

        Raises:
            IndexError: a number lies outside the folder.
            VideoError: a picture is missing, damaged, of another size than the others, or all are too much memory.
        """
        budget = MemoryBudget(self.path, self._memory_limit)
        clip = Clip(frame_numbers(indices, self.num_frames, self.path), budget)
        size: torch.Size | None = None
        for number in clip.numbers:
            picture = read_picture(self.path, self.names[number], budget)
            if size is not None and picture.shape != size:
                now, before = (f"{shape[2]}x{shape[1]}" for shape in (picture.shape, size))
                raise VideoError(self.path, f"the frame size changes from {before} to {now} at {self.names[number]}")
            size = picture.shape
            clip.put(number, picture if fit is None else fit(picture))
        return clip.tensor()

    def read_groups(self, groups: Sequence[Sequence[int]], *, fit: Fit | None = None) -> Iterator[torch.Tensor]:
        """Decode several lists of pictures, one after the other; see `VideoFile.read_groups`."""
        for group in groups:
            yield self.read(group, fit=fit)

    def _list(self) -> list[str]:
        try:
            found = [entry.name for entry in self.path.iterdir() if is_picture_name(entry.name)]
        except FileNotFoundError:
            raise VideoError(self.path, "no such folder of frames") from None
        except NotADirectoryError:
            raise VideoError(self.path, "this is a file, not a folder of frames") from None
        numbered = sorted((number, name) for name in found if (number := frame_number(name)) is not None)
        if not numbered:
            raise VideoError(self.path, "the folder contains no numbered images (00001.jpg, ...)")
        steps = [after - before for (before, _), (after, _) in itertools.pairwise(numbered)]
        if 0 in steps:
            raise VideoError(self.path, "two of its images have the same number")
        step = min(steps, default=1)
        for (before, _), found_step in zip(numbered, steps, strict=False):
            if found_step != step:
                span = f"{len(numbered)} of {numbered[0][0]}..{numbered[-1][0]}" + (f" in steps of {step}" * (step > 1))
                raise VideoError(self.path, f"image number {before + step} is missing ({span})")
        return [name for _, name in numbered]
