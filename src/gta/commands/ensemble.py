"""`gta ensemble`: average the saved scores of several evaluations."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from gta.commands.arguments import parse_arguments
from gta.errors import DataError, OptionError
from gta.terminal import print_line

if TYPE_CHECKING:
    from gta.evaluation.score_files import ScoreFile


@dataclass(frozen=True)
class EnsembleArguments:
    """Average the per-video scores of several evaluations and measure the result; needs no GPU and no videos.

    The paper's 8+16-frame ensemble is this, over two evaluations with 2 clips x 3 crops.
    """

    results: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="SCORES ...")]
    """Score files (.npz) that `gta evaluate --scores` wrote, two or more."""
    weights: tuple[float, ...] | None = None
    """Weight of each result; equal ones if not given."""
    output: Path | None = None
    """JSON file for the measures; printed only if not given."""
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
    import numpy as np

    from gta.evaluation.score_files import read_scores
    from gta.evaluation.scores import Scores, measure
    from gta.files import write_json
    from gta.runs.composition import reversals

    parts = [read_scores(path) for path in options.results]
    first = parts[0]
    classes = tuple(map(str, first.classes))
    names = _names(first.paths)
    total = np.zeros(first.scores.shape, np.float64)
    weights = options.weights or (1.0,) * len(parts)
    for path, part, weight in zip(options.results, parts, weights, strict=True):
        order = _match(names, part, first, options.results[0], path)
        total += weight * part.scores[order]
    averaged = (total / sum(weights)).astype(np.float32)
    result = measure(
        Scores(np.arange(len(names)), first.labels, averaged, ()),
        classes=classes,
        reversals=reversals(classes),
    )
    written = {
        "ensemble": [
            {"scores": str(path), "weight": weight, "top1": part.top1}
            for path, weight, part in zip(options.results, weights, parts, strict=True)
        ],
        **result.to_json(),
    }
    for entry in written["ensemble"]:
        print_line(f"{entry['scores']}: top-1 {100 * entry['top1']:.2f} %, weight {entry['weight']:g}")
    top5 = f", top-5 {100 * result.top5:.2f} %" if len(classes) > 5 else ""
    print_line(f"together: top-1 {100 * result.top1:.2f} %{top5} over {len(names)} videos")
    if options.output is not None:
        write_json(options.output, written)
        print_line(f"written: {options.output}")
    if options.scores is not None:
        result.write_scores(options.scores, list(map(str, first.paths)))
        print_line(f"written: {options.scores}")
    return written


def _names(paths: Any) -> list[tuple[str, int]]:
    """Paths without the folders that all of them share: the same for a data set in another place.

    A manifest may list several parts of one file; the number says which of them it is.
    """
    import os
    from collections import Counter

    texts = [str(path).replace(os.sep, "/") for path in paths]
    shared = os.path.commonpath(texts) if len(set(texts)) > 1 else os.path.dirname(texts[0])
    seen: Counter[str] = Counter()
    names = []
    for text in texts:
        names.append((text[len(shared) :].lstrip("/"), seen[text]))
        seen[text] += 1
    return names


def _match(names: list[tuple[str, int]], part: "ScoreFile", first: "ScoreFile", first_path: Path, path: Path) -> Any:
    """Where the videos `names` are in another result."""
    import numpy as np

    if list(part.classes) != list(first.classes):
        raise DataError(f"{path}: its classes are not those of {first_path}; an ensemble needs the same ones in order")
    rows = {name: row for row, name in enumerate(_names(part.paths))}
    different = sorted(set(names) ^ set(rows))
    if different:
        raise DataError(
            f"{path}: its {len(rows)} videos are not the {len(names)} of {first_path} (for example "
            f"{different[0][0]}); evaluate both on the same videos"
        )
    order = np.array([rows[name] for name in names])
    if not np.array_equal(part.labels[order], first.labels):
        raise DataError(f"{path}: its labels are not those of {first_path}")
    return order
