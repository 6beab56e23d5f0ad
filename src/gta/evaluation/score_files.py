"""Score files: what one evaluation gave every video, so that evaluations can be averaged without running them again."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gta.errors import DataError
from gta.files import atomic_path

_HINT = "gta evaluate --scores writes such files"


@dataclass(frozen=True)
class ScoreFile:
    """Scores of N videos over K classes."""

    paths: np.ndarray
    """(N,) texts: the videos."""
    labels: np.ndarray
    """(N,) int64: true classes, in [0, K)."""
    scores: np.ndarray
    """(N, K) float32 or float64: finite scores, the largest is the prediction."""
    classes: np.ndarray
    """(K,) texts: names of the classes."""

    @property
    def top1(self) -> float:
        """Share of the videos whose largest score is that of their class, in [0, 1]."""
        return float((self.scores.argmax(axis=1) == self.labels).mean())


def write_scores(
    path: str | Path, *, paths: Iterable[str], labels: np.ndarray, scores: np.ndarray, classes: Iterable[str]
) -> None:
    """Write a score file (.npz), whole or not at all; the arrays are those of `ScoreFile`."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            paths=np.array(list(paths), dtype=np.str_),
            labels=labels,
            scores=scores,
            classes=np.array(list(classes), dtype=np.str_),
        )


def read_scores(path: str | Path) -> ScoreFile:
    """Read a score file; everything in it is checked before it is used.

    Raises:
        DataError: the file is missing, damaged, or not a score file; the text says which of its arrays does not fit.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in ("paths", "labels", "scores", "classes") if name not in archive.files]
            if missing:
                raise DataError(f"{path}: not a score file: it lacks {missing[0]}; {_HINT}")
            part = ScoreFile(*(archive[name] for name in ("paths", "labels", "scores", "classes")))
    except (DataError, KeyboardInterrupt):
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; {_HINT}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or 'damaged'})") from error
    except Exception as error:  # a zip archive and NumPy's headers have a dozen ways to be damaged
        raise DataError(f"{path}: not a score file, or damaged; {_HINT}") from error
    problem = _problem(part)
    if problem:
        raise DataError(f"{path}: not a usable score file: {problem}")
    return part


def _problem(part: ScoreFile) -> str | None:
    """What does not fit, or None."""
    for name, values, kinds, axes in (
        ("paths", part.paths, "U", 1),
        ("labels", part.labels, "iu", 1),
        ("scores", part.scores, "f", 2),
        ("classes", part.classes, "U", 1),
    ):
        if values.dtype.kind not in kinds or values.ndim != axes:
            meant = {"U": "texts", "iu": "whole numbers", "f": "floating-point numbers"}[kinds]
            return f"{name} has {values.ndim} axes of {values.dtype}, not {axes} of {meant}"
    videos, classes = len(part.paths), len(part.classes)
    if videos == 0 or classes == 0:
        return "it holds no videos" if videos == 0 else "it names no classes"
    if len(part.labels) != videos or part.scores.shape != (videos, classes):
        return (
            f"{videos} paths, {len(part.labels)} labels, {classes} classes and scores of shape "
            f"{part.scores.shape[0]} x {part.scores.shape[1]} do not belong together"
        )
    if len(set(part.classes.tolist())) != classes:
        return "a class is named twice"
    if part.labels.min() < 0 or part.labels.max() >= classes:
        return f"labels lie in [{part.labels.min()}, {part.labels.max()}], not in [0, {classes - 1}]"
    if not np.isfinite(part.scores).all():
        return "a score is NaN or infinite"
    return None
