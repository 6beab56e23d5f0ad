"""Optical flow that was computed beforehand: folders of pictures of its horizontal and vertical part."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import SupportsIndex

import torch

from gta.errors import VideoError
from gta.types import VideoInfo
from gta.video.folder import FrameFolder, frame_number
from gta.video.limits import MEMORY_LIMIT_BYTES
from gta.video.pictures import Fit, is_picture_name

_PREFIXES = ("flow_x_", "flow_y_")
_FOLDERS = (("u", "v"), ("x", "y"))


class FlowFolder:
    """The optical flow of a video, with the interface of `VideoFile`; a context manager.

    The folder holds `flow_x_00001.jpg` and `flow_y_00001.jpg`, ... (TSN's and TSM's convention), beside the frames or
    alone; or two folders `u` and `v` (or `x` and `y`) of numbered pictures. A picture's number is that of the frame
    from which the movement goes to the next one. Grey values are shares of the largest movement; 128 is none.

    Args:
        path: the folder.
        length: L, how many flows in a row are read at once.
        memory_limit_bytes: decoded pictures that one `read` may hold.

    Raises:
        VideoError: there is no flow, or its two parts do not have the same numbers.
    """

    def __init__(self, path: str | Path, length: int, *, memory_limit_bytes: int = MEMORY_LIMIT_BYTES) -> None:
        self.path = Path(path)
        self.length = length
        self._parts = [
            FrameFolder(folder, names=names, memory_limit_bytes=memory_limit_bytes)
            for folder, names in _parts(self.path)
        ]
        numbers = [[frame_number(name) for name in part.names] for part in self._parts]
        if numbers[0] != numbers[1]:
            first, second = len(numbers[0]), len(numbers[1])
            raise VideoError(
                self.path, f"it has {first} horizontal but {second} vertical flow images; the numbers must match"
            )

    def __enter__(self) -> "FlowFolder":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing stays open between reads."""

    @property
    def num_frames(self) -> int:
        """Number of flows."""
        return self._parts[0].num_frames

    @property
    def duration_seconds(self) -> float:
        """As of `FrameFolder`."""
        return self._parts[0].duration_seconds

    def frame_range(self, start_seconds: float | None, end_seconds: float | None) -> tuple[int, int]:
        """Numbers (first, stop) of the flows between two moments; see `FrameFolder.frame_range`."""
        return self._parts[0].frame_range(start_seconds, end_seconds)

    def info(self) -> VideoInfo:
        """Describe the flow's pictures."""
        return self._parts[0].info()

    def read(self, indices: Iterable[SupportsIndex], *, fit: Fit | None = None) -> torch.Tensor:
        """Read stacks of flows, uint8 (T, 2L, H, W): horizontal and vertical part of each index and the L - 1 after it.

        At the end of the video the last flow is repeated.

        Raises:
            IndexError: a number lies outside the folder.
            VideoError: a picture is missing, damaged, or of another size than the others.
        """
        starts = [int(index) for index in indices]
        last = self.num_frames - 1
        wanted = [min(start + step, max(start, last)) for start in starts for step in range(self.length)]
        both = [part.read(wanted, fit=fit)[:, :1] for part in self._parts]  # grey: all three channels are the same
        stacked = torch.cat(both, dim=1)  # (T L, 2, H, W)
        return stacked.unflatten(0, (len(starts), self.length)).flatten(1, 2)

    def read_groups(self, groups: Sequence[Sequence[int]], *, fit: Fit | None = None) -> Iterator[torch.Tensor]:
        """Read several lists of stacks, one after the other."""
        for group in groups:
            yield self.read(group, fit=fit)


def _parts(path: Path) -> list[tuple[Path, list[str] | None]]:
    """Folder and names of the pictures of the horizontal and of the vertical part."""
    for names in _FOLDERS:
        if all((path / name).is_dir() for name in names):
            return [(path / name, None) for name in names]
    try:
        found = [entry.name for entry in path.iterdir() if is_picture_name(entry.name)]
    except OSError as error:
        raise VideoError(path, f"not a folder of optical flow ({error.strerror})") from error
    parts = [
        sorted((n for n in found if n.startswith(prefix)), key=lambda n: frame_number(n) or 0) for prefix in _PREFIXES
    ]
    if not all(parts):
        raise VideoError(path, "no optical flow: neither flow_x_00001.jpg and flow_y_00001.jpg nor folders u and v")
    return [(path, names) for names in parts]
