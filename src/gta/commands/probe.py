"""`gta probe`: what a trained model makes of the order of frames."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gta.commands.arguments import parse_arguments
from gta.commands.measuring import MeasuringOptions
from gta.errors import require_least
from gta.terminal import print_line, printable

if TYPE_CHECKING:
    from gta.evaluation.probe import ProbeResult
    from gta.runs.sources import Source

RESULTS = "probe.json"
REPORT = "report.html"
_CLASSES_IN_TERMINAL = 40
_CLASSES_IN_PICTURE = 120
_WIDTH_OF_FILES = 160


# What `--help` shows.
_COMMON = ("--split", "--opposites", "--num-permutations", "--num-workers", "--device", "--output")


@dataclass(frozen=True)
class ProbeArguments(MeasuringOptions):
    """Measure whether a model uses the order of frames: in order, reversed, shuffled, and with a single frame repeated.

    Works with every checkpoint and every data set, by default with the checkpoint's own validation videos. If the data
    set's classes differ from the model's, it measures how far the predictions move, but no accuracies.
    """

    opposites: Path | None = None
    """JSON file with additional opposites (words or classes that are time reversals); see docs/adapting.md."""
    num_permutations: int = 5
    """Number of random orders of each video."""
    seed: int = 0
    """Seed of the shuffles."""
    output: Path | None = None
    """Folder for probe.json, report.html and the plots; by default, `probe` next to the checkpoint (for a hub's model,
    in ./owner/name)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_least(self, num_permutations=1, seed=0)


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta probe`."""
    options = parse_arguments(
        ProbeArguments,
        arguments,
        command="gta probe",
        renamed={"--permutations": "--num-permutations"},
        common=_COMMON,
    )
    result, source = probe_checkpoint(options)
    _print(result, source.root, options)
    _write(result, source, options)
    print_line(f"written: {_folder(options)}")


def _folder(options: ProbeArguments) -> Path:
    from gta.hub import results_place

    return options.output or results_place(options.checkpoint).parent / "probe"


def probe_checkpoint(options: ProbeArguments) -> "tuple[ProbeResult, Source]":
    """Probe the checkpoint; returns the result and where the videos came from."""
    from gta.evaluation.opposites import known_opposites, read_opposites
    from gta.files import check_writable
    from gta.runs.evaluate import probe_checkpoint as probe_source

    opposites = known_opposites()
    if options.opposites is not None:
        opposites = opposites + read_opposites(options.opposites)
    check_writable(_folder(options) / RESULTS)
    return probe_source(
        options.checkpoint,
        options.measuring,
        opposites=opposites,
        num_permutations=options.num_permutations,
        seed=options.seed,
        on_strange=_tell_strange,
    )


def _tell_strange(source: "Source", label: str, num_classes: int) -> None:
    print_line(
        f"{source.root}: '{label}' is not among the model's {num_classes} classes: "
        "movements are measured, accuracies are not",
        file=sys.stderr,
    )


def _write(result: "ProbeResult", source: "Source", options: ProbeArguments) -> None:
    """Write probe.json, the report and two plots."""
    import numpy as np

    from gta.files import write_bytes, write_json, write_text
    from gta.viz.figures import png_bytes
    from gta.viz.probe_report import probe_page
    from gta.viz.study import probe_figure, sensitivity_figure

    about: dict[str, Any] = {
        "checkpoint": str(options.checkpoint),
        "data": str(source.root),
        "fold": source.fold,
        "split": options.split,
        "seed": options.seed,
        "precision": options.precision,
    }
    folder = _folder(options)
    values = result.to_json()
    write_json(folder / RESULTS, {**about, **values})
    write_text(folder / REPORT, probe_page(f"Order of frames: {options.checkpoint}", values, about))
    figures = {}
    if result.foreign is None:
        accuracies = {name: result.top1(name) for name in result.treatments}
        figures["accuracy.png"] = probe_figure(accuracies, title=f"{len(result.labels)} videos, {options.split}")
    sensitivity = result.sensitivity()
    most_first = np.argsort(-np.nan_to_num(sensitivity[:, 0], nan=-1.0), kind="stable").tolist()
    seen = [label for label in most_first if not np.isnan(sensitivity[label]).all()][:_CLASSES_IN_PICTURE]
    names = [result.names[label] for label in seen]
    figures["sensitivity.png"] = sensitivity_figure(names, ("reversed", "shuffled", "one frame"), sensitivity[seen])
    for name, figure in figures.items():
        write_bytes(folder / name, png_bytes(figure))


def _print(result: "ProbeResult", root: Path, options: ProbeArguments) -> None:
    """Print the tables."""
    from rich.console import Console

    values = result.to_json()
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:  # names of classes are cut to fit a terminal, not a file
        console.width = _WIDTH_OF_FILES
    console.print(_treatments_table(f"{len(result.labels)} videos of {root} ({options.split})", values))
    shuffled = values["shuffled_top1"]
    if shuffled is not None and shuffled["sample_deviation"] is not None:
        deviation = f" ± {100 * shuffled['sample_deviation']:.2f}"
        console.print(
            f"shuffled: {100 * shuffled['mean']:.2f}{deviation} % over {shuffled['permutations']} permutations"
        )
    console.print(result.verdict, markup=False)
    if values["chiral_pairs"]:
        console.print(_pair_table(values["chiral_pairs"]))
    console.print(_class_table(values["per_class"]))
    hidden = len(values["per_class"]) - _CLASSES_IN_TERMINAL
    if hidden > 0:
        console.print(f"{hidden} less sensitive classes are in probe.json")
    for path, reason in result.skipped:
        console.print(printable(f"left out: {path}: {reason}"), markup=False)


def _treatments_table(title: str, values: dict[str, Any]) -> Any:
    """Each order of frames: accuracies, and how far the predictions move."""
    from rich.table import Table
    from rich.text import Text

    from gta.evaluation.metrics import tells_top5

    table = Table(title=Text(printable(title), style="table.title"), title_justify="left")
    shares = {"top1": "top-1 %", "top5": "top-5 %", "direction_accuracy": "direction %"}
    if not tells_top5(values["num_classes"]):
        del shares["top5"]
    for number, name in enumerate(("frames", *shares.values(), "predictions changed %", "movement %")):
        table.add_column(name, justify="right" if number else "left")
    for name, row in values["treatments"].items():
        table.add_row(
            name,
            *(_percent(row[key]) for key in shares),
            f"{100 * row['share_of_predictions_changed']:.2f}",
            f"{100 * row['movement']:.2f}",
        )
    return table


def _pair_table(pairs: list[dict[str, Any]]) -> Any:
    """Classes that are each other's time reversal, those that the model confuses most first."""
    from rich.table import Table
    from rich.text import Text

    title = f"actions and their time reversals ({len(pairs)} pairs)"
    table = Table(title=title, title_justify="left")
    for number, name in enumerate(("class", "reversal", "found by", "videos", "direction %", "taken for reversal %")):
        table.add_column(name, justify="left" if number < 3 else "right", overflow="fold")
    ordered = sorted(pairs, key=lambda pair: (pair["direction_accuracy"] is None, pair["direction_accuracy"] or 0.0))
    for pair in ordered[:_CLASSES_IN_TERMINAL]:
        table.add_row(
            *(Text(printable(pair[key])) for key in ("first", "second", "rule")),
            str(pair["num_videos"]),
            _percent(pair["direction_accuracy"], 1),
            _percent(pair["taken_for_its_reversal"], 1),
        )
    return table


def _percent(share: float | None, digits: int = 2) -> str:
    return "-" if share is None else f"{100 * share:.{digits}f}"


def _class_table(per_class: dict[str, Any]) -> Any:
    """The classes whose predictions move most when the video is reversed."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="temporal sensitivity: how much probability moves to other classes, %", title_justify="left")
    heads = ("class", "videos", "top-1 %", "reversed", "shuffled", "one frame", "taken for reversal %")
    for number, name in enumerate(heads):
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    ordered = sorted(per_class.items(), key=lambda item: -item[1]["sensitivity"]["reversed"])
    for name, row in ordered[:_CLASSES_IN_TERMINAL]:
        flips: float | None = row["taken_for_its_reversal_when_reversed"]
        table.add_row(
            Text(printable(name)),  # not as markup: a class may be called "jump [left]"
            str(row["num_videos"]),
            _percent(row["top1"]["in order"], 1),
            *(_percent(row["sensitivity"][key], 1) for key in ("reversed", "shuffled", "one frame")),
            _percent(flips, 1),
        )
    return table
