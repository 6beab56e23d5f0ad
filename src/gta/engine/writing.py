"""Writing into a run folder: what the operating system refuses becomes one clear line."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from gta.errors import RunFolderError

# Operating-system errors that mean "no room or no right to write here", which the user can mend.
_CANNOT_WRITE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would exceed the size limit",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.ENOTDIR: "a part of this path is a file",
    errno.ENOENT: "the folder cannot be made here",
}


@contextlib.contextmanager
def clear_failures(path: Path) -> Iterator[None]:
    """Turn "no room" and "no right" while writing `path` into a `RunFolderError` that says what is left.

    For files that are written with `gta.files.atomic_path`: the previous file, if any, is intact.
    """
    try:
        yield
    except OSError as error:
        reason = _CANNOT_WRITE.get(error.errno or 0)
        if reason is None:
            raise
        kept = "the previous file is intact" if path.is_file() else "nothing was written"
        raise RunFolderError(f"{path}: {reason}: {kept}; make room or write elsewhere, then --resume") from error
