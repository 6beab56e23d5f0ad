"""Reading exact frames of one video file with PyAV: planned from its packets, or sequentially where that is unsafe.

Decoding the file from the beginning and counting is the definition of "frame i". The planned way gives the same pixels
while decoding only from the keyframe before each wanted frame to that frame.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import SupportsIndex

import torch
from av import Packet
from av.error import FFmpegError
from av.video.frame import VideoFrame

from gta.errors import VideoError
from gta.types import VideoInfo
from gta.video.container import OpenedVideo, open_container
from gta.video.conversion import to_rgb
from gta.video.decoding import PacketReader, decode_in_order, decode_run
from gta.video.limits import (
    MEMORY_LIMIT_BYTES,
    TIME_LIMIT_SECONDS,
    Deadline,
    MemoryBudget,
    MismatchError,
    boundary,
    check_size,
    guarded,
)
from gta.video.packets import PacketIndex, plan_runs
from gta.video.pictures import ROUNDING, Clip, Fit, frame_numbers
from gta.video.scan import scan_packets


class VideoFile:
    """One open video file; a context manager.

    Args:
        path: the file; any container and codec that FFmpeg knows. Of several video streams the best is read, as FFmpeg
            chooses it; a cover picture is no video.
        index: its packets, where they are known from an earlier reading; saves reading them all again.
        time_limit_seconds: how long opening, reading packets, and each `read` may take.
        memory_limit_bytes: decoded pictures that one `read` may hold, the decoder's own included.

    Raises:
        VideoError: the file is missing, empty, damaged, truncated, no media file, has no video stream, or claims an
            absurd size.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        index: PacketIndex | None = None,
        time_limit_seconds: float = TIME_LIMIT_SECONDS,
        memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
    ) -> None:
        self.path = Path(path)
        self._limit = time_limit_seconds
        self._memory_limit = memory_limit_bytes
        self._frame_size: tuple[int, int] | None = None
        self._rotation = 0
        with contextlib.ExitStack() as undo, self._boundary("it is damaged"):
            opened = open_container(self.path, time_limit_seconds)
            undo.callback(opened.container.close)
            opened.check_memory(MemoryBudget(self.path, memory_limit_bytes))
            packets = None
            self._is_scanned = index is None
            if index is None:
                index, packets = self._scan(opened)
            elif not index.is_one_to_one and index.counted_frames is None:
                index = self._count(index)
            self.index = index
            self._reader = PacketReader(self.path, opened, index, packets, time_limit_seconds)
            undo.pop_all()

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and forget its packets."""
        self._reader.close()

    @property
    def num_frames(self) -> int:
        """Number of frames that can be asked for."""
        return self.index.num_frames

    @property
    def fps(self) -> float:
        """Average frames per second; 0 where the file does not tell."""
        stream = self._reader.opened.stream
        rate = stream.average_rate or stream.guessed_rate
        return float(rate) if rate else 0.0

    @property
    def time_base(self) -> Fraction:
        """Seconds per unit of the timestamps."""
        return self._reader.opened.stream.time_base or Fraction(1, 1000)

    @property
    def is_read_sequentially(self) -> bool:
        """Whether frames are found by decoding from the beginning, because packets and frames do not match."""
        return not self.index.is_one_to_one

    def frame_range(self, start_seconds: float | None, end_seconds: float | None) -> tuple[int, int]:
        """Numbers (first, stop) of the frames between two moments, counted in seconds from the first frame.

        Raises:
            VideoError: no frame lies between them.
        """
        if start_seconds is None and end_seconds is None:
            return 0, self.num_frames
        if self.index.is_one_to_one:
            origin = int(self.index.frame_timestamps[0])
            units = [
                None if s is None else origin + round(Fraction(s) / self.time_base)
                for s in (start_seconds, end_seconds)
            ]
            first, stop = self.index.frames_between(*units)
        else:  # no usable timestamps: take the frame rate's word
            fps = self.fps or 25.0
            first = 0 if start_seconds is None else int(start_seconds * fps + ROUNDING)
            stop = self.num_frames if end_seconds is None else min(round(end_seconds * fps), self.num_frames)
        if first >= stop:
            raise VideoError(
                self.path,
                f"no frame lies between {start_seconds or 0:g} s and {end_seconds} s; it has {self.num_frames}",
            )
        return first, stop

    @property
    def duration_seconds(self) -> float:
        """From the first frame to the end of the last; 0 where the file does not tell. Decodes nothing."""
        shown = self.index.frame_timestamps
        if self.index.is_one_to_one and len(shown) > 1:
            step = (int(shown[-1]) - int(shown[0])) / (len(shown) - 1)
            return float((int(shown[-1]) - int(shown[0]) + step) * self.time_base)
        return self.num_frames / self.fps if self.fps else 0.0

    def info(self) -> VideoInfo:
        """Describe the video; decodes its first frame to learn the rotation."""
        first = self.read([0])
        opened = self._reader.opened
        duration = self.duration_seconds
        fps = self.fps
        if not fps and duration:
            fps = self.num_frames / duration
        return VideoInfo(
            path=self.path,
            num_frames=self.num_frames,
            fps=fps,
            duration_seconds=duration,
            width=first.shape[3],
            height=first.shape[2],
            codec=opened.stream.codec_context.name,
            rotation_degrees=self._rotation,
            stream_index=opened.stream.index,
            num_video_streams=opened.num_streams,
        )

    def read(self, indices: Iterable[SupportsIndex], *, fit: Fit | None = None) -> torch.Tensor:
        """Decode the frames with the given numbers.

        Args:
            indices: frame numbers in any order, repetitions allowed, each in [0, num_frames); integers of any kind,
                also those of NumPy and PyTorch.
            fit: applied to each decoded frame, uint8 (C, H, W), before they are stacked; lets large frames be scaled
                down one at a time.

        Returns:
            uint8 (T, C, H, W), T = len(indices), red green blue, rotation applied; channels last in memory.

        Raises:
            IndexError: a number lies outside the video.
            VideoError: the frames cannot be decoded, or take more memory than allowed.
        """
        numbers = frame_numbers(indices, self.num_frames, self.path)
        if self.index.is_one_to_one:
            try:
                return self._gather(numbers, fit, self._planned(sorted(set(numbers))))
            except MismatchError:
                self._doubt()
            if max(numbers) >= self.num_frames:
                raise VideoError(self.path, f"it is damaged: only {self.num_frames} of its frames can be decoded")
            return self.read(numbers, fit=fit)
        return self._gather(numbers, fit, self._sequential(sorted(set(numbers))))

    def read_groups(self, groups: Sequence[Sequence[int]], *, fit: Fit | None = None) -> Iterator[torch.Tensor]:
        """Decode several lists of frames, one after the other, such as the windows of a long video.

        A file that is read sequentially is decoded once for all of them; only the frames of groups that are not
        complete yet are held.

        Args:
            groups: frame numbers of each, as `read` takes them; the largest number of each must not be smaller than
                that of the group before.
            fit: as in `read`.

        Yields:
            For each group what `read` gives.
        """
        if self.index.is_one_to_one:
            for group in groups:
                yield self.read(group, fit=fit)
            return
        wanted = [frame_numbers(group, self.num_frames, self.path) for group in groups]
        users: dict[int, list[int]] = {}
        for place, numbers in enumerate(wanted):
            for number in set(numbers):
                users.setdefault(number, []).append(place)
        left = [len(set(numbers)) for numbers in wanted]
        clips: dict[int, Clip] = {}
        following = 0
        self._frame_size = None
        frames = self._sequential(sorted(users))
        pictures = ((number, self._convert(frame, number, compact=fit is not None)) for number, frame in frames)
        for number, picture in guarded(pictures, self.path, "it is damaged", self._limit):
            fitted = picture if fit is None else fit(picture)
            for place in users[number]:
                if place not in clips:
                    clips[place] = Clip(wanted[place], MemoryBudget(self.path, self._memory_limit))
                clips[place].put(number, fitted)
                left[place] -= 1
            while following < len(wanted) and left[following] == 0:
                yield clips.pop(following).tensor()
                following += 1

    def _boundary(self, what: str) -> contextlib.AbstractContextManager[None]:
        return boundary(self.path, what, self._limit)

    def _scan(self, opened: OpenedVideo) -> tuple[PacketIndex, list[Packet] | None]:
        """Read all packets of a freshly opened file; count its frames where the packets cannot be believed."""
        scan = scan_packets(self.path, opened, self._limit)
        self._is_scanned = True
        if scan.trust == "full":
            return scan.index, scan.packets
        return self._count(scan.index, may_match=scan.trust == "after a check"), scan.packets

    def _doubt(self) -> None:
        """Believe the index no more: it is another file's, so scan this one; or else the packets themselves mislead."""
        with self._boundary("it is damaged"):
            if self._is_scanned:
                self.index = self._count(self.index)
                return
            self._reader.close()
            opened = open_container(self.path, self._limit)
            try:
                self.index, packets = self._scan(opened)
                self._reader = PacketReader(self.path, opened, self.index, packets, self._limit)
            except BaseException:
                opened.container.close()
                raise

    def _count(self, index: PacketIndex, *, may_match: bool = False) -> PacketIndex:
        """Count the frames of a file whose packets cannot be believed, by decoding it.

        Args:
            index: its packets.
            may_match: believe them after all if the frames come out with the times and in the order that they say.
        """
        frames = decode_in_order(self.path, len(index.timestamps), self._limit)
        times = [frame.pts for frame in frames]
        if not times:
            raise VideoError(self.path, "none of its frames can be decoded")
        if may_match and times == index.frame_timestamps.tolist():
            return index
        return PacketIndex(index.timestamps, index.keyframes, index.discarded, counted_frames=len(times))

    def _gather(self, numbers: list[int], fit: Fit | None, frames: Iterator[tuple[int, VideoFrame]]) -> torch.Tensor:
        """Convert the frames that come and put them in place; `fit` runs outside the boundary."""
        budget = MemoryBudget(self.path, self._memory_limit)
        self._reader.opened.check_memory(budget)
        clip = Clip(numbers, budget)
        self._frame_size = None
        if fit is None:
            budget.keep(len(numbers), 3 * math.prod(self._reader.opened.size))
        pictures = ((number, self._convert(frame, number, compact=fit is not None)) for number, frame in frames)
        for number, picture in guarded(pictures, self.path, "it is damaged", self._limit):
            clip.put(number, picture if fit is None else fit(picture))
        return clip.tensor()

    def _planned(self, wanted: list[int]) -> Iterator[tuple[int, VideoFrame]]:
        """Decode only what the wanted frames need.

        Raises:
            MismatchError: a frame did not come out as its packet promised.
        """
        deadline = Deadline(self.path, self._limit + 0.1 * len(self.index.order))
        for run, packets in self._reader.read(plan_runs(self.index, wanted)):
            try:
                yield from decode_run(self._reader.opened, self.index, run, packets, deadline)
            except FFmpegError as error:
                raise MismatchError from error

    def _sequential(self, wanted: list[int]) -> Iterator[tuple[int, VideoFrame]]:
        """Decode from the beginning to the last wanted frame."""
        remaining = iter(wanted)
        target = next(remaining)
        count = 0
        with contextlib.closing(decode_in_order(self.path, len(self.index.timestamps), self._limit)) as frames:
            for number, frame in enumerate(frames):
                count = number + 1
                if number < target:
                    continue
                yield number, frame
                following = next(remaining, None)
                if following is None:
                    return
                target = following
        raise VideoError(self.path, f"it is damaged: only {count} of its {self.num_frames} frames can be decoded")

    def _convert(self, frame: VideoFrame, number: int, *, compact: bool) -> torch.Tensor:
        """One decoded frame as uint8 (C, H, W) in red, green, blue, turned upright."""
        size = (frame.width, frame.height)
        if self._frame_size is None:
            check_size(self.path, *size)
            self._frame_size = size
        elif size != self._frame_size:
            before = "x".join(map(str, self._frame_size))
            raise VideoError(
                self.path, f"the frame size changes from {before} to {size[0]}x{size[1]} at frame {number}"
            )
        if frame.is_corrupt:
            raise VideoError(self.path, f"frame {number} is damaged")
        self._rotation = frame.rotation % 360
        with self._boundary(f"frame {number} cannot be converted to RGB"):
            return to_rgb(frame, compact=compact)
