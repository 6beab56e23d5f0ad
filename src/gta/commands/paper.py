"""`gta paper`: the paper's tables beside ours."""

import json
from dataclasses import dataclass

from gta.commands.arguments import parse_arguments
from gta.errors import OptionError


@dataclass(frozen=True)
class PaperArguments:
    """Print GFLOPs and parameters of the paper's Tables 1 and 5 beside those of this package's models."""

    json: bool = False
    """Print JSON."""
    markdown: bool = False
    """Print a Markdown table."""

    def __post_init__(self) -> None:
        if self.json and self.markdown:
            raise OptionError("--json and --markdown exclude each other: give one of them")


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta paper`."""
    options = parse_arguments(PaperArguments, arguments, command="gta paper")
    from gta.models.paper import as_markdown, measure_rows

    if options.json:
        print(json.dumps([row.to_json() for row in measure_rows()], indent=2))
    elif options.markdown:
        print(as_markdown(list(measure_rows())))
    else:
        _show()


def _show() -> None:
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    from gta.models.paper import HEADINGS, PAPER_ROWS, as_cells, counted_matrices, measure_row

    console = Console()
    progress = Console(stderr=True)
    rows = [
        measure_row(row)
        for row in track(PAPER_ROWS, "counting", console=progress, transient=True, disable=not progress.is_terminal)
    ]
    table = Table(
        box=None,
        pad_edge=False,
        caption="Multiply-adds counted once, as the paper does; diff. is ours minus the paper's.",
        caption_justify="left",
    )
    for heading in HEADINGS[1:]:
        left = heading in ("Model", "Clip")
        table.add_column(heading.replace(" paper", ""), justify="left" if left else "right", no_wrap=left)
    shown = 0
    for row in rows:
        if row.paper.table != shown:
            shown = row.paper.table
            table.add_row(f"[bold]The paper's Table {shown}[/bold]")
        table.add_row(*as_cells(row)[1:])
    console.print(table)
    console.print(counted_matrices(rows))
    for note in dict.fromkeys(row.paper.note for row in rows if row.paper.note):
        console.print(f"* {note}")
