"""`gta paper`: the paper's costs next to ours."""

import json
from dataclasses import dataclass
from typing import Literal

from gta.commands.arguments import parse_arguments
from gta.errors import OptionError


@dataclass(frozen=True)
class PaperArguments:
    """Print the GFLOPs and parameters that the paper states, next to those of this package's models.

    By default, the paper's own experiments in Tables 1 and 5. --table also shows the methods that the paper compares
    with, and the numbers from their own papers: 5 is Kinetics-400; on Something-Something, 6 is 2D networks and 7 is 3D
    networks, graphs and two streams.
    """

    table: Literal[1, 5, 6, 7] | None = None
    """Print this table only."""
    json: bool = False
    """Print JSON."""
    markdown: bool = False
    """Print a Markdown table."""

    def __post_init__(self) -> None:
        if self.json and self.markdown:
            raise OptionError("--json and --markdown cannot be used together")


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta paper`."""
    options = parse_arguments(PaperArguments, arguments, command="gta paper")
    from gta.models.paper import as_markdown, measure_rows
    from gta.paper.methods import list_rows

    rows = list_rows(options.table)
    if options.json:
        print(json.dumps([row.to_json() for row in measure_rows(rows)], indent=2))
    elif options.markdown:
        print(as_markdown(list(measure_rows(rows))))
    else:
        _show(options.table)


def _show(number: int | None) -> None:
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    from gta.models.paper import HEADINGS, as_cells, marks, measure_row, remarks
    from gta.paper.methods import TITLES, list_rows

    console = Console()
    progress = Console(stderr=True)
    chosen = list_rows(number)
    noted = marks(chosen)
    rows = [
        measure_row(row)
        for row in track(chosen, "counting", console=progress, transient=True, disable=not progress.is_terminal)
    ]
    table = Table(
        box=None,
        pad_edge=False,
        caption="A multiply-add counts once, as in the paper; diff. is ours minus the printed number.",
        caption_justify="left",
    )
    for heading in HEADINGS[1:]:
        table.add_column(
            heading.replace(" paper", "").replace(" (", "\n("),
            justify="left" if heading in ("Model", "Clip") else "right",
            no_wrap=heading != "Model",  # numbers stay whole in a narrow terminal
        )
    shown = 0
    for row in rows:
        if row.paper.table != shown:
            shown = row.paper.table
            table.add_row(f"[bold]{TITLES[shown]}[/bold]")
        table.add_row(*as_cells(row, noted.get(row.paper.note, ""))[1:])
    console.print(table)
    for line in remarks(rows):
        console.print(line, markup=False)
