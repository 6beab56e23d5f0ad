"""How the block's learned start matters: `python benchmarks/mixing_init.py --seeds 3 --write`.

Trains the same small GTA model under the CPU budget of the studies with one thing changed at a time: the scale and
distribution of the start of the T x T matrices M, an identity in it, its learning rate and weight decay, whether the
norm after the block starts at 0 - and for region GTA how sharp the predicted regions start and how many there are. The
synthetic videos are rendered once into runs/benchmarks (or taken from --data). Prints a Markdown table: loss after the
first, second, ... quarter of the training, top-1 at the end. --write keeps it in docs/results/mixing_init.md.
"""

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from gta.blocks.gta import GlobalTemporalAttention
from gta.clips.dataset import VideoDataset
from gta.clips.loader import build_loader
from gta.clips.transforms import Normalize
from gta.config import OptimConfig, RunConfig, config_to_json
from gta.datasets.frame_store import build_store
from gta.datasets.listing import open_videos
from gta.evaluation.statistics import paired_gap
from gta.files import write_text
from gta.model_card import describe, library_versions
from gta.runs.composition import build_model
from gta.studies.cell import describe_machine
from gta.studies.grids import training_of
from gta.studies.study import prepare_videos
from gta.studies.tables import create_grid
from gta.synthetic.classes import REVERSALS
from gta.training.fit import fit


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


DEFAULT = normal(1.0)


@dataclass(frozen=True)
class Variant:
    """One change to the default. `region_scale` multiplies the starting weights of the layer that predicts regions."""

    start: Callable[[nn.Parameter], None] = DEFAULT
    row: str = "gta"
    mixing_lr_factor: float = 1.0
    decay_mixing: bool = False
    gamma: float = 0.0
    region_scale: float = 1.0
    num_regions: int = 8


VARIANTS: dict[str, Variant] = {
    "GTA, default: M normal, std 1/sqrt(G T)": Variant(),
    "M uniform, same variance": Variant(uniform),
    "M normal, std sqrt(2)/sqrt(G T)": Variant(normal(math.sqrt(2))),
    "M normal, std 0.1/sqrt(G T)": Variant(normal(0.1)),
    "M normal, std 3/sqrt(G T)": Variant(normal(3.0)),
    "M identity + normal": Variant(identity(1.0)),
    "M identity + 0.1 normal": Variant(identity(0.1)),
    "learning rate of M x 0.1": Variant(mixing_lr_factor=0.1),
    "learning rate of M x 10": Variant(mixing_lr_factor=10.0),
    "weight decay on M": Variant(decay_mixing=True),
    "gamma of the last norm 1": Variant(gamma=1.0),
    "region GTA alone, default": Variant(row="region"),
    "region GTA alone, region logits start x 8": Variant(row="region", region_scale=8.0),
    "region GTA alone, R = 32": Variant(row="region", num_regions=32),
    "region GTA alone, R = 32, logits x 8": Variant(row="region", num_regions=32, region_scale=8.0),
}
_DEFAULTS = {
    row: next(name for name, variant in VARIANTS.items() if variant == Variant(row=row)) for row in ("gta", "region")
}
"""Row of the grid -> the variant without any change."""
RESULTS = Path(__file__).parents[1] / "docs" / "results" / "mixing_init.md"


@torch.no_grad()
def start(network: nn.Module, variant: Variant) -> None:
    """Give a freshly initialised network the starting values of the variant."""
    for module in network.modules():
        if isinstance(module, GlobalTemporalAttention):
            for mixing in (module.mixing, module.region_mixing):
                if mixing is not None:
                    variant.start(mixing)
            if module.region:
                module.values.weight[-module.num_regions :] *= variant.region_scale
            nn.init.constant_(module.output.last_norm.weight, variant.gamma)


def train(variant: Variant, *, data: Path, store: Path, seed: int, folder: Path) -> list[float]:
    """Train one model; returns the loss of each quarter of the epochs and the final top-1."""
    torch.set_num_threads(1)
    grid = create_grid("table3")
    budget = grid.budget
    row = replace(grid.row(variant.row), num_regions=variant.num_regions)
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
    network = build_model(training_of(row, budget).model, num_classes=len(parts[0].classes))
    start(network, variant)
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


