"""A whole study: videos, cells, report."""

import contextlib
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from gta.config import config_to_json
from gta.datasets.frame_store import build_store, missing_room, store_size
from gta.datasets.listing import VideoList, open_videos
from gta.errors import DataError, GtaError, OptionError
from gta.evaluation.statistics import proportion_error
from gta.files import write_json
from gta.runs.composition import build_model
from gta.runs.reversals import stated_reversals
from gta.studies.ensembles import ensemble_results, together
from gta.studies.findings import Study
from gta.studies.folder import check_folder, claim_folder, finished_seeds, read_study, sole_user
from gta.studies.grids import Budget, Grid, training_of
from gta.studies.output import write_study
from gta.studies.progress import shown
from gta.studies.results import collect
from gta.studies.runner import CONFIG, RUN, Cell, failure, plan_cells, run_cells, start_process
from gta.studies.speed import read_speed, study_speed
from gta.synthetic.build import synthesize
from gta.synthetic.classes import ACTION_BY_NAME, permutation_invariant_ceiling
from gta.synthetic.layouts import MANIFEST

VIDEOS = "videos"
FRAMES = "frames"
_SMALL = 4e9  # bytes of decoded frames that are stored without being asked for


def run_study(
    grid: Grid,
    folder: Path,
    *,
    seeds: tuple[int, ...],
    data: Path | None,
    jobs: int,
    num_threads: int,
    train: bool = True,
    command: str = "",
    console: Console | None = None,
) -> Path:
    """Run (or continue) a study and write its report.

    Args:
        grid: rows and budget.
        folder: the study's folder, created if missing.
        seeds: one cell for each row and seed; the report also shows what is finished of other seeds.
        data: folder of a data set; None renders the synthetic videos of the budget into the study's folder.
        jobs: cells at a time.
        num_threads: CPU threads of each cell.
        train: False only writes the report of what is finished.
        command: the command line, for the report; the one that trained the study where `train` is False.
        console: where progress is shown; standard error if not given.

    Returns:
        The Markdown report's path; CSV files, HTML page and plots are next to it.

    Raises:
        OptionError: the grid needs a GPU and there is none.
        RunFolderError: the folder holds something else, or a cell failed (after the others were finished).
        DataError: the data set is missing or has no training or held-out videos.
    """
    console = console or Console(stderr=True, highlight=False, soft_wrap=True)
    asked = set(seeds)
    if train:
        check_grid(grid)
    else:
        check_folder(folder, grid, data)
    # A report may be written while cells are running.
    with sole_user(folder) if train else contextlib.nullcontext() as lock:
        if train:
            claim_folder(folder, grid, data, command=command)
        root = folder / VIDEOS if data is None else data
        if data is None and train:
            prepare_videos(grid.budget, root, num_workers=jobs)
        splits = [open_videos(root, "train"), open_videos(root, "val")]
        if splits[0].classes != splits[1].classes:
            raise DataError(f"{root}: the splits train and val have different classes")
        seeds = tuple(sorted({*seeds, *finished_seeds(grid, folder)}))
        cells = [cell for cell in plan_cells(grid, seeds, folder) if cell.seed in asked or cell.state == "done"]
        if train:
            unfinished = [cell for cell in cells if cell.state != "done"]
            synthetic = (root / MANIFEST).exists()
            store = _store(grid.budget, splits, folder, synthetic=synthetic, console=console) if unfinished else None
            for cell in unfinished:
                config = training_of(
                    cell.row,
                    grid.budget,
                    seed=cell.seed,
                    root=root.resolve(),
                    folder=(cell.folder / RUN).resolve(),
                    num_threads=num_threads,
                )
                write_json(cell.folder / CONFIG, config_to_json(config))
            with shown(grid, console=console) as show:
                start = partial(start_process, num_threads=num_threads, frames=store, lock=lock)
                run_cells(cells, jobs=jobs, start=start, on_change=show)
        error = failure(cells)
        speed = _speed(grid, folder, splits[0], num_threads, measure=train and error is None, console=console)
        command = command if train else read_study(folder).get("command", "")
        report = write_study(_study(grid, cells, splits, command, speed, rendered=data is None), folder)
    if error is not None:
        raise error
    return report


