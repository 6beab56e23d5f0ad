"""Thousands of damaged files through the readers: no foreign exception, no crash, no hang, no run-away memory.

    python tests/fuzz/fuzz.py --seed 0 --videos 4000 --checkpoints 400 --indices 200 --report docs/results/fuzz.md

`make fuzz` does that. Each case runs in a worker process that is replaced when it dies or does not answer. What was
found is printed, its files are kept in a folder that is named at the end, and the exit code is 1.
"""

import argparse
import contextlib
import multiprocessing
import platform
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from video_cases import SOURCES, encode_sources, read_as_user, video_cases

from gta.errors import GtaError
from stored import StoredCase, checkpoint_cases, index_cases

MAX_SECONDS = 20.0
MAX_BYTES = 2 << 30


@dataclass(frozen=True)
class Job:
    """A file to write and a way to read it: returns a word for the statistics, or raises."""

    name: str
    file_name: str
    data: bytes
    read: Callable[[Path], str]


@dataclass
class Tally:
    """What came out of one kind of file."""

    kind: str
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0
    largest_bytes: int = 0


def _peak_bytes() -> int:
    """Peak memory of this process since the last reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("the system does not tell the peak memory of a process")


def _serve(pipe: Connection) -> None:
    """Work through jobs until told to stop; every answer is (outcome, what went wrong, peak bytes)."""
    import av.logging
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # what is left of a file that was cut, thousands of times
    av.logging.set_level(None)
    pipe.send("ready")
    while (message := pipe.recv()) is not None:
        read, path = message
        Path("/proc/self/clear_refs").write_text("5")
        try:
            outcome, problem = read(path), None
        except GtaError as error:
            text = str(error)
            outcome, problem = "refused", None if "\n" not in text else f"error of several lines: {text!r}"
        except BaseException as error:
            outcome, problem = "foreign", f"{type(error).__name__}: {error}"
        pipe.send((outcome, problem, _peak_bytes()))


class Worker:
    """A process that reads files; started again after each one that it did not survive."""

    def __init__(self) -> None:
        # A new interpreter, not a fork: the memory of the process that starts it must not be counted.
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def _start(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.recv()  # the time that a new interpreter takes to start is not the file's

    def run(self, job: Job, path: Path) -> tuple[str, str | None, int]:
        """Read one file; a death or silence of the process is an answer, too."""
        self._pipe.send((job.read, path))
        if not self._pipe.poll(MAX_SECONDS):
            self.close()
            self._start()
            return "hang", f"no answer within {MAX_SECONDS:g} s", 0
        try:
            return self._pipe.recv()
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            self._start()
            return "crash", f"the process ended with {code}", 0

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def fuzz(kind: str, jobs: Iterator[Job], folder: Path) -> Tally:
    """Run every job; files of findings stay in the folder, the others are deleted."""
    tally, worker = Tally(kind), Worker()
    with contextlib.closing(worker):
        for number, job in enumerate(jobs):
            place = folder / f"{kind}_{number}"
            place.mkdir(parents=True)
            path = place / job.file_name
            path.write_bytes(job.data)
            start = time.perf_counter()
            outcome, problem, peak = worker.run(job, path)
            tally.slowest_seconds = max(tally.slowest_seconds, time.perf_counter() - start)
            tally.largest_bytes = max(tally.largest_bytes, peak)
            tally.outcomes[outcome] += 1
            if peak > MAX_BYTES:
                problem = f"{problem + '; ' if problem else ''}{peak / 2**30:.1f} GiB of memory"
            if problem:
                tally.findings.append(f"{job.name}: {problem}")
                print(f"{kind}: {job.name}: {problem}", flush=True)
            else:
                path.unlink(missing_ok=True)
                for leftover in place.iterdir():
                    leftover.unlink()
                place.rmdir()
    return tally


def _video_jobs(sources: list[Path], seed: int, count: int, first: int) -> Iterator[Job]:
    return (
        Job(case.name, case.file_name, case.data, read_as_user) for case in video_cases(sources, seed, count, first)
    )


def _stored_jobs(cases: Iterator[StoredCase]) -> Iterator[Job]:
    return (Job(case.name, case.file_name, case.data, case.read) for case in cases)


def report(tallies: list[Tally], command: str) -> str:
    """The result as Markdown."""
    import av
    import torch

    lines = [
        "# Fuzzing the readers",
        "",
        f"`{command}`; Python {platform.python_version()}, PyTorch {torch.__version__}, PyAV {av.__version__}.",
        f"Videos: {len(SOURCES)} small files of as many container and codec pairs, one to three mutations each; read",
        "without and with an index and whole, and looked at as `gta data check` does. Pixels that vary: FFmpeg fills",
        "damage inside a frame that it does not report with leftovers of earlier frames; `gta data check` finds such",
        "files. Checkpoints: loaded for prediction, as starting weights and for resuming. Findings: foreign",
        f"exceptions, crashes, no answer within {MAX_SECONDS:g} s, more than {MAX_BYTES >> 30} GiB, several lines.",
        "",
        "| kind | files | read | refused with one line | read, pixels vary | foreign exception | crash | hang "
        "| findings | slowest (s) | peak of the process (MiB) |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for tally in tallies:
        count = tally.outcomes
        cells = [
            sum(count.values()),
            *(count[name] for name in ("read", "refused", "varies", "foreign", "crash", "hang")),
        ]
        cells += [len(tally.findings), f"{tally.slowest_seconds:.1f}", f"{tally.largest_bytes / 2**20:.0f}"]
        lines.append(f"| {tally.kind} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--videos", type=int, default=4000)
    parser.add_argument("--checkpoints", type=int, default=400)
    parser.add_argument("--indices", type=int, default=200)
    parser.add_argument("--only", type=int, help="run just this video case again")
    parser.add_argument("--report", type=Path, help="write the result there as Markdown")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="gta-fuzz-"))
    sources = encode_sources(folder / "sources")
    if options.only is not None:
        tallies = [fuzz("videos", _video_jobs(sources, options.seed, 1, options.only), folder)]
    else:
        tallies = [
            fuzz("videos", _video_jobs(sources, options.seed, options.videos, 0), folder),
            fuzz("checkpoints", _stored_jobs(checkpoint_cases(options.seed, options.checkpoints)), folder),
            fuzz("indices", _stored_jobs(index_cases(options.seed, options.indices)), folder),
        ]
    text = report(tallies, " ".join(["python", "tests/fuzz/fuzz.py", *sys.argv[1:]]))
    print(text)
    if options.report:
        options.report.write_text(text)
    if any(tally.findings for tally in tallies):
        print(f"The files are in {folder}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
