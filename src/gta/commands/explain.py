"""`gta explain`: show what a model sees in videos."""

import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from gta.commands.arguments import CheckpointPath, VideoPaths, parse_arguments
from gta.errors import OptionError, VideoError
from gta.terminal import print_line

if TYPE_CHECKING:
    from gta.explain.records import BlockExplanation, Explanation, Grid
    from gta.predictor import Predictor

PICTURES = {"attention": "figure_attention.png", "regions": "figure_regions.png", "mixing": "mixing.png"}
ARRAYS = "explanation.npz"
PAGE = "explain.html"
_DOTS_PER_INCH = 150


@dataclass(frozen=True)
class ExplainArguments:
    """Show where a model looks in a video, which frames matter to it, and how it mixes them.

    Writes an interactive page (explain.html), figures (figure_attention.png, figure_regions.png and mixing.png, if the
    model has such blocks) and the arrays (explanation.npz).
    """

    checkpoint: CheckpointPath
    """Checkpoint (.ckpt) of a training run."""
    videos: VideoPaths
    """Video files, or folders of numbered frames."""
    query: str | None = None
    """Point whose attention is shown, as T,Y,X: frame of the model's clip, row and column in pixels, all counted from
    0. By default, the point with the most evidence for the class."""
    block: str | None = None
    """Name of the attention block to draw, or a part of it, such as res4; all if not given."""
    class_name: Annotated[str | None, tyro.conf.arg(name="class")] = None
    """The class to explain; the most probable one if not given."""
    swap: bool = False
    """Also draw the maps with the projections of spatial and temporal attention swapped."""
    compare: Path | None = None
    """Another checkpoint to show next to the first one in explain.html, with the same query."""
    output: Path = Path("explain")
    """Folder for the files; with several videos, each gets a folder in it."""
    device: str = "auto"
    """Where to compute: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, ..."""


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta explain`."""
    options = parse_arguments(ExplainArguments, arguments, command="gta explain")
    if not options.videos:
        raise OptionError("no video given: name one or more video files after the checkpoint")
    query = None if options.query is None else parse_query(options.query)
    from gta.predictor import Predictor

    predictor = Predictor.from_checkpoint(options.checkpoint, device=options.device)
    _check(predictor, options, query)
    other = None if options.compare is None else Predictor.from_checkpoint(options.compare, device=options.device)
    folders = output_folders(options.output, options.videos)
    failures: list[VideoError] = []
    for path, folder in zip(options.videos, folders, strict=True):
        try:
            _explain(predictor, other, path, folder, options, query)
        except VideoError as error:
            failures.append(error)
    if failures:
        for failure in failures[:-1]:
            print_line(f"gta explain: {failure}", file=sys.stderr)
        raise failures[-1]


def parse_query(text: str) -> "Grid":
    """Frame, row and column from "T,Y,X".

    Raises:
        OptionError: it is not three whole numbers from 0.
    """
    numbers = [part.strip() for part in text.split(",")]
    if len(numbers) != 3 or not all(number.isascii() and number.isdigit() for number in numbers):
        raise OptionError(f"--query is {text}: it must be T,Y,X, three whole numbers from 0, such as 3,28,28")
    frame, row, column = map(int, numbers)
    return frame, row, column


def output_folders(output: Path, videos: Sequence[Path]) -> list[Path]:
    """Where each video's files go: `output` itself for one, folders of the videos' names for several."""
    if len(videos) == 1:
        return [output]
    folders: list[Path] = []
    for video in videos:
        name, number = video.stem or "video", 2
        folder = output / name
        while folder in folders:
            folder, number = output / f"{name}-{number}", number + 1
        folders.append(folder)
    return folders


def _check(predictor: "Predictor", options: ExplainArguments, query: "Grid | None") -> None:
    """Refuse what does not fit the model before a video is read."""
    from gta.explain.blocks import attention_blocks

    wanted = options.class_name
    if wanted is not None and wanted not in predictor.classes:
        close = difflib.get_close_matches(wanted, predictor.classes, n=1)
        hint = (
            f"did you mean '{close[0]}'?"
            if close
            else f"it has {len(predictor.classes)}, such as {predictor.classes[0]}"
        )
        raise OptionError(f"--class is {wanted}: the model has no such class; {hint}")
    blocks = list(attention_blocks(predictor.model))
    if options.block is not None and not any(options.block in name for name in blocks):
        raise OptionError(f"--block is {options.block}: the model's attention blocks are {', '.join(blocks) or 'none'}")
    clip = predictor.clip
    side = clip.test_crop_size or clip.crop_size
    if query is not None and not (query[0] < clip.num_frames and max(query[1:]) < side):
        raise OptionError(
            f"--query is {options.query}: the model sees {clip.num_frames} frames of {side} x {side} pixels, counted "
            "from 0"
        )


def _explain(
    predictor: "Predictor",
    other: "Predictor | None",
    path: Path,
    folder: Path,
    options: ExplainArguments,
    query: "Grid | None",
) -> None:
    from gta.explain import explain
    from gta.viz.explain_page import TABLE_SIDE, write_explain_page

    record = explain(predictor, path, query=query, target=options.class_name, swap=options.swap, table_side=TABLE_SIDE)
    records = [record]
    if other is not None:
        target = options.class_name if options.class_name in other.classes else None
        records.append(explain(other, path, target=target, swap=options.swap, table_side=TABLE_SIDE))
    blocks = [block for block in record.blocks if options.block is None or options.block in block.name]
    print_line(path)
    for name, score in record.top(3):
        print_line(f"  {100 * score:5.1f} %  {name}")
    backward, score = record.top(1, backward=True)[0]
    print_line(f"  {100 * score:5.1f} %  {backward}, played backwards")
    for note in record.notes:
        print_line(f"  {note}")
    if len(records) > 1:
        names = ", ".join(f"{name} ({100 * score:.1f} %)" for name, score in records[1].top(2))
        print_line(f"  {options.compare}: {names}")
    for written in [*write_pictures(record, blocks, folder), write_explain_page(folder / PAGE, records)]:
        print_line(f"  {written}")


def write_pictures(record: "Explanation", blocks: "Sequence[BlockExplanation]", folder: Path) -> list[Path]:
    """Write the pictures that the blocks give, and the arrays of all blocks; returns the files' paths."""
    from gta.files import write_bytes
    from gta.viz.explain_figures import record_figures
    from gta.viz.figures import png_bytes

    written = []
    for name, figure in record_figures(record, blocks).items():
        written.append(folder / PICTURES[name])
        write_bytes(written[-1], png_bytes(figure, _DOTS_PER_INCH))
    return [*written, record.to_npz(folder / ARRAYS)]
