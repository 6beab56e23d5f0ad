"""Running the cells of a study: one process each, a few at a time, resumable, with a table of progress.

Free of PyTorch: the study's own process only starts cells, watches them and shows how far they are.
"""

import contextlib
import csv
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from gta.errors import RunFolderError
from gta.files import write_json
from gta.stored import StoredError, read_json, shown
from gta.studies.grids import Budget, Grid, Row, grid_from_json, grid_to_json
from gta.studies.results import RESULT, CellResult, read_result
from gta.training.folder_lock import FolderLock

State = Literal["waiting", "running", "done", "failed"]

STUDY = "study.json"
CELLS = "cells"
"""Sub-folder with a folder for each row and seed."""
CONFIG = "config.json"
"""File in a cell's folder: its training run, as `gta train` takes it."""
RUN = "run"
"""Sub-folder with the run folder of the training."""
LOG = "log.txt"
"""What the cell's process printed."""

_FORMAT = 1
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


def finished_seeds(grid: Grid, folder: Path) -> set[int]:
    """Seeds for which any row has a result."""
    places = [place for row in grid.rows for place in (folder / CELLS / row.key).glob(f"seed*/{RESULT}")]
    return {int(number) for place in places if (number := place.parent.name.removeprefix("seed")).isdecimal()}


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


# ---- the study's folder ----------------------------------------------------------------------------------------------


def claim_folder(folder: Path, grid: Grid, data: Path | None, *, command: str = "") -> None:
    """Create the study's folder, or check that it holds this very study; seeds and rows may be added later.

    Args:
        folder: the study's folder.
        grid: rows and budget.
        data: folder of its data set; None: synthetic videos of its own.
        command: the command line, for reports that are written later.

    Raises:
        RunFolderError: it holds something else, or the same grid with another budget or other videos.
    """
    path = folder / STUDY
    if path.exists():
        check_folder(folder, grid, data)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunFolderError(f"{folder}: exists and holds no study ({STUDY}): choose another --output")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, {"format": _FORMAT, "data": _place(data), "command": command, "grid": grid_to_json(grid)})


def check_folder(folder: Path, grid: Grid, data: Path | None) -> None:
    """Check that the folder holds this very study, or one of fewer rows.

    Options that it was made without count with their defaults.

    Raises:
        RunFolderError: it holds none, or one of other rows, another budget or other videos.
    """
    stored = read_study(folder)
    before = grid_from_json(stored["grid"], source=folder / STUDY)
    advice = "repeat the command that made it, or choose another --output"
    if before.budget != grid.budget:
        name = next(item.name for item in fields(Budget) if _differ(before.budget, grid.budget, item.name))
        raise RunFolderError(f"{folder}: holds a study with another budget ({name} differs): {advice}")
    if not all(row in grid.rows for row in before.rows):
        raise RunFolderError(f"{folder}: holds a study of other rows: {advice}")
    if stored.get("data") != _place(data):
        raise RunFolderError(f"{folder}: holds a study of other videos ({stored.get('data')}): {advice}")


def _differ(first: Budget, second: Budget, name: str) -> bool:
    return getattr(first, name) != getattr(second, name)


def _place(data: Path | None) -> str | None:
    return None if data is None else str(data.resolve())


def stored_study(folder: Path) -> tuple[Grid, Path | None]:
    """Grid and data set (None: its own synthetic videos) of the study in a folder.

    Raises:
        RunFolderError: the folder holds no study.
    """
    stored = read_study(folder)
    data = stored.get("data")
    return grid_from_json(stored["grid"], source=folder / STUDY), None if data is None else Path(data)


def read_study(folder: Path) -> dict[str, Any]:
    """What `claim_folder` wrote.

    Raises:
        RunFolderError: the folder holds no study.
    """
    path = folder / STUDY
    try:
        stored = read_json(path)
    except FileNotFoundError as error:
        raise RunFolderError(f"{path}: missing: {folder} is not the folder of a study") from error
    except StoredError as error:
        raise RunFolderError(f"{path}: {error}") from error
    if not isinstance(stored, dict) or stored.get("format") != _FORMAT or not isinstance(stored.get("grid"), dict):
        raise RunFolderError(f"{path}: written by another version of gta: choose another --output")
    if not isinstance(stored.get("data"), str | None):
        raise RunFolderError(f"{path}: data is {shown(stored['data'])}: it must be the path of a data set, or null")
    return stored


@contextlib.contextmanager
def sole_user(folder: Path, *, patience: float = 20.0) -> Iterator[int | None]:
    """Hold the study's folder for this process, so that two studies do not train the same cells.

    Processes that inherit the descriptor hold it too: the cells of a study that was killed need a moment to write
    their checkpoints.

    Args:
        folder: the study's folder, created if missing.
        patience: seconds to wait for it.

    Returns:
        The lock's descriptor, to hand to the processes of the cells; None where the file system has no locks.

    Raises:
        RunFolderError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience
    while True:
        try:
            lock = FolderLock(folder)
            break
        except RunFolderError as error:
            if time.monotonic() >= deadline:
                message = f"{folder}: another gta study is working in this folder: wait for it to end"
                raise RunFolderError(message) from error
        time.sleep(_POLL_SECONDS)
    try:
        yield lock.descriptor
    finally:
        lock.release()


# ---- running ---------------------------------------------------------------------------------------------------------


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
