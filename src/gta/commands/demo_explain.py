"""The demo's look inside its models: the order of frames taken away from them, and what the last one sees."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gta.explain import Explanation
    from gta.predictor import Predictor
    from gta.types import Prediction
    from gta.viz.report import Picture

PAGE = "explain.html"
_SHUFFLES = 2


def order_accuracies(checkpoint: Path, videos: Path, *, seed: int, num_workers: int) -> dict[str, float]:
    """Top-1 on the test videos with their frames in order, reversed, shuffled (mean), and one frame only.

    Args:
        checkpoint: of the model.
        videos: the data set.
        seed: of the shuffles.
        num_workers: processes that decode.
    """
    from gta.commands.probe import ProbeArguments, probe_checkpoint

    result, _ = probe_checkpoint(
        ProbeArguments(
            checkpoint=checkpoint,
            data=videos,
            split="test",
            num_permutations=_SHUFFLES,
            seed=seed,
            num_workers=num_workers,
            device="cpu",
        )
    )
    shuffled = result.shuffled_top1()
    assert shuffled is not None  # the classes are the model's, and there are shuffles
    kept = {name: result.top1(name) for name in result.treatments if name not in result.shuffles}
    return {**kept, "shuffled": shuffled.mean}


def predict_backwards(predictor: "Predictor", path: Path, *, top_k: int) -> "Prediction":
    """What a model calls a video whose frames come in reverse order."""
    from gta.clips.dataset import clip_views
    from gta.types import Prediction

    return Prediction(path, *predictor.best(clip_views(path, predictor.clip).flip(2), top_k))


def explain_fresh(predictors: "Mapping[str, Predictor]", path: Path, folder: Path) -> "list[Picture]":
    """Write explain.html of a video, and return pictures of what the last model sees in it.

    Args:
        predictors: the models by name; the last one is explained, and beside it the last other one with attention.
        path: the video.
        folder: where explain.html goes.
    """
    from gta.explain import explain
    from gta.explain.blocks import attention_blocks
    from gta.viz.explain_page import TABLE_SIDE, write_explain_page

    *others, last = predictors.values()
    beside = [predictor for predictor in others if attention_blocks(predictor.model)][-1:]
    records = [explain(predictor, path, swap=True, table_side=TABLE_SIDE) for predictor in (last, *beside)]
    write_explain_page(folder / PAGE, records)
    return _pictures(records[0])


def _pictures(record: "Explanation") -> "list[Picture]":
    from gta.viz.explain_figures import record_figures
    from gta.viz.figures import png_bytes
    from gta.viz.report import Picture

    words = {
        "attention": (
            f"attention of {record.model} from one point of a video",
            "What the position of the red cross attends to, where in each frame the evidence for the class is, and how "
            "much the class loses when a frame is left out.",
        ),
        "regions": (
            f"regions of {record.model} in a video",
            "The most distinct of the learned regions; next to each, how sharply it separates positions.",
        ),
        "mixing": (
            f"mixing of frames in {record.model}",
            "Left of each pair: how much each frame (column) changes each other one (row) in this video. Learned "
            "matrices that treat earlier and later frames differently can distinguish a video from its reversal.",
        ),
    }
    return [Picture(png_bytes(figure), *words[name]) for name, figure in record_figures(record).items()]
