"""Reading videos: media files of any format that FFmpeg knows, and folders of numbered pictures."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, SupportsIndex, runtime_checkable

import torch

from gta.types import VideoInfo
from gta.video.file import VideoFile
from gta.video.folder import FrameFolder
from gta.video.packets import PacketIndex
from gta.video.pictures import Fit
from gta.video.remote import remote_address


@runtime_checkable
class VideoSource(Protocol):
    """An open video, for a `with` block: a file, a folder of pictures, or frames that were decoded before."""

    @property
    def num_frames(self) -> int:
        """How many frames there are."""
        ...

    def frame_range(self, start_seconds: float | None, end_seconds: float | None) -> tuple[int, int]:
        """First frame of a part of the video, and the one after its last; None: from the beginning, to the end."""
        ...

    def read(self, indices: Sequence[int], *, fit: Fit | None = None) -> torch.Tensor:
        """Frames with the given numbers, uint8 (T, C, H, W); each goes through `fit` as soon as it is decoded."""
        ...

    def __enter__(self) -> "VideoSource": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


def open_video(
    path: str | Path, *, index: PacketIndex | None = None, names: Sequence[str] | None = None
) -> VideoFile | FrameFolder:
    """Open a video file or a folder of pictures for reading; use it in a `with` block.

    Args:
        path: the file or folder, or an address that fsspec knows (`s3://bucket/clip.mp4`), which is read in ranges.
        index: packets of the file, from an earlier reading (`VideoFile.index`).
        names: names of the pictures in the folder, from an earlier reading (`FrameFolder.names`).

    Raises:
        VideoError: it is missing or damaged.
    """
    path = Path(path)
    return (
        FrameFolder(path, names=names)
        if remote_address(path) is None and path.is_dir()
        else VideoFile(path, index=index)
    )


def probe_video(path: str | Path) -> VideoInfo:
    """Describe a video: exact number of frames, rate, size and codec. Only its first frame is decoded.

    Args:
        path: a video file, or a folder of numbered images.

    Raises:
        VideoError: it is missing or damaged.

    >>> info = gta.probe_video("clip.mp4")
    >>> info.width, info.height, info.codec
    (64, 48, 'h264')
    """
    with open_video(path) as video:
        return video.info()


def read_video(path: str | Path, indices: Iterable[SupportsIndex] | None = None) -> torch.Tensor:
    """Decode exactly the requested frames of a video.

    Frame i is the i-th frame when the file is decoded from the beginning; only what these frames need is decoded.

    Args:
        path: a video file, or a folder of numbered images.
        indices: frame numbers in any order, repetitions allowed, each in [0, number of frames); integers of any kind,
            also as a NumPy array or a tensor; all frames if None.

    Returns:
        uint8 (T, C, H, W): red, green, blue, rotated as the file says.

    Raises:
        IndexError: a number lies outside the video.
        VideoError: the video is missing or damaged, or the frames take more than 1 GiB of memory at a time.

    >>> gta.read_video("clip.mp4", [0, 5, 5]).shape
    torch.Size([3, 3, 48, 64])
    """
    with open_video(path) as video:
        return video.read(range(video.num_frames) if indices is None else indices)