def check_grid(grid: Grid) -> None:
    """Find out before any work whether this machine can run the grid, and whether all of its models can be built.

    Raises:
        OptionError: the grid needs a GPU and there is none, or a row's model does not exist or does not fit.
    """
    budget = grid.budget
    if budget.accelerator == "gpu" and not torch.cuda.is_available():
        raise OptionError(f"the grid {grid.name} is meant for a GPU, and PyTorch finds none here: use `size` cpu")
    for row in grid.trained:
        try:
            with torch.device("meta"):  # shapes only: no memory, no time
                build_model(training_of(row, budget).model, num_classes=2)
        except (GtaError, ValueError) as error:
            reason = error.__cause__ or error  # without the option of gta train that build_model names
            raise OptionError(f"grid {grid.name}, row {row.key!r}: {reason}") from error


def prepare_videos(budget: Budget, root: Path, *, num_workers: int) -> None:
    """Render the synthetic videos that a budget names; those that are there already are kept."""
    total = budget.num_train + budget.num_val
    synthesize(
        root,
        num_videos=total,
        seed=budget.data_seed,
        val_fraction=budget.num_val / total,
        frame_size=budget.frame_size,
        num_workers=num_workers,
        difficulty=budget.difficulty,
    )


def _store(
    budget: Budget, splits: Iterable[VideoList], folder: Path, *, synthetic: bool, console: Console
) -> Path | None:
    """Decoded frames of all videos in one file: of synthetic ones, and of others where they are few and small."""
    records = [record for split in splits for record in split.records]
    if (
        not budget.cache_frames
        or budget.clip.flow
        or any(record.start_seconds or record.end_seconds for record in records)
    ):
        return None
    size = store_size(records)
    if not synthetic and size > _SMALL:
        return None
    lacking = missing_room(folder / FRAMES, size)
    if lacking:
        console.print(
            f"warning: {folder}: the disk lacks {lacking / 1e9:.1f} GB for the decoded frames of {len(records)} "
            "videos, so every cell decodes them in every epoch, which is slower",
            markup=False,
        )
        return None
    with console.status(f"decoding {len(records)} videos once"):
        build_store(folder / FRAMES, records)
    return folder / FRAMES


def _speed(
    grid: Grid, folder: Path, videos: VideoList, num_threads: int, *, measure: bool, console: Console
) -> dict[str, float]:
    """Training speed of the rows, all in turn: measured once the cells are done, or what was measured before."""
    if not measure:
        speed = (read_speed(folder) or {}).get("clips_per_second", {})
    else:
        with console.status("measuring the speed of training, all rows in turn"):
            speed = study_speed(grid, folder, num_classes=len(videos.classes), num_threads=num_threads)
    several = {row.key: together([speed.get(key) for key in row.ensemble]) for row in grid.rows if row.ensemble}
    return speed | {key: rate for key, rate in several.items() if rate is not None}


def _study(
    grid: Grid,
    cells: list[Cell],
    splits: list[VideoList],
    command: str,
    speed: dict[str, float],
    *,
    rendered: bool,
) -> Study:
    """What the report tells; `rendered`: the videos are those of the budget."""
    train, val = splits
    classes, budget = train.classes, grid.budget
    data = f"{len(train):,} training and {len(val):,} held-out videos of {len(classes)} classes"
    data += (
        f", synthetic ({budget.frame_size[0]}x{budget.frame_size[1]} pixels, seed {budget.data_seed})."
        if rendered
        else f" from {train.root.name}."
    )
    ceiling = None
    if set(classes) <= set(ACTION_BY_NAME):
        counts = Counter(val.classes[record.label] for record in val.records)
        ceiling = permutation_invariant_ceiling(counts)
        data += (
            f" A model that ignores the order of frames is expected to reach at most {100 * ceiling:.2f} % on the "
            f"held-out ones, computed from their classes; with {len(val):,} of them, the standard error is "
            f"{100 * proportion_error(ceiling, len(val)):.1f} points."
        )
    finished = {(cell.row.key, cell.seed): (cell.result, cell.folder) for cell in cells if cell.result is not None}
    results = [result for result, _ in finished.values()]
    results += ensemble_results(grid, finished, reversals=stated_reversals(classes))
    return Study(
        grid, collect(grid, results), tuple(sorted({cell.seed for cell in cells})), ceiling, data, command, speed
    )
