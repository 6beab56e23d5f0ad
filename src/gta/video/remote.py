"""Videos at an address (`s3://`, `gs://`, `https://`, `memory://`, ... by fsspec): read in ranges, blocks of them kept.

A path may be written with `://` or, as `pathlib` shortens it, with `:/`. Only blocks that are read are fetched: all of
an MP4 or Matroska file whose packets are not indexed yet (`gta.video.scan`), a fraction of it where an index is given.
"""

import contextlib
import io
import mmap
import multiprocessing
import re
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gta.errors import OptionError, VideoError
from gta.extras import require

BLOCK_BYTES = 1 << 20
"""How much one request fetches."""
_KEPT_BLOCKS = 32

_ADDRESS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):/{1,3}(.*)", re.DOTALL)
_LOCAL = frozenset(("file", "local"))


@dataclass
class RemoteTraffic:
    """What this process has fetched: requests for ranges, and the bytes that came."""

    requests: int = 0
    bytes: int = 0

    def add(self, number: int) -> None:
        """Count one request."""
        with _LOCK:
            self.requests += 1
            self.bytes += number
        with _SHARED_LOCK:
            requests, total = _COUNTS.unpack(_SHARED[:])
            _SHARED[:] = _COUNTS.pack(requests + 1, total + number)


_LOCK = threading.Lock()
# Memory that processes share with those they fork: what the workers of a loader fetch is known in the main process.
_COUNTS = struct.Struct("QQ")
_SHARED = mmap.mmap(-1, _COUNTS.size)
_SHARED_LOCK = multiprocessing.Lock()
TRAFFIC = RemoteTraffic()
"""The traffic of this process since it began."""


def total_traffic() -> RemoteTraffic:
    """The traffic of this process and of the worker processes that it forked."""
    with _SHARED_LOCK:
        return RemoteTraffic(*_COUNTS.unpack(_SHARED[:]))


def remote_address(path: str | Path) -> str | None:
    """The address that a path stands for, with `://`; None for a local file.

    An existing local file is a local file, whatever its name.
    """
    found = _ADDRESS.match(str(path))
    if found is None or found[1].lower() in _LOCAL or found[1].lower() not in _schemes() or Path(path).exists():
        return None
    return f"{found[1].lower()}://{found[2]}"


def joined(folder: Path, path: str) -> Path:
    """A path of a list that lies in `folder`; an address stands for itself."""
    return Path(path) if remote_address(path) is not None else folder / path


@cache
def _schemes() -> frozenset[str]:
    """Schemes that fsspec knows; those in common use where it is not installed, to say so."""
    try:
        from fsspec.registry import known_implementations
    except ModuleNotFoundError:
        return frozenset(("s3", "gs", "gcs", "az", "abfs", "http", "https", "hf", "memory", "hdfs"))
    return frozenset(known_implementations)


class RemoteFile(io.RawIOBase):
    """A remote file, read in blocks that are kept: a seekable binary file for the decoder.

    Args:
        address: with `://`.

    Raises:
        VideoError: it is missing or cannot be reached.
        OptionError: fsspec, or what it needs for this kind of address, is not installed.
    """

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._position = 0
        with clear_storage_errors(address):
            self._system, self._path = open_filesystem(address)
            facts = self._system.info(self._path)
        if facts.get("type") == "directory":
            raise VideoError(address, "this is a folder, not a video file")
        if facts.get("size") is None:
            raise VideoError(address, "the server does not report its size, so it cannot be read in ranges")
        self.size = int(facts["size"])

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Position of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to another position."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as the present block goes."""
        view = memoryview(buffer).cast("B")
        place, inside = divmod(self._position, BLOCK_BYTES)
        if self._position >= self.size or not len(view):
            return 0
        part = self._block(place)[inside : inside + len(view)]
        view[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _block(self, place: int) -> bytes:
        if place in self._blocks:
            self._blocks.move_to_end(place)
            return self._blocks[place]
        start = place * BLOCK_BYTES
        with clear_storage_errors(self._address):
            found = self._system.cat_file(self._path, start=start, end=min(start + BLOCK_BYTES, self.size))
        TRAFFIC.add(len(found))
        if len(found) != min(BLOCK_BYTES, self.size - start):
            raise VideoError(self._address, "it changed while it was being read")
        self._blocks[place] = found
        if len(self._blocks) > _KEPT_BLOCKS:
            self._blocks.popitem(last=False)
        return found


def open_filesystem(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it.

    Raises:
        OptionError: fsspec, or what it needs for this kind of address, is not installed.
    """
    core = require("fsspec.core", f"{address}: reading addresses", extra="bulk")
    try:
        return core.url_to_fs(address)
    except ImportError as error:
        raise OptionError(f"{address}: {' '.join(str(error).split())}") from None


@contextlib.contextmanager
def clear_storage_errors(address: str) -> Iterator[None]:
    """Turn what a storage library raises into a `VideoError`; each has errors of its own."""
    try:
        yield
    except (VideoError, OptionError):
        raise
    except FileNotFoundError as error:
        raise VideoError(address, "no such file") from error
    except PermissionError as error:
        raise VideoError(address, "access is denied: check the credentials of this storage") from error
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise VideoError(
            address, f"it cannot be reached ({type(error).__name__}{f': {text}' if text else ''})"
        ) from error
