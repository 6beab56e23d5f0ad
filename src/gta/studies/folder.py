"""The folder of a study: which study it holds, who is working in it, which seeds are finished. Free of PyTorch."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from gta.errors import RunFolderError
from gta.files import write_json
from gta.stored import StoredError, read_json, shown
from gta.studies.grids import Budget, Grid, grid_from_json, grid_to_json
from gta.studies.results import RESULT
from gta.training.folder_lock import FolderLock

STUDY = "study.json"
CELLS = "cells"
"""Sub-folder with a folder for each row and seed."""

_FORMAT = 1
_POLL_SECONDS = 0.2


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
        raise RunFolderError(f"{folder}: exists and contains no study ({STUDY}): choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, {"format": _FORMAT, "data": _stored_path(data), "command": command, "grid": grid_to_json(grid)})


def check_folder(folder: Path, grid: Grid, data: Path | None) -> None:
    """Check that the folder holds this very study, or one of fewer rows.

    Options that it was made without count with their defaults.

    Raises:
        RunFolderError: it holds none, or one of other rows, another budget or other videos.
    """
    stored = read_study(folder)
    before = grid_from_json(stored["grid"], source=folder / STUDY)
    advice = "repeat the command that made it, or choose another folder"
    if before.budget != grid.budget:
        name = next(item.name for item in fields(Budget) if _differ(before.budget, grid.budget, item.name))
        raise RunFolderError(f"{folder}: holds a study with another budget ({name} differs): {advice}")
    if not all(row in grid.rows for row in before.rows):
        raise RunFolderError(f"{folder}: holds a study of other rows: {advice}")
    if stored.get("data") != _stored_path(data):
        raise RunFolderError(f"{folder}: holds a study of other videos ({stored.get('data')}): {advice}")


def _differ(first: Budget, second: Budget, name: str) -> bool:
    return getattr(first, name) != getattr(second, name)


def _stored_path(data: Path | None) -> str | None:
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
        raise RunFolderError(f"{path}: written by another version of gta: choose another folder")
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


def finished_seeds(grid: Grid, folder: Path) -> set[int]:
    """Seeds for which any row has a result."""
    places = [place for row in grid.rows for place in (folder / CELLS / row.key).glob(f"seed*/{RESULT}")]
    return {int(number) for place in places if (number := place.parent.name.removeprefix("seed")).isdecimal()}
