"""Reading exact frames of one video file with PyAV: planned from its packets, or sequentially where that is unsafe.

Decoding the file from the beginning and counting is the definition of "frame i". The planned way gives the same pixels
while decoding only from the keyframe before each wanted frame to that frame; what a packet says (its timestamp) is
checked against what comes out, and any doubt sends the file to sequential decoding.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
import torch
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from gta.data.container import Deadline, check_size, explained, index_packets, open_container, read_packets
from gta.data.packets import PacketIndex, Run, plan_runs
from gta.data.pictures import Fit, stack_frames
from gta.errors import VideoError
from gta.types import VideoInfo

# A file that has not given what was asked for after this long is refused: nothing may hang a training run.
TIME_LIMIT_SECONDS = 60.0
# Codecs in which the decoder can leave out frames that no other frame refers to. VP9 ignores the request and AV1 loses
# other frames, so they are not asked.
_SKIPPING_CODECS = {"h264", "hevc"}
# Seeking may land on an earlier keyframe; this many packets are passed over at most to get to the right one.
_SEEK_SLACK_PACKETS = 600

# Converters keep tables between frames of the same size; making them anew for every file would cost more than the
# frames. They must not be shared by threads.
_THREAD = threading.local()


def _reformatter() -> VideoReformatter:
    if not hasattr(_THREAD, "reformatter"):
        _THREAD.reformatter = VideoReformatter()
    return _THREAD.reformatter


class VideoFile:
    """One open video file; a context manager.

    Args:
        path: the file; any container and codec that FFmpeg knows.
        index: its packets, where they are known from an earlier reading; saves reading them all again.
        time_limit_seconds: how long opening, reading packets, and each `read` may take.

    Raises:
        VideoError: the file is missing, empty, damaged, truncated, has no video stream, or claims an absurd size.
    """

    def __init__(
        self, path: str | Path, *, index: PacketIndex | None = None, time_limit_seconds: float = TIME_LIMIT_SECONDS
    ) -> None:
        self.path = Path(path)
        self._limit = time_limit_seconds
        self._packets: list[av.Packet] | None = None
        self._frame_size: tuple[int, int] | None = None
        self._rotation = 0
        self._container, self._stream = open_container(self.path, time_limit_seconds)
        try:
            self.index = self._demux() if index is None else index
            if not self.index.is_one_to_one and self.index.counted_frames is None:
                self.index = self._count()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and forget its packets."""
        self._packets = None
        self._container.close()

    @property
    def num_frames(self) -> int:
        """Number of frames that can be asked for."""
        return self.index.num_frames

    @property
    def fps(self) -> float:
        """Average frames per second; 0 where the file does not tell."""
        rate = self._stream.average_rate or self._stream.guessed_rate
        return float(rate) if rate else 0.0

    @property
    def time_base(self) -> Fraction:
        """Seconds per unit of the timestamps."""
        return self._stream.time_base or Fraction(1, 1000)

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
            first = 0 if start_seconds is None else int(start_seconds * fps)
            stop = self.num_frames if end_seconds is None else min(round(end_seconds * fps), self.num_frames)
        if first >= stop:
            raise VideoError(
                self.path,
                f"no frame lies between {start_seconds or 0:g} s and {end_seconds} s; it has {self.num_frames}",
            )
        return first, stop

    def info(self) -> VideoInfo:
        """Describe the video; decodes its first frame to learn the rotation."""
        first = self.read([0])
        fps = self.fps
        duration = self.num_frames / fps if fps else 0.0
        shown = self.index.frame_timestamps
        if self.index.is_one_to_one and len(shown) > 1:
            step = (int(shown[-1]) - int(shown[0])) / (len(shown) - 1)
            duration = float((int(shown[-1]) - int(shown[0]) + step) * self.time_base)
            fps = fps or len(shown) / duration
        return VideoInfo(
            path=self.path,
            num_frames=self.num_frames,
            fps=fps,
            duration_seconds=duration,
            width=first.shape[3],
            height=first.shape[2],
            codec=self._stream.codec_context.name,
            rotation_degrees=self._rotation,
        )

    def read(self, indices: Sequence[int], *, fit: Fit | None = None) -> torch.Tensor:
        """Decode the frames with the given numbers.

        Args:
            indices: frame numbers in any order, repetitions allowed, each in [0, num_frames).
            fit: applied to each decoded frame, uint8 (C, H, W), before they are stacked; lets large frames be scaled
                down one at a time.

        Returns:
            uint8 (T, C, H, W), T = len(indices), red green blue, rotation applied; channels last in memory.

        Raises:
            IndexError: a number lies outside the video.
            VideoError: the frames cannot be decoded.
        """
        wanted = sorted(set(indices))
        if not wanted:
            raise ValueError("no frame indices were given")
        if wanted[0] < 0 or wanted[-1] >= self.num_frames:
            raise IndexError(
                f"frame {wanted[0] if wanted[0] < 0 else wanted[-1]} of {self.path}, which has {self.num_frames}"
            )
        self._frame_size = None
        frames = self._read_planned(wanted, fit) if self.index.is_one_to_one else None
        if frames is None:
            frames = self._read_sequentially(wanted, fit)
        return stack_frames([frames[index] for index in indices])

    def _demux(self) -> PacketIndex:
        """Read all packets and keep them."""
        self._packets = read_packets(self.path, self._container, self._stream, self._limit)
        return index_packets(self._packets, self._container, self._stream)

    def _explained(self, what: str) -> contextlib.AbstractContextManager[None]:
        return explained(self.path, what, self._limit)

    def _load_packets(self) -> list[av.Packet]:
        """All packets of the video; with a known index they are read only if they are needed after all."""
        if self._packets is None:
            # Opening anew is the one rewind that every format has.
            self._container.close()
            self._container, self._stream = open_container(self.path, self._limit)
            self._demux()
        return self._packets or []

    def _count(self) -> PacketIndex:
        """Count the frames of a file whose packets cannot be trusted, by decoding it."""
        count = sum(1 for _ in self._decode_all())
        if count == 0:
            raise VideoError(self.path, "no frame of it can be decoded")
        found = self.index
        return PacketIndex(found.timestamps, found.keyframes, found.discarded, counted_frames=count)

    def _decode_all(self) -> Iterator[VideoFrame]:
        """Decode from the beginning, in the order of presentation: the definition of the frame numbers."""
        packets = self._load_packets()
        deadline = Deadline(self.path, self._limit + 0.1 * len(packets))
        context = self._stream.codec_context
        context.flush_buffers()
        context.skip_frame = "DEFAULT"
        started = False
        for packet in [*packets, None]:
            deadline.check()
            try:
                frames = context.decode(packet)
            except FFmpegError as error:
                if not started:  # what precedes the first decodable frame does not count
                    continue
                reason = (error.strerror or type(error).__name__).lower()
                raise VideoError(self.path, f"it is damaged ({reason})") from error
            for frame in frames:
                started = True
                yield frame

    def _read_sequentially(self, wanted: list[int], fit: Fit | None) -> dict[int, torch.Tensor]:
        frames: dict[int, torch.Tensor] = {}
        remaining = iter(wanted)
        target = next(remaining)
        number = -1
        for number, frame in enumerate(self._decode_all()):
            if number < target:
                continue
            frames[number] = self._convert(frame, number, fit)
            following = next(remaining, None)
            if following is None:
                return frames
            target = following
        raise VideoError(self.path, f"it is damaged: only {number + 1} of its {self.num_frames} frames can be decoded")

    def _read_planned(self, wanted: list[int], fit: Fit | None) -> dict[int, torch.Tensor] | None:
        """Decode only what the wanted frames need; None where a frame did not come out as its packet promised."""
        deadline = Deadline(self.path, self._limit + 0.1 * len(self.index.order))
        frames: dict[int, torch.Tensor] = {}
        for run in plan_runs(self.index, wanted):
            packets = self._packets_of(run)
            if packets is None:
                return None
            try:
                frames.update(self._decode_run(run, packets, fit, deadline))
            except FFmpegError:
                return None
            if any(frame not in frames for frame in run.wanted):
                return None
        return frames

    def _packets_of(self, run: Run) -> list[av.Packet] | None:
        """The packets of a run: those held in memory, or, in a file whose index is known, read by seeking."""
        if self._packets is None:
            found = self._seek_packets(self.index.timestamps[run.first_packet : run.last_packet + 1])
            if found is not None:
                return found
        packets = self._load_packets()
        if len(packets) != len(self.index.timestamps):
            return None
        return packets[run.first_packet : run.last_packet + 1]

    def _seek_packets(self, timestamps: np.ndarray) -> list[av.Packet] | None:
        """Seek to the keyframe with the first timestamp and read on; None where other packets turn up."""
        found: list[av.Packet] = []
        try:
            self._container.seek(int(timestamps[0]), stream=self._stream)
            for number, packet in enumerate(self._container.demux(self._stream)):
                if packet.size == 0 or number > len(timestamps) + _SEEK_SLACK_PACKETS:
                    break
                if packet.pts == timestamps[len(found)]:
                    found.append(packet)
                elif found:
                    break
                if len(found) == len(timestamps):
                    return found
        except FFmpegError:  # some formats cannot seek; reading all packets will tell whether the file is damaged
            return None
        return None

    def _decode_run(
        self, run: Run, packets: list[av.Packet], fit: Fit | None, deadline: Deadline
    ) -> dict[int, torch.Tensor]:
        context = self._stream.codec_context
        context.flush_buffers()
        numbers = {int(self.index.frame_timestamps[frame]): frame for frame in run.wanted}
        may_skip = context.name in _SKIPPING_CODECS
        frames: dict[int, torch.Tensor] = {}
        for packet in [*packets, None]:
            deadline.check()
            if may_skip and packet is not None:
                context.skip_frame = "DEFAULT" if packet.pts in numbers else "NONREF"
            for frame in context.decode(packet):
                number = None if frame.pts is None else numbers.get(frame.pts)
                if number is not None and not frame.is_corrupt:
                    frames[number] = self._convert(frame, number, fit)
        return frames

    def _convert(self, frame: VideoFrame, number: int, fit: Fit | None) -> torch.Tensor:
        """One decoded frame as uint8 (C, H, W) in red, green, blue, turned upright."""
        size = (frame.width, frame.height)
        if self._frame_size is None:
            check_size(self.path, *size)
            self._frame_size = size
        elif size != self._frame_size:
            before = "x".join(map(str, self._frame_size))
            raise VideoError(self.path, f"the picture changes from {before} to {size[0]}x{size[1]} at frame {number}")
        if frame.is_corrupt:
            raise VideoError(self.path, f"frame {number} is damaged")
        with self._explained(f"frame {number} cannot be converted to RGB"):
            rgb = _reformatter().reformat(frame, format="rgb24", threads=1).to_ndarray()
        self._rotation = frame.rotation % 360
        if self._rotation:
            rgb = np.rot90(rgb, self._rotation // 90)
        if fit is not None or self._rotation:
            rgb = np.ascontiguousarray(rgb)  # the decoder leaves gaps between rows, over which resizing stumbles
        picture = torch.from_numpy(rgb).permute(2, 0, 1)  # else the decoder's memory: stacking makes the one copy
        return picture if fit is None else fit(picture)
