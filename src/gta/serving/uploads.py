"""The one folder that a server writes to, and files of visitors that do not stay in it."""

import contextlib
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gta.serving.limits import RefusedError

_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}$")


class TemporaryFolder:
    """A private folder whose files are removed when they are old, and with the folder at the end.

    Args:
        keep_seconds: age at which a file is removed.
        tidy_also: called as often as old files are looked for.
    """

    def __init__(self, keep_seconds: float, tidy_also: Sequence[Callable[[], object]] = ()) -> None:
        self._tidy_also = tidy_also
        self.path = Path(tempfile.mkdtemp(prefix="gta-serve-")).resolve()
        self.kept = self.path / "examples"
        """A folder in it whose files stay to the end."""
        self.kept.mkdir()
        self.keep_seconds = keep_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tidy, name="gta-serve-tidy", daemon=True)
        self._thread.start()

    def new_file(self, name: str) -> Path:
        """The path of a new file; of a visitor's name only a plain suffix is kept."""
        suffix = _SUFFIX.search(name.lower())
        return self.path / f"{secrets.token_hex(16)}{suffix[0] if suffix else ''}"

    def num_bytes(self) -> int:
        """What the files of visitors take."""
        total = 0
        for folder, _, names in os.walk(self.path):
            if Path(folder) != self.kept:
                for name in names:
                    with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                        total += Path(folder, name).lstat().st_size
        return total

    def remove_old(self) -> None:
        """Remove every file, at any depth, that has not been written for `keep_seconds`; then empty folders."""
        oldest = time.time() - self.keep_seconds
        for folder, _, names in os.walk(self.path, topdown=False):
            if Path(folder) == self.kept:
                continue
            for name in names:
                _remove_if_older(Path(folder, name), oldest)
            if Path(folder) != self.path:
                _remove_if_empty(Path(folder), oldest)

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        self._stop.set()
        self._thread.join()
        shutil.rmtree(self.path, ignore_errors=True)

    def _tidy(self) -> None:
        while not self._stop.wait(min(self.keep_seconds / 4, 30)):
            self.remove_old()
            for tidy in self._tidy_also:
                tidy()


def _remove_if_older(path: Path, oldest: float) -> None:
    try:
        if path.lstat().st_mtime < oldest:
            path.unlink()
    except FileNotFoundError:
        return  # somebody else was faster


def _remove_if_empty(path: Path, oldest: float) -> None:
    try:
        if path.lstat().st_mtime < oldest:
            path.rmdir()
    except OSError:
        return  # it is not empty, or gone


def allowed_file(text: str, folder: Path | None) -> Path:
    """A path of a request, if it is that of a file in the folder that the server was given.

    Links are followed before the answer is found. What is outside and what is missing get the same words, so that no
    request finds out what the machine has.

    Raises:
        RefusedError: there is no such folder, or the file is not in it.
    """
    if folder is None:
        raise RefusedError(403, "no_folder", "This server does not offer files of its own: send the video itself.")
    missing = RefusedError(404, "not_found", "There is no such file in the server's video folder.")
    try:
        path = (folder / text).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        raise missing from None
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise missing
    return path
