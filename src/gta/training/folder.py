"""The run folder: everything a run leaves behind, each file written whole or not at all.

config.json    the resolved configuration            versions.json  versions and devices
metrics.csv    one row per epoch, the same for the same seed         timing.csv  seconds, clips/s, memory per epoch
best.ckpt      the best validation top-1 (then loss)  last.ckpt      where `--resume` continues
skipped.csv    videos that could not be read          results.json   the best epoch's full evaluation
report.html    all of it to read, if the run was started by `gta train` or `gta.runs.train`
events.out.*   TensorBoard curves, if it is installed
"""

import csv
import platform
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from gta.config import TrainConfig, config_from_json, config_to_json
from gta.csv_files import table_text
from gta.errors import OptionError, RunFolderError
from gta.files import clear_failures, json_text, write_text
from gta.model_card import library_versions
from gta.stored import StoredError, mapping, parse_json
from gta.training.folder_lock import FolderLock

BEST = "best.ckpt"
LAST = "last.ckpt"
CONFIG = "config.json"
RESULTS = "results.json"
VERSIONS = "versions.json"
REPORT = "report.html"
SKIPPED = "skipped.csv"

# Fields that a resumed run may change: they do not change what is computed, but for rounding (threads) and the run's
# length (with a cosine, a longer run has another learning rate from here on).
_FREE_FIELDS = (
    "data.root",
    "data.num_workers",
    "run.folder",
    "run.max_epochs",
    "run.num_threads",
    "run.patience",
    "run.checkpoint_minutes",
    "run.checkpoint_steps",
    "run.max_bad_steps",
    "run.recipe",
)


