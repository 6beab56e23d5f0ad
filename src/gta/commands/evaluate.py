"""`gta evaluate`: measure a checkpoint on a data set."""

import errno
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gta.commands.arguments import CheckpointPath, parse_arguments
from gta.commands.measuring import MeasuringOptions
from gta.config import Averaging
from gta.errors import require_least
from gta.terminal import print_line, quantity

_SHOWN_CLASSES, _SHOWN_PAIRS = 20, 5
# The folder of the checkpoint may be shared and not ours to write into.
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


_COMMON = (
    "--split",
    "--test-clips",
    "--test-crops",
    "--batch-size",
    "--num-workers",
    "--device",
    "--output",
    "--scores",
)  # what `--help` shows


@dataclass(frozen=True)
class EvaluateArguments(MeasuringOptions):
    """Measure a checkpoint: top-1, top-5, per class, confusion, direction; by default on its own validation videos."""

    checkpoint: CheckpointPath
    """Checkpoint (.ckpt) of a training run, a folder that `gta export` wrote, or hf://owner/name."""
    test_clips: int | None = None
    """Temporal clips per video; as stored in the checkpoint if not given."""
    test_crops: Literal[1, 3] | None = None
    """Spatial crops per clip; as stored in the checkpoint if not given."""
    averaging: Averaging | None = None
    """What is averaged over the views of a video; as stored in the checkpoint if not given."""
    output: Path | None = None
    """JSON file for the results; a report (.html) is written next to it. By default, evaluation_<split>.json next to
    the checkpoint (for a hub's model, in ./owner/name); DATA, views and averaging, if given, are added to its name."""
    scores: Path | None = None
    """Also write every video's scores to this .npz file (paths, labels, scores, classes)."""
    trust: bool = False
    """Load an exported folder of the formats torch or aoti, whose files can run arbitrary code."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_least(self, test_clips=1)


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta evaluate`."""
    options = parse_arguments(EvaluateArguments, arguments, command="gta evaluate", common=_COMMON)
    target = evaluate_checkpoint(options, show=_print)["written_to"]
    if target is not None:
        print_line(f"written: {target}, report: {_page(target)}")


def evaluate_checkpoint(
    options: EvaluateArguments, *, show: Callable[[dict[str, Any]], None] | None = None
) -> dict[str, Any]:
    """Evaluate and write the results; returns what was written, and where to as `written_to` (None if nowhere).

    Args:
        options: the command's options.
        show: called with the results before they are written, so that a disk that fills up loses no numbers.
    """
    from gta.files import check_writable, write_json
    from gta.runs.evaluate import measure_checkpoint
    from gta.runs.report import write_evaluation_report

    target = _checked_output(options)
    if options.scores:
        check_writable(options.scores)
    measured = measure_checkpoint(
        options.checkpoint,
        options.measuring,
        views={name: getattr(options, name) for name in ("test_clips", "test_crops", "averaging")},
        trust=options.trust,
    )
    result, videos, written = measured.result, measured.videos, measured.to_json()
    if show:
        show(written)
    if target is not None:
        write_json(target, written)
        write_evaluation_report(_page(target), written, videos)
    if options.scores:
        result.write_scores(options.scores, (str(record.path) for record in videos.records))
    return {**written, "written_to": target}


def _output(options: EvaluateArguments) -> Path:
    """Where the results go: --output, or a file beside the checkpoint that no other kind of evaluation has."""
    if options.output is not None:
        return options.output
    parts = ["evaluation", options.split]
    if options.data is not None:
        parts.append(options.data.resolve().stem)
    if options.test_clips is not None or options.test_crops is not None:
        parts.append(f"{options.test_clips or 'own'}x{options.test_crops or 'own'}")
    if options.averaging is not None:
        parts.append(options.averaging)
    from gta.hub import results_place

    home = options.checkpoint if options.checkpoint.is_dir() else results_place(options.checkpoint).parent
    return home / f"{'_'.join(parts)}.json"


def _page(target: Path) -> Path:
    """Where the report goes: beside the results, by the same name."""
    page = target.with_suffix(".html")
    return page if page != target else target.with_name(f"{target.name}.html")


def _checked_output(options: EvaluateArguments) -> Path | None:
    """Where the results go, found to be writable before the work; None beside a read-only checkpoint.

    Raises:
        OSError: --output was given and cannot be written.
    """
    from gta.files import check_writable

    target = _output(options)
    try:
        check_writable(target)
    except OSError as error:
        if options.output is not None or error.errno not in _READ_ONLY:
            raise
        print_line(
            f"gta evaluate: {target.parent}: {error.strerror}: the results are only printed; name a file with --output",
            file=sys.stderr,
        )
        return None
    return target


def _print(written: dict[str, Any]) -> None:
    from gta.evaluation.metrics import tells_top5

    direction = written["direction_accuracy"]
    print_line(f"{written['num_videos']} videos of {written['data']} ({written['split']})")
    clip = written["protocol"]
    clips, crops = clip["test_clips"], clip["test_crops"]
    views = f"{clips} x {crops} views of each (clips x crops)" if clips * crops > 1 else "1 view of each"
    size = clip["test_crop_size"] or clip["crop_size"]
    print_line(f"{views}, {clip['num_frames']} frames, {size} x {size} pixels")
    print_line(f"top-1                {100 * written['top1']:6.2f} %")
    if tells_top5(len(written["per_class"])):
        print_line(f"top-5                {100 * written['top5']:6.2f} %")
    print_line(f"mean class accuracy  {100 * written['mean_class_accuracy']:6.2f} %")
    if direction is not None:
        print_line(f"direction accuracy   {100 * direction:6.2f} %")
    if absent := written["classes_without_videos"]:
        shown = ", ".join(absent[:10]) + (f" and {len(absent) - 10} more" if len(absent) > 10 else "")
        print_line(f"{len(absent)} of the model's classes have no video here: {shown}")
    _print_classes(written["per_class"])
    _print_confusions(written)
    for entry in written["skipped"]:
        print_line(f"left out: {entry['path']}: {entry['reason']}")


def _print_classes(per_class: dict[str, Any]) -> None:
    """The classes that have videos, the worst first."""
    present = [(row["accuracy"], name, row["num_videos"]) for name, row in per_class.items() if row["num_videos"]]
    present.sort(key=lambda row: row[0])
    print_line()
    print_line("classes, worst first:")
    for accuracy, name, count in present[:_SHOWN_CLASSES]:
        print_line(f"  {100 * accuracy:6.2f} %  {name} ({quantity(count, 'video')})")
    if len(present) > _SHOWN_CLASSES:
        print_line(f"  and {len(present) - _SHOWN_CLASSES} better ones, in the JSON file and the report")


def _print_confusions(written: dict[str, Any]) -> None:
    """The pairs of classes that are taken for each other most often."""
    pairs = written["worst_confusions"][:_SHOWN_PAIRS]
    if pairs:
        print_line()
        print_line("most confused:")
    for pair in pairs:
        of = written["per_class"][pair["true"]]["num_videos"]
        videos = quantity(of, "video")
        print_line(f"  {pair['count']} of {videos} of {pair['true']} classified as {pair['predicted']}")
