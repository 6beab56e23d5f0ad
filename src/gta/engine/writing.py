"""Writing into a run folder: what the operating system refuses becomes one clear line."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from gta.errors import RunFolderError
from gta.files import DISK_ERRORS


@contextlib.contextmanager
def clear_failures(path: Path) -> Iterator[None]:
    """Turn "no room" and "no right" while writing `path` into a `RunFolderError` that says what is left.

    For files that are written with `gta.files.atomic_path`: the previous file, if any, is intact.
    """
    try:
        yield
    except OSError as error:
        known = DISK_ERRORS.get(error.errno or 0)
        if known is None:
            raise
        kept = "the previous file is intact" if path.is_file() else "nothing was written"
        raise RunFolderError(f"{path}: {known[0]}: {kept}; make room or write elsewhere, then --resume") from error
