"""What a run shows while it runs: one line per epoch, and a live bar on a terminal (stderr) and in a notebook."""

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn

from gta.evaluation.metrics import tells_top5
from gta.progress import is_watched, progress_bar
from gta.terminal import printable
from gta.training.step import Totals

_SECONDS_BETWEEN_UPDATES = 0.5


class Display:
    """Shows progress.

    Args:
        max_epochs: epochs of the run.
        num_classes: classes of the model.
        live: draw a bar; whether somebody sees it (a terminal, a notebook) if not given.
        silent: show nothing, as in all processes of a run but the first.
    """

    def __init__(self, *, max_epochs: int, num_classes: int, live: bool | None = None, silent: bool = False) -> None:
        self.max_epochs, self.num_classes = max_epochs, num_classes
        self.console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=silent)
        self.live = not silent and (is_watched(self.console) if live is None else live)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._shown = 0.0

    def say(self, text: str) -> None:
        """One line, above the bar if there is one."""
        self.console.print(printable(text), markup=False)

    def start_epoch(self, epoch: int, num_batches: int, done: int) -> None:
        """Begin the bar of an epoch (1, 2, ...) of `num_batches`, of which `done` were trained before."""
        self._start(f"epoch {epoch}/{self.max_epochs}", num_batches, done)

    def start_validation(self, num_batches: int) -> None:
        """Begin the bar of a validation."""
        self._start("validation", num_batches, 0)

    def _start(self, name: str, total: int, done: int) -> None:
        self.stop()
        if not self.live:
            return
        self._progress = progress_bar(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[status]}"),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            live=True,
        )
        self._task = self._progress.add_task(name, total=total, completed=done, status="")
        self._progress.start()
        self._shown = 0.0

    def advance(self, totals: Callable[[], Totals] | None = None, clips_per_second: float = 0.0) -> None:
        """One batch is done; `totals` is called only when the bar is redrawn, since it waits for the device."""
        if self._progress is None or self._task is None:
            return
        self._progress.advance(self._task)
        now = time.monotonic()
        if totals is not None and now - self._shown >= _SECONDS_BETWEEN_UPDATES:
            self._shown = now
            sums = totals()
            status = f"loss {sums.mean_loss:.4f}  top-1 {100 * sums.top1:.1f} %  {clips_per_second:.1f} clips/s"
            self._progress.update(self._task, status=status)

    def end_epoch(self, row: dict[str, Any], timing: dict[str, Any]) -> None:
        """One line that sums up an epoch."""
        self.stop()
        parts = [f"epoch {row['epoch']}/{self.max_epochs}", f"loss {_text(row['train_loss'], '.4f')}"]
        parts.append(f"top-1 {_percent(row['train_top1'])}")
        if row.get("val_top1") is not None:
            parts.append(f"validation loss {row['val_loss']:.4f} top-1 {_percent(row['val_top1'])}")
            if tells_top5(self.num_classes):
                parts[-1] += f" top-5 {_percent(row['val_top5'])}"
        if row.get("val_direction_accuracy") is not None:
            parts.append(f"direction {_percent(row['val_direction_accuracy'])}")
        if timing.get("clips_per_second") is not None:
            parts.append(f"{timing['clips_per_second']:.1f} clips/s")
        if row["bad_steps"]:
            parts.append(f"{row['bad_steps']} step(s) skipped: not finite")
        self.say("  ".join(parts))

    def stop(self) -> None:
        """Remove the bar."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            self._task = None


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
