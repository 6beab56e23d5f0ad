"""Writing files so that nothing is lost: to a temporary name beside the target, then renamed (floor 0).

Names of files need not be valid UTF-8; Python stands surrogates in for the bytes that are not. Text files get the bytes
back, JSON, which must be UTF-8, gets the escape that its readers turn into the surrogate again.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gta.errors import RunFolderError

DISK_ERRORS = {
    errno.ENOSPC: ("the disk is full", "free some space or write elsewhere"),
    errno.EDQUOT: ("the disk quota is used up", "free some space or write elsewhere"),
    errno.EFBIG: ("the file would exceed the size limit", "raise the limit of this account or write elsewhere"),
    errno.EROFS: ("the file system is read-only", "write elsewhere"),
    errno.EACCES: ("permission denied", "check the owner and mode, or write elsewhere"),
    errno.EPERM: ("operation not permitted", "check the owner and mode, or write elsewhere"),
    errno.ENOTDIR: ("a part of this path is a file, not a folder", "check the path"),
    errno.EISDIR: ("this is a folder where a file is expected", "check the path"),
    errno.ENAMETOOLONG: ("the name is too long for the file system", "choose a shorter one"),
    errno.EMFILE: ("too many files are open", "raise the limit with ulimit -n, or use fewer workers"),
    errno.EEXIST: ("a file of this name is where a folder is needed", "check the path"),
    errno.ENOENT: ("there is no such file or folder, and it cannot be made here", "check the path"),
}
"""Operating-system errors that the user can mend: number -> (what is wrong, what to do about it)."""

_CHUNK_BYTES = 1 << 20
_PROBE_BYTES = 4096  # a full disk may still take an empty file


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is synced and renamed to `path`, on any error removed.

    A reader, or a process that is killed at any moment, sees the old file or the whole new one, never a part. The
    temporary name keeps the suffix, so encoders that go by it work.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=f".part{path.suffix}", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp makes private files; results are meant to be shared
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give an empty temporary folder beside `path`; on success it is renamed to `path`, on any error removed.

    What was at `path` before is replaced, and stays until the new folder is whole.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", suffix=".part", dir=path.parent))
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o777 & ~mask)  # mkdtemp makes private folders; results are meant to be shared
        former = None
        if path.exists():
            former = temporary.with_suffix(".old")
            path.rename(former)
        temporary.rename(path)
        if former is not None:
            shutil.rmtree(former)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextlib.contextmanager
def clear_failures(path: Path) -> Iterator[None]:
    """Turn "no room" and "no right" while writing `path` of a run into a `RunFolderError` that says what is left.

    For files that are written with `atomic_path`: the previous file, if any, is intact.
    """
    try:
        yield
    except OSError as error:
        known = DISK_ERRORS.get(error.errno or 0)
        if known is None:
            raise
        kept = "the previous file is intact" if path.is_file() else "nothing was written"
        raise RunFolderError(
            f"{path}: {known[0]}: {kept}; free some space or write elsewhere, then use `resume`"
        ) from error


def check_writable(path: str | Path) -> None:
    """Find out before a long computation whether its result can be written to `path`; its folder is made if missing.

    Raises:
        OSError: what writing would have raised.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    _check_room(path, _PROBE_BYTES)


def check_folder_writable(folder: str | Path, num_bytes: int = _PROBE_BYTES) -> None:
    """Find out whether a folder can be made, or made again, with so many bytes in it; the one around it is made.

    Raises:
        OSError: what writing would have raised, about `folder`.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _check_room(folder, num_bytes)


def _check_room(path: Path, num_bytes: int) -> None:
    """Write some bytes beside `path`; errors name `path`, not the file that is tried."""
    try:
        with tempfile.NamedTemporaryFile(prefix=f".{path.stem}-", suffix=".part", dir=path.parent) as file:
            for start in range(0, num_bytes, _CHUNK_BYTES):
                file.write(bytes(min(_CHUNK_BYTES, num_bytes - start)))
            file.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content`, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, atomically; surrogates that stand for bytes of a file's name become these bytes."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_text(value: Any) -> str:
    """`value` as indented JSON. Paths become strings; NaN and infinity are refused (not JSON)."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n"
    return text.encode("utf-8", errors="backslashreplace").decode("utf-8")  # of surrogates, JSON's own escape


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as `json_text`, atomically."""
    write_text(path, json_text(value))
