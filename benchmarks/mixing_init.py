"""How the T x T matrices M should start and be trained: `python benchmarks/mixing_init.py --data VIDEOS --seeds 2`.

Trains the same small GTA model under the CPU budget of the studies with one thing changed at a time: the scale and
distribution of M's start, an identity in it, its learning rate and weight decay, the norm after the block and whether
it starts at 0. VIDEOS is a folder of synthetic videos with 54 x 72 pixels, such as the one that `gta study table1` has
made. Prints a Markdown table: loss after the first, second, ... quarter of the training, top-1 at the end.
"""

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from gta.config import OptimConfig, RunConfig, config_to_json
from gta.data.dataset import VideoDataset
from gta.data.listing import open_videos
from gta.data.loader import build_loader
from gta.data.synthetic.classes import REVERSALS
from gta.data.transforms import Normalize
from gta.engine.checkpoint import describe
from gta.engine.fit import fit
from gta.studies.cell import row_model
from gta.studies.frame_store import build_store
from gta.studies.grids import create_grid


def normal(factor: float) -> Callable[[nn.Parameter], None]:
    """Normal start; factor 1 keeps the variance over the sum of G groups and T frames."""

    def start(mixing: nn.Parameter) -> None:
        groups, _, frames, _ = mixing.shape
        nn.init.normal_(mixing, std=factor * (groups * frames) ** -0.5)

    return start


def uniform(mixing: nn.Parameter) -> None:
    """Uniform start of the same variance."""
    groups, _, frames, _ = mixing.shape
    bound = math.sqrt(3 / (groups * frames))
    nn.init.uniform_(mixing, -bound, bound)


def identity(noise: float) -> Callable[[nn.Parameter], None]:
    """Head k starts as group k with its frames in order, plus noise."""

    def start(mixing: nn.Parameter) -> None:
        normal(noise)(mixing)
        with torch.no_grad():
            for head in range(min(mixing.shape[:2])):
                mixing[head, head] += torch.eye(mixing.shape[-1])

    return start


@dataclass(frozen=True)
class Variant:
    """One change to the default."""

    start: Callable[[nn.Parameter], None]
    mixing_lr_factor: float = 1.0
    decay_mixing: bool = False
    gamma: float = 0.0


_DEFAULT = normal(1.0)
VARIANTS: dict[str, Variant] = {
    "default: normal, std 1/sqrt(G T)": Variant(_DEFAULT),
    "uniform, same variance": Variant(uniform),
    "normal, std sqrt(2)/sqrt(G T)": Variant(normal(math.sqrt(2))),
    "normal, std 0.1/sqrt(G T)": Variant(normal(0.1)),
    "normal, std 3/sqrt(G T)": Variant(normal(3.0)),
    "identity + normal": Variant(identity(1.0)),
    "identity + 0.1 normal": Variant(identity(0.1)),
    "learning rate of M x 0.1": Variant(_DEFAULT, mixing_lr_factor=0.1),
    "learning rate of M x 10": Variant(_DEFAULT, mixing_lr_factor=10.0),
    "weight decay on M": Variant(_DEFAULT, decay_mixing=True),
    "gamma of the last norm 1": Variant(_DEFAULT, gamma=1.0),
}


