"""`gta ensemble`: average the saved scores of several evaluations."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from gta.commands.arguments import parse_arguments
from gta.errors import OptionError
from gta.terminal import print_line


@dataclass(frozen=True)
class EnsembleArguments:
    """Average the per-video scores of several evaluations and measure the result; needs neither a GPU nor the videos.

    The paper's 8+16-frame ensemble is this average of two evaluations with 2 clips x 3 crops.
    """

    results: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="SCORES ...")]
    """Score files (.npz) that `gta evaluate --scores` wrote, two or more."""
    weights: tuple[float, ...] | None = None
    """Weight of each result; equal if not given."""
    output: Path | None = None
    """JSON file for the metrics; if not given, they are only printed."""
    scores: Path | None = None
    """Also write the averaged scores to this .npz file."""

    def __post_init__(self) -> None:
        if len(self.results) < 2:
            raise OptionError(f"{len(self.results)} result given: an ensemble needs two or more .npz files")
        if self.weights is not None:
            if len(self.weights) != len(self.results):
                raise OptionError(f"--weights has {len(self.weights)} numbers for {len(self.results)} results")
            if min(self.weights) < 0 or sum(self.weights) <= 0:
                raise OptionError("--weights must be 0 or more, and not all 0")


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta ensemble`."""
    run(parse_arguments(EnsembleArguments, arguments, command="gta ensemble"))


def run(options: EnsembleArguments) -> dict[str, Any]:
    """Average, measure, print and write; returns what was written.

    Videos are matched by path; where the results were made from different folders, by the path's end from the first
    part on in which the folders differ.

    Raises:
        DataError: a file is missing, no score file, or does not fit the others (classes, videos, labels).
    """
    from gta.evaluation.ensembles import average
    from gta.evaluation.metrics import tells_top5
    from gta.evaluation.score_files import read_scores
    from gta.files import write_json
    from gta.runs.reversals import stated_reversals

    parts = [read_scores(path) for path in options.results]
    classes = tuple(map(str, parts[0].classes))
    weights = options.weights or (1.0,) * len(parts)
    result = average(options.results, parts, weights, stated_reversals(classes))
    written = {
        "ensemble": [
            {"scores": str(path), "weight": weight, "top1": part.top1}
            for path, weight, part in zip(options.results, weights, parts, strict=True)
        ],
        **result.to_json(),
    }
    for entry in written["ensemble"]:
        print_line(f"{entry['scores']}: top-1 {100 * entry['top1']:.2f} %, weight {entry['weight']:g}")
    top5 = f", top-5 {100 * result.top5:.2f} %" if tells_top5(len(classes)) else ""
    print_line(f"together: top-1 {100 * result.top1:.2f} %{top5} over {result.num_videos} videos")
    if options.output is not None:
        write_json(options.output, written)
        print_line(f"written: {options.output}")
    if options.scores is not None:
        result.write_scores(options.scores, list(map(str, parts[0].paths)))
        print_line(f"written: {options.scores}")
    return written
