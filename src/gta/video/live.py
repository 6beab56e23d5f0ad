"""Videos that are read once, from the beginning, as they come: files, standard input, cameras and network streams."""

import contextlib
import stat
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal
from urllib.parse import urlsplit

import av
from av.error import ExitError, FFmpegError
from av.video.frame import VideoFrame

from gta.errors import VideoError
from gta.video.container import OpenedVideo, open_container, prepared
from gta.video.formats import container_options
from gta.video.limits import MEMORY_LIMIT_BYTES, TIME_LIMIT_SECONDS, MemoryBudget, check_size, describe

Kind = Literal["file", "stdin", "camera", "address"]

# Seconds without data after which a camera or a server counts as lost.
LIVE_TIME_LIMIT_SECONDS = 10.0
# Frames per second where a source does not say.
_DEFAULT_RATE = Fraction(25)
# Damaged packets in a row after which a live source counts as lost.
_MAX_BAD_PACKETS = 250
# Formats of network streams besides those of files. A playlist (HLS) may only lead to servers, never to local files.
_NETWORK_FORMATS = ("rtsp", "rtp", "hls")
_PROTOCOLS = {
    "rtsp": "rtsp,rtp,srtp,udp,tcp",
    "rtsps": "rtsp,rtp,srtp,udp,tcp,tls",
    "http": "http,https,httpproxy,tcp,tls,crypto",
    "https": "http,https,httpproxy,tcp,tls,crypto",
}


def kind_of(source: str) -> Kind:
    """What a source is: `-` standard input, a number or device a camera, `x://...` an address, anything else a file."""
    if source == "-":
        return "stdin"
    if "://" in source:
        return "address"
    if source.isascii() and source.isdigit() and not Path(source).exists():
        return "camera"
    with contextlib.suppress(OSError, ValueError):
        if stat.S_ISCHR(Path(source).stat().st_mode):
            return "camera"
    return "camera" if source.startswith("/dev/video") else "file"


def shown_name(source: str) -> str:
    """The source for messages: an address without the password and the query, which may hold secrets."""
    if kind_of(source) == "stdin":
        return "standard input"
    if kind_of(source) != "address":
        return source
    try:
        parts = urlsplit(source)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return source.split("://")[0] + "://..."
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


class LiveVideo:
    """A source that is open; a context manager.

    Args:
        source: see `kind_of`.

    Raises:
        VideoError: it cannot be opened, or is no video.
    """

    def __init__(self, source: str) -> None:
        self.kind = kind_of(source)
        self.name = shown_name(source)
        with self._boundary("it cannot be opened as a video"):
            self._opened = self._open(source)
            try:
                self._opened.check_memory(MemoryBudget(Path(self.name), MEMORY_LIMIT_BYTES))
                self._opened.skip_other_streams()
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> "LiveVideo":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the source."""
        self._opened.container.close()

    @property
    def time_base(self) -> Fraction:
        """Seconds per unit of the times."""
        return self._opened.stream.time_base or Fraction(1, 1000)

    @property
    def is_endless(self) -> bool:
        """Whether an end of this source is a lost connection: a camera's, or that of an address without a duration."""
        if self.kind == "address":
            return not self._opened.container.duration or self._opened.container.duration < 0
        return self.kind == "camera"

    def frames(self) -> Iterator[tuple[VideoFrame, Fraction]]:
        """The frames with their times in seconds from the first one, ever increasing.

        Where times are missing or go back, as where recordings were joined, frames follow each other at the source's
        rate. A damaged frame of a camera or a network stream is left out.

        Raises:
            VideoError: the source is lost, or a file is damaged.
        """
        step = 1 / self._rate()
        last, shift = -step, Fraction(0)
        first: Fraction | None = None
        for frame in self._decode():
            own = None if frame.pts is None else frame.pts * self.time_base
            if first is None and own is not None:
                first = own
            now = last + step if own is None or first is None else own - first + shift
            if now <= last:
                shift += last + step - now
                now = last + step
            last = now
            yield frame, now

    def _rate(self) -> Fraction:
        stream = self._opened.stream
        rate = stream.average_rate or stream.guessed_rate
        return Fraction(rate) if rate and rate > 0 else _DEFAULT_RATE

    def _open(self, source: str) -> OpenedVideo:
        if self.kind == "file":
            return open_container(Path(source), TIME_LIMIT_SECONDS)
        location, format, options, timeout = source, None, container_options(), LIVE_TIME_LIMIT_SECONDS
        if self.kind == "stdin":
            location, options["protocol_whitelist"], timeout = "pipe:0", "pipe", None
        elif self.kind == "camera":
            location = f"/dev/video{source}" if source.isdigit() else source
            format, options = "v4l2", {}
        else:
            scheme = source.split("://")[0].lower()
            if scheme not in _PROTOCOLS:
                raise VideoError(
                    self.name, f"addresses begin with {', '.join(_PROTOCOLS)}; {scheme} is not one of them"
                )
            options["protocol_whitelist"] = _PROTOCOLS[scheme]
            options["format_whitelist"] += "," + ",".join(_NETWORK_FORMATS)
            options["rtsp_transport"] = "tcp"
        container = av.open(
            location, format=format, container_options=options, metadata_errors="replace", timeout=timeout
        )
        try:
            return prepared(self.name, container)
        except BaseException:
            container.close()
            raise

    def _decode(self) -> Iterator[VideoFrame]:
        context = self._opened.stream.codec_context
        packets = self._packets()
        started, bad = False, 0
        while True:
            with self._boundary("the source is lost" if self.is_endless else "it is damaged"):
                packet = next(packets, None)
                try:
                    frames = context.decode(packet)
                except FFmpegError:
                    bad += 1
                    # What precedes the first decodable frame does not count.
                    if bad > _MAX_BAD_PACKETS or (started and self.kind in ("file", "stdin")):
                        raise
                    frames = []
            for frame in frames:
                started, bad = True, 0
                if self._is_whole(frame):
                    yield frame
            if packet is None:
                break
        if not started:
            raise VideoError(self.name, "none of its frames can be decoded")

    def _packets(self) -> Iterator[av.Packet]:
        return self._opened.packets()

    def _is_whole(self, frame: VideoFrame) -> bool:
        if frame.is_corrupt and self.kind == "file":
            raise VideoError(self.name, "it is damaged: a frame is incomplete")
        check_size(self.name, frame.width, frame.height)
        return not frame.is_corrupt

    @contextlib.contextmanager
    def _boundary(self, what: str) -> Iterator[None]:
        """Turn every error of the decoder library into a `VideoError` that names the source."""
        try:
            yield
        except VideoError as error:
            raise error if self.kind == "file" else VideoError(self.name, error.reason) from error
        except ExitError as error:
            raise VideoError(self.name, f"no data for {LIVE_TIME_LIMIT_SECONDS:g} s") from error
        except FFmpegError as error:
            reason = (error.strerror or type(error).__name__).rstrip(".")
            raise VideoError(self.name, f"{what} ({reason[:1].lower()}{reason[1:]})") from error
        except Exception as error:
            raise VideoError(self.name, f"{what} ({describe(error)})") from error