def train(variant: Variant, *, model: str, data: Path, store: Path, seed: int, folder: Path) -> list[float]:
    """Train one model; returns the loss of each quarter of the epochs and the final top-1."""
    torch.set_num_threads(1)
    grid = create_grid("table3")
    budget = grid.budget
    row = replace(grid.row("gta"), model=model)
    parts = [open_videos(data, "train"), open_videos(data, "val")]
    frames = build_store(store, [record for part in parts for record in part.records])
    loaders = [
        build_loader(
            VideoDataset(part, budget.clip, training=shuffle, seed=seed, opener=frames.open),
            batch_size=budget.batch_size,
            num_workers=0,
            shuffle=shuffle,
            seed=seed,
            drop_last=shuffle,
        )
        for part, shuffle in zip(parts, (True, False), strict=True)
    ]
    torch.manual_seed(seed)
    network = row_model(row, budget, len(parts[0].classes))
    for module in network.modules():
        mixing = getattr(module, "mixing", None)
        if isinstance(mixing, nn.Parameter):
            variant.start(mixing)
        if hasattr(module, "last_norm") and hasattr(module, "zero_init"):
            nn.init.constant_(module.last_norm.weight, variant.gamma)
    optim: OptimConfig = replace(
        budget.optim, mixing_lr_factor=variant.mixing_lr_factor, decay_mixing=variant.decay_mixing
    )
    result = fit(
        network,
        loaders[0],
        loaders[1],
        prepare=Normalize(budget.clip.mean, budget.clip.std),
        optim=optim,
        run=RunConfig(
            folder=folder,
            max_epochs=budget.epochs,
            seed=seed,
            accelerator="cpu",
            num_threads=1,
            validate_every=budget.epochs,
        ),
        description=describe(
            model=network.arguments,
            classes=parts[0].classes,
            clip=config_to_json(budget.clip),
            reversals=REVERSALS,
        ),
        live=False,
    )
    quarter = max(1, budget.epochs // 4)
    return [*(line["train_loss"] for line in result.rows[quarter - 1 :: quarter]), result.rows[-1]["val_top1"]]


def main() -> None:
    """Run the variants and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of synthetic videos")
    parser.add_argument("--model", default="tiny_gta")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), help="names; all if not given")
    parser.add_argument("--one", nargs=3, metavar=("NAME", "SEED", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    store = options.data.parent / "frames"
    if options.one:
        name, seed, folder = options.one
        values = train(
            VARIANTS[name], model=options.model, data=options.data, store=store, seed=int(seed), folder=Path(folder)
        )
        print("RESULT", *values)
        return
    parts = [open_videos(options.data, "train"), open_videos(options.data, "val")]
    build_store(store, [record for part in parts for record in part.records])
    with tempfile.TemporaryDirectory() as scratch:
        todo = [(name, seed) for seed in range(options.seeds) for name in options.variants]
        results = run_all(todo, options, Path(scratch))
    columns = len(next(iter(results.values())))
    print("| variant | " + " | ".join(f"loss, quarter {n}" for n in range(1, columns)) + " | top-1 % |")
    print("| --- |" + " ---: |" * columns)
    for name in options.variants:
        runs = [results[name, seed] for seed in range(options.seeds)]
        means = [statistics.fmean(values) for values in zip(*runs, strict=True)]
        spread = f" ± {100 * statistics.stdev([run[-1] for run in runs]):.1f}" if len(runs) > 1 else ""
        print(
            f"| {name} | " + " | ".join(f"{value:.3f}" for value in means[:-1]) + f" | {100 * means[-1]:.1f}{spread} |"
        )


def run_all(
    todo: list[tuple[str, int]], options: argparse.Namespace, scratch: Path
) -> dict[tuple[str, int], list[float]]:
    """Run every variant and seed in a process of its own, a few at a time."""
    command = [sys.executable, __file__, "--data", str(options.data), "--model", options.model]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    results: dict[tuple[str, int], list[float]] = {}
    for start in range(0, len(todo), options.jobs):
        batch = todo[start : start + options.jobs]
        running = [
            subprocess.Popen(
                [*command, "--one", name, str(seed), str(scratch / f"{start}-{number}")],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment,
            )
            for number, (name, seed) in enumerate(batch)
        ]
        for key, process in zip(batch, running, strict=True):
            output, _ = process.communicate()
            if process.returncode:
                sys.exit(f"{key} failed: run it alone with --variants to see why")
            line = next(line for line in output.splitlines() if line.startswith("RESULT"))
            results[key] = [float(value) for value in line.split()[1:]]
            print(f"{key[0]}, seed {key[1]}: {100 * results[key][-1]:.1f} %", file=sys.stderr, flush=True)
    return results


if __name__ == "__main__":
    main()
