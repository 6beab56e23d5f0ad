"""One cell of a grid: train a row's model with one seed, measure it, write its result. Run in a process of its own.

`python -m gta.studies.cell FOLDER [FRAMES]` does the ordinary training run that `FOLDER/config.json` configures, or
continues it, and measures its final weights. A process for each cell gives each its own peak memory, threads and random
state, and a crash ends one cell, not the study.
"""

import os
import platform
import re
import statistics
import sys
from pathlib import Path

import torch

from gta.config import TrainConfig, config_from_json
from gta.datasets.listing import open_videos
from gta.evaluation.metrics import all_measures
from gta.evaluation.opposites import Opposites
from gta.evaluation.orders import ORDERED, REVERSED
from gta.evaluation.probe import ProbeResult
from gta.files import write_json
from gta.model_card import library_versions
from gta.models.flops import count_flops
from gta.runs.composition import build_model
from gta.runs.evaluate import Measuring, probe_checkpoint
from gta.runs.train import train
from gta.stored import read_json
from gta.studies.ensembles import write_orders
from gta.studies.lifeline import end_with_input
from gta.studies.results import RESULT, CellResult, result_to_json
from gta.studies.runner import CONFIG

_PERMUTATIONS = 2
_MIB = 2**20


def run_cell(config: TrainConfig, folder: Path, *, row: str, frames: Path | None = None) -> CellResult:
    """Train, or continue where the training was interrupted, and measure the final weights.

    Args:
        config: the training run (`gta.studies.grids.training_of`).
        folder: folder of the cell; gets, last, `result.json`.
        row: key of the row.
        frames: a frame store with the videos' decoded frames.
    """
    data, run = config.data, config.run
    assert data.root is not None
    classes = open_videos(data.root, "train").classes
    model = build_model(config.model, num_classes=len(classes))  # the first one loads libraries, too
    gflops = count_flops(model, (data.clip.channels, data.clip.num_frames, *2 * (data.clip.crop_size,))) / 1e9
    before = process_memory_mib()
    fitted = train(config, resume=True, live=False, frames=frames, report=False)
    assert fitted is not None  # there is one process
    # After an interruption this process has seen a part of the training only.
    memory = None if fitted.resumed else _peak_memory_mib(before, run.accelerator)
    epochs = [line for line in fitted.timing if line["seconds"]]  # not one that was interrupted in its validation
    probed = _probe(config, fitted.last_checkpoint, frames)
    measures = all_measures(probed.scores[ORDERED], probed.labels, probed.classes, dict(probed.reversals))
    shuffled = probed.shuffled_top1()
    assert shuffled is not None  # there are always shuffles
    names = ("train_loss", "train_top1", "val_loss", "val_top1", "val_direction_accuracy")
    result = CellResult(
        row=row,
        seed=run.seed,
        top1=measures["top1"],
        top5=measures["top5"],
        loss=measures["loss"],
        direction_accuracy=measures["direction_accuracy"],
        reversed_top1=probed.top1(REVERSED),
        shuffled_top1=shuffled.mean,
        order_effect=probed.order_effect,
        per_class=dict(zip(probed.classes, measures["per_class"], strict=True)),
        num_videos=len(probed.labels),
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        gflops=gflops,
        clips_per_second=statistics.median(line["clips_per_second"] for line in epochs) if epochs else None,
        train_seconds=None if fitted.resumed else sum(line["seconds"] for line in epochs),
        peak_memory_mib=memory,
        curves={name: [line.get(name) for line in fitted.rows] for name in names},
        model=model.arguments,
        versions=library_versions(),
        machine=describe_machine(run.num_threads or torch.get_num_threads(), run.accelerator),
    )
    fitted.best_checkpoint.unlink(missing_ok=True)  # the study judges the final weights; no epoch is picked
    write_orders(folder, probed.labels, probed.scores)
    write_json(folder / RESULT, result_to_json(result))
    return result


def _probe(config: TrainConfig, checkpoint: Path, frames: Path | None) -> ProbeResult:
    """Probe the held-out videos, in 32 bits: whether a model sees their order must not drown in rounding."""
    probed, _ = probe_checkpoint(
        checkpoint,
        Measuring(
            data=config.data.root,
            batch_size=config.data.batch_size,
            num_workers=config.data.num_workers,
            device="cuda" if config.run.accelerator == "gpu" else "cpu",
            live=False,
        ),
        opposites=Opposites(),  # only what the data set itself states
        num_permutations=_PERMUTATIONS,
        seed=0,
        frames=frames,
    )
    return probed


def process_memory_mib() -> tuple[float, float] | None:
    """Memory of this process now and at its peak, in MiB; None where the system does not tell.

    Not from `resource.getrusage`: a process begins there with the peak of the one that started it.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    now, peak = (re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE) for name in ("VmRSS", "VmHWM"))
    return None if now is None or peak is None else (int(now[1]) / 1024, int(peak[1]) / 1024)


def _peak_memory_mib(before: tuple[float, float] | None, accelerator: str) -> float | None:
    """Peak memory of the training: allocated on the GPU, or what the process has grown by since `before`."""
    if accelerator == "gpu":
        return torch.cuda.max_memory_allocated() / _MIB
    after = process_memory_mib()
    return None if before is None or after is None else after[1] - before[0]


def describe_machine(num_threads: int, accelerator: str = "cpu") -> str:
    """Name of the GPU, or of the processor and the number of threads."""
    if accelerator == "gpu":
        return torch.cuda.get_device_name()
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name} ({os.cpu_count()} cores), {num_threads} thread(s) per cell"


# ---- the process ----------------------------------------------------------------------------------------------------


def main(folder: Path, frames: Path | None = None) -> None:
    """Do the cell whose folder is `.../<row>/seed<n>`."""
    run_cell(config_from_json(TrainConfig, read_json(folder / CONFIG)), folder, row=folder.parent.name, frames=frames)


if __name__ == "__main__":
    end_with_input()
    main(*map(Path, sys.argv[1:]))
