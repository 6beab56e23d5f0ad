"""The probe of temporal order: what a trained model makes of videos whose frames are reversed, shuffled or one only.

The paper's claim is that actions need the order of frames and that attention over pixels does not see it. The probe
measures that on any model and any data set: accuracy under each treatment, and how far the predictions move.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gta.config import Averaging, Precision
from gta.errors import DataError
from gta.evaluation.metrics import all_measures, direction_accuracy, reversal_indices
from gta.evaluation.opposites import ChiralPair
from gta.evaluation.orders import ONE_FRAME, ORDERED, REVERSED, frame_orders, sees_order
from gta.evaluation.scores import score_treated
from gta.evaluation.statistics import Summary, summarise


@dataclass(frozen=True, repr=False)
class ProbeResult:
    """Scores of N videos of K classes under every treatment, and the measures derived from them."""

    classes: tuple[str, ...]
    """K names, in the order of the scores."""
    reversals: Mapping[str, str]
    """Class name -> name of the class that is its time reversal."""
    index: NDArray[np.int64]
    """Position of each video in the data set, (N,)."""
    labels: NDArray[np.int64]
    """True class of each video, (N,)."""
    scores: Mapping[str, NDArray[np.float32]]
    """Treatment -> class probabilities (N, K)."""
    skipped: tuple[tuple[str, str], ...] = ()
    """Videos that could not be read: path, reason."""
    foreign: tuple[str, ...] | None = None
    """Names of the labels if they are not the model's classes; then there are movements but no accuracies."""
    precision: Precision = "32"
    """Precision of the computation."""
    pairs: tuple[ChiralPair, ...] = ()
    """The reversals that were found from class names, with the rule for each."""

    def __repr__(self) -> str:
        return f"ProbeResult({len(self.labels)} videos, {', '.join(self.treatments)}: {self.verdict})"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the labels."""
        return self.classes if self.foreign is None else self.foreign

    @property
    def treatments(self) -> tuple[str, ...]:
        """Names of the treatments, the original order first."""
        return tuple(self.scores)

    @property
    def shuffles(self) -> tuple[str, ...]:
        """Names of the shuffles."""
        return tuple(name for name in self.scores if name not in (ORDERED, REVERSED, ONE_FRAME))

    @property
    def order_effect(self) -> float:
        """Largest change of any class probability of any video when its frames are reversed or shuffled."""
        base = self.scores[ORDERED]
        others = [self.scores[name] for name in (REVERSED, *self.shuffles)]
        return max(float(np.abs(other - base).max()) for other in others)

    @property
    def sees_order(self) -> bool | None:
        """Whether the order of the frames changes what the model predicts here; None if rounding hides it."""
        return sees_order(self.order_effect, self.precision)

    @property
    def verdict(self) -> str:
        """One sentence on whether the order of the frames matters, with numbers."""
        effect = f"no class probability of any video changes by more than {self.order_effect:.1g}"
        if self.sees_order is None:
            return (
                f"whether the order of the frames makes a difference is lost in rounding ({effect}): use precision 32"
            )
        if not self.sees_order:
            return f"the order of the frames makes no difference to this model: {effect}"
        orders = (REVERSED, *self.shuffles)
        base = self.scores[ORDERED].argmax(axis=1)
        changed = max(float((self.scores[name].argmax(axis=1) != base).mean()) for name in orders)
        if changed == 0:
            return f"the order of the frames changes no prediction of this model, and {effect}"
        moved = max(float(self.movement(name).mean()) for name in orders)
        return (
            f"the order of the frames changes what this model predicts: up to {100 * changed:.1f} % of the "
            f"predictions, and the class probabilities by up to {moved:.2g} on average"
        )

    def top1(self, treatment: str) -> float:
        """Share of the videos that are classified correctly under a treatment, in [0, 1].

        Raises:
            ValueError: the labels are not the model's classes.
        """
        if self.foreign is not None:
            raise ValueError("accuracy needs labels that are among the model's classes")
        return float((self.scores[treatment].argmax(axis=1) == self.labels).mean())

    def shuffled_top1(self) -> Summary | None:
        """Mean and sample deviation of top-1 over the shuffles; None if there are none, or no accuracies."""
        if self.foreign is not None:
            return None
        return summarise([self.top1(name) for name in self.shuffles])

    def movement(self, treatment: str) -> NDArray[np.float64]:
        """How far each video's prediction moves from the original order: total variation, (N,) in [0, 1]."""
        gap = np.abs(self.scores[treatment].astype(np.float64) - self.scores[ORDERED])
        return gap.sum(axis=1) / 2

    def sensitivity(self) -> NDArray[np.float64]:
        """Temporal sensitivity (K, 3): mean movement of a class's videos when reversed, shuffled, and one frame only.

        NaN for classes without videos; the shuffles are averaged.
        """
        columns = [self.movement(REVERSED)]
        moves = [self.movement(name) for name in self.shuffles]
        columns.append(np.mean(moves, axis=0) if moves else np.full(len(self.labels), np.nan))
        columns.append(self.movement(ONE_FRAME))
        table = np.stack(columns, axis=1)
        means = np.full((len(self.names), 3), np.nan)
        for label in np.unique(self.labels):
            means[label] = table[self.labels == label].mean(axis=0)
        return means

    def read_as_reversal(self) -> dict[str, float]:
        """For each class with a time reversal: share of its reversed videos that are classified as that reversal.

        For a model that understands time, this is close to its accuracy on the original videos.
        """
        if self.foreign is not None:
            return {}
        partner = reversal_indices(self.classes, dict(self.reversals))
        predicted = self.scores[REVERSED].argmax(axis=1)
        return {
            self.classes[label]: float((predicted[self.labels == label] == partner[label]).mean())
            for label in np.unique(self.labels)
            if partner[label] >= 0
        }

    def chiral_pairs(self) -> list[dict[str, Any]]:
        """How well the model distinguishes each pair of classes that are each other's time reversal.

        "direction_accuracy" is the share of the pair's videos whose own class scores above the other one (chance 0.5;
        a model that ignores the order of frames cannot exceed it on data that contain each video in both directions);
        "taken_for_its_reversal" is the share that is classified as the other class when played backwards.
        """
        if self.foreign is not None:
            return []
        rules = {pair.first: pair.rule for pair in self.pairs}
        partner = reversal_indices(self.classes, dict(self.reversals))
        predicted, base = self.scores[REVERSED].argmax(axis=1), self.scores[ORDERED]
        rows: list[dict[str, Any]] = []
        for label, other in enumerate(partner.tolist()):
            if other < 0 or (other <= label and partner[other] == label):
                continue
            chosen = np.flatnonzero((self.labels == label) | (self.labels == other))
            flipped = predicted[chosen] == partner[self.labels[chosen]]
            rows.append(
                {
                    "first": self.classes[label],
                    "second": self.classes[other],
                    "rule": rules.get(self.classes[label]) or rules.get(self.classes[other]) or "data set",
                    "num_videos": len(chosen),
                    "direction_accuracy": direction_accuracy(base[chosen], self.labels[chosen], partner),
                    "taken_for_its_reversal": float(flipped.mean()) if len(chosen) else None,
                }
            )
        return rows

    def to_json(self) -> dict[str, Any]:
        """All measures but the scores, as plain JSON values."""
        shuffled = self.shuffled_top1()
        return {
            "num_videos": len(self.labels),
            "num_classes": len(self.classes),
            "sees_order": self.sees_order,
            "order_effect": self.order_effect,
            "verdict": self.verdict,
            "treatments": {name: self._treatment(name) for name in self.treatments},
            "shuffled_top1": None
            if shuffled is None
            else {"mean": shuffled.mean, "sample_deviation": shuffled.deviation, "permutations": shuffled.count},
            "chiral_pairs": self.chiral_pairs(),
            "per_class": self._per_class(),
            "skipped": [{"path": path, "reason": reason} for path, reason in self.skipped],
        }

    def _treatment(self, name: str) -> dict[str, Any]:
        measures: dict[str, Any] = {"top1": None, "top5": None, "direction_accuracy": None}
        if self.foreign is None:
            measures = all_measures(self.scores[name], self.labels, self.classes, dict(self.reversals))
        changed = self.scores[name].argmax(axis=1) != self.scores[ORDERED].argmax(axis=1)
        return {
            "top1": measures["top1"],
            "top5": measures["top5"],
            "direction_accuracy": measures["direction_accuracy"],
            "movement": float(self.movement(name).mean()),
            "share_of_predictions_changed": float(changed.mean()),
        }

    def _per_class(self) -> dict[str, Any]:
        sensitivity, flips = self.sensitivity(), self.read_as_reversal()
        table: dict[str, Any] = {}
        for label, name in enumerate(self.names):
            chosen = self.labels == label
            count = int(chosen.sum())
            if not count:
                continue
            right = {
                key: float((s.argmax(axis=1)[chosen] == label).mean()) if self.foreign is None else None
                for key, s in self.scores.items()
            }
            reverse, shuffle, one = (None if np.isnan(value) else float(value) for value in sensitivity[label])
            table[name] = {
                "num_videos": count,
                "top1": right,
                "sensitivity": {"reversed": reverse, "shuffled": shuffle, "one frame": one},
                "taken_for_its_reversal_when_reversed": flips.get(name),
            }
        return table


