"""The files of a cell's folder, and what the study tells the cell's process. Free of PyTorch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gta.files import write_json

SPECIFICATION = "cell.json"
RUN = "run"
"""Sub-folder with the run folder of the training."""
LOG = "log.txt"
"""What the cell's process printed."""


def specify(
    folder: Path, *, grid: Mapping[str, Any], row: str, seed: int, data: Path, store: Path | None, num_threads: int
) -> None:
    """Write what the cell's process needs to know.

    Args:
        folder: folder of the cell, created if missing.
        grid: the whole grid, from `grid_to_json`.
        row: key of the row.
        seed: seed of weights, order and augmentation.
        data: folder of the data set.
        store: folder of the decoded frames; None to read the videos themselves.
        num_threads: CPU threads.
    """
    values = {
        "grid": dict(grid),
        "row": row,
        "seed": seed,
        "data": str(data.resolve()),
        "store": None if store is None else str(store.resolve()),
        "num_threads": num_threads,
    }
    write_json(folder / SPECIFICATION, values)
