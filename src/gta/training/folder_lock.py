"""A run folder belongs to one process at a time, and stays where it is while that process writes into it."""

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from gta.errors import RunFolderError

_HELD: set[int] = set()


def _forget_in_child() -> None:
    """A forked worker must not keep the folder of a run whose main process has died."""
    for descriptor in _HELD:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _HELD.clear()


os.register_at_fork(after_in_child=_forget_in_child)


class FolderLock:
    """Holds a folder from its making until `release` or the end of the process, however that comes.

    Args:
        folder: an existing folder.

    Raises:
        RunFolderError: another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptor: int | None = None
        self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        _HELD.add(self._descriptor)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            held = error.errno in (errno.EWOULDBLOCK, errno.EACCES)
            holder = _holder(self._descriptor) if held else None
            if held:
                self.release()
                who = f"process {holder}" if holder else "another process"
                raise RunFolderError(
                    f"{folder}: {who} is using this run folder: wait until it finishes, or choose another run.folder"
                ) from None
            # Some network file systems have no locks: there, the folder is used without one.

    @property
    def descriptor(self) -> int | None:
        """The open folder: a process that inherits it holds the folder too. None where there are no locks."""
        return self._descriptor

    def require_folder(self) -> None:
        """Refuse to go on where the folder is gone or another one stands in its place.

        Raises:
            RunFolderError: it was deleted, moved or replaced.
        """
        if self._descriptor is None:
            return
        ours = os.fstat(self._descriptor)
        try:
            present = os.stat(self.folder)
        except FileNotFoundError:
            present = None
        if present is None or (present.st_dev, present.st_ino) != (ours.st_dev, ours.st_ino):
            raise RunFolderError(
                f"{self.folder}: the run folder was deleted or moved during the run: its contents are lost, "
                "so the run was stopped"
            )

    def __del__(self) -> None:
        self.release()

    def release(self) -> None:
        """Let other processes have the folder."""
        # A forked worker has closed it already: the number may be that of another file there.
        if self._descriptor in _HELD:
            _HELD.discard(self._descriptor)
            os.close(self._descriptor)
        self._descriptor = None


def _holder(descriptor: int) -> int | None:
    """The process that holds the lock of a file, where the system tells."""
    number = os.fstat(descriptor).st_ino
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if words[1] == "FLOCK" and words[5].endswith(f":{number}"):
                return int(words[4])
    return None
