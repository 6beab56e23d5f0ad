"""One cell of a grid: train a row's model with one seed, measure it, write its result. Run in a process of its own.

`python -m gta.studies.cell FOLDER` does the cell that `FOLDER/cell.json` describes. A process for each cell gives each
its own peak memory, threads and random state, and a crash ends one cell, not the study.
"""

import csv
import json
import os
import platform
import re
import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from gta.clips.dataset import VideoDataset
from gta.clips.loader import build_loader
from gta.clips.transforms import Normalize
from gta.config import ClipConfig, RunConfig, config_to_json
from gta.datasets.frame_store import FrameStore
from gta.datasets.listing import VideoList, open_videos
from gta.evaluation.metrics import summarise
from gta.evaluation.orders import ORDERED, REVERSED
from gta.evaluation.probe import ProbeResult, probe
from gta.files import write_json
from gta.model_card import describe, library_versions
from gta.models.classifier import VideoClassifier
from gta.models.flops import count_flops
from gta.models.registry import create_model
from gta.runs.reversals import stated_reversals
from gta.studies.ensembles import write_orders
from gta.studies.grids import Budget, Row, grid_from_json
from gta.studies.lifeline import end_with_input
from gta.studies.results import RESULT, CellResult, result_to_json
from gta.studies.specification import RUN, SPECIFICATION
from gta.training.fit import FitResult, fit
from gta.training.folder import LAST

_PERMUTATIONS = 2
_MIB = 2**20


@dataclass(frozen=True)
class Videos:
    """The two splits that all cells share, and the store of their frames, if there is one."""

    train: VideoList
    val: VideoList
    store: FrameStore | None

    @property
    def reversals(self) -> dict[str, str]:
        """Class -> its counterpart in the opposite direction, where one is known."""
        return stated_reversals(self.train.classes)


def row_model(row: Row, budget: Budget, num_classes: int) -> VideoClassifier:
    """Build the model of a row (its weights are drawn from PyTorch's global generator)."""
    mixing: dict[str, Any] = dict(row.mixing or {})
    return create_model(
        row.model,
        num_classes=num_classes,
        num_frames=row.num_frames or budget.clip.num_frames,
        dropout=budget.dropout,
        at=None if row.at is None else dict(row.at),
        num_groups=row.num_groups,
        num_regions=row.num_regions,
        **mixing,
    )


def row_clip(row: Row, budget: Budget) -> ClipConfig:
    """How a row's model sees the videos."""
    return replace(budget.clip, num_frames=row.num_frames or budget.clip.num_frames)


def run_cell(row: Row, budget: Budget, *, seed: int, videos: Videos, folder: Path, num_threads: int) -> CellResult:
    """Train the row's model with one seed, or continue where it was interrupted, and measure the final weights.

    Args:
        row: the model.
        budget: what every cell gets.
        seed: seed of weights, order and augmentation.
        videos: training and held-out videos.
        folder: folder of the cell; gets `run/` and, last, `result.json`.
        num_threads: CPU threads.
    """
    torch.set_num_threads(num_threads)
    clip = row_clip(row, budget)
    prepare = Normalize(clip.mean, clip.std, flow=clip.flow)
    torch.manual_seed(seed)
    model = row_model(row, budget, len(videos.train.classes))
    gflops = count_flops(model, (clip.channels, clip.num_frames, clip.crop_size, clip.crop_size)) / 1e9
    train_loader, val_loader = _loaders(clip, budget, seed, videos)
    description = describe(
        model=model.arguments,
        classes=videos.train.classes,
        clip=config_to_json(clip),
        reversals=videos.reversals,
    )
    run = run_config(budget, seed=seed, folder=folder / RUN, num_threads=num_threads)
    resumed = (folder / RUN / LAST).exists()  # then this process sees a part of the training only
    before = process_memory_mib()
    fitted = fit(
        model,
        train_loader,
        val_loader,
        prepare=prepare,
        optim=budget.optim,
        run=run,
        description=description,
        config={
            "model": model.arguments,
            "data": {"root": str(videos.train.root), "clip": config_to_json(clip)},
            "optim": config_to_json(budget.optim),
            "run": config_to_json(run),
        },
        resume=True,
        live=False,
    )
    probed = probe(
        model,
        val_loader,
        prepare=prepare,
        classes=videos.train.classes,
        reversals=videos.reversals,
        averaging=clip.averaging,
        num_permutations=_PERMUTATIONS,
        seed=0,  # in 32-bit arithmetic: whether a model sees the order must not drown in rounding
    )
    memory = None if resumed else _peak_memory_mib(before, budget.accelerator)
    seconds, rates = _timing(fitted.folder)
    result = _result(
        row,
        seed,
        model,
        fitted,
        probed,
        gflops=gflops,
        clips_per_second=statistics.median(rates) if rates else None,
        train_seconds=None if resumed else sum(seconds),
        peak_memory_mib=memory,
        machine=describe_machine(num_threads, budget.accelerator),
    )
    fitted.best_checkpoint.unlink(missing_ok=True)  # the study judges the final weights; no epoch is picked
    write_orders(folder, probed.labels, probed.scores)
    write_json(folder / RESULT, result_to_json(result))
    return result


