"""Evaluation: run a model over every view of every video, average, and measure.

Validation during training and `gta evaluate` are this one function, so their numbers agree.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gta.config import Averaging, Precision
from gta.errors import DataError, GtaError
from gta.evaluation.metrics import all_measures, worst_confusions
from gta.evaluation.orders import ORDERED
from gta.evaluation.score_files import write_scores
from gta.modes import evaluating
from gta.processes import guarded


@dataclass(frozen=True)
class Scores:
    """Class probabilities of videos, in the order of the data set.

    `index` (N,) int64 position in the data set, `labels` (N,) int64, `scores` (N, K) float32 probabilities; `skipped`
    the videos that could not be read, as (path, reason).
    """

    index: NDArray[np.int64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    skipped: tuple[tuple[str, str], ...]

    @staticmethod
    def merge(parts: list["Scores"]) -> "Scores":
        """Join the parts that several processes computed and sort them by `index`; the result owns each video once."""
        index = np.concatenate([part.index for part in parts])
        _, first = np.unique(index, return_index=True)
        return Scores(
            index=index[first],
            labels=np.concatenate([part.labels for part in parts])[first],
            scores=np.concatenate([part.scores for part in parts])[first],
            skipped=tuple(sorted({item for part in parts for item in part.skipped})),
        )


@dataclass(frozen=True)
class EvaluationResult:
    """Measures of a model on N videos of K classes. Accuracies are shares in [0, 1]."""

    classes: tuple[str, ...] = field(repr=False)
    """K names, in the order of the scores."""
    loss: float
    """Mean cross-entropy per video, 0 or more, in nats."""
    top1: float
    """Share of the videos whose most probable class is correct."""
    top5: float
    """Share of the videos whose class is among the five most probable ones."""
    per_class: list[float | None] = field(repr=False)
    """Accuracy of each class; None for classes without videos."""
    confusion: NDArray[np.int64] = field(repr=False)
    """Number of videos by true class (row) and predicted class (column), (K, K)."""
    direction_accuracy: float | None
    """How often the correct class scores above its time reversal; None if no class has a time reversal."""
    index: NDArray[np.int64] = field(repr=False)
    """Position of each video in the data set, (N,)."""
    labels: NDArray[np.int64] = field(repr=False)
    """True class of each video, (N,)."""
    scores: NDArray[np.float32] = field(repr=False)
    """Class probabilities of each video, averaged over its views, (N, K)."""
    skipped: tuple[tuple[str, str], ...] = field(repr=False)
    """Videos that could not be read: path, reason."""

    @property
    def num_videos(self) -> int:
        """N, the number of videos that were scored."""
        return len(self.labels)

    @property
    def mean_class_accuracy(self) -> float:
        """Mean of `per_class` over the classes that have videos."""
        return float(np.mean([value for value in self.per_class if value is not None]))

    def to_json(self) -> dict[str, Any]:
        """Everything but the per-video scores, as plain JSON values."""
        totals = self.confusion.sum(axis=1)
        return {
            "num_videos": self.num_videos,
            "top1": self.top1,
            "top5": self.top5,
            "mean_class_accuracy": self.mean_class_accuracy,
            "direction_accuracy": self.direction_accuracy,
            "loss": self.loss,
            "per_class": {
                name: {"accuracy": accuracy, "num_videos": int(total)}
                for name, accuracy, total in zip(self.classes, self.per_class, totals, strict=True)
            },
            "confusion": {"classes": list(self.classes), "rows_true_columns_predicted": self.confusion.tolist()},
            "worst_confusions": self.worst_confusions(),
            "skipped": [{"path": path, "reason": reason} for path, reason in self.skipped],
        }

    def worst_confusions(self) -> list[dict[str, Any]]:
        """The most frequent confusions: classes by name, number of videos, positions of some in the data set."""
        return [
            {
                "true": self.classes[pair["true"]],
                "predicted": self.classes[pair["predicted"]],
                "count": pair["count"],
                "index": [int(self.index[row]) for row in pair["rows"]],
            }
            for pair in worst_confusions(self.scores, self.labels, self.confusion)
        ]

    def write_scores(self, path: str | Path, paths: Iterable[str]) -> None:
        """Write the per-video scores as .npz, atomically: "paths" (N,), "labels" (N,), "scores" (N, K), "classes" (K,).

        Args:
            path: target file, suffix .npz.
            paths: the path of every video of the data set, in its order; those of the scored videos are stored.
        """
        every = list(paths)
        write_scores(
            path,
            paths=(every[position] for position in self.index),
            labels=self.labels,
            scores=self.scores,
            classes=self.classes,
        )


@dataclass(frozen=True)
class TreatedScores:
    """Scores of N videos under several treatments."""

    index: NDArray[np.int64]
    """Number of each video in the data set, (N,)."""
    labels: NDArray[np.int64]
    """(N,)."""
    scores: Mapping[str, NDArray[np.float32]]
    """Treatment -> class probabilities (N, K); empty if no video could be read."""
    skipped: tuple[tuple[str, str], ...]
    """Videos that could not be read: path, reason."""


def evaluate(
    model: nn.Module,
    loader: Iterable[Mapping[str, Any]],
    *,
    prepare: nn.Module,
    classes: tuple[str, ...],
    averaging: Averaging = "softmax",
    reversals: dict[str, str] | None = None,
    precision: Precision = "32",
    device: torch.device | str | None = None,
    on_batch: Callable[[int], None] | None = None,
    gather: Callable[[Scores], list[Scores]] | None = None,
) -> EvaluationResult:
    """Measure `model` on every video of `loader`.

    Args:
        model: (B, 3, T, H, W) float32 -> logits (B, K). It is put into evaluation mode and back.
        loader: batches with "clip" uint8 (B, [V,] 3, T, H, W), "label" (B,), "index" (B,), "skipped".
        prepare: uint8 clips -> normalised float32 clips.
        classes: K names, in the order of the logits.
        averaging: what is averaged over the V views of a video: probabilities or logits.
        reversals: class name -> name of its time reversal, for the direction accuracy.
        precision: arithmetic of the forward pass.
        device: where to compute; the model's own device if not given.
        on_batch: called after each batch with the number of videos in it (progress).
        gather: collects the scores of all processes; one process if not given.

    Raises:
        DataError: no video could be read.
        GtaError: the model's scores are not finite.
    """
    part = score_videos(
        model,
        loader,
        prepare=prepare,
        num_classes=len(classes),
        averaging=averaging,
        precision=precision,
        device=device,
        on_batch=on_batch,
    )
    return measure(Scores.merge(gather(part) if gather else [part]), classes=classes, reversals=reversals)


def measure(scores: Scores, *, classes: tuple[str, ...], reversals: dict[str, str] | None = None) -> EvaluationResult:
    """Turn per-video scores into an `EvaluationResult` (also for ensembles of several models' scores)."""
    if len(scores.labels) == 0:
        first = f", first {scores.skipped[0][0]}: {scores.skipped[0][1]}" if scores.skipped else ""
        raise DataError(f"no video could be evaluated ({len(scores.skipped)} unreadable{first})")
    bad = np.flatnonzero(~np.isfinite(scores.scores).all(axis=1))
    if len(bad):
        raise GtaError(
            f"the model's scores are not finite for {len(bad)} of {len(scores.labels)} videos: "
            "its weights have diverged; train again with a smaller optim.lr or run.precision 32"
        )
    measures = all_measures(scores.scores, scores.labels, classes, reversals or {})
    return EvaluationResult(
        classes=classes,
        **measures,
        index=scores.index,
        labels=scores.labels,
        scores=scores.scores,
        skipped=scores.skipped,
    )


def score_videos(
    model: nn.Module,
    loader: Iterable[Mapping[str, Any]],
    *,
    prepare: nn.Module,
    num_classes: int,
    averaging: Averaging = "softmax",
    precision: Precision = "32",
    device: torch.device | str | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Scores:
    """Compute this process's part of the scores; the arguments are those of `evaluate`."""
    treated = score_treated(
        model,
        loader,
        treat=lambda clip, _: ((ORDERED, clip),),
        prepare=prepare,
        averaging=averaging,
        precision=precision,
        device=device,
        on_batch=on_batch,
    )
    scores = treated.scores.get(ORDERED, np.zeros((0, num_classes), np.float32))
    if scores.shape[1] != num_classes:
        raise ValueError(f"the model gives {scores.shape[1]} scores per clip, but there are {num_classes} classes")
    return Scores(index=treated.index, labels=treated.labels, scores=scores, skipped=treated.skipped)


def score_treated(
    model: nn.Module,
    loader: Iterable[Mapping[str, Any]],
    *,
    treat: Callable[[Tensor, Tensor], Iterable[tuple[str, Tensor]]],
    prepare: nn.Module,
    averaging: Averaging = "softmax",
    precision: Precision = "32",
    device: torch.device | str | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> TreatedScores:
    """Compute the scores of every video under several treatments of its clip; each video is decoded once.

    Args:
        model, loader, prepare, averaging, precision, device, on_batch: as of `evaluate`.
        treat: clips uint8 (B, [V,] 3, T, H, W) and the videos' numbers (B,) -> name of each treatment and the treated
            clips.
    """
    chosen = torch.device(device) if device is not None else next(model.parameters()).device
    index: list[Tensor] = []
    labels: list[Tensor] = []
    scores: dict[str, list[Tensor]] = {}
    skipped: list[tuple[str, str]] = []
    with evaluating(model, prepare), torch.no_grad():
        for batch in guarded(loader):
            skipped += [(str(path), str(reason)) for path, reason in batch.get("skipped", ())]
            count = len(batch["label"])
            if count:
                clip = batch["clip"].to(chosen, non_blocking=True)
                for name, treated in treat(clip, batch["index"]):
                    result = video_scores(model, treated, prepare=prepare, averaging=averaging, precision=precision)
                    scores.setdefault(name, []).append(result)
                labels.append(batch["label"].to(torch.int64).cpu())
                index.append(batch["index"].to(torch.int64).cpu())
            if on_batch:
                on_batch(count)
    none = torch.zeros(0, dtype=torch.int64)
    return TreatedScores(
        index=torch.cat([none, *index]).numpy(),
        labels=torch.cat([none, *labels]).numpy(),
        scores={name: torch.cat([part.cpu() for part in parts]).numpy() for name, parts in scores.items()},
        skipped=tuple(skipped),
    )


def video_scores(
    model: nn.Module, clip: Tensor, *, prepare: nn.Module, averaging: Averaging, precision: Precision = "32"
) -> Tensor:
    """Class probabilities of each video, averaged over its views.

    The views go through the model B clips at a time, so that many views do not need more memory than one does.

    Args:
        model: (B, 3, T, H, W) -> (B, K).
        clip: uint8 (B, 3, T, H, W) or, with V views of each video, (B, V, 3, T, H, W).
        prepare: uint8 -> normalised float32.
        averaging: over probabilities ("softmax") or over logits, which are then turned into probabilities.
        precision: arithmetic of the forward pass; softmax and average are in float32.

    Returns:
        (B, K) float32.
    """
    views = clip.unsqueeze(1) if clip.ndim == 5 else clip
    num_videos, num_views = views.shape[:2]
    parts: list[Tensor] = []
    for clips in views.flatten(0, 1).split(num_videos):
        images = prepare(clips).contiguous(memory_format=torch.channels_last_3d)
        with autocast(clip.device, precision):
            parts.append(model(images).float())
    return average_views(torch.cat(parts).unflatten(0, (num_videos, num_views)), averaging)


_AVERAGES: dict[Averaging, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits: logits.softmax(dim=-1).mean(dim=1),
    "logits": lambda logits: logits.mean(dim=1).softmax(dim=-1),
}
_DTYPES: dict[Precision, torch.dtype | None] = {"32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def average_views(logits: Tensor, averaging: Averaging) -> Tensor:
    """Class probabilities (B, K) of videos from the logits (B, V, K) of their views."""
    return _AVERAGES[averaging](logits)


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[Any]:
    """The mixed-precision context of `precision` on `device`; nothing for "32"."""
    dtype = _DTYPES[precision]
    return contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)
