"""A thousand hostile requests against a `gta serve` of our own, and what they did to it.

    python tests/serving/hostile_run.py runs/mine/best.ckpt clip.mp4 --count 1000

Prints the answers by kind and status, how long others wait meanwhile, memory and descriptors along the way, the files
that the server opened or changed (if strace may look), what was left in its folder after its time, and whether an
answer told what it should not.
The exit code is 1 if anything is amiss.
"""

import argparse
import contextlib
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from file_watch import FileWatch, can_watch, family, foreign
from hostile import Attacker, Report
from served_models import serving

_KEEP_SECONDS = 20
_PARTS = 5
_OPTIONS = (
    *("--port", "0", "--max-seconds", "10", "--request-seconds", "20"),
    *("--body-seconds", "2", "--keep-seconds", str(_KEEP_SECONDS)),
)


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    """Open files of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def code_folders() -> list[str]:
    """Folders whose files a Python program reads for itself: its libraries and ours, and the system's."""
    return [sys.prefix, sys.base_prefix, *(str(Path(path).resolve()) for path in sys.path if path), "/usr/", "/lib"]


def left(folder: Path) -> list[str]:
    """Files in the server's folder that are not its examples."""
    found = (path for path in folder.glob("gta-serve-*/**/*") if path.is_file() and "examples" not in path.parts)
    return [str(path.relative_to(folder)) for path in found]


def attack(pid: int, attacker: Attacker, count: int) -> list[str]:
    """Send the requests in parts; lines of a table: requests, MiB of the server and of all processes, descriptors."""
    rows = []
    for part in range(_PARTS + 1):
        if part:
            attacker.run(count // _PARTS, seed=part)
        total = sum(resident(one) for one in family(pid))
        sent = sum(attacker.report.answers.values())
        rows.append(f"| {sent} | {resident(pid) >> 20} | {total >> 20} | {descriptors(pid)} |")
        print(rows[-1], flush=True)
    return rows


@contextlib.contextmanager
def waits(address: str, seconds: float = 0.25) -> Iterator[list[float]]:
    """How long an innocent visitor waits for `/v1/health`, asked again and again while the block runs."""
    found: list[float] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(seconds):
            begin = time.monotonic()
            with urllib.request.urlopen(f"http://{address}/v1/health", timeout=120) as answer:
                answer.read()
            found.append(time.monotonic() - begin)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def show(report: Report) -> None:
    """The answers by kind, and what should not have been told."""
    kinds: dict[str, Counter[str]] = {}
    for name, number in report.answers.items():
        kind, _, status = name.partition(" ")
        kinds.setdefault(kind, Counter())[status] += number
    for kind, statuses in sorted(kinds.items()):
        shown = ", ".join(f"{status}: {number}" for status, number in sorted(statuses.items()))
        print(f"| {kind.replace('_', ' ')} | {sum(statuses.values())} | {shown} |")
    print("told:", *(report.leaks or ["nothing"]), sep="\n  ")


def main() -> None:
    """Start a server, attack it, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hostile-") as temporary:
        log = Path(temporary) / "log"
        with serving([str(options.checkpoint.resolve()), *_OPTIONS], log, TMPDIR=temporary) as (url, pid):
            address = url.removeprefix("http://").rstrip("/")
            host, _, port = address.partition(":")
            forbidden = [temporary, str(Path.cwd()), sys.prefix, "/root/", "/home/", "/usr/"]
            attacker = Attacker((host, int(port)), options.clip.read_bytes(), forbidden)
            attacker.run(80, seed=99)  # so that what is loaded on first use is there
            attacker.report = Report()
            if can_watch():
                with FileWatch(pid) as watch, waits(address) as asked:
                    attack(pid, attacker, options.count)
                    with socket.create_connection((host, int(port)), 5):
                        pass
                touched = foreign(watch.accesses, Path(temporary), code_folders())
                print(f"system calls on paths: {len(watch.accesses)}; outside:", *(touched or ["none"]), sep="\n  ")
            else:
                touched = []
                with waits(address) as asked:
                    attack(pid, attacker, options.count)
                print("strace may not look: which files were touched is not known")
            show(attacker.report)
            print(
                f"/v1/health beside it: {len(asked)} answers, median {1000 * statistics.median(asked):.0f} ms, "
                f"longest {1000 * max(asked):.0f} ms"
            )
            time.sleep(1.5 * _KEEP_SECONDS)
            remains = left(Path(temporary))
            print("files left after their time:", remains or "none")
        defects = log.read_text().count("because of a defect")
        emptied = not list(Path(temporary).glob("gta-serve*"))
        print(f"defects in the log: {defects}, folder removed: {emptied}")
    amiss = attacker.report.leaks or touched or remains or defects or not emptied
    sys.exit(bool(amiss))


if __name__ == "__main__":
    main()
