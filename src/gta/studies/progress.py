"""What a study shows while it runs: a live table on a terminal, one line per finished cell elsewhere (on stderr)."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gta.evaluation.statistics import summarise
from gta.studies.grids import Grid
from gta.studies.runner import Cell, states

_REDRAW_SECONDS = 1.0


def progress_table(grid: Grid, cells: Sequence[Cell]) -> Table:
    """One line per row of the grid: a word for each seed, and the mean of what is finished."""
    seeds = sorted({cell.seed for cell in cells})
    counts = states(cells)
    caption = f"{counts['done']} of {len(cells)} cells done, {counts['running']} running"
    if counts["failed"]:
        caption += f", {counts['failed']} failed"
    table = Table(title=grid.title, caption=caption, title_justify="left", caption_justify="left")
    table.add_column("row")
    for seed in seeds:
        table.add_column(f"seed {seed}", justify="right")
    table.add_column("mean top-1", justify="right")
    for row in grid.trained:
        mine = {cell.seed: cell for cell in cells if cell.row.key == row.key}
        values = summarise([cell.result.top1 for cell in mine.values() if cell.result])
        name = f"{row.part}  {row.label}" if row.part else row.label
        mean = Text("" if values is None else f"{100 * values.mean:.1f} %")
        table.add_row(Text(name), *(_word(mine[seed]) for seed in seeds), mean)
    return table


def _word(cell: Cell) -> Text:
    if cell.state == "done" and cell.result:
        return Text(f"{100 * cell.result.top1:.1f} %", style="green")
    if cell.state == "running":
        return Text(f"epoch {cell.epochs_done()}/{cell.epochs}", style="cyan")
    return Text("failed", style="red") if cell.state == "failed" else Text("-", style="dim")


@contextlib.contextmanager
def shown(grid: Grid, *, console: Console | None = None) -> Iterator[Callable[[Sequence[Cell]], None]]:
    """Give a function that shows the cells' progress; call it often."""
    console = console or Console(stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        yield _Lines(console)
        return
    with Live(console=console, auto_refresh=False) as live:
        drawn = -_REDRAW_SECONDS
        before: list[str] = []

        def draw(cells: Sequence[Cell]) -> None:
            nonlocal drawn, before
            now = [cell.state for cell in cells]
            if now != before or time.monotonic() - drawn >= _REDRAW_SECONDS:
                drawn, before = time.monotonic(), list(now)
                live.update(progress_table(grid, cells), refresh=True)

        yield draw


class _Lines:
    """One line for each cell that ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: set[str] | None = None

    def __call__(self, cells: Sequence[Cell]) -> None:
        ended = {cell.name: cell for cell in cells if cell.state in ("done", "failed")}
        if self._told is None:
            self._told = set(ended)
            if ended:
                self._console.print(f"{len(ended)} of {len(cells)} cells are finished already")
        for name, cell in ended.items():
            if name not in self._told:
                self._told.add(name)
                what = f"top-1 {100 * cell.result.top1:.1f} %" if cell.result else "failed"
                self._console.print(
                    f"[{len(self._told)}/{len(cells)}] {name}: {what}, {cell.seconds:.0f} s", markup=False
                )
