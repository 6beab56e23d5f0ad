"""Do explanations point at what moves? `python benchmarks/explain_pointing.py --write`.

Trains the narrow GTA, DNL and NL models with three seeds each as `gta train synthetic` does (runs that are there are
kept), explains freshly rendered videos, and compares with the renderer's masks of the object:

- class maps: the share of a map's weight that lies on the object, over the object's share of the pixels; and how often
  the map's highest point lies on the object;
- frame importance: the rank correlation, over a clip's frames, of how much leaving a frame out changes the class's
  log-odds, in either direction, with how much the object differs from that of the frame that stands in.

Objects are mostly near the middle, so a map that always points there would do well. Each map is therefore also scored
against the masks of all other videos, and each importance against all other videos' motion: only what is above that
is due to the video. Prints a Markdown table; --write keeps it in docs/results/explain.md.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gta.clips.sampling import evaluation_indices
from gta.clips.transforms import EvaluationViews
from gta.config import ClipConfig
from gta.explain import Explanation, explain
from gta.files import write_text
from gta.model_card import library_versions
from gta.predictor import Predictor
from gta.recipes.demo import demo
from gta.runs.train import train
from gta.studies.cell import describe_machine
from gta.synthetic import synthesize
from gta.video.reading import open_video

MODELS = ("tiny_gta", "tiny_dnl", "tiny_nl")
MASKED_SEED = 1001  # another than that of the training videos
RESULTS = Path(__file__).parents[1] / "docs" / "results" / "explain.md"
_NOTES = "\n## What it shows\n"
"""What stands under this heading is written by hand and kept."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """What is measured of one run, mean over the videos: against the own masks, and against those of other videos."""

    top1: float
    weight: tuple[float, float]
    hits: tuple[float, float]
    grad_cam_weight: tuple[float, float]
    grad_cam_hits: tuple[float, float]
    motion: tuple[float, float]
    area: float
    """The object's share of the pixels."""


def main() -> None:
    """Measure all models and seeds, print the table, and keep it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmarks/explain"), help="videos and runs")
    parser.add_argument("--videos", type=int, default=100, help="videos that are explained")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="keep the table in docs/results/explain.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    masked = options.folder / "masked"
    synthesize(options.folder / "videos", num_videos=1280, seed=0, val_fraction=0.1, num_workers=2)
    synthesize(masked, num_videos=options.videos, seed=MASKED_SEED, val_fraction=0, masks=True)
    found: dict[str, list[Scores]] = {}
    for model in MODELS:
        for seed in range(options.seeds):
            checkpoint = trained(options.folder, model, seed)
            found.setdefault(model, []).append(measure(checkpoint, masked))
            print(f"{model}, seed {seed}: {found[model][-1]}", file=sys.stderr, flush=True)
    text = report(found, options.videos)
    print(text)
    if options.write:
        notes = RESULTS.read_text(encoding="utf-8").partition(_NOTES)[2] if RESULTS.exists() else ""
        command = "```\npython benchmarks/explain_pointing.py --write\n```"
        write_text(RESULTS, f"# Do explanations point at what moves?\n\n{command}\n\n{text}\n{_NOTES}{notes}")


def trained(folder: Path, model: str, seed: int) -> Path:
    """Train a model unless it is there; returns its best checkpoint."""
    run = folder / f"{model}-{seed}"
    if not (run / "best.ckpt").exists():
        videos = folder / "videos"
        train(demo(model=model, videos=videos, folder=run, max_epochs=14, seed=seed, num_workers=1), resume=True)
    return run / "best.ckpt"


def measure(checkpoint: Path, masked: Path) -> Scores:
    """Explain every masked video with one model."""
    predictor = Predictor.from_checkpoint(checkpoint, device="cpu")
    videos = sorted(masked.rglob("*.mp4"))
    masks = [clip_mask(path, masked, predictor.clip) for path in videos]
    records = [explain(predictor, path) for path in videos]
    plain = [explain(predictor, path, method="grad_cam", importance=False) for path in videos]
    right = [r.classes[r.class_index] == path.parent.name for r, path in zip(records, videos, strict=True)]
    weight, hits = point(records, masks)
    grad_cam_weight, grad_cam_hits = point(plain, masks)
    area = statistics.fmean(float(mask.mean()) for mask in masks)
    return Scores(statistics.fmean(right), weight, hits, grad_cam_weight, grad_cam_hits, follow(records, masks), area)


def clip_mask(path: Path, masked: Path, clip: ClipConfig) -> Array:
    """The object's share of each pixel of the clip that the model sees, (T, H, W) in [0, 1]."""
    one = replace(clip, test_clips=1, test_crops=1)
    views = EvaluationViews(one)
    with open_video(path) as video:
        indices = list(evaluation_indices(one, video.num_frames)[0])
    with np.load(masked / "masks" / path.relative_to(masked).with_suffix(".npz")) as stored:
        mask = torch.from_numpy(stored["mask"][indices])[:, None].expand(-1, 3, -1, -1)
    return views.finish(torch.stack([views.fit(frame) for frame in mask]))[0, 0].double().numpy() / 255


