"""What one request may cost: time, size of the pictures, and memory; and the boundary that no foreign error crosses."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from av.error import ExitError, FFmpegError

from gta.errors import GtaError, VideoError

Item = TypeVar("Item")

# A file that has not given what was asked for after this long is refused: nothing may hang a training run.
TIME_LIMIT_SECONDS = 60.0
# Decoded pictures that one request may hold at the same time, the decoder's own included.
MEMORY_LIMIT_BYTES = 1 << 30
# Damaged headers can claim any size; a frame above this many pixels (twice 8K) is not believed.
MAX_PIXELS = 64_000_000
_MIB = 1 << 20


class MismatchError(Exception):
    """What came out of the decoder is not what the packets promised; the file must be decoded from the beginning."""


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
def boundary(path: Path, what: str, seconds: float = TIME_LIMIT_SECONDS) -> Iterator[None]:
    """Turn every error of a decoder library into a `VideoError` that names the file.

    Damaged files bring out more than the libraries' own errors: IndexError, AssertionError, UnicodeError, struct.error
    and others have all been seen. So everything that is not ours counts as the file's fault in here; code of the
    caller (`fit`) must run outside.

    Args:
        path: the file.
        what: what is wrong if an error comes; the library's own words are added.
        seconds: the time limit, for the error that it was exceeded.
    """
    try:
        yield
    except (GtaError, MismatchError):
        raise
    except ExitError as error:  # FFmpeg was interrupted: the time was up
        raise _too_slow(path, seconds) from error
    except FFmpegError as error:
        reason = (error.strerror or type(error).__name__).rstrip(".")
        raise VideoError(path, f"{what} ({reason[:1].lower()}{reason[1:]})") from error
    except MemoryError as error:
        raise VideoError(path, f"{what} (not enough memory)") from error
    except Exception as error:
        raise VideoError(path, f"{what} ({describe(error)})") from error


def describe(error: Exception) -> str:
    """An unexpected error in one line: its class and what it says."""
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def guarded(items: Iterator[Item], path: Path, what: str, seconds: float = TIME_LIMIT_SECONDS) -> Iterator[Item]:
    """The items of a generator that works with a decoder library, with `boundary` around each of its steps.

    What the caller does with an item stays outside the boundary.
    """
    while True:
        with boundary(path, what, seconds):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


def check_size(path: Path | str, width: int, height: int) -> None:
    """Refuse a picture size that only a damaged header can claim.

    Raises:
        VideoError: it is.
    """
    if width * height > MAX_PIXELS:
        raise VideoError(path, f"its header claims frames of {width}x{height} pixels, which is implausible")


class MemoryBudget:
    """The decoded memory of one request: what the decoder holds itself, and the frames that are kept.

    A file of a few kilobytes can claim pictures of any size (a "decompression bomb"), and a long video asked for as a
    whole does not fit any machine: both are refused before the memory is taken.

    Args:
        path: the file, for the error.
        limit_bytes: how much one request may take.
    """

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self.path, self.limit = path, limit_bytes
        self._working = 0
        self._picture = ""

    def decoder(self, width: int, height: int, bytes_per_pixel: float, num_pictures: int) -> None:
        """Count the decoder's own pictures, and two of 8-bit RGB for the conversion.

        Args:
            width: pixels.
            height: pixels.
            bytes_per_pixel: of the decoder's format.
            num_pictures: pictures that the decoder holds at a time (references, canvas).

        Raises:
            VideoError: they alone exceed the limit.
        """
        self._picture = f"decoding pictures of {width}x{height}"
        self._working = int(width * height * (bytes_per_pixel * num_pictures + 2 * 3))
        self.keep(0, 0)

    def keep(self, num_frames: int, frame_bytes: int) -> None:
        """Count the frames that are kept.

        Raises:
            VideoError: they and the decoder's exceed the limit.
        """
        needed = self._working + num_frames * frame_bytes
        if needed <= self.limit:
            return
        text = f"{self._picture} takes {self._working / _MIB:.0f} MiB"
        if num_frames:
            text += f" and keeping {num_frames} frames {num_frames * frame_bytes / _MIB:.0f} MiB"
        text += f", more than the {self.limit / _MIB:.0f} MiB that one request may take"
        raise VideoError(self.path, text + ("; request fewer frames at a time" if num_frames > 1 else ""))
