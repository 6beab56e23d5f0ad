"""Ensembles of rows: what each cell's videos were given is kept, and averaged for the rows that name others.

The paper's last row averages the scores of networks of 8 and of 16 frames.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gta.errors import RunFolderError
from gta.evaluation.metrics import all_measures
from gta.evaluation.orders import ORDERED, REVERSED
from gta.files import atomic_path
from gta.studies.grids import Grid
from gta.studies.results import CellResult

SCORES = "scores.npz"
"""File in a cell's folder: labels, and the class probabilities of every held-out video under each order of frames."""
_ORDERS = "order:"


def write_orders(folder: Path, labels: NDArray[np.int64], scores: Mapping[str, NDArray[np.float32]]) -> None:
    """Write a cell's scores, whole or not at all.

    Args:
        folder: the cell's folder.
        labels: (N,) true classes.
        scores: order of the frames -> (N, K) probabilities.
    """
    with atomic_path(folder / SCORES) as temporary, temporary.open("wb") as file:
        arrays = {f"{_ORDERS}{name}": values for name, values in scores.items()}
        np.savez_compressed(file, allow_pickle=False, labels=labels, **arrays)


def read_orders(folder: Path) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float32]]] | None:
    """What `write_orders` wrote; None if there is nothing, as in cells of earlier versions.

    Raises:
        RunFolderError: the file is damaged.
    """
    path = folder / SCORES
    try:
        with np.load(path, allow_pickle=False) as archive:
            labels = archive["labels"]
            scores = {name.removeprefix(_ORDERS): archive[name] for name in archive.files if name.startswith(_ORDERS)}
    except FileNotFoundError:
        return None
    except Exception as error:  # a zip archive and NumPy's headers have a dozen ways to be damaged
        raise RunFolderError(f"{path}: damaged: delete the cell's folder to run it again") from error
    fits = all(values.ndim == 2 and len(values) == len(labels) for values in scores.values())
    if not fits or not {ORDERED, REVERSED} <= scores.keys():
        raise RunFolderError(f"{path}: damaged: delete the cell's folder to run it again")
    return labels, scores


def ensemble_results(
    grid: Grid, cells: Mapping[tuple[str, int], tuple[CellResult, Path]], *, reversals: Mapping[str, str]
) -> list[CellResult]:
    """Results of the grid's ensembles, for every seed with which all of their rows are finished.

    Parameters, multiply-adds and seconds add up; the peak of memory is the largest.

    Args:
        grid: rows.
        cells: (row, seed) -> result and folder of each finished cell.
        reversals: class -> its time reversal.
    """
    found = []
    for row in grid.rows:
        if not row.ensemble:
            continue
        for seed in sorted({seed for _, seed in cells}):
            members = [cells.get((key, seed)) for key in row.ensemble]
            present = [member for member in members if member is not None]
            orders = [read_orders(folder) for _, folder in present]
            known = [order for order in orders if order is not None]
            if len(known) == len(members):
                found.append(_average(row.key, seed, [result for result, _ in present], known, reversals))
    return found


def _average(
    key: str,
    seed: int,
    results: Sequence[CellResult],
    orders: Sequence[tuple[NDArray[np.int64], Mapping[str, NDArray[np.float32]]]],
    reversals: Mapping[str, str],
) -> CellResult:
    labels = orders[0][0]
    classes = tuple(results[0].per_class)
    if any(not np.array_equal(labels, other) for other, _ in orders):
        raise RunFolderError(f"row {key}, seed {seed}: its rows were tested on different videos")
    names = [name for name in orders[0][1] if all(name in scores for _, scores in orders)]
    scores = {name: np.mean([scores[name] for _, scores in orders], axis=0) for name in names}
    measures = all_measures(scores[ORDERED], labels, classes, dict(reversals))
    top1 = {name: float((values.argmax(axis=1) == labels).mean()) for name, values in scores.items()}
    shuffles = [name for name in names if name.startswith("shuffle")]
    moved = [REVERSED, *shuffles]
    rates = [result.clips_per_second for result in results]
    seconds = [result.train_seconds for result in results]
    memory = [result.peak_memory_mib for result in results]
    return CellResult(
        row=key,
        seed=seed,
        top1=measures["top1"],
        top5=measures["top5"],
        loss=measures["loss"],
        direction_accuracy=measures["direction_accuracy"],
        reversed_top1=top1[REVERSED],
        shuffled_top1=float(np.mean([top1[name] for name in shuffles])) if shuffles else top1[REVERSED],
        order_effect=max(float(np.abs(scores[name] - scores[ORDERED]).max()) for name in moved),
        per_class=dict(zip(classes, measures["per_class"], strict=True)),
        num_videos=len(labels),
        num_parameters=sum(result.num_parameters for result in results),
        gflops=sum(result.gflops for result in results),
        clips_per_second=together(rates),
        train_seconds=None if None in seconds else sum(value for value in seconds if value is not None),
        peak_memory_mib=None if None in memory else max(value for value in memory if value is not None),
        curves={"val_top1": ()},
        model={"ensemble": [dict(result.model) for result in results]},
        versions=results[0].versions,
        machine=results[0].machine,
    )


def together(rates: Sequence[float | None]) -> float | None:
    """Clips per second of several networks one after another; None if one is not known."""
    known = [rate for rate in rates if rate]
    return 1 / sum(1 / rate for rate in known) if known and len(known) == len(rates) else None
