"""`gta data`: look at a data set before training: check its files, show what a protocol does, convert it."""

import difflib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gta.commands.arguments import DataPath, DestinationPath, SourcePath, VideoPath, parse_arguments
from gta.config import Fold, Layout, Preset, Sampling
from gta.errors import DataError, OptionError, require_least
from gta.terminal import print_line

if TYPE_CHECKING:
    from gta.datasets.check import CheckReport


NAMES = ("check", "show", "prepare")

_USAGE = """usage: gta data COMMAND [OPTIONS]

Look at a data set before training.

commands:
  check    read every file; report what is missing, damaged, too short, mislabelled or duplicated
  show     draw what a protocol does to a video, as a picture sheet
  prepare  convert a data set for faster reading

gta data COMMAND --help shows a command's options."""


@dataclass(frozen=True)
class CheckArguments:
    """Read every file of a data set, report what is wrong, and keep an index that lets training start at once.

    You can stop it at any time and run it again to continue; unchanged files are not read twice.
    """

    root: DataPath
    """Folder of the data set, or a manifest file."""
    layout: Layout = "auto"
    """Layout of the folder; `auto` detects it."""
    fold: Fold = 1
    """Split of UCF-101, HMDB-51 or UTD-MHAD."""
    min_frames: int = 8
    """Videos with fewer frames are reported as too short."""
    quick: bool = False
    """Read only the packets and decode the first and last frame, instead of every frame."""
    num_workers: int = 2
    """Processes; 0 works in the main process."""
    report: Path | None = None
    """JSON file for the report; gta-check.json in the data set's folder if not given."""
    index: Path | None = None
    """File for the index, which training takes as --data.index; by default next to the data, or in the user's cache if
    the data cannot be written to."""
    strict: bool = False
    """Exit with code 2 if there is any problem."""

    def __post_init__(self) -> None:
        require_least(self, num_workers=0)


@dataclass(frozen=True)
class ShowArguments:
    """Draw what a protocol does to a video: sampled frames, crops, flips and views, as a PNG image."""

    video: VideoPath
    """A video file or a folder of numbered images."""
    preset: Preset = "paper"
    """Protocol."""
    sampling: Sampling | None = None
    """Which frames make a clip; the protocol's own choice if not given."""
    dataset: Literal["something", "kinetics"] = "something"
    """Kind of data set that the protocol is for; it determines flips and views."""
    num_frames: int = 8
    """Frames per clip."""
    label: str | None = None
    """Class name of the video; if it contains left or right, the video is not mirrored."""
    samples: int = 3
    """Training samples to draw."""
    test_clips: int | None = None
    """Temporal clips in evaluation; the protocol's own number if not given."""
    test_crops: Literal[1, 3] | None = None
    """Spatial crops in evaluation; the protocol's own number if not given."""
    seed: int = 0
    """Seed of the training samples."""
    output: Path = Path("sheet.png")
    """Image to write."""


@dataclass(frozen=True)
class PrepareArguments:
    """Convert a data set once, so that training reads it faster. The copy is used like the original.

    You can stop it at any time and run it again to continue.
    """

    source: SourcePath
    """Folder of the data set."""
    target: DestinationPath
    """Folder for the copy."""
    layout: Layout = "auto"
    """Layout of the folder; `auto` detects it."""
    format: Literal["h264", "mjpeg", "jpeg"] = "h264"
    """`h264`: small files; `mjpeg`: larger files, read fastest; `jpeg`: a folder of images per video."""
    short_side: int = 256
    """Pixels of the short side; smaller videos keep their size."""
    keyframe_interval: int = 4
    """Frames from one keyframe to the next (h264). Smaller values read faster but take more space."""
    quality: int = 90
    """Image quality, 1 to 100."""
    num_workers: int = 2
    """Processes; 0 works in the main process."""

    def __post_init__(self) -> None:
        for option, value, low, high in (
            ("--short-side", self.short_side, 16, 4096),
            ("--keyframe-interval", self.keyframe_interval, 1, 1000),
            ("--quality", self.quality, 1, 100),
            ("--num-workers", self.num_workers, 0, 1024),
        ):
            if not low <= value <= high:
                raise OptionError(f"{option} is {value}: it must lie between {low} and {high}")


def main(arguments: list[str]) -> None:
    """Run `gta data` with the words after it."""
    if not arguments or arguments[0] in ("-h", "--help", "--help-all", "help"):
        print(_USAGE)
        return
    name, *rest = arguments
    if name == "check":
        check(parse_arguments(CheckArguments, rest, command="gta data check"))
    elif name == "show":
        show(parse_arguments(ShowArguments, rest, command="gta data show", renamed={"--data": "--dataset"}))
    elif name == "prepare":
        prepare(parse_arguments(PrepareArguments, rest, command="gta data prepare"))
    else:
        close = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean '{close[0]}'?" if close else "see gta data --help"
        raise OptionError(f"'{name}' is not a command of gta data: {hint}")