def point(records: Sequence[Explanation], masks: Sequence[Array]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Weight on the object over its area, and share of highest points on it; each for the own and for other masks."""
    targets = np.stack([mask.ravel() for mask in masks])
    maps = np.stack([enlarged(record, mask.shape).ravel() for record, mask in zip(records, masks, strict=True)])
    kept = maps.sum(axis=1) > 0
    weights = maps / np.where(kept, maps.sum(axis=1), 1)[:, None]
    ratio = (weights @ targets.T / targets.mean(axis=1))[kept]
    hits = targets[:, maps.argmax(axis=1)].T[kept]
    own = np.eye(len(maps), dtype=bool)[kept]
    return (ratio[own].mean(), ratio[~own].mean()), (hits[own].mean(), hits[~own].mean())


def enlarged(record: Explanation, shape: tuple[int, ...]) -> Array:
    """The explained class's maps at the size of the frames."""
    maps = torch.from_numpy(record.class_maps[0].maps)[:, None].double()
    return torch.nn.functional.interpolate(maps, size=shape[1:], mode="bilinear")[:, 0].numpy()


def follow(records: Sequence[Explanation], masks: Sequence[Array]) -> tuple[float, float]:
    """Mean rank correlation of the importance of frames with the object's change, own and other videos'."""
    changes = np.stack([change(mask) for mask in masks])
    moving = changes.max(axis=1) > 0  # where nothing moves there is no order of frames to agree with
    importance = np.stack([np.abs(record.importance.lost) for record in records if record.importance is not None])
    agreement = standard_ranks(importance) @ standard_ranks(changes[moving]).T / importance.shape[1]
    own = np.eye(len(records), dtype=bool)[:, moving]
    return float(agreement[own].mean()), float(agreement[~own].mean())


def change(mask: Array) -> Array:
    """How much each frame's mask differs from that of the frame that stands in when it is left out."""
    stand_in = np.concatenate([mask[1:2], mask[:-1]])
    return np.abs(mask - stand_in).mean(axis=(1, 2))


def standard_ranks(rows: Array) -> Array:
    """Ranks within each row, ties sharing theirs, with mean 0 and standard deviation 1."""
    ranks = (rows[:, :, None] > rows[:, None]).sum(axis=2) + 0.5 * (rows[:, :, None] == rows[:, None]).sum(axis=2)
    ranks = ranks - ranks.mean(axis=1, keepdims=True)
    return ranks / np.maximum(ranks.std(axis=1, keepdims=True), 1e-12)


def report(found: dict[str, list[Scores]], videos: int) -> str:
    """The tables: own masks, other videos' masks, and the gap with its sample deviation over the seeds."""
    pointing = ["| model | maps | weight | others | gap | hits % | others | gap |", f"| --- | --- |{' ---: |' * 6}"]
    importance = ["| model | top-1 % | agreement | others | gap |", f"| --- |{' ---: |' * 4}"]
    for model, scores in found.items():
        layer = f"{_cell([s.weight for s in scores], 2)} | {_cell([s.hits for s in scores], 1, 100)}"
        grad = f"{_cell([s.grad_cam_weight for s in scores], 2)} | {_cell([s.grad_cam_hits for s in scores], 1, 100)}"
        pointing += [f"| {model} | LayerCAM | {layer} |", f"| {model} | Grad-CAM | {grad} |"]
        top1 = statistics.fmean(100 * s.top1 for s in scores)
        importance.append(f"| {model} | {top1:.1f} | {_cell([s.motion for s in scores], 2)} |")
    runs = [run for scores in found.values() for run in scores]
    versions = library_versions()
    notes = (
        f"{videos} videos, {len(runs) // len(found)} seeds; the predicted class is explained, its maps are those of "
        "the last layer with at least 4 x 4 positions. Weight: share of a map on the object over the object's share "
        "of the pixels (1: spread evenly). Hits: how often the highest point is on the object, which holds "
        f"{100 * runs[0].area:.1f} % of the pixels. Agreement: rank correlation, over the frames of a clip, of the "
        "log-odds that leaving a frame out moves with the object's change. Others: the same against the masks of all "
        "other videos. Gap: mean ± sample deviation over the seeds. "
        f"gta {versions['gta']}, PyTorch {versions['torch']}, {describe_machine(1)}."
    )
    return "\n".join([*pointing, "", *importance, "", notes.replace("thread(s) per cell", "thread")])


def _cell(pairs: list[tuple[float, float]], digits: int, factor: float = 1) -> str:
    own, other = ([factor * pair[side] for pair in pairs] for side in (0, 1))
    gaps = [a - b for a, b in zip(own, other, strict=True)]
    spread = statistics.stdev(gaps) if len(gaps) > 1 else float("nan")
    means = [f"{statistics.fmean(values):.{digits}f}" for values in (own, other)]
    return f"{means[0]} | {means[1]} | {statistics.fmean(gaps):+.{digits}f} ± {spread:.{digits}f}"


if __name__ == "__main__":
    main()