def probe(
    model: nn.Module,
    loader: Iterable[Mapping[str, Any]],
    *,
    prepare: nn.Module,
    classes: tuple[str, ...],
    reversals: Mapping[str, str] | None = None,
    foreign: tuple[str, ...] | None = None,
    pairs: tuple[ChiralPair, ...] = (),
    averaging: Averaging = "softmax",
    num_permutations: int = 5,
    seed: int = 0,
    precision: Precision = "32",
    device: torch.device | str | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> ProbeResult:
    """Score every video of `loader` under every treatment; each video is decoded once.

    Args:
        model: (B, 3, T, H, W) float32 -> logits (B, K); evaluated in evaluation mode and then put back.
        loader: batches with "clip" uint8 (B, [V,] 3, T, H, W), "label" (B,), "index" (B,), "skipped".
        prepare: uint8 clips -> normalised float32 clips.
        classes: K names, in the order of the logits.
        reversals: class name -> name of its time reversal.
        foreign: names of the labels, where they are not those classes.
        pairs: which of `reversals` were found from names, for the report.
        averaging: what is averaged over the V views of a video.
        num_permutations: shuffles, 1 or more; all views of a video are shuffled alike.
        seed: seed of the shuffles.
        precision: arithmetic of the forward pass.
        device: where to compute; the model's own device if not given.
        on_batch: called with the number of videos of each batch.

    Raises:
        DataError: no video could be read.
        ValueError: fewer than one shuffle.
    """
    if num_permutations < 1:
        raise ValueError(f"{num_permutations} permutations: at least one is needed")
    scored = score_treated(
        model,
        loader,
        treat=partial(_treat, num_permutations=num_permutations, seed=seed),
        prepare=prepare,
        averaging=averaging,
        precision=precision,
        device=device,
        on_batch=on_batch,
    )
    if not len(scored.labels):
        reason = f": {scored.skipped[0][0]}: {scored.skipped[0][1]}" if scored.skipped else ""
        raise DataError(f"no video could be read, so there is nothing to probe{reason}")
    return ProbeResult(
        classes=classes,
        reversals=dict(reversals or {}),
        index=scored.index,
        labels=scored.labels,
        scores=scored.scores,
        skipped=scored.skipped,
        foreign=foreign,
        precision=precision,
        pairs=pairs,
    )


def _treat(clip: Tensor, index: Tensor, *, num_permutations: int, seed: int) -> Iterator[tuple[str, Tensor]]:
    """Every treatment of the clips (B, ..., T, H, W) of the videos with these numbers, one after another."""
    rows = [
        frame_orders(clip.shape[-3], num_permutations=num_permutations, seed=seed, index=int(number))
        for number in index.tolist()
    ]
    for name in rows[0]:
        yield name, _take_frames(clip, torch.tensor([row[name] for row in rows], device=clip.device))


def _take_frames(clip: Tensor, order: Tensor) -> Tensor:
    """Reorder the frames of clips (B, ..., T, H, W) by frame numbers (B, T); all views of a video alike."""
    return torch.stack([video.index_select(-3, numbers) for video, numbers in zip(clip, order, strict=True)])
