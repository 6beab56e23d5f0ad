"""How fast the rows of a grid train, compared in one run: all of them take turns in one process.

The clips/s of the cells cannot tell this: cells run side by side and hours apart, on machines that others share.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gta.clips.transforms import Normalize
from gta.files import write_json
from gta.runs.composition import build_model
from gta.stored import StoredError, entry, mapping, read_json, real, text, whole
from gta.studies.cell import describe_machine
from gta.studies.grids import Budget, Grid, Row, training_of
from gta.training.launch import create_fabric, launch
from gta.training.memory import arrange_model
from gta.training.step import Objective, Plan, TrainStep

SPEED = "speed.json"
"""File in the study's folder."""

_ROUNDS = 5
_STEPS = 4
"""Steps of a row in its turn. The first is not timed: the libraries below PyTorch remember how to compute a limited
number of layers, and those of many networks push each other out between two turns."""


def study_speed(grid: Grid, folder: Path, *, num_classes: int, num_threads: int) -> dict[str, float]:
    """Clips per second of every row's training step; measured once per study and machine, then read from its folder."""
    machine = describe_machine(num_threads, grid.budget.accelerator)
    known = read_speed(folder)
    if known and known["machine"] == machine and known["clips_per_second"].keys() == {row.key for row in grid.trained}:
        return known["clips_per_second"]
    speed = measure_speed(grid, num_classes=num_classes, num_threads=num_threads)
    write_json(folder / SPEED, {"machine": machine, "rounds": _ROUNDS, "clips_per_second": speed})
    return speed


def read_speed(folder: Path) -> dict[str, Any] | None:
    """What `study_speed` wrote; None if there is nothing (yet), or nothing that can be read: it is measured anew."""
    try:
        stored = mapping(read_json(folder / SPEED), "the file")
        speeds = mapping(entry(stored, "clips_per_second"), "clips_per_second")
        return {
            "machine": text(entry(stored, "machine"), "machine"),
            "rounds": whole(entry(stored, "rounds"), "rounds", 1),
            "clips_per_second": {key: real(value, "a speed", 0.0) for key, value in speeds.items()},
        }
    except (FileNotFoundError, StoredError):
        return None


def measure_speed(grid: Grid, *, num_classes: int, num_threads: int, rounds: int = _ROUNDS) -> dict[str, float]:
    """Median clips per second of each row's training step (`gta.training.step`), with the clips in memory.

    Args:
        grid: rows and budget.
        num_classes: number of classes (K).
        num_threads: CPU threads.
        rounds: turns of each row, of four steps one after another, the first of which is not timed.

    Returns:
        Key of the row -> clips per second.
    """
    former = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        steps = {row.key: _stepper(row, grid.budget, num_classes, num_threads) for row in grid.trained}
        seconds: dict[str, list[float]] = {key: [] for key in steps}
        for _ in range(rounds):
            for key, step in steps.items():
                step()
                for _ in range(_STEPS - 1):
                    began = time.perf_counter()
                    step()
                    seconds[key].append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(former)
    return {key: grid.budget.batch_size / statistics.median(values) for key, values in seconds.items()}


def _stepper(row: Row, budget: Budget, num_classes: int, num_threads: int) -> Callable[[], None]:
    """Make the function that does one training step of a row's model on random clips, and waits for its end."""
    config = training_of(row, budget, num_threads=num_threads)
    clip, run = config.data.clip, config.run
    fabric = create_fabric(run, budget.optim)
    launch(fabric, run)
    model = build_model(config.model, num_classes=num_classes)
    if config.model.freeze == "backbone":
        model.freeze_backbone()
    arrange_model(model, run)
    objective = Objective(Normalize(clip.mean, clip.std), budget.optim, num_classes=num_classes)
    train_step = TrainStep(fabric, model, objective, optim=budget.optim, plan=Plan(budget.batch_size))
    shape = (budget.batch_size, clip.channels, clip.num_frames, clip.crop_size, clip.crop_size)
    batch = {
        "clip": torch.randint(0, 256, shape, dtype=torch.uint8, device=fabric.device),
        "label": torch.randint(0, num_classes, (budget.batch_size,), device=fabric.device),
    }

    def step() -> None:
        train_step(batch)
        if fabric.device.type == "cuda":
            torch.cuda.synchronize(fabric.device)

    return step
