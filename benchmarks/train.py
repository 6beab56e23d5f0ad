"""What the engine costs around forward, backward and step, with the data ready; on a GPU also throughput.

Run: python benchmarks/train.py [--steps 8] [--rounds 3]
On the CPU: seconds per step of `gta.training.fit` against a bare PyTorch loop on the same model and batches,
interleaved, as a ratio; CPU time is the fairer one on a busy machine. The promise is an overhead under 5 %. On a GPU:
clips/s and model FLOPs utilisation at 8 x 224 x 224 in bf16, eager and compiled.
"""

import argparse
import contextlib
import io
import os
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from gta.clips.loader import ClipSampler
from gta.clips.transforms import Normalize
from gta.config import OptimConfig, RunConfig
from gta.model_card import describe
from gta.models.flops import count_flops
from gta.models.registry import create_model
from gta.training.fit import fit
from gta.training.launch import create_fabric, launch
from gta.training.memory import arrange_model
from gta.training.optim import create_optimizer, gradient_norm
from gta.training.step import Objective, Plan, TrainStep

CLASSES = tuple(f"class {number}" for number in range(16))
OPTIM = OptimConfig(lr=0.01, schedule="constant", warmup_epochs=0.0)


class Positions(Dataset[int]):
    """Numbers of samples; the batches themselves are made beforehand."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: tuple[int, int]) -> int:
        return key[1]


def make_batch(size: int, frames: int, pixels: int) -> dict[str, object]:
    """A batch as the loader gives it."""
    return {
        "clip": torch.randint(0, 256, (size, 3, frames, pixels, pixels), dtype=torch.uint8),
        "label": torch.randint(0, len(CLASSES), (size,)),
        "index": torch.arange(size),
        "skipped": [],
    }


class Clock:
    """Notes the time at the start of every step; the median between two starts is the time of a step."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def tick(self) -> None:
        self.wall.append(time.perf_counter())
        self.cpu.append(time.process_time())

    def steps(self, skip: int) -> tuple[list[float], list[float]]:
        """Wall and CPU seconds of each step after the first `skip`."""
        wall, cpu = self.wall[skip:], self.cpu[skip:]
        return [b - a for a, b in pairwise(wall)], [b - a for a, b in pairwise(cpu)]


def bare_loop(name: str, batch: dict[str, object], steps: int, clock: Clock) -> None:
    """Forward, backward, clipping and step, without anything around them."""
    torch.manual_seed(0)
    model = create_model(name, num_classes=len(CLASSES)).train()
    prepare = Normalize((0.45,) * 3, (0.225,) * 3)
    optimizer = create_optimizer(model, OPTIM, global_batch=len(batch["label"]))
    parameters = list(model.parameters())
    for _ in range(steps):
        clock.tick()
        optimizer.zero_grad()
        images = prepare(batch["clip"]).contiguous(memory_format=torch.channels_last_3d)
        F.cross_entropy(model(images), batch["label"]).backward()
        torch.nn.utils.clip_grads_with_norm_(parameters, 20.0, gradient_norm(parameters))
        optimizer.step()


def engine_loop(name: str, batch: dict[str, object], steps: int, clock: Clock) -> None:
    """The engine's training of one epoch; taking a batch starts a step."""
    torch.manual_seed(0)
    model = create_model(name, num_classes=len(CLASSES))
    size = len(batch["label"])
    sampler = ClipSampler(size * steps, batch_size=size, shuffle=True)

    def ready(_: list[int]) -> dict[str, object]:
        clock.tick()
        return batch

    loader = DataLoader(Positions(size * steps), batch_size=size, sampler=sampler, collate_fn=ready)
    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stderr(io.StringIO()):
        fit(
            model,
            loader,
            None,
            prepare=Normalize((0.45,) * 3, (0.225,) * 3),
            optim=OPTIM,
            run=RunConfig(folder=Path(place) / "run", max_epochs=1, accelerator="cpu"),
            description=describe(model=model.arguments, classes=CLASSES, clip={}),
            live=False,
        )


def overhead(name: str, *, batch_size: int, pixels: int, steps: int, rounds: int) -> None:
    """Print the ratio of engine to bare loop: medians over the steps of interleaved rounds."""
    batch = make_batch(batch_size, 8, pixels)
    measured: dict[str, tuple[list[float], list[float]]] = {"bare": ([], []), "engine": ([], [])}
    for _ in range(rounds):
        for kind, loop in (("bare", bare_loop), ("engine", engine_loop)):
            clock = Clock()
            loop(name, batch, steps + 3, clock)
            for kept, new in zip(measured[kind], clock.steps(skip=2), strict=True):
                kept += new
    print(f"{name}, {batch_size} x 8 x {pixels} px, {rounds} rounds of {steps} steps")
    for index, kind in enumerate(("wall", "CPU")):
        bare, engine = (statistics.median(measured[loop][index]) for loop in ("bare", "engine"))
        print(
            f"  {kind:<5} bare {1000 * bare:7.1f} ms/step   engine {1000 * engine:7.1f} ms/step   "
            f"overhead {1000 * (engine - bare):+.2f} ms, {100 * (engine / bare - 1):+.1f} %"
        )


def throughput(name: str, *, batch_size: int, compiled: bool, steps: int, peak_tflops: float) -> None:
    """Print clips/s and model FLOPs utilisation of the engine's step on the GPU in bf16."""
    run = RunConfig(accelerator="gpu", devices=1, precision="bf16", compile=compiled)
    fabric = create_fabric(run, OPTIM)
    launch(fabric, run)
    model = create_model(name, num_classes=len(CLASSES))
    multiply_adds = count_flops(model, (1, 3, 8, 224, 224))
    arrange_model(model, run)
    objective = Objective(Normalize((0.45,) * 3, (0.225,) * 3), OPTIM, num_classes=len(CLASSES))
    step = TrainStep(fabric, model, objective, optim=OPTIM, plan=Plan(batch_size))
    batch = fabric.to_device(make_batch(batch_size, 8, 224))
    started = 0.0
    warm_up = 5
    for turn in range(warm_up + steps):
        if turn == warm_up:
            torch.cuda.synchronize()
            started = time.perf_counter()
        step(batch)
    torch.cuda.synchronize()
    speed = batch_size * steps / (time.perf_counter() - started)
    used = (
        3 * 2 * multiply_adds * speed / (peak_tflops * 1e12)
    )  # backward costs two forwards; a multiply-add is 2 FLOPs
    memory = torch.cuda.max_memory_allocated() / 2**30
    mode = "compiled" if compiled else "eager"
    print(f"{name:<12} {mode:<8} batch {batch_size}: {speed:8.1f} clips/s   MFU {100 * used:4.1f} %   {memory:.1f} GiB")


def main() -> None:
    """Measure on this machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peak-tflops", type=float, default=989.0, help="dense bf16 peak of the GPU (H100, H200: 989)")
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads of {os.cpu_count()} cores")
    overhead("tiny_gta", batch_size=32, pixels=56, steps=options.steps, rounds=options.rounds)
    # Steps so short that what the engine adds to each can be seen.
    overhead("tiny", batch_size=1, pixels=32, steps=20 * options.steps, rounds=options.rounds)
    if not torch.cuda.is_available():
        print("no GPU: throughput not measured")
        return
    for name in ("r2d50", "r2d50_gta"):
        for compiled in (False, True):
            throughput(name, batch_size=32, compiled=compiled, steps=20, peak_tflops=options.peak_tflops)


if __name__ == "__main__":
    main()
