"""Results of the cells of a study: the record that each cell leaves, and the table that they make together.

Free of PyTorch, so a report can be written without loading it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gta.errors import OptionError, RunFolderError
from gta.evaluation.orders import sees_order
from gta.evaluation.statistics import Summary, paired_gap, summarise
from gta.settings import NotNegative, Share, Whole, config_from_json
from gta.stored import StoredError, read_json
from gta.studies.grids import Grid, Row

RESULT = "result.json"
"""File in a cell's folder that says that the cell is finished."""

FORMAT = 1


@dataclass(frozen=True)
class CellResult:
    """What one cell (a row trained with one seed) leaves behind. Accuracies are shares in [0, 1].

    All accuracies are of the final weights: no epoch is picked by its validation accuracy.
    """

    row: str
    """Key of the row."""
    seed: Whole
    top1: Share
    """Share of held-out videos classified rightly."""
    top5: Share
    loss: NotNegative
    direction_accuracy: Share | None
    """How often a class scores above its time reversal; None if the data set names no reversals."""
    reversed_top1: Share
    """Top-1 when every clip is played backwards."""
    shuffled_top1: Share
    """Top-1 when every clip's frames are shuffled."""
    order_effect: Share
    """Largest change of any class probability of any held-out video when its frames are reversed or shuffled."""
    per_class: Mapping[str, Share | None]
    """Class -> share classified rightly."""
    num_videos: Whole
    """Held-out videos."""
    num_parameters: Whole
    gflops: NotNegative
    """Multiply-adds of one clip's forward pass, in 10^9."""
    clips_per_second: NotNegative | None
    """Training clips per second: median over the epochs, loading included; None if no epoch was timed as a whole."""
    train_seconds: NotNegative | None
    """Seconds of the training; None after an interruption, as the last process knows its own part only."""
    peak_memory_mib: NotNegative | None
    """Peak memory of the training: allocated on the GPU, or what the process grew by on a CPU; None after an
    interruption."""
    curves: Mapping[str, Sequence[float | None]]
    """Quantity -> one value per epoch."""
    model: Mapping[str, Any]
    """Arguments that rebuild the model."""
    versions: Mapping[str, str]
    machine: str
    """Processor, or GPU, and number of threads."""

    @property
    def sees_order(self) -> bool:
        """Whether the order of the frames makes any difference to the trained model, as measured."""
        return sees_order(self.order_effect) is True


def result_to_json(result: CellResult) -> dict[str, Any]:
    """Turn a result into plain JSON values."""
    return {"format": FORMAT, **{item.name: getattr(result, item.name) for item in fields(CellResult)}}


def read_result(folder: Path) -> CellResult | None:
    """Read a finished cell; None if it has not finished.

    Raises:
        RunFolderError: the file is damaged or of another version.
    """
    path = folder / RESULT
    try:
        values = read_json(path)
    except FileNotFoundError:
        return None
    except StoredError as error:
        raise RunFolderError(f"{path}: {error}: delete the file to run the cell again") from error
    known = {item.name for item in fields(CellResult)}
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT or set(values) != known:
        raise RunFolderError(f"{path}: written by another version of gta: delete the file to run the cell again")
    try:
        return config_from_json(CellResult, values)
    except OptionError as error:
        raise RunFolderError(f"{path}: {error}: delete the file to run the cell again") from error


@dataclass(frozen=True)
class RowResult:
    """All finished seeds of one row."""

    row: Row
    cells: tuple[CellResult, ...]
    gap: Summary | None
    """Top-1 of the row minus that of its reference, seed by seed; None for the reference itself."""
    is_reference: bool = False
    """Whether others are compared with this row."""

    def summary(self, quantity: str) -> Summary | None:
        """Mean and deviation of a numeric field over the seeds; None if no seed has it."""
        values = [value for cell in self.cells if (value := getattr(cell, quantity)) is not None]
        return summarise(values)

    @property
    def sees_order(self) -> bool:
        """Whether any seed's model reacts to the order of the frames."""
        return any(cell.sees_order for cell in self.cells)

    @property
    def num_videos(self) -> int:
        """Held-out videos of each cell."""
        return self.cells[0].num_videos if self.cells else 0


def collect(grid: Grid, results: Iterable[CellResult]) -> tuple[RowResult, ...]:
    """Sort the results of finished cells into the rows of `grid`; rows without any have no cells."""
    by_row: dict[str, dict[int, CellResult]] = {row.key: {} for row in grid.rows}
    for result in results:
        by_row[result.row][result.seed] = result
    top1 = {key: {seed: cell.top1 for seed, cell in cells.items()} for key, cells in by_row.items()}
    table = []
    for row in grid.rows:
        cells = by_row[row.key]
        reference = grid.reference(row)
        gap = None if row is reference else paired_gap(top1[row.key], top1[reference.key])
        table.append(RowResult(row, tuple(cells[seed] for seed in sorted(cells)), gap, row is reference))
    return tuple(table)
