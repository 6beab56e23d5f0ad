"""Opening a video file: which stream of it is the video, and one thread for its decoder."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.error import ArgumentError, ExitError, FFmpegError
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from gta.errors import VideoError
from gta.video.formats import check_file, container_options, explain_refusal, forced_format, location
from gta.video.limits import MAX_PIXELS, MemoryBudget, boundary, check_size
from gta.video.remote import RemoteFile, remote_address

# Pictures that a decoder holds at a time: references and output, and for a codec that reorders frames those that wait.
_PICTURES_IN_DECODER = 3
_PICTURES_IN_REORDERING_DECODER = 8


@dataclass(frozen=True)
class OpenedVideo:
    """A freshly opened file and the video stream that is read.

    Args:
        container: the file.
        stream: its best video stream, as FFmpeg chooses it.
        num_streams: video streams that the file has, cover pictures not counted.
        size: width and height in pixels that the header gives.
    """

    container: InputContainer
    stream: VideoStream
    num_streams: int
    size: tuple[int, int]

    @property
    def codec(self) -> str:
        """Name of the codec, whichever library decodes it."""
        return self.stream.codec_context.codec.canonical_name

    @property
    def format(self) -> frozenset[str]:
        """FFmpeg's names of the container."""
        return frozenset(self.container.format.name.split(","))

    def packets(self, *, all_streams: bool = False) -> Iterator[av.Packet]:
        """The packets that hold data, in the order of the file; only the video's unless all are wanted."""
        packets = self.container.demux() if all_streams else self.container.demux(self.stream)
        try:
            for packet in packets:
                if packet.size:
                    yield packet
        except IndexError:
            # PyAV at the end of a file in which a stream begins late that the header does not name: it tries to flush
            # that stream, which it does not know. All packets have been read by then.
            return

    def skip_other_streams(self) -> None:
        """Leave the payload of the other streams unread."""
        for stream in self.container.streams:
            if stream.index != self.stream.index:
                stream.discard = Discard.all

    def check_memory(self, budget: MemoryBudget) -> None:
        """Refuse pictures that are too large to decode.

        Raises:
            VideoError: they are.
        """
        context = self.stream.codec_context
        number = _PICTURES_IN_REORDERING_DECODER if context.codec.reorder else _PICTURES_IN_DECODER
        budget.decoder(context.width, context.height, _bytes_per_pixel(context.pix_fmt), number)


def _bytes_per_pixel(pix_fmt: str | None) -> float:
    """Bytes that a pixel takes in memory: 1.5 in 8-bit 4:2:0, 4 in RGBA."""
    square = 64
    components = av.VideoFormat(pix_fmt or "yuv420p", square, square).components
    return sum(part.width * part.height * math.ceil(part.bits / 8) for part in components) / square**2


def open_container(path: Path, seconds: float) -> OpenedVideo:
    """Open a file and prepare its best video stream for decoding in this thread.

    Args:
        path: the file.
        seconds: time limit.

    Raises:
        VideoError: the file is missing, empty, of no known format, without video, or claims an absurd size.
    """
    what = "it cannot be opened as a video"
    with boundary(path, what, seconds):
        address = remote_address(path)
        if address is None:
            check_file(path)
        source: str | RemoteFile = location(path) if address is None else RemoteFile(address)
        try:
            container = av.open(
                source,
                mode="r",
                format=forced_format(path),
                container_options=container_options(),
                metadata_errors="replace",
                timeout=seconds,
            )
        except FFmpegError as error:
            reason = explain_refusal(path) if address is None else None
            if reason is None and isinstance(error, ArgumentError):  # so FFmpeg calls a format that is not on the list
                reason = "its format is not that of a video"
            if reason is None or isinstance(error, ExitError):
                raise
            raise VideoError(path, f"{what} ({reason})") from error
        try:
            return prepared(path, container)
        except BaseException:
            container.close()
            raise


def prepared(path: Path | str, container: InputContainer) -> OpenedVideo:
    """The best video stream of an open container, its decoder set to one thread.

    Args:
        path: what errors call the source.
        container: the source.

    Raises:
        VideoError: there is no video stream, or it claims an absurd size.
    """
    videos = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not videos:
        if container.streams.video:
            raise VideoError(path, "it has no video, only cover art")
        kinds = ", ".join(sorted({stream.type for stream in container.streams}))
        raise VideoError(path, f"it has no video stream{f', only {kinds}' if kinds else ''}")
    best = container.streams.best("video")
    stream = next((video for video in videos if best is not None and video.index == best.index), videos[0])
    context = stream.codec_context
    if context is None:
        raise VideoError(path, "its video codec is unknown")
    check_size(path, context.width, context.height)
    # One thread: DataLoader workers are the parallelism, and two workers of one beat one worker of two.
    context.thread_type = "NONE"
    context.thread_count = 1
    context.options = {"max_pixels": str(MAX_PIXELS)}  # a stream may change its size later
    return OpenedVideo(container, stream, len(videos), (context.width, context.height))
