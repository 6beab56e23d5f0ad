"""Progress bars, on standard error if that is a terminal, and below the cell of a notebook (ground floor)."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

_SECONDS_BETWEEN_UPDATES = 0.5


class NotebookProgress(Progress):
    """A bar that is one output of a notebook's cell and redrawn in place, for which rich itself needs ipywidgets."""

    _output: Any = None
    _drawn = 0.0

    def start(self) -> None:
        """Show the bar, unless it is disabled."""
        if not self.disable and self._output is None:
            from IPython.display import display  # which runs the notebook

            self._output = display(self, display_id=True)

    def refresh(self) -> None:
        """Redraw the bar if it is shown."""
        if self._output is not None:
            self._drawn = time.monotonic()
            self._output.update(self)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Count what is done, and redraw the bar if it is full or has stood for a while: nothing else does."""
        super().advance(task_id, advance)
        if self.finished or time.monotonic() - self._drawn >= _SECONDS_BETWEEN_UPDATES:
            self.refresh()

    def stop(self) -> None:
        """Take the bar away."""
        if self._output is not None:
            self._output.update({"text/plain": ""}, raw=True)
            self._output = None


def is_watched(console: Console) -> bool:
    """Whether somebody sees a bar on this console: it is a terminal's or a notebook's."""
    return console.is_terminal or console.is_jupyter


def progress_bar(*columns: ProgressColumn, console: Console | None = None, live: bool | None = None) -> Progress:
    """A bar for a `with` statement; it is gone afterwards.

    Args:
        columns: what it shows; what is done, how much of it and the time left if not given.
        console: where; standard error if not given.
        live: draw it; whether somebody sees it if not given.
    """
    console = console or Console(stderr=True)
    columns = columns or (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    kind = NotebookProgress if console.is_jupyter else Progress
    return kind(*columns, console=console, transient=True, disable=not (is_watched(console) if live is None else live))


@contextlib.contextmanager
def counted(what: str, total: int, *, live: bool | None = None) -> Iterator[Callable[[int], None]]:
    """Show a bar inside; gives what is called with the number of things just done.

    Args:
        what: what is being done, for the bar.
        total: how many things there are.
        live: draw it; whether somebody sees it if not given.
    """
    with progress_bar(live=live) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)
