"""Running the cells of a study: one process each, a few at a time, resumable.

Free of PyTorch: the study's own process only starts cells, watches them and shows how far they are.
"""

import csv
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gta.errors import RunFolderError
from gta.studies.folder import CELLS
from gta.studies.grids import Grid, Row
from gta.studies.results import CellResult, read_result

State = Literal["waiting", "running", "done", "failed"]

CONFIG = "config.json"
"""File in a cell's folder: its training run, as `gta train` takes it."""
RUN = "run"
"""Sub-folder with the run folder of the training."""
LOG = "log.txt"
"""What the cell's process printed."""

_POLL_SECONDS = 0.2
_SECONDS_TO_STOP = 60.0
# Numerical libraries read these when they start; without them each cell would take every core.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass
class Cell:
    """One cell and how far it is."""

    row: Row
    seed: int
    folder: Path
    epochs: int
    state: State = "waiting"
    result: CellResult | None = None
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)
    started: float = 0.0
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """Row and seed, for messages."""
        return f"{self.row.key}, seed {self.seed}"

    def epochs_done(self) -> int:
        """Epochs that its training has recorded so far."""
        try:
            with (self.folder / RUN / "metrics.csv").open(encoding="utf-8", newline="") as file:
                return sum(1 for _ in csv.reader(file)) - 1
        except OSError:
            return 0


def plan_cells(grid: Grid, seeds: Sequence[int], folder: Path) -> list[Cell]:
    """All cells of a study, seed by seed, so that every row has a result early; finished ones carry theirs."""
    cells = [
        Cell(row, seed, folder / CELLS / row.key / f"seed{seed}", grid.budget.epochs)
        for seed in seeds
        for row in grid.trained
    ]
    for cell in cells:
        cell.result = read_result(cell.folder)
        if cell.result is not None:
            cell.state, cell.seconds = "done", cell.result.train_seconds or 0.0
    return cells


def run_cells(
    cells: Sequence[Cell],
    *,
    jobs: int,
    start: Callable[[Cell], "subprocess.Popen[bytes]"],
    on_change: Callable[[Sequence[Cell]], None],
) -> None:
    """Run every cell that is not done, `jobs` at a time; a cell that fails does not stop the others.

    Args:
        cells: from `plan_cells`; their states are updated in place.
        jobs: processes at a time.
        start: starts the process of a cell.
        on_change: called about five times a second, for a display.

    Raises:
        KeyboardInterrupt: on Ctrl-C, after every running cell has written a checkpoint and stopped.
    """
    try:
        while True:
            running = [cell for cell in cells if cell.state == "running"]
            waiting = [cell for cell in cells if cell.state == "waiting"]
            for cell in waiting[: max(jobs - len(running), 0)]:
                cell.process = start(cell)
                cell.state, cell.started = "running", time.monotonic()
            on_change(cells)
            if not running and not waiting:
                return
            time.sleep(_POLL_SECONDS)
            for cell in running:
                _look_after(cell)
    finally:
        _stop([cell for cell in cells if cell.state == "running"])


def _look_after(cell: Cell) -> None:
    assert cell.process is not None
    cell.seconds = time.monotonic() - cell.started
    code = cell.process.poll()
    if code is None:
        return
    _close(cell.process)
    cell.result = read_result(cell.folder) if code == 0 else None
    cell.state = "done" if cell.result is not None else "failed"


def _close(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        process.stdin.close()


def _stop(cells: Sequence[Cell]) -> None:
    """Ask running cells to write a checkpoint and stop (their standard input ends), and see that they do."""
    for cell in cells:
        assert cell.process is not None
        _close(cell.process)
    deadline = time.monotonic() + _SECONDS_TO_STOP
    for cell in cells:
        assert cell.process is not None
        try:
            cell.process.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            cell.process.kill()
            cell.process.wait()
        cell.state = "waiting"


def start_process(
    cell: Cell, *, num_threads: int, frames: Path | None = None, lock: int | None = None
) -> "subprocess.Popen[bytes]":
    """Start the process of a cell whose `config.json` was written; what it prints goes to `log.txt` in its folder.

    It is in a session of its own, so that Ctrl-C reaches the study only; it ends when its standard input does. It
    inherits `lock`, the descriptor that `sole_user` gave.
    """
    environment = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(num_threads))}
    with (cell.folder / LOG).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "gta.studies.cell", str(cell.folder), *([] if frames is None else [str(frames)])],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
            pass_fds=() if lock is None else (lock,),
        )


def failure(cells: Sequence[Cell]) -> RunFolderError | None:
    """The error to raise if any cell has failed: which, why, and what to do."""
    failed = [cell for cell in cells if cell.state == "failed"]
    if not failed:
        return None
    log = failed[0].folder / LOG
    last = _last_line(log)
    others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return RunFolderError(
        f"{failed[0].name}{others} failed: {last}: see {log}; the same command tries again and keeps what is finished"
    )


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []
    last = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
    return re.sub(r"^gta(\.\w+)+: ", "", last)  # the class of an error of ours says nothing to the user


def states(cells: Sequence[Cell]) -> Mapping[State, int]:
    """How many cells are in which state."""
    counts: dict[State, int] = {"waiting": 0, "running": 0, "done": 0, "failed": 0}
    for cell in cells:
        counts[cell.state] += 1
    return counts
