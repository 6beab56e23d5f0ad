"""Ensembles: the average of several evaluations' scores, measured."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gta.errors import DataError
from gta.evaluation.score_files import ScoreFile, read_scores
from gta.evaluation.scores import EvaluationResult, Scores, measure


def ensemble(
    results: Sequence[str | Path], weights: Sequence[float] | None = None, *, reversals: dict[str, str] | None = None
) -> EvaluationResult:
    """Average the per-video scores of several evaluations and measure the result, without GPU or videos.

    The paper's 8+16-frame ensemble is this average over two evaluations with 2 clips x 3 crops. Videos are matched by
    their paths below the folder that all videos of a result share, so the data sets may lie in different places.

    Args:
        results: score files (.npz) that `gta evaluate --scores` or `EvaluationResult.write_scores` wrote.
        weights: weight of each result, 0 or more; equal by default.
        reversals: class name -> name of its time reversal, for the direction accuracy.

    Returns:
        Metrics and averaged scores, in the order of the first file.

    Raises:
        DataError: a file is missing, not a score file, or does not match the others (classes, videos, labels).
        ValueError: there are no results, or the weights do not match them.
        TypeError: `results` is a single path.

    >>> paths = [str(record.path) for record in gta.open_dataset("videos", "val").clips.videos.records]
    >>> for name in ("mine", "nl"):
    ...     result = gta.evaluate(f"runs/{name}/best.ckpt", "videos", num_workers=0)
    ...     result.write_scores(f"{name}.npz", paths)
    >>> gta.ensemble(["mine.npz", "nl.npz"], weights=[0.7, 0.3]).num_videos
    16
    """
    if isinstance(results, str | Path):
        raise TypeError(f"`results` is a single path, {results}: give a list of score files")
    if not results:
        raise ValueError("`results` is empty: give one score file or more")
    shares = tuple(weights) if weights is not None else (1.0,) * len(results)
    if len(shares) != len(results) or min(shares) < 0 or sum(shares) <= 0:
        raise ValueError(f"{len(results)} results with weights {shares}: one weight for each, 0 or more, not all 0")
    return average([Path(path) for path in results], [read_scores(path) for path in results], shares, reversals)


def average(
    paths: Sequence[Path],
    parts: Sequence[ScoreFile],
    weights: Sequence[float],
    reversals: dict[str, str] | None = None,
) -> EvaluationResult:
    """Average score files that are read already; the rest as `ensemble`, with a weight for each of them."""
    first = parts[0]
    names = _names(first.paths)
    total = np.zeros(first.scores.shape, np.float64)
    for path, part, weight in zip(paths, parts, weights, strict=True):
        total += weight * part.scores[_match(names, part, first, paths[0], path)]
    return measure(
        Scores(np.arange(len(names)), first.labels, (total / sum(weights)).astype(np.float32), ()),
        classes=tuple(map(str, first.classes)),
        reversals=reversals,
    )


def _names(paths: Any) -> list[tuple[str, int]]:
    """Paths without the folders that all of them share: the same for a data set in another place.

    A manifest may list several parts of one file; the number says which of them it is.
    """
    texts = [str(path).replace(os.sep, "/") for path in paths]
    shared = os.path.commonpath(texts) if len(set(texts)) > 1 else os.path.dirname(texts[0])
    seen: Counter[str] = Counter()
    names = []
    for text in texts:
        names.append((text[len(shared) :].lstrip("/"), seen[text]))
        seen[text] += 1
    return names


def _match(names: list[tuple[str, int]], part: ScoreFile, first: ScoreFile, first_path: Path, path: Path) -> Any:
    """Where the videos `names` are in another result."""
    if list(part.classes) != list(first.classes):
        raise DataError(f"{path}: its classes are not those of {first_path}; an ensemble needs the same ones in order")
    rows = {name: row for row, name in enumerate(_names(part.paths))}
    different = sorted(set(names) ^ set(rows))
    if different:
        raise DataError(
            f"{path}: its {len(rows)} videos are not the {len(names)} of {first_path} (for example "
            f"{different[0][0]}); evaluate both on the same videos"
        )
    order = np.array([rows[name] for name in names])
    if not np.array_equal(part.labels[order], first.labels):
        raise DataError(f"{path}: its labels are not those of {first_path}")
    return order