def check(options: CheckArguments) -> None:
    """Check a data set, write the report and print a summary.

    Raises:
        DataError: it is no data set; or, with `strict`, there are problems.
    """
    from gta.datasets.check import check_videos
    from gta.files import check_writable, write_json

    for given in filter(None, (options.report, options.index)):
        check_writable(given)
    with _progress("checking") as advance:
        report = check_videos(
            options.root,
            options.layout,
            index=options.index,
            min_frames=options.min_frames,
            decode=not options.quick,
            num_workers=options.num_workers,
            fold=options.fold,
            progress=advance,
        )
    _print_report(options.root, report)
    target = options.report or (options.root if options.root.is_dir() else options.root.parent) / "gta-check.json"
    try:
        write_json(target, report.to_json())
    except OSError as error:  # a read-only data set is no reason to lose what was found
        if options.report is not None:
            raise
        print_line(f"no report was written ({target}: {error.strerror}); name a file with --report", file=sys.stderr)
    else:
        print_line(f"report: {target}")
    if options.strict and report.num_problems:
        raise DataError(f"{options.root}: {report.num_problems} problems; see the report")


def _print_report(root: Path, report: "CheckReport") -> None:
    splits = ", ".join(f"{count} {split}" for split, count in report.splits.items())
    print_line(f"{root}: layout {report.layout}, {report.num_classes} classes, videos: {splits}")
    print_line(f"{report.num_files} files, {report.num_frames} frames")
    conflicts = [" = ".join(f"{path} ('{label}')" for path, label in group.items()) for group in report.conflicts]
    for name, found in (
        ("missing", report.missing),
        ("damaged", [f"{path}: {reason}" for path, reason in report.damaged.items()]),
        ("too short", [f"{path}: {count} frames" for path, count in report.too_short.items()]),
        ("segments", [f"{part}: {reason}" for part, reason in report.segments.items()]),
        ("wrong label", [f"{path}: {reason}" for path, reason in report.wrong_label.items()]),
        ("duplicated", [" = ".join(group) for group in report.duplicates]),
        ("conflicts", conflicts),
        ("sequential", report.sequential),
    ):
        _print_some(name, found)
    for split, names in report.empty_classes.items():
        _print_some(f"{split}: classes without a video", names)
    if report.ignored:
        listed = ", ".join(f"{count} {suffix}" for suffix, count in report.ignored.most_common())
        print_line(f"ignored (not videos by their names): {listed}")
    for split, reason in report.not_listed.items():
        print_line(f"{split} is not listed: {reason}")
    if report.index is not None:
        print_line(f"index: {report.index}")


def show(options: ShowArguments) -> None:
    """Draw a picture sheet."""
    from gta.clips.labels import has_side
    from gta.clips.presets import clip_config
    from gta.clips.show import draw_sheet

    clip = clip_config(
        options.preset,
        num_frames=options.num_frames,
        sampling=options.sampling,
        data=options.dataset,
        test_clips=options.test_clips,
        test_crops=options.test_crops,
    )
    aware = clip.flip in ("label_aware", "swap") and options.label is not None and has_side(options.label)
    clip = replace(clip, flip="none") if aware else clip
    draw_sheet(
        options.video, clip, options.output, samples=options.samples, seed=options.seed, may_flip=clip.flip != "none"
    )
    print_line(f"written: {options.output}")


def prepare(options: PrepareArguments) -> None:
    """Convert a data set and print what was gained."""
    from gta.datasets.prepare import PrepareSettings, prepare_videos

    settings = PrepareSettings(options.format, options.short_side, options.keyframe_interval, options.quality)
    with _progress("converting") as advance:
        report = prepare_videos(
            options.source,
            options.target,
            settings,
            options.layout,
            num_workers=options.num_workers,
            progress=advance,
        )
    print_line(f"{report.made} videos converted, {report.kept} already there, {report.skipped} could not be read")
    if report.skipped:
        print_line(f"unreadable videos: {options.target / 'skipped.csv'}")
    size = report.bytes_after / max(report.bytes_before, 1)
    speed = report.milliseconds_before / max(report.milliseconds_after, 1e-9)
    print_line(
        f"size  {report.bytes_before / 2**20:10.1f} MiB -> {report.bytes_after / 2**20:10.1f} MiB  ({size:.2f}x)"
    )
    print_line(
        f"read  {report.milliseconds_before:10.1f} ms  -> {report.milliseconds_after:10.1f} ms   "
        f"for a clip of 8 frames ({speed:.1f}x the speed)"
    )
    if report.is_worse:
        print_line(
            f"gta data prepare: the copy is larger and slower than {options.source}: train on the original, or convert "
            "to another --format or a smaller --short-side",
            file=sys.stderr,
        )


def _print_some(name: str, found: list[str], most: int = 10) -> None:
    print_line(f"{name:<12} {len(found)}")
    for line in found[:most]:
        print_line(f"    {line}")
    if len(found) > most:
        print_line(f"    ... and {len(found) - most} more in the report")


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar with speed and time left; nothing where the output is not a terminal."""
    from gta.progress import progress_bar

    with progress_bar() as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