def _loaders(clip: ClipConfig, budget: Budget, seed: int, videos: Videos) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Loaders of the training and of the held-out clips."""
    opener = None if videos.store is None else videos.store.open
    train, val = (
        build_loader(
            VideoDataset(part, clip, training=training, seed=seed, opener=opener),
            batch_size=budget.batch_size,
            num_workers=budget.num_workers,
            shuffle=training,
            seed=seed,
            drop_last=training,
            pin_memory=budget.accelerator == "gpu",
        )
        for part, training in ((videos.train, True), (videos.val, False))
    )
    return train, val


def run_config(budget: Budget, *, seed: int, folder: Path, num_threads: int) -> RunConfig:
    """How the cell is trained: on one device, validated about four times."""
    return RunConfig(
        folder=folder,
        max_epochs=budget.epochs,
        seed=seed,
        precision=budget.precision,
        accelerator=budget.accelerator,
        devices=1,
        num_threads=num_threads,
        compile=budget.compile,
        validate_every=max(1, budget.epochs // 4),
        checkpoint_minutes=1.0,
    )


def _result(
    row: Row,
    seed: int,
    model: VideoClassifier,
    fitted: FitResult,
    probed: ProbeResult,
    *,
    gflops: float,
    clips_per_second: float | None,
    train_seconds: float | None,
    peak_memory_mib: float | None,
    machine: str,
) -> CellResult:
    measures = summarise(probed.scores[ORDERED], probed.labels, probed.classes, dict(probed.reversals))
    shuffled = probed.shuffled_top1()
    assert shuffled is not None  # there are always shuffles
    names = ("train_loss", "train_top1", "val_loss", "val_top1", "val_direction_accuracy")
    return CellResult(
        row=row.key,
        seed=seed,
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
        clips_per_second=clips_per_second,
        train_seconds=train_seconds,
        peak_memory_mib=peak_memory_mib,
        curves={name: [line.get(name) for line in fitted.rows] for name in names},
        model=model.arguments,
        versions=library_versions(),
        machine=machine,
    )


def _timing(run_folder: Path) -> tuple[list[float], list[float]]:
    """Seconds and training clips per second of each epoch; not of one that was interrupted in its validation."""
    with (run_folder / "timing.csv").open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["seconds"]]
    return [float(line["seconds"]) for line in lines], [float(line["clips_per_second"]) for line in lines]


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


def main(folder: Path) -> None:
    """Do the cell that `folder/cell.json` describes."""
    values = json.loads((folder / SPECIFICATION).read_text(encoding="utf-8"))
    grid = grid_from_json(values["grid"], source=folder / SPECIFICATION)
    videos = Videos(
        train=open_videos(values["data"], "train"),
        val=open_videos(values["data"], "val"),
        store=FrameStore(values["store"]) if values["store"] else None,
    )
    run_cell(
        grid.row(values["row"]),
        grid.budget,
        seed=values["seed"],
        videos=videos,
        folder=folder,
        num_threads=values["num_threads"],
    )


if __name__ == "__main__":
    end_with_input()
    main(Path(sys.argv[1]))