def report(results: dict[tuple[str, int], list[float]], variants: list[str], seeds: range) -> str:
    """The Markdown table."""
    columns = len(next(iter(results.values())))
    quarters = " | ".join(f"loss, quarter {n}" for n in range(1, columns))
    lines = [
        f"| variant | {quarters} | top-1 % | lowest run | gap to the default |",
        "| --- |" + " ---: |" * (columns + 2),
    ]
    for name in variants:
        runs = [results[name, seed] for seed in seeds]
        means = [statistics.fmean(values) for values in zip(*runs, strict=True)]
        tops = [100 * run[-1] for run in runs]
        spread = f" ± {statistics.stdev(tops):.1f}" if len(seeds) > 1 else ""
        losses = " | ".join(f"{value:.3f}" for value in means[:-1])
        gap = _gap(results, name, _DEFAULTS[VARIANTS[name].row], seeds)
        lines.append(f"| {name} | {losses} | {statistics.fmean(tops):.1f}{spread} | {min(tops):.1f} | {gap} |")
    budget = create_grid("table3").budget
    versions = ", ".join(f"{name} {version}" for name, version in library_versions().items())
    lines += [
        "",
        f"{budget.num_train:,} training and {budget.num_val} held-out synthetic videos, {budget.epochs} epochs, "
        f"batches of {budget.batch_size}, {budget.optim.optimizer} with learning rate {budget.optim.lr:g}; "
        f"mean ± sample deviation over seeds {seeds[0]} to {seeds[-1]}, final weights. Gap: points of top-1, seed by "
        f"seed, with the 95 % interval of the mean. {describe_machine(1)}.",
        "",
        f"Versions: {versions}.",
    ]
    return "\n".join(lines)


def _gap(results: dict[tuple[str, int], list[float]], name: str, default: str, seeds: range) -> str:
    """Top-1 minus that of the default; nothing for the default itself, or where it was not run."""
    if name == default or (default, seeds[0]) not in results:
        return ""
    gap = paired_gap(*({seed: 100 * results[key, seed][-1] for seed in seeds} for key in (name, default)))
    assert gap is not None  # both have all seeds
    if gap.half_width is None:
        return f"{gap.mean:+.1f}"
    return f"{gap.mean:+.1f} [{gap.mean - gap.half_width:+.1f}, {gap.mean + gap.half_width:+.1f}]"


def main() -> None:
    """Run the variants and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("runs/benchmarks/videos"), help="folder of synthetic videos")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each variant")
    parser.add_argument("--first-seed", type=int, default=0, help="the seeds are this one and those after it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), help="names; all if not given")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} in docs/results")
    parser.add_argument("--one", nargs=3, metavar=("NAME", "SEED", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    store = options.data.parent / "frames"
    if options.one:
        name, seed, folder = options.one
        values = train(VARIANTS[name], data=options.data, store=store, seed=int(seed), folder=Path(folder))
        print("RESULT", *values)
        return
    prepare_videos(create_grid("table3").budget, options.data, num_workers=options.jobs)
    parts = [open_videos(options.data, "train"), open_videos(options.data, "val")]
    build_store(store, [record for part in parts for record in part.records])
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    todo = [(name, seed) for seed in seeds for name in options.variants]
    with tempfile.TemporaryDirectory() as scratch:
        results = run_all(todo, options, Path(scratch))
    text = report(results, options.variants, seeds)
    print(text)
    if options.write:
        notes = RESULTS.read_text(encoding="utf-8").partition(_NOTES) if RESULTS.exists() else ("", "", "")
        command = f"```\npython benchmarks/mixing_init.py --seeds {options.seeds} --write\n```"
        write_text(
            RESULTS, f"# Initial values of the block, one change at a time\n\n{command}\n\n{text}\n{_NOTES}{notes[2]}"
        )


_NOTES = "\n## What it shows\n"
"""What stands under this heading is written by hand and kept."""


def run_all(
    todo: list[tuple[str, int]], options: argparse.Namespace, scratch: Path
) -> dict[tuple[str, int], list[float]]:
    """Run every variant and seed in a process of its own, a few at a time."""
    command = [sys.executable, __file__, "--data", str(options.data)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def run_one(key: tuple[str, int]) -> list[float]:
        name, seed = key
        words = [*command, "--one", name, str(seed), str(scratch / f"{options.variants.index(name)}-{seed}")]
        done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            raise SystemExit(f"{name}, seed {seed} failed: {done.stderr[-2000:]}")
        line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
        values = [float(value) for value in line.split()[1:]]
        print(f"{name}, seed {seed}: {100 * values[-1]:.1f} %", file=sys.stderr, flush=True)
        return values

    with ThreadPoolExecutor(options.jobs) as pool:
        return dict(zip(todo, pool.map(run_one, todo), strict=True))


if __name__ == "__main__":
    main()
