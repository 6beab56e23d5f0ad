"""Chiral actions of real people: `python benchmarks/utd_mhad.py VIDEOS --crop CROPPED`, then `--grid tiny utd.json`.

The data are not part of this project. UTD-MHAD (Chen, Jafari and Kehtarnavaz, "UTD-MHAD: A Multimodal Dataset for Human
Action Recognition Utilizing a Depth Camera and a Wearable Inertial Sensor", ICIP 2015) is offered for research at
https://personal.utdallas.edu/~kehtar/UTD-MHAD.html: RGB.zip holds the colour videos, named
a<action>_s<subject>_t<trial>_color.avi, and Depth.zip the depth as .mat files. Either will do as videos of these names.

--crop writes each video cut to its person: one square box around everything that moves or, in depth without background,
is not black, over the whole video, with a margin. --grid writes a study for `gta study`:

    python benchmarks/utd_mhad.py --grid tiny tiny.json
    gta study tiny.json --data CROPPED --seeds 3 --output runs/utd-tiny
    python benchmarks/utd_mhad.py --grid lite0 lite0.json --weights LITE0.safetensors  # scripts/efficientnet_lite0.py
    gta study lite0.json --data CROPPED --seeds 3 --output runs/utd-lite0

--pairs prints how often each row of such a study tells the two directions of each pair apart:

    python benchmarks/utd_mhad.py --pairs runs/utd-tiny

Settings are chosen without the test people: `gta train` with `--fold 2` or `--fold 3` holds out one that trains.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gta.datasets.layouts.utd_mhad import UTD_MHAD_REVERSALS
from gta.datasets.listing import open_videos
from gta.evaluation.metrics import direction_accuracy, reversal_indices
from gta.evaluation.orders import ORDERED
from gta.evaluation.statistics import summarise
from gta.studies.ensembles import read_orders
from gta.studies.grids import Budget, Grid, Row, grid_to_json
from gta.studies.report import percent
from gta.studies.results import read_result
from gta.studies.tables import create_grid
from gta.synthetic.write import write_video
from gta.video.reading import read_video

_MARGIN = 0.12
_BLACK = 16
_MOVES = 24
BLOCKS = {
    "": "alone",
    "nl": "+ NL",
    "dnl": "+ DNL",
    "tsm": "TSM",
    "tape": "+ TAPE",
    "gta": "+ GTA",
    "tsm_gta": "TSM + GTA",
}
FRAMES = (8, 16)
PAIRS = list(UTD_MHAD_REVERSALS.items())[::2]  # each pair stands there both ways round
LITE0 = "tf_efficientnet_lite0"


def main() -> None:
    """Crop the videos, write the grid, tell the pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="?", help="folder of UTD-MHAD's videos")
    parser.add_argument("--crop", type=Path, help="folder to write cropped videos to")
    parser.add_argument("--side", type=int, default=96, help="height and width of the cropped videos, in pixels")
    parser.add_argument("--grid", nargs=2, metavar=("{tiny,lite0}", "FILE"), help="grid to write, and its file")
    parser.add_argument("--weights", type=Path, help="what scripts/efficientnet_lite0.py wrote, for the grid lite0")
    parser.add_argument("--epochs", type=int, help="epochs of the grid")
    parser.add_argument("--lr", type=float, help="learning rate of the grid")
    parser.add_argument("--pairs", type=Path, metavar="STUDY", help="folder of a study whose pairs are told")
    options = parser.parse_args()
    if options.crop is not None:
        if options.videos is None or not options.videos.is_dir():
            parser.error("name the folder of the videos; see --help for where UTD-MHAD is offered")
        crop_all(options.videos, options.crop, options.side)
    elif options.videos is not None or (options.grid is None and options.pairs is None):
        parser.error("say what to do: VIDEOS --crop FOLDER, --grid and a file, or --pairs")
    if options.pairs is not None:
        if not (options.pairs / "cells").is_dir():
            parser.error(f"{options.pairs}: not the folder of a study")
        print(pair_table(options.pairs))
    if options.grid is not None:
        kind, file = options.grid
        if kind not in ("tiny", "lite0"):
            parser.error(f"there is no grid {kind}: choose tiny or lite0")
        if kind == "lite0" and (options.weights is None or not options.weights.is_file()):
            parser.error("the grid lite0 needs --weights, a file that scripts/efficientnet_lite0.py wrote")
        grid = tiny_grid() if kind == "tiny" else lite0_grid(options.weights)
        budget = grid.budget
        epochs = budget.epochs if options.epochs is None else options.epochs
        optim = budget.optim if options.lr is None else replace(budget.optim, lr=options.lr)
        grid = replace(grid, budget=replace(budget, epochs=epochs, optim=optim))
        Path(file).write_text(json.dumps(grid_to_json(grid), indent=2) + "\n", encoding="utf-8")


