"""`evaluate` and `probe`: measure a checkpoint on a data set, for the command line and Python."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from gta.blocks.fused import fuse
from gta.checkpoint import read_checkpoint
from gta.clips.dataset import VideoDataset
from gta.clips.loader import build_loader
from gta.clips.transforms import Normalize
from gta.config import Averaging, ClipConfig, Layout, Precision, Split, config_to_json
from gta.datasets.frame_store import FrameStore
from gta.datasets.listing import VideoList, open_videos
from gta.errors import OptionError, require_least
from gta.evaluation.any_model import probe_model
from gta.evaluation.opposites import Opposites, find_chiral_pairs, known_opposites, reversals_of
from gta.evaluation.probe import ProbeResult
from gta.evaluation.probe import probe as probe_loader
from gta.evaluation.scores import EvaluationResult
from gta.evaluation.scores import evaluate as evaluate_loader
from gta.export.card import is_exported
from gta.predictor import build_model, choose_device, clip_protocol, load_predictor
from gta.progress import counted
from gta.runs.sources import Source, find_source


@dataclass(frozen=True)
class Measuring:
    """Which videos a checkpoint is measured on, and how the measurement is computed.

    Args:
        data: folder of the data set; the one of the training run if not given.
        layout: layout of the folder; `auto` detects it.
        fold: split of UCF-101, HMDB-51 or UTD-MHAD, 1 to 3.
        split: which part of the data set.
        batch_size: videos per step.
        num_workers: processes that decode videos; 0 decodes in this process.
        precision: precision of the computation.
        device: `auto` (a GPU if there is one), or a PyTorch device name.
        live: whether to draw a progress bar; by default, only in a terminal or a notebook.
    """

    data: Path | None = None
    layout: Layout | None = None
    fold: int | None = None
    split: Split = "val"
    batch_size: int = 16
    num_workers: int = 2
    precision: Precision = "32"
    device: str = "auto"
    live: bool | None = None

    def __post_init__(self) -> None:
        if self.precision not in (known := get_args(Precision)):
            raise OptionError(f"`precision` is {self.precision!r}: it must be one of {', '.join(map(repr, known))}")
        require_least(self, batch_size=1, num_workers=0)

    def loader(self, videos: VideoList, clip: ClipConfig, device: torch.device, frames: Path | None = None) -> Any:
        """The batches of the videos, in their order; `frames` is the folder of a frame store that has them."""
        return build_loader(
            VideoDataset(videos, clip, training=False, opener=frames and FrameStore(frames).open),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            shuffle=False,
            pin_memory=device.type == "cuda",
        )


@dataclass(frozen=True)
class Evaluation:
    """The result of evaluating a checkpoint on a data set, and how it was obtained."""

    result: EvaluationResult
    """Accuracies and scores."""
    checkpoint: Path
    """The checkpoint, or the exported folder."""
    source: Source
    """The data set."""
    videos: VideoList
    """The videos of the evaluated split."""
    clip: ClipConfig
    """Sampling, preprocessing and views."""
    precision: Precision
    """Precision of the computation."""

    def to_json(self) -> dict[str, Any]:
        """Measures and settings as plain JSON values."""
        present = {record.label for record in self.videos.records}
        names = self.result.classes
        return {
            "checkpoint": str(self.checkpoint),
            "data": str(self.source.root),
            "layout": self.videos.layout,
            "fold": self.source.fold,
            "split": self.videos.split,
            "protocol": config_to_json(self.clip),
            "precision": self.precision,
            "classes_without_videos": [name for number, name in enumerate(names) if number not in present],
            **self.result.to_json(),
        }


def evaluate(
    checkpoint: str | Path,
    data: str | Path | None = None,
    *,
    layout: Layout | None = None,
    fold: int | None = None,
    split: Split = "val",
    test_clips: int | None = None,
    test_crops: Literal[1, 3] | None = None,
    averaging: Averaging | None = None,
    batch_size: int = 16,
    num_workers: int = 2,
    precision: Precision = "32",
    device: str = "auto",
    trust: bool = False,
    live: bool | None = None,
) -> EvaluationResult:
    """Measure a checkpoint on a data set, as `gta evaluate` does; nothing is written.

    Args:
        checkpoint: a .ckpt file of a training run, or a folder that `gta export` wrote.
        data: folder of the data set; by default, the one of the training run.
        layout: layout of the folder; `auto` detects it.
        fold: split of UCF-101, HMDB-51 or UTD-MHAD, 1 to 3.
        split: the split to evaluate.
        test_clips: temporal clips per video; by default, as stored in the checkpoint.
        test_crops: spatial crops per clip, 1 or 3; by default, as stored in the checkpoint.
        averaging: what is averaged over the views of a video; by default, as stored in the checkpoint.
        batch_size: videos per step.
        num_workers: processes that decode videos; 0 decodes in this process.
        precision: precision of the computation.
        device: `auto` (a GPU if there is one), or a PyTorch device name.
        trust: also load exported folders in the formats torch and aoti, whose files can run arbitrary code.
        live: whether to draw a progress bar; by default, only in a terminal or a notebook.

    Returns:
        Accuracies in [0, 1], overall and per class, the confusion matrix, and the scores of every video.

    Raises:
        CheckpointError: the checkpoint is missing or damaged.
        DataError: the data set is missing, or none of its videos can be read.
        OptionError: no data set is given, and none is stored with the checkpoint, or a value is invalid.

    >>> result = gta.evaluate("runs/mine/best.ckpt", "videos", test_clips=2, num_workers=0)
    >>> result.num_videos, result.scores.shape, 0 <= result.top1 <= 1
    (16, (16, 16), True)
    """
    how = Measuring(
        data=None if data is None else Path(data),
        layout=layout,
        fold=fold,
        split=split,
        batch_size=batch_size,
        num_workers=num_workers,
        precision=precision,
        device=device,
        live=live,
    )
    views = {"test_clips": test_clips, "test_crops": test_crops, "averaging": averaging}
    return measure_checkpoint(Path(checkpoint), how, views=views, trust=trust).result


def measure_checkpoint(path: Path, how: Measuring, *, views: dict[str, Any], trust: bool = False) -> Evaluation:
    """Evaluate; arguments as of `evaluate`.

    Args:
        views: fields of the clip configuration to be replaced; those that are None stay.
    """
    if how.precision != "32" and is_exported(path):
        raise OptionError(
            f"`precision` is {how.precision}: the precision of an exported model was chosen when it was exported"
        )
    predictor = load_predictor(path, device=how.device, trust=trust)
    clip = replace(predictor.clip, **{name: value for name, value in views.items() if value is not None})
    source = find_source(path, how.data, how.layout, how.fold)
    videos = open_videos(source.root, how.split, layout=source.layout, classes=predictor.classes, fold=source.fold)
    with counted("evaluating", len(videos), live=how.live) as on_batch:
        result = evaluate_loader(
            predictor.fused,
            how.loader(videos, clip, predictor.device),
            prepare=predictor.prepare,
            classes=predictor.classes,
            averaging=clip.averaging,
            reversals=predictor.reversals,
            precision=how.precision,
            device=predictor.device,
            on_batch=on_batch,
        )
    return Evaluation(result, path, source, videos, clip, how.precision)


def probe(
    model: str | Path | nn.Module,
    data: str | Path | Iterable[Any] | None = None,
    *,
    layout: str | None = None,
    fold: int | None = None,
    split: Split = "val",
    opposites: Opposites | None = None,
    num_permutations: int = 5,
    seed: int = 0,
    batch_size: int = 16,
    num_workers: int = 2,
    precision: Precision = "32",
    device: str | None = None,
    live: bool | None = None,
    **of_any_model: Any,
) -> ProbeResult:
    """Measure whether a model uses the order of frames: in order, reversed, shuffled, one frame repeated.

    Args:
        model: a checkpoint of a training run, or any `nn.Module` that maps clips to logits, such as a video model from
            Hugging Face or torchvision.
        data: for a checkpoint, the folder of the data set (by default, the one of the training run); for a module, a
            loader of (clips, labels).
        layout: for a checkpoint, the layout of the folder (`auto` detects it); for a module, the order of the axes of
            its clips, `BCTHW`, `BTCHW` or `BTHWC`.
        fold, split, batch_size, num_workers: for a checkpoint, as in `gta.evaluate`.
        opposites: rules that find the time reversal of a class by its name.
        num_permutations: shuffles per video, 1 or more.
        seed: seed for the shuffles.
        precision: precision of the computation.
        device: a PyTorch device name; by default, `auto` for a checkpoint and the module's own device for a module.
        live: for a checkpoint, whether to draw a progress bar; by default, only in a terminal or a notebook.
        of_any_model: for a module, further arguments of `gta.evaluation.any_model.probe_model`: `classes`,
            `prepare`, `reversals`, `averaging`.

    Returns:
        Accuracies in [0, 1] and the movement of the class probabilities, in [0, 1], under each treatment.

    Raises:
        TypeError: a module without a loader, or arguments that do not belong to the kind of model.
        GtaError: see `gta.evaluate` and `probe_model`.

    >>> result = gta.probe("runs/mine/best.ckpt", "videos", num_permutations=2, num_workers=0)
    >>> result.treatments
    ('in order', 'reversed', 'shuffled 1', 'shuffled 2', 'one frame')
    """
    if isinstance(model, nn.Module):
        if data is None or isinstance(data, str | Path):
            raise TypeError("a module is probed on a loader of (clips, labels): gta.probe(model, loader)")
        return probe_model(
            model,
            data,
            layout=layout or "BCTHW",  # pyright: ignore[reportArgumentType]
            opposites=opposites,
            num_permutations=num_permutations,
            seed=seed,
            precision=precision,
            device=device,
            **of_any_model,
        )
    if of_any_model:
        raise TypeError(f"{', '.join(of_any_model)}: only for a module; a checkpoint contains it")
    if not (data is None or isinstance(data, str | Path)):
        raise TypeError("a checkpoint is probed on the folder of a data set: gta.probe(checkpoint, folder)")
    how = Measuring(
        data=None if data is None else Path(data),
        layout=layout,  # pyright: ignore[reportArgumentType]
        fold=fold,
        split=split,
        batch_size=batch_size,
        num_workers=num_workers,
        precision=precision,
        device=device or "auto",
        live=live,
    )
    opposites = opposites or known_opposites()
    return probe_checkpoint(Path(model), how, opposites=opposites, num_permutations=num_permutations, seed=seed)[0]


def probe_checkpoint(
    path: Path,
    how: Measuring,
    *,
    opposites: Opposites,
    num_permutations: int,
    seed: int,
    frames: Path | None = None,
    on_strange: Callable[[Source, str, int], None] | None = None,
) -> tuple[ProbeResult, Source]:
    """Probe a checkpoint; arguments as of `probe`.

    Args:
        frames: folder of a frame store (`gta.datasets.frame_store`), which holds the videos' decoded frames.
        on_strange: called with the source, a label that is none of the model's classes and the number of these: then
            there are movements, but no accuracies.
    """
    checkpoint = read_checkpoint(path)
    clip = clip_protocol(checkpoint)
    source = find_source(path, how.data, how.layout, how.fold)
    opened = partial(open_videos, source.root, how.split, layout=source.layout, fold=source.fold)
    videos = opened()
    strange = sorted(set(videos.classes) - set(checkpoint.classes))
    foreign = videos.classes if strange else None
    if not strange:
        videos = opened(classes=checkpoint.classes)
    elif on_strange:
        on_strange(source, strange[0], len(checkpoint.classes))
    pairs = find_chiral_pairs(checkpoint.classes, opposites)
    chosen = choose_device(how.device)
    with counted("probing", len(videos), live=how.live) as on_batch:
        result = probe_loader(
            fuse(build_model(checkpoint).to(chosen)),
            how.loader(videos, clip, chosen, frames),
            prepare=Normalize(clip.mean, clip.std, flow=clip.flow).to(chosen),
            classes=checkpoint.classes,
            reversals={**reversals_of(pairs), **checkpoint.reversals},
            pairs=pairs,
            foreign=foreign,
            averaging=clip.averaging,
            num_permutations=num_permutations,
            seed=seed,
            precision=how.precision,
            device=chosen,
            on_batch=on_batch,
        )
    return result, source
