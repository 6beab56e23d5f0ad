"""What evaluation measures, from the scores of all videos: pure functions on NumPy arrays and tensors."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def top_k_accuracy(scores: NDArray[np.float32], labels: NDArray[np.int64], k: int) -> float:
    """Share of videos whose class is among the `k` best scores (all classes count if there are fewer than k).

    Args:
        scores: (N, K) float, larger is better.
        labels: (N,) int64 in [0, K).
        k: 1 or more.
    """
    best = torch.topk(torch.from_numpy(scores), min(k, scores.shape[1]), dim=1).indices.numpy()
    return float(np.mean((best == labels[:, None]).any(axis=1)))


def confusion_matrix(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count videos by true class (row) and predicted class (column): (K, K) int64."""
    num_classes = scores.shape[1]
    cells = labels * num_classes + torch.from_numpy(scores).argmax(dim=1).numpy()
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def per_class_accuracy(confusion: NDArray[np.int64]) -> list[float | None]:
    """Share of each class's videos that are right; None for a class without videos."""
    totals = confusion.sum(axis=1)
    return [float(right / total) if total else None for right, total in zip(confusion.diagonal(), totals, strict=True)]


def worst_confusions(
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    confusion: NDArray[np.int64],
    *,
    most: int = 6,
    examples: int = 2,
) -> list[dict[str, Any]]:
    """The pairs of classes that are confused most often, with the rows of some of these videos.

    Args:
        scores: (N, K) probabilities.
        labels: (N,).
        confusion: (K, K), their `confusion_matrix`.
        most: pairs at most.
        examples: videos of each pair at most: those in which the wrong class is the most probable.

    Returns:
        Of each pair, the most frequent first: "true" and "predicted" (classes), "count" (videos), "rows" (of `scores`).
    """
    predicted = torch.from_numpy(scores).argmax(dim=1).numpy()
    counts = confusion.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    pairs = [divmod(int(cell), scores.shape[1]) for cell in order if counts.flat[cell] > 0]
    found: list[dict[str, Any]] = []
    for true, taken in pairs:
        rows = np.flatnonzero((labels == true) & (predicted == taken))
        surest = rows[np.argsort(-scores[rows, taken], kind="stable")][:examples]
        found.append({"true": true, "predicted": taken, "count": len(rows), "rows": surest.tolist()})
    return found


def reversal_indices(classes: tuple[str, ...], reversals: dict[str, str]) -> NDArray[np.int64]:
    """For each class the index of its time reversal, or -1 where it has none among `classes`: (K,) int64."""
    positions = {name: index for index, name in enumerate(classes)}
    return np.array([positions.get(reversals.get(name, ""), -1) for name in classes], dtype=np.int64)


def direction_accuracy(
    scores: NDArray[np.float32], labels: NDArray[np.int64], reversed_index: NDArray[np.int64]
) -> float | None:
    """Share of videos whose class scores above its time reversal: what is left when only the direction is asked.

    Only videos of classes that have a reversal count. A tie counts half, so a model that cannot tell gets 0.5.

    Args:
        scores: (N, K).
        labels: (N,).
        reversed_index: (K,) from `reversal_indices`.

    Returns:
        A value in [0, 1], or None if no video's class has a reversal.
    """
    rows = np.flatnonzero(reversed_index[labels] >= 0)
    if len(rows) == 0:
        return None
    own = scores[rows, labels[rows]]
    other = scores[rows, reversed_index[labels[rows]]]
    return float(np.mean(np.where(own > other, 1.0, np.where(own == other, 0.5, 0.0))))


def cross_entropy(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood of probabilities `scores` (N, K) at `labels` (N,)."""
    picked = scores[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.mean(np.log(np.maximum(picked, np.finfo(np.float32).tiny))))


def tells_top5(num_classes: int) -> bool:
    """Whether top-5 tells anything, and is shown: of five classes or fewer, it is 100 % whatever the model says."""
    return num_classes > 5


def all_measures(
    scores: NDArray[np.float32], labels: NDArray[np.int64], classes: tuple[str, ...], reversals: dict[str, str]
) -> dict[str, Any]:
    """All measures of a data set at once; the keys are the fields of `gta.evaluation.scores.EvaluationResult`."""
    confusion = confusion_matrix(scores, labels)
    return {
        "loss": cross_entropy(scores, labels),
        "top1": top_k_accuracy(scores, labels, 1),
        "top5": top_k_accuracy(scores, labels, 5),
        "per_class": per_class_accuracy(confusion),
        "confusion": confusion,
        "direction_accuracy": direction_accuracy(scores, labels, reversal_indices(classes, reversals)),
    }