def crop_all(root: Path, folder: Path, side: int) -> None:
    """Write every video of both splits cut to its person; those that are there already are kept."""
    for split in ("train", "val"):
        for record in open_videos(root, split, "utd_mhad").records:
            path = folder / f"{record.path.stem}.mp4"
            if not path.exists():
                frames = read_video(record.path).permute(0, 2, 3, 1).numpy()
                path.parent.mkdir(parents=True, exist_ok=True)
                write_video(path, cropped(frames, side), fps=30)


def cropped(frames: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The square around the person in (T, H, W, 3), as (T, side, side, 3); what lies beyond the frame is black."""
    gray = frames.max(axis=3)
    still = np.median(gray, axis=0)
    person = gray > _BLACK if np.median(still) <= _BLACK else np.abs(gray.astype(np.int16) - still) > _MOVES
    share = person.mean(axis=0)
    rows, columns = (np.flatnonzero((share > 0.02).sum(axis=axis) > 2) for axis in (1, 0))
    height, width = frames.shape[1:3]
    top, bottom = (rows[0], rows[-1] + 1) if len(rows) else (0, height)
    left, right = (columns[0], columns[-1] + 1) if len(columns) else (0, width)
    half = round(max(bottom - top, right - left) * (0.5 + _MARGIN))
    y, x = (top + bottom) // 2, (left + right) // 2
    padded = np.pad(frames, ((0, 0), (half, half), (half, half), (0, 0)))
    square = padded[:, y : y + 2 * half, x : x + 2 * half]
    return np.stack([np.asarray(Image.fromarray(picture).resize((side, side))) for picture in square])


def pair_table(study: Path) -> str:
    """Pair accuracy of each row in percent: of the clips of a pair, those whose class scores above the other's."""
    lines = [
        "| row | " + " | ".join(f"{one} / {other}" for one, other in PAIRS) + " |",
        "| --- |" + " ---: |" * len(PAIRS),
    ]
    for row in sorted((study / "cells").iterdir()):
        shares: list[list[float]] = [[] for _ in PAIRS]
        for cell in sorted(row.glob("seed*")):
            result, stored = read_result(cell), read_orders(cell)
            if result is None or stored is None:
                continue
            labels, scores = stored
            for found, (one, other) in zip(shares, PAIRS, strict=True):
                counterparts = reversal_indices(tuple(result.per_class), {one: other, other: one})
                share = direction_accuracy(scores[ORDERED], labels, counterparts)
                if share is not None:
                    found.append(share)
        cells = [percent(summarise(found)) for found in shares]
        lines.append(f"| {row.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def tiny_grid() -> Grid:
    """Tiny networks from random weights."""
    rows = tuple(
        Row(
            f"{frames}-{block or 'alone'}".replace("_", "-"),
            label,
            f"tiny_{block}" if block else "tiny",
            f"{frames} frames",
            num_frames=frames,
        )
        for frames in FRAMES
        for block, label in BLOCKS.items()
    )
    budget = create_grid("table3").budget
    clip = replace(budget.clip, resize=(52, 52), crop_size=48)
    optim = replace(budget.optim, lr=4e-3)
    title = "narrow networks from random weights"
    return _grid("utd-tiny", title, rows, replace(budget, epochs=24, clip=clip, optim=optim))


def lite0_grid(weights: Path) -> Grid:
    """EfficientNet-Lite0 with ImageNet weights: trained as a whole, and frozen, with a block after its last stage."""
    rows = tuple(
        Row(
            f"{frames}-{'frozen-' if frozen else ''}{block or 'alone'}".replace("_", "-"),
            label,
            f"{LITE0}_{block}" if block else LITE0,
            f"{frames} frames, {'frozen' if frozen else 'trained'}",
            at={"res5": (4,)} if frozen and block else None,
            pretrained=str(weights),
            freeze="backbone" if frozen else "none",
            num_frames=frames,
        )
        for frames in FRAMES
        for frozen in (False, True)
        for block, label in BLOCKS.items()
        if not (frozen and "tsm" in block)  # a frozen network cannot learn to read what was shifted
    )
    budget = create_grid("table3").budget
    clip = replace(budget.clip, resize=(104, 104), crop_size=96, mean=(0.5,) * 3, std=(0.5,) * 3)
    optim = replace(budget.optim, lr=1e-3)
    title = "EfficientNet-Lite0 with ImageNet weights"
    return _grid("utd-lite0", title, rows, replace(budget, epochs=10, clip=clip, optim=optim))


def _grid(name: str, title: str, rows: tuple[Row, ...], budget: Budget) -> Grid:
    return Grid(
        name,
        f"UTD-MHAD: chiral actions of real people, {title}",
        "Which temporal modules tell apart actions of unseen people, and those that differ in direction only?",
        rows,
        tuple(row.key for row in rows if row.label == BLOCKS["gta"]),
        budget,
    )


if __name__ == "__main__":
    main()
