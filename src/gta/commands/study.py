"""`gta study`: a grid of models x seeds under one budget, with a report."""

import json
import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from gta.commands.arguments import parse_arguments
from gta.config import Difficulty
from gta.errors import OptionError, require_least
from gta.stored import StoredError, read_json
from gta.studies.grids import Grid, grid_from_json, grid_to_json
from gta.studies.tables import Size, create_grid, list_grids
from gta.terminal import print_line

_COMMON = (
    "--list",
    "--size",
    "--seeds",
    "--jobs",
    "--output",
    "--data",
    "--rows",
    "--report-only",
)  # what `--help` shows


@dataclass(frozen=True)
class StudyArguments:
    """Train a grid of models with several seeds each, all on the same budget, and report means, deviations and plots.

    The built-in grids use the synthetic data set: the paper's Tables 1 to 4, the methods it compares with, adapters for
    image transformers, and ways of mixing frames. To continue an interrupted study, repeat the command with the same
    options; finished cells are not run again.
    """

    grid: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[GRID]")] = ""
    """A built-in grid (`--list` shows them), or a grid file (.json) of your own (`--print` shows the format)."""
    size: Size = "cpu"
    """Size of a built-in grid: `cpu`: tiny networks, 48-pixel clips; `gpu`: ResNet-50 networks, 112-pixel clips."""
    seeds: int = 3
    """Runs of each row, with the seeds 0, 1, ...; more can be added later."""
    output: Path | None = None
    """Folder of the study; runs/study/<grid>-<size> if not given."""
    data: Path | None = None
    """Folder of a data set with the splits train and val; the grid's synthetic videos are rendered if not given."""
    jobs: int | None = None
    """Cells that run at the same time; by default one per core on a CPU, and one on a GPU."""
    num_threads: int = 1
    """CPU threads of each cell."""
    epochs: int | None = None
    """Passes over the training videos; the grid's own number if not given."""
    num_train: int | None = None
    """Synthetic training videos; the grid's own number if not given."""
    num_val: int | None = None
    """Synthetic held-out videos; the grid's own number if not given."""
    difficulty: Difficulty | None = None
    """Difficulty of the synthetic videos (see `gta synthesize`); the grid's own if not given."""
    rows: tuple[str, ...] | None = None
    """Only these rows (by their keys, which `--print` shows) and the reference rows that they are compared with."""
    list: bool = False
    """List the built-in grids and exit."""
    print: bool = False
    """Print the grid as JSON and exit."""
    report_only: bool = False
    """Only write the report, from the finished cells in the study's folder; train nothing."""

    def __post_init__(self) -> None:
        require_least(self, seeds=1, jobs=1, num_threads=1, epochs=1, num_train=1, num_val=1)
        if self.rows == ():
            raise OptionError("--rows names no row: name some, or leave the option out for all")


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta study`."""
    options = parse_arguments(
        StudyArguments, arguments, command="gta study", renamed={"--threads": "--num-threads"}, common=_COMMON
    )
    if options.list:
        for name, title in list_grids().items():
            print_line(f"{name}  {title}")
        return
    grid = choose_grid(options)
    if options.print:
        print(json.dumps(grid_to_json(grid), indent=2, ensure_ascii=False))
        return
    from gta.studies.study import run_study

    folder = options.output or Path("runs/study") / f"{grid.name}-{options.size}"
    data = options.data
    if options.report_only:
        from gta.studies.folder import stored_study

        grid, data = stored_study(folder)
    jobs = options.jobs or (1 if grid.budget.accelerator == "gpu" else os.cpu_count() or 1)
    report = run_study(
        grid,
        folder,
        seeds=tuple(range(options.seeds)),
        data=data,
        jobs=jobs,
        num_threads=options.num_threads,
        train=not options.report_only,
        command=shlex.join(["gta", "study", *arguments]),
    )
    print_line(f"written: {report}")
    print_line(f"written: {report.with_suffix('.html')}")


def choose_grid(options: StudyArguments) -> Grid:
    """The grid that the options name, with their changes.

    Raises:
        OptionError: there is no such grid, file or row, or the file does not fit.
    """
    if not options.grid:
        raise OptionError(f"no grid is given: choose from {', '.join(list_grids())}, or give a grid file (.json)")
    path = Path(options.grid)
    if path.suffix == ".json":
        try:
            values = read_json(path)
        except FileNotFoundError as error:
            raise OptionError(f"{path}: no such grid file") from error
        except StoredError as error:
            raise OptionError(f"{path}: {error}") from error
        grid = grid_from_json(values, source=path)
    else:
        grid = create_grid(options.grid, options.size, options.difficulty or "normal")
    changes = {
        name: value
        for name in ("epochs", "num_train", "num_val", "difficulty")
        if (value := getattr(options, name)) is not None
    }
    grid = replace(grid, budget=replace(grid.budget, **changes))
    if options.rows is None:
        return grid
    keys = [row.key for row in grid.rows]
    unknown = [key for key in options.rows if key not in keys]
    if unknown:
        raise OptionError(f"--rows: '{unknown[0]}' is not a row of {grid.name}: choose from {', '.join(keys)}")
    kept = {
        key for name in options.rows for key in (name, grid.reference(grid.row(name)).key, *grid.row(name).ensemble)
    }
    return replace(
        grid,
        rows=tuple(row for row in grid.rows if row.key in kept),
        references=tuple(key for key in grid.references if key in kept),
    )
