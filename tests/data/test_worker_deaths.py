"""Workers that die, or cannot start, end a run with one line that says what to change."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from gta.clips.dataset import VideoDataset
from gta.clips.loader import build_loader, start_worker
from gta.clips.presets import clip_config
from gta.datasets.listing import open_videos
from gta.errors import CheckpointError, DataError, VideoError
from gta.processes import WorkerError, explain, guarded, takes_signals
from video_files import encode


class Dies(Dataset[dict[str, Any]]):
    """Sample 3 ends its process, or raises."""

    def __init__(self, what: Any) -> None:
        self.what = what

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == 3:
            if isinstance(self.what, BaseException):
                raise self.what
            os.kill(os.getpid(), self.what)
        return {"clip": torch.zeros(2)}


@takes_signals
def signalled_before_it_starts(worker: int) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        os.kill(os.getpid(), number)
    start_worker(worker)


def test_a_signal_to_the_group_between_fork_and_handlers_ends_no_worker() -> None:
    loader = DataLoader(Dies(0), num_workers=2, batch_size=1, worker_init_fn=signalled_before_it_starts)
    assert len(list(guarded(loader))) == 6
    held = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert not held & {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1}


@pytest.mark.parametrize(
    ("what", "error", "words"),
    [
        (
            signal.SIGKILL,
            WorkerError,
            "was killed, most likely because memory ran out: use fewer workers (data.num_workers)",
        ),
        (signal.SIGBUS, WorkerError, "shared memory (/dev/shm)"),
        (signal.SIGSEGV, WorkerError, "crashed in the decoder"),
        (DataError("20 videos in a row\ncould not be read"), DataError, "20 videos in a row could not be read"),
        (CheckpointError("x.ckpt: damaged"), CheckpointError, "x.ckpt: damaged"),
        (VideoError("a.mp4", "it is damaged"), DataError, "a.mp4: it is damaged"),
        (MemoryError("no room"), WorkerError, "memory ran out"),
        (OSError(errno.EMFILE, "Too many open files"), WorkerError, "too few file descriptors for 2 worker processes"),
    ],
)
def test_a_worker_that_dies_is_one_line(what, error, words) -> None:
    loader = DataLoader(Dies(what), num_workers=2, batch_size=1)
    with pytest.raises(error) as caught:
        list(guarded(loader))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError, match="Traceback"):
        list(guarded(DataLoader(Dies(ZeroDivisionError("ours")), num_workers=1, batch_size=1)))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("unable to write to file </torch_12_3>: No space left on device (28)"), "--shm-size"),
        (RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: Success (0)"), "--shm-size"),
        (RuntimeError("DataLoader worker (pid 12) is killed by signal: Bus error. It is possible that"), "--shm-size"),
        (RuntimeError("received 0 items of ancdata"), "ulimit -n"),
        (RuntimeError("DataLoader worker (pid(s) 3, 4) exited unexpectedly"), "was killed"),
        (OSError(errno.ENOSPC, "No space left on device"), "--shm-size"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate: Cannot allocate memory"), "memory ran out"),
    ],
)
def test_what_pytorch_says_of_it_is_translated(error, words) -> None:
    explained = explain(error, workers=4)
    assert explained is not None
    assert words in str(explained)


def test_other_errors_are_defects() -> None:
    assert explain(RuntimeError("shape mismatch"), workers=2) is None


@pytest.mark.parametrize("num_workers", [0, 2])
def test_unreadable_videos_are_noted_before_the_run_ends(tmp_path: Path, num_workers: int) -> None:
    for number in range(3):
        folder = tmp_path / "train" / f"class {number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.mp4").write_bytes(b"not a video at all")
    dataset = VideoDataset(open_videos(tmp_path, "train"), clip_config("paper", crop_size=32), training=True)
    loader = build_loader(dataset, batch_size=2, num_workers=num_workers, shuffle=True)
    noted: list[tuple[str, str]] = []
    with pytest.raises(DataError, match="20 videos in a row could not be read") as caught:
        list(guarded(loader, noted.extend))
    assert "\n" not in str(caught.value)
    assert {Path(path).name for path, _ in noted} == {"0.mp4", "1.mp4", "2.mp4"}


_FEW_DESCRIPTORS = """
import resource, sys
soft, hard = int(sys.argv[1]), int(sys.argv[2])
from gta.clips.dataset import VideoDataset
from gta.datasets.listing import open_videos
from gta.clips.loader import build_loader
from gta.clips.presets import clip_config
from gta.processes import WorkerError, guarded

dataset = VideoDataset(open_videos("set", "train"), clip_config("paper", crop_size=32), training=True)
loader = build_loader(dataset, batch_size=1, num_workers=8, shuffle=True)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
try:
    print(sum(len(batch["label"]) for batch in guarded(loader)))
except WorkerError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("soft", "hard", "words"),
    [
        (60, 60, "too few file descriptors for 8 worker processes: raise the limit (ulimit -n, now 60)"),
        (60, 4096, "16"),
    ],
)
def test_too_few_descriptors_are_raised_or_named(tmp_path: Path, soft: int, hard: int, words: str) -> None:
    for number in range(16):
        encode(tmp_path / "set" / "train" / f"class {number % 2}" / f"{number}.mp4", num_frames=4)
    program = [sys.executable, "-c", _FEW_DESCRIPTORS, str(soft), str(hard)]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120)
    assert words in done.stdout
    assert "Traceback" not in done.stderr


_COMMANDS_WITH_FEW_DESCRIPTORS = """
import resource, sys
from gta.cli import run

commands = (
    ["data", "check", "set"], ["data", "prepare", "set", "copy"], ["synthesize", "made", "--num-videos", "32"],
)
for command in commands:
    resource.setrlimit(resource.RLIMIT_NOFILE, (20, int(sys.argv[1])))
    print("rc", run([*command, "--num-workers", "8"]))
"""


@pytest.mark.parametrize(("hard", "code"), [(20, 2), (4096, 0)])
def test_pools_with_too_few_descriptors_neither_hang_nor_fail_halfway(tmp_path: Path, hard: int, code: int) -> None:
    for number in range(16):
        encode(tmp_path / "set" / "train" / f"class {number % 2}" / f"{number}.mp4", num_frames=4)
    program = [sys.executable, "-c", _COMMANDS_WITH_FEW_DESCRIPTORS, str(hard)]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120)
    assert [line for line in done.stdout.splitlines() if line.startswith("rc ")] == [f"rc {code}"] * 3
    if code:
        lines = done.stderr.splitlines()
        assert len(lines) == 3
        assert all("too few file descriptors for 8 worker processes: raise the limit (ulimit -n" in x for x in lines)


def test_no_descriptor_left_is_one_line_on_the_command_line(capsys, monkeypatch) -> None:
    from gta import cli
    from gta.commands import models

    def exhausted(arguments: list[str]) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(models, "main", exhausted)
    assert cli.run(["models"]) == 2
    assert "too many files are open: raise the limit with ulimit -n" in capsys.readouterr().err


_SLEEPS = """
import os, sys, time
from gta.datasets.workers import in_parallel

def tell_and_sleep(seconds):
    os.write(1, b"%d\\n" % os.getpid())  # at once, whatever the other process writes
    time.sleep(seconds)

list(in_parallel(tell_and_sleep, [600.0] * 2, num_workers=2))
"""


def test_processes_at_work_on_files_end_with_a_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", _SLEEPS], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(parent.stdout.readline()) for _ in range(2)]
        parent.kill()
        assert parent.stdout.read() == ""  # ends when the last of them has closed it
    assert len(set(workers)) == 2
