"""A video from wherever the user has it - a path, bytes, an open file, frames in memory - as views for a model."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from gta.clips.dataset import clip_views
from gta.clips.sampling import evaluation_indices
from gta.clips.transforms import EvaluationViews
from gta.config import ClipConfig
from gta.errors import VideoError


@runtime_checkable
class BinaryFile(Protocol):
    """A file open in binary mode, or anything that is read like one."""

    def read(self, size: int = -1, /) -> bytes:
        """The next `size` bytes; all that are left if it is negative."""
        ...


VideoInput = str | Path | bytes | bytearray | memoryview | BinaryFile | np.ndarray | torch.Tensor
"""One video: a path to a file or a folder of frames; a whole file as bytes or open for reading in binary mode; frames,
uint8 (T, H, W, 3) or (T, 3, H, W), as an array or a tensor."""

_IN_MEMORY = "<bytes>"


def source_path(source: object) -> Path | None:
    """Where a video comes from, if that is a file that its user can name."""
    if isinstance(source, str | Path):
        return Path(source)
    name = getattr(source, "name", None)
    return Path(name) if isinstance(name, str) else None


def source_views(source: VideoInput, clip: ClipConfig) -> torch.Tensor:
    """All evaluation views of one video, uint8 (V, 3, T, H, W).

    Args:
        source: the video; an open file is read from where it stands to its end.
        clip: the protocol.

    Raises:
        VideoError: the video cannot be read.
        ValueError: frames of another dtype or shape.
        TypeError: something else than a video.
    """
    if isinstance(source, str | Path):
        return clip_views(source, clip)
    if isinstance(source, np.ndarray | torch.Tensor):
        return frame_views(source, clip)
    with as_file(source) as path:
        try:
            return clip_views(path, clip)
        except VideoError as error:  # the temporary file's name says nothing to the user
            raise VideoError(source_path(source) or _IN_MEMORY, error.reason) from None


def frame_views(frames: np.ndarray | torch.Tensor, clip: ClipConfig) -> torch.Tensor:
    """All evaluation views, uint8 (V, 3, T, H, W), of a video whose frames are in memory.

    Args:
        frames: uint8 (T, H, W, 3) or (T, 3, H, W): red, green, blue.
        clip: the protocol.

    Raises:
        ValueError: another dtype or shape.
    """
    video = channels_first(frames)
    views = EvaluationViews(clip)
    numbers = [number for indices in evaluation_indices(clip, len(video)) for number in indices]
    fitted = {number: views.fit(video[number]) for number in sorted(set(numbers))}
    return views.finish(torch.stack([fitted[number] for number in numbers]))


def channels_first(frames: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Frames as uint8 (T, 3, H, W) on the CPU, from that or from (T, H, W, 3).

    Raises:
        ValueError: another dtype or shape, or no frame.
    """
    shape, dtype = tuple(frames.shape), str(frames.dtype).removeprefix("torch.")
    if dtype != "uint8":
        raise ValueError(f"frames must be uint8, 0 to 255, not {dtype}")
    if len(shape) != 4 or 3 not in (shape[1], shape[3]) or 0 in shape:
        raise ValueError(f"frames must have the shape (T, H, W, 3) or (T, 3, H, W), not {shape}")
    tensor = torch.from_numpy(np.ascontiguousarray(frames)) if isinstance(frames, np.ndarray) else frames.cpu()
    return tensor if shape[1] == 3 else tensor.permute(0, 3, 1, 2)


@contextlib.contextmanager
def as_file(source: object) -> Iterator[Path]:
    """The content of a video in a temporary file, which is deleted afterwards: the reader goes to and fro in it.

    Args:
        source: the bytes of a file, or a `BinaryFile`.

    Raises:
        TypeError: neither.
    """
    if not isinstance(source, bytes | bytearray | memoryview | BinaryFile):
        raise TypeError(
            "a video is a path, bytes, a file opened in binary mode, or uint8 frames in an array or a tensor, not "
            f"{type(source).__name__}"
        )
    suffix = (source_path(source) or Path()).suffix  # a few formats are told by their names alone
    with tempfile.TemporaryDirectory(prefix="gta-") as folder:
        path = Path(folder) / f"video{suffix}"
        with path.open("wb") as file:
            if not isinstance(source, BinaryFile):
                file.write(source)
            elif isinstance(source.read(0), str):
                raise TypeError("the file is open as text; open it with mode 'rb'")
            else:
                shutil.copyfileobj(source, file)
        yield path
