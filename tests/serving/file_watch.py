"""Which files a running process and its children touch, as strace sees it."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_CALL = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+|\?)(?:<(.*?)>)?")
_TEXT = re.compile(r'(?:<([^<>"]*)>, )?"((?:[^"\\]|\\.)*)"')
_WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")
_CHANGING = (
    *(
        "creat",
        "mkdir",
        "mkdirat",
        "mknod",
        "mknodat",
        "rename",
        "renameat",
        "renameat2",
        "unlink",
        "unlinkat",
        "rmdir",
    ),
    *("symlink", "symlinkat", "link", "linkat", "chmod", "fchmodat", "chown", "lchown", "fchownat", "truncate"),
    *("utime", "utimes", "utimensat", "setxattr", "mount"),
)
_ATTACH_SECONDS = 30.0


@dataclass(frozen=True)
class Access:
    """A system call on a path: whether it would change something, opens it, and whether it was done."""

    call: str
    path: str
    changes: bool
    opens: bool
    done: bool


def can_watch() -> bool:
    """Whether strace is there and may look at a child of this process."""
    program = shutil.which("strace")
    if program is None:
        return False
    sleeping = subprocess.Popen(["sleep", "30"])
    try:
        words = [program, "-p", str(sleeping.pid), "-o", os.devnull]
        tracing = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        assert tracing.stderr is not None
        attached = "attached" in tracing.stderr.readline()
        tracing.send_signal(signal.SIGINT)
        tracing.communicate()
        return attached
    finally:
        sleeping.kill()
        sleeping.wait()


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


class FileWatch:
    """While it is open, notes every system call with a path of a process, its threads and its descendants.

    Args:
        pid: of the process.

    Attributes:
        accesses: what was seen, once it is closed.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._cwd = os.readlink(f"/proc/{pid}/cwd")
        self.accesses: list[Access] = []

    def __enter__(self) -> "FileWatch":
        self._folder = tempfile.TemporaryDirectory(prefix="file-watch-")
        members = family(self._pid)
        words = ["strace", "-f", "-ff", "-y", "-s", "4096", "-e", "trace=%file", "-o", f"{self._folder.name}/log"]
        self._strace = subprocess.Popen(
            [*words, *(word for member in members for word in ("-p", str(member)))], stderr=subprocess.PIPE, text=True
        )
        assert self._strace.stderr is not None
        end = time.monotonic() + _ATTACH_SECONDS
        attached = 0
        while attached < len(members) and time.monotonic() < end:
            line = self._strace.stderr.readline()
            assert line, "strace has ended"
            attached += "attached" in line
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._strace.send_signal(signal.SIGINT)
        self._strace.communicate()
        for log in sorted(Path(self._folder.name).iterdir()):
            self.accesses += accesses_of(log.read_text(errors="replace").splitlines(), self._cwd)
        self._folder.cleanup()


def accesses_of(lines: Sequence[str], cwd: str) -> Iterator[Access]:
    """The calls in a log of `strace -y`; relative paths are those of a process in `cwd`."""
    for line in lines:
        call = _CALL.match(line)
        if call is None:  # a signal, the end of a process, or a call that was cut short
            continue
        name, arguments, result, opened = call.groups()
        opens = name in ("open", "openat", "openat2", "creat")
        changes = name in _CHANGING or (opens and _WRITING.search(arguments) is not None)
        done = not result.startswith("-")
        if opens and opened:
            yield Access(name, opened, changes, opens, done)
            continue
        for folder, text in _TEXT.findall(arguments):
            plain = text.encode().decode("unicode_escape").encode("latin-1").decode("utf-8", "replace")
            yield Access(name, os.path.normpath(os.path.join(cwd, folder, plain)), changes, opens, done)


def foreign(accesses: Sequence[Access], own: Path, known: Sequence[str]) -> list[str]:
    """What a server should not have touched.

    Args:
        accesses: what it did.
        own: its temporary folder; everything in it is allowed.
        known: folders whose files may be read (the program's own).

    Returns:
        Each path that was opened, or that something was to be changed at, and that is neither.
    """
    found = set()
    for access in accesses:
        inside = Path(access.path).is_relative_to(own) or access.path == os.devnull
        readable = access.path.startswith(("/proc/", "/sys/", "/dev/urandom", *known))
        if not inside and (access.changes or (access.opens and access.done and not readable)):
            found.add(f"{access.call} {access.path}")
    return sorted(found)