def check_run_folder(folder: Path, *, resume: bool) -> None:
    """Refuse a folder that a new run would overwrite, or that cannot be resumed.

    Raises:
        RunFolderError: the folder exists and `resume` is false, or it exists and holds no run.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise RunFolderError(f"{folder}: there is a file with the name of the run folder: choose another run.folder")
    if all(entry.name.startswith(".") and ".part" in entry.name for entry in folder.iterdir()):
        return  # nothing but what a process left that was killed while it wrote its first file
    if not resume:
        raise RunFolderError(
            f"{folder}: the run folder already exists: continue it with `resume`, or choose another run.folder"
        )
    if not (folder / CONFIG).exists():
        raise RunFolderError(f"{folder}: no {CONFIG} in it, so there is no run to resume: choose another run.folder")


def read_config(folder: Path) -> dict[str, Any]:
    """Read a run folder's resolved configuration.

    Raises:
        RunFolderError: it is missing or damaged.
    """
    path = folder / CONFIG
    try:
        return dict(mapping(parse_json(path.read_text(encoding="utf-8")), "the configuration"))
    except FileNotFoundError as error:
        raise RunFolderError(f"{path}: missing: {folder} is not a run folder") from error
    except UnicodeDecodeError as error:
        raise RunFolderError(f"{path}: not valid JSON (not UTF-8 text)") from error
    except StoredError as error:
        raise RunFolderError(f"{path}: {error}") from error


def check_same_config(
    stored: dict[str, Any], present: dict[str, Any], *, may_change: Collection[str] = ()
) -> dict[str, tuple[Any, Any]]:
    """Refuse to resume a run under another configuration (fields that do not change the results may differ).

    An option that is newer than the stored configuration counts there with its default.

    Args:
        stored: the run's configuration as JSON values.
        present: the one to continue with.
        may_change: fields of the optimiser that may differ all the same, by dotted name (`optim.lr`).

    Returns:
        The fields of `may_change` that do differ: (before, now).

    Raises:
        OptionError: the text names the first field that differs, and both values; or `may_change` names another field.
    """
    for name in may_change:
        if not name.startswith("optim."):
            raise OptionError(
                f"`change` names {name}: only fields of the optimiser (optim.lr, ...) can change in a run"
            )
    before, now = (_flat(config_to_json(config_from_json(TrainConfig, values))) for values in (stored, present))
    changed: dict[str, tuple[Any, Any]] = {}
    for name in sorted(before.keys() | now.keys()):
        if name in may_change and before.get(name) != now.get(name):
            changed[name] = (before.get(name), now.get(name))
        elif name not in _FREE_FIELDS and before.get(name) != now.get(name):
            hint = "give the same, name it in `change`" if name.startswith("optim.") else "give the same"
            raise OptionError(
                f"{name} is {now.get(name)}, but the run to resume was started with {before.get(name)}: "
                f"{hint}, or start a new run folder"
            )
    return changed


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and name != "at":
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat


class RunFolder:
    """Writes the files of one run; only the first process of a run has one.

    Args:
        folder: the run folder; created if missing.
        config: the resolved configuration as JSON values.
        last_epoch: epochs that the checkpoint to resume has completed: later rows are dropped, they are redone.
    """

    METRICS = (
        "epoch",
        "step",
        "lr",
        "train_loss",
        "train_top1",
        "val_loss",
        "val_top1",
        "val_top5",
        "val_mean_class_accuracy",
        "val_direction_accuracy",
        "bad_steps",
    )
    TIMING = ("epoch", "seconds", "clips_per_second", "validation_seconds", "peak_memory_mib")

    def __init__(self, folder: Path, *, config: dict[str, Any], last_epoch: int = 0) -> None:
        self.path = folder
        with clear_failures(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self.lock = FolderLock(folder)
            for leftover in folder.glob(".*.part*"):  # of a process that was killed while it wrote
                leftover.unlink(missing_ok=True)
        self._write(CONFIG, json_text(config))  # first: a folder without it holds no run that could be resumed
        versions = {**library_versions(), "platform": platform.platform(), **_devices()}
        self.versions = versions
        """Versions of the libraries, and the device."""
        self._write(VERSIONS, json_text(versions))
        self.rows = [row for row in _read_rows(folder / "metrics.csv") if row["epoch"] <= last_epoch]
        self.timing = [row for row in _read_rows(folder / "timing.csv") if row["epoch"] <= last_epoch]
        parts = [row.get(name) or 0.0 for row in self.timing for name in ("seconds", "validation_seconds")]
        self.seconds_before = float(sum(parts))
        """Time of the epochs that earlier sessions of this run have recorded."""
        if last_epoch == 0:
            for stale in folder.glob("events.out.tfevents.*"):
                stale.unlink()

    def add_epoch(self, row: dict[str, Any], timing: dict[str, Any]) -> None:
        """Add one epoch's row to metrics.csv and timing.csv (a row of the same epoch is replaced)."""
        self.rows = [*(old for old in self.rows if old["epoch"] != row["epoch"]), row]
        self.timing = [*(old for old in self.timing if old["epoch"] != timing["epoch"]), timing]
        self._write("metrics.csv", _csv(self.METRICS, self.rows))
        self._write("timing.csv", _csv(self.TIMING, self.timing))

    def write_results(self, results: dict[str, Any]) -> None:
        """Write results.json."""
        self._write(RESULTS, json_text(results))

    def _write(self, name: str, text: str) -> None:
        self.lock.require_folder()
        path = self.path / name
        with clear_failures(path):
            write_text(path, text)


def _csv(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> str:
    return table_text(columns, [[row.get(name) for name in columns] for row in rows])


def _read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a CSV of numbers (empty fields become None); none if there is no such file.

    Raises:
        RunFolderError: it is damaged.
    """
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file, strict=True))
        if any(None in line or None in line.values() for line in lines):
            raise ValueError("a row has more or fewer values than there are columns")
        rows = [{name: _number(text) for name, text in line.items()} for line in lines]
        if any(row["epoch"] is None for row in rows):
            raise ValueError("a row without an epoch")
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunFolderError(f"{path}: damaged ({error}): delete it to resume without its rows") from error
    return rows


def _number(text: str) -> int | float | None:
    if text == "":
        return None
    try:
        return int(text)
    except ValueError:
        return float(text)


def _devices() -> dict[str, Any]:
    if not torch.cuda.is_available():
        return {"device": "cpu", "cpu_threads": torch.get_num_threads()}
    return {"device": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
