"""Opening a video file and reading its packets, with every way this can fail turned into a `VideoError`."""

import contextlib
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import ExitError, FFmpegError
from av.video.stream import VideoStream

from gta.data.packets import NO_TIMESTAMP, PacketIndex
from gta.errors import VideoError

# Damaged headers can claim any size; a frame above this many pixels (twice 8K) is not believed.
MAX_PIXELS = 64_000_000
# Looking at the clock for every packet would take as long as reading it.
_PACKETS_PER_CHECK = 256
# A file may end this much before the duration in its header without counting as truncated.
_TRUNCATION_SECONDS = 0.5
# Containers that store when each frame is shown. In the others (AVI) FFmpeg guesses it from the order of the packets.
_TIMED_CONTAINERS = ("mp4", "matroska", "mpegts", "flv")


class Deadline:
    """The moment by which a file must have answered."""

    def __init__(self, path: Path, seconds: float) -> None:
        self.path, self.seconds = path, seconds
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """Give the file up if the time is over.

        Raises:
            VideoError: it is.
        """
        if time.monotonic() > self._end:
            raise _too_slow(self.path, self.seconds)


def _too_slow(path: Path, seconds: float) -> VideoError:
    return VideoError(path, f"reading it took longer than {seconds:g} s; it is probably damaged")


@contextlib.contextmanager
def explained(path: Path, what: str, seconds: float) -> Iterator[None]:
    """Turn the decoder library's errors into a `VideoError` that names the file.

    Args:
        path: the file.
        what: what is wrong if an error comes; the library's own words are added.
        seconds: the time limit, for the error that it was exceeded.
    """
    try:
        yield
    except ExitError as error:  # FFmpeg was interrupted: the time was up
        raise _too_slow(path, seconds) from error
    except FFmpegError as error:
        reason = (error.strerror or type(error).__name__).rstrip(".")
        raise VideoError(path, f"{what} ({reason[:1].lower()}{reason[1:]})") from error
    except (MemoryError, OverflowError) as error:
        raise VideoError(path, f"{what} ({type(error).__name__})") from error


def open_container(path: Path, seconds: float) -> tuple[InputContainer, VideoStream]:
    """Open a file and prepare its first video stream for decoding in this thread.

    Args:
        path: the file.
        seconds: time limit.

    Raises:
        VideoError: the file is missing, empty, of no known format, without video, or claims an absurd size.
    """
    if not path.exists():
        raise VideoError(path, "no such file")
    if path.is_dir():
        raise VideoError(path, "this is a folder, not a video file")
    if path.stat().st_size == 0:
        raise VideoError(path, "the file is empty (0 bytes)")
    with explained(path, "it cannot be opened as a video", seconds):
        container = av.open(str(path), metadata_errors="replace", timeout=seconds)
    try:
        return container, _video_stream(path, container)
    except BaseException:
        container.close()
        raise


def _video_stream(path: Path, container: InputContainer) -> VideoStream:
    if not container.streams.video:
        kinds = ", ".join(sorted({stream.type for stream in container.streams}))
        raise VideoError(path, f"it has no video stream{f', only {kinds}' if kinds else ''}")
    stream = container.streams.video[0]
    context = stream.codec_context
    if context is None:
        raise VideoError(path, "its video codec is not known")
    check_size(path, context.width, context.height)
    # One thread: DataLoader workers are the parallelism, and two workers of one beat one worker of two.
    context.thread_type = "NONE"
    context.thread_count = 1
    return stream


def check_size(path: Path, width: int, height: int) -> None:
    """Refuse a picture size that only a damaged header can claim.

    Raises:
        VideoError: it is.
    """
    if width * height > MAX_PIXELS:
        raise VideoError(path, f"its header claims frames of {width}x{height} pixels, which is not believable")


def read_packets(path: Path, container: InputContainer, stream: VideoStream, seconds: float) -> list[av.Packet]:
    """Read all packets of a freshly opened file, keep those of the video, and check that the file is whole.

    Raises:
        VideoError: the file is damaged, truncated, holds no frames, or takes too long.
    """
    deadline = Deadline(path, seconds)
    packets: list[av.Packet] = []
    ends: dict[int, int] = {}  # per stream, in its own time base: fractions would cost more than the reading
    with explained(path, "it is damaged", seconds):
        for number, packet in enumerate(container.demux()):
            if number % _PACKETS_PER_CHECK == 0:
                deadline.check()
            if packet.size == 0:
                continue
            source, pts = packet.stream_index, packet.pts
            if pts is not None:
                ends[source] = max(ends.get(source, 0), pts + (packet.duration or 0))
            if source == stream.index:
                packets.append(packet)
    if not packets:
        raise VideoError(path, "it holds no frames")
    bases = {source.index: source.time_base or Fraction(0) for source in container.streams}
    end_seconds = max((float(end * bases[source]) for source, end in ends.items()), default=0.0)
    _check_whole(path, container, stream, len(packets), end_seconds)
    return packets


def _check_whole(
    path: Path, container: InputContainer, stream: VideoStream, num_packets: int, end_seconds: float
) -> None:
    """Refuse a file whose header promises more than its packets hold."""
    if "mp4" in container.format.name:  # the sample table says exactly how many
        promised, tolerated = len(stream.index_entries), 0
    else:  # AVI counts dropped frames, too
        promised, tolerated = stream.frames, max(2, stream.frames // 50)
    if promised - num_packets > tolerated:
        raise VideoError(path, f"it is truncated: {num_packets} of {promised} frames are left")
    duration = (container.duration or 0) / av.time_base
    if "matroska" in container.format.name and end_seconds < duration - _TRUNCATION_SECONDS:
        raise VideoError(path, f"it is truncated: it ends after {end_seconds:.1f} s of {duration:.1f} s")


def index_packets(packets: list[av.Packet], container: InputContainer, stream: VideoStream) -> PacketIndex:
    """What the packets of a video say about its frames; guessed times that ignore B-frames count as absent."""
    count = len(packets)
    timestamps = np.fromiter((NO_TIMESTAMP if p.pts is None else p.pts for p in packets), np.int64, count)
    is_timed = any(name in container.format.name for name in _TIMED_CONTAINERS)
    if not is_timed and stream.codec_context.has_b_frames and bool((np.diff(timestamps) > 0).all()):
        timestamps[:] = NO_TIMESTAMP
    return PacketIndex(
        timestamps=timestamps,
        keyframes=np.fromiter((p.is_keyframe for p in packets), np.bool_, count),
        discarded=np.fromiter((p.is_discard for p in packets), np.bool_, count),
    )
