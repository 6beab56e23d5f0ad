"""Pictures as tensors: what reading video files and reading folders of pictures share."""

import operator
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import SupportsIndex

import numpy as np
import torch

from gta.video.limits import MemoryBudget

# Suffixes of the pictures that a folder of frames may hold, and FFmpeg's names of what they contain.
PICTURE_CODECS = {
    ".jpg": "mjpeg",
    ".jpeg": "mjpeg",
    ".png": "png",
    ".bmp": "bmp",
    ".webp": "webp",
    ".tif": "tiff",
    ".tiff": "tiff",
}

# Seconds times a frame rate come out a little under a whole number as often as on it; so much of a frame is rounding.
ROUNDING = 1e-6

Fit = Callable[[torch.Tensor], torch.Tensor]
"""Applied to each decoded frame, uint8 (C, H, W), before frames are stacked."""


def is_picture_name(name: str) -> bool:
    """Whether a file of a folder may be a frame: a picture's suffix, and not hidden (`._00001.jpg` of macOS)."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in PICTURE_CODECS


def frame_numbers(indices: Iterable[SupportsIndex], num_frames: int, path: Path) -> list[int]:
    """The wanted frame numbers as plain integers.

    Args:
        indices: integers of any kind: Python's, NumPy's, tensors.
        num_frames: frames that there are.
        path: the video, for the error.

    Raises:
        ValueError: there are none.
        TypeError: one is not a whole number.
        IndexError: one lies outside the video.
    """
    numbers = [operator.index(index) for index in indices]
    if not numbers:
        raise ValueError("no frame indices were given")
    wrong = [number for number in numbers if not 0 <= number < num_frames]
    if wrong:
        raise IndexError(f"frame {min(wrong)} is out of range: {path} has {num_frames} frames")
    return numbers


class Clip:
    """The frames of one request, gathered in any order into one array.

    Args:
        numbers: frame numbers in the order in which they are wanted, repetitions allowed.
        budget: what the request may cost.
    """

    def __init__(self, numbers: list[int], budget: MemoryBudget) -> None:
        self._places: dict[int, list[int]] = {}
        for place, number in enumerate(numbers):
            self._places.setdefault(number, []).append(place)
        self._num_frames = len(numbers)
        self._budget = budget
        self._frames: np.ndarray | None = None

    @property
    def numbers(self) -> list[int]:
        """The different frames that are wanted, ascending."""
        return sorted(self._places)

    def put(self, number: int, frame: torch.Tensor) -> None:
        """Store a frame, (C, H, W) uint8, wherever it is wanted.

        Raises:
            VideoError: the first frame shows that all of them would take more memory than allowed.
        """
        channels, height, width = frame.shape
        if self._frames is None:
            self._budget.keep(self._num_frames, channels * height * width)
            self._frames = np.empty((self._num_frames, height, width, channels), np.uint8)
        picture = frame.permute(1, 2, 0).numpy()
        for place in self._places[number]:  # NumPy copies rows with gaps, as decoders give, twice as fast as PyTorch
            self._frames[place] = picture

    def tensor(self) -> torch.Tensor:
        """All frames, (T, C, H, W) uint8 with the channels last in memory, the layout that resizes fastest."""
        if self._frames is None:
            raise ValueError("no frame was stored")
        return torch.from_numpy(self._frames).permute(0, 3, 1, 2)
