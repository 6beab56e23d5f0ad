"""Runs the engine on fakes in forked children and kills them for real; started by the tests as a program.

Importing Lightning takes seconds, so this program imports it once and forks a child for every run. It prints JSON.
usage: kill_harness.py FOLDER
"""

import json
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engine_fakes as fakes
import torch
import torch.utils.tensorboard  # imported once, before any fork

from gta.checkpoint import load_file, write_checkpoint
from gta.errors import GtaError
from gta.training.fit import fit
from gta.training.signals import TrainingInterrupted

torch.set_num_threads(1)


class SlowVideos(fakes.FakeVideos):
    """Takes 4 ms per clip, so that kills fall between steps too; optionally limits file sizes from an epoch on."""

    limit_from_epoch: int | None = None

    def __getitem__(self, key: Any) -> Any:
        time.sleep(0.004)
        if self.limit_from_epoch is not None and isinstance(key, tuple) and key[0] >= self.limit_from_epoch:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        return super().__getitem__(key)


def run(folder: Path, *, resume: bool, limit_from_epoch: int | None = None, workers: int = 0, **changes: Any) -> None:
    """One training run with everything that has state: warm-up, cosine, momentum, EMA, mixup, dropout, BatchNorm."""
    videos = SlowVideos(30)
    videos.limit_from_epoch = limit_from_epoch
    fit(
        fakes.model(seed=1),
        fakes.loader(videos, shuffle=True, workers=workers),
        fakes.loader(SlowVideos(12, seed=1), workers=workers),
        prepare=fakes.Scale(),
        optim=fakes.optim(mixup=0.2, ema_decay=0.9, label_smoothing=0.1, accumulate=2),
        run=fakes.run(folder, checkpoint_steps=1, **changes),
        description=fakes.description(),
        resume=resume,
        live=False,
    )


def forked(work: Callable[[], None]) -> int:
    """Run `work` in a child; its exit code is 0, 128 + signal after an asked-for stop, or 2 for a user's mistake."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except TrainingInterrupted as stop:
        code = 128 + stop.number
    except GtaError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    finally:
        sys.stderr.flush()
        os._exit(code)


def wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.005)


def kill_and_resume(folder: Path, seed: int) -> dict[str, Any]:
    """Kill -9 at random moments soon after a checkpoint, resuming each time, until a run gets through."""
    draw = random.Random(seed)
    last = folder / "last.ckpt"
    steps: list[int] = []
    while True:
        before = last.stat().st_mtime_ns if last.exists() else 0
        child = forked(lambda: run(folder, resume=True))
        delay = draw.uniform(0, 0.25)
        while not (last.exists() and last.stat().st_mtime_ns != before):
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break
            time.sleep(0.002)
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        code = wait(child)
        if code != -signal.SIGKILL:
            return {"code": code, "steps": steps}
        steps.append(load_file(last)["global_step"])


def stop_and_resume(folder: Path, number: int, delay: float, *, workers: int = 0) -> dict[str, Any]:
    """Ask a run to stop `delay` seconds after its first checkpoint, then resume it to its end.

    With workers, the run is a process group that gets the signal too, as launchers do it.
    """

    def begin() -> None:
        if workers:
            os.setpgid(0, 0)
        run(folder, resume=False, workers=workers)

    stopped = 0
    for _ in range(5):  # on a busy machine a run may be over before the signal comes: then once more
        shutil.rmtree(folder, ignore_errors=True)
        child = forked(begin)
        wait_for(folder / "last.ckpt")
        time.sleep(delay)
        os.kill(child, number)
        if workers:
            os.killpg(child, number)
        stopped = wait(child)
        if stopped:
            break
    stored = load_file(folder / "last.ckpt")
    finished = wait(forked(lambda: run(folder, resume=True)))
    return {"stopped": stopped, "step": stored["global_step"], "batches": stored["batches_done"], "finished": finished}


def kill_while_writing(folder: Path, seed: int) -> dict[str, Any]:
    """Kill a process that does nothing but write checkpoints; whatever is there must load and be of one piece."""
    draw = random.Random(seed)
    path = folder / "last.ckpt"

    def write_for_ever() -> None:
        version = 0
        while True:
            version += 1
            weights = {f"model.{part}": torch.full((200_000,), float(version)) for part in range(8)}
            write_checkpoint(path, {"gta": fakes.description(), "state_dict": weights, "global_step": version})

    versions = []
    for _ in range(6):
        child = forked(write_for_ever)
        if not versions:
            wait_for(path)
        time.sleep(draw.uniform(0.02, 0.2))
        os.kill(child, signal.SIGKILL)
        wait(child)
        content = load_file(path)
        values = {float(value) for tensor in content["state_dict"].values() for value in tensor[[0, -1]]}
        if values != {float(content["global_step"])}:
            raise AssertionError(f"mixed versions {values} in one file")
        versions.append(content["global_step"])
    return {"versions": versions, "leftovers": len(list(folder.glob(".*.part*")))}


def size_limit(folder: Path) -> dict[str, Any]:
    """From the second epoch on, no file may exceed 2000 bytes: a checkpoint cannot be written any more."""
    code = wait(forked(lambda: run(folder, resume=False, limit_from_epoch=1)))
    stored = load_file(folder / "last.ckpt")
    finished = wait(forked(lambda: run(folder, resume=True)))
    return {"code": code, "epoch": stored["epoch"], "step": stored["global_step"], "finished": finished}


def fill_disk(folder: Path) -> dict[str, Any]:
    """`folder` lies on a small file system: fill it while a run is writing there, then make room and resume."""
    child = forked(lambda: run(folder, resume=False))
    wait_for(folder / "last.ckpt")
    filler = folder.parent / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 512)
        except OSError:
            pass
    code = wait(child)
    stored = load_file(folder / "last.ckpt")
    filler.unlink()
    finished = wait(forked(lambda: run(folder, resume=True)))
    return {"code": code, "step": stored["global_step"], "finished": finished}


def main() -> None:
    root = Path(sys.argv[1])
    (root / "writing").mkdir()
    results = {
        "plain": {"code": wait(forked(lambda: run(root / "plain", resume=False)))},
        "kill0": kill_and_resume(root / "kill0", 0),
        "kill1": kill_and_resume(root / "kill1", 1),
        "term": stop_and_resume(root / "term", signal.SIGTERM, 0.0),
        "int": stop_and_resume(root / "int", signal.SIGINT, 0.03),
        "usr1": stop_and_resume(root / "usr1", signal.SIGUSR1, 0.15),
        "group": stop_and_resume(root / "group", signal.SIGTERM, 0.05, workers=2),
        "writing": kill_while_writing(root / "writing", 0),
        "limit": size_limit(root / "limit"),
    }
    if (root / "small_disk").is_dir():
        results["full"] = fill_disk(root / "small_disk" / "run")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
