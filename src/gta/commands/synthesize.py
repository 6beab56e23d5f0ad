"""`gta synthesize`: render the synthetic data set as real video files with annotations."""

from dataclasses import dataclass

from gta.commands.arguments import DestinationPath, parse_arguments
from gta.config import Difficulty, WrittenLayout
from gta.terminal import print_line

_COMMON = ("--layout", "--num-videos", "--seed", "--difficulty", "--masks", "--num-workers")  # what `--help` shows


@dataclass(frozen=True)
class SynthesizeArguments:
    """Render the synthetic data set: 16 classes of short videos, seven pairs of which are each other's time reversal.

    To complete an interrupted data set, repeat the command with the same options.
    """

    folder: DestinationPath
    """Folder to create (or to complete)."""
    layout: WrittenLayout = "folder"
    """Whose files and annotations to imitate: a folder per class (.mp4), Something-Something V2 (.webm, JSON) or V1
    (JPEG folders, CSV), or Kinetics (.mp4, CSV)."""
    num_videos: int = 1280
    """Total number of videos in all splits."""
    seed: int = 0
    """The same seed gives the same videos, whatever the number of workers."""
    val_fraction: float = 0.2
    """Share of the validation split, in [0, 1)."""
    test_fraction: float = 0.0
    """Share of the test split, in [0, 1)."""
    height: int = 72
    """Height of a frame in pixels, even."""
    width: int = 96
    """Width of a frame in pixels, even."""
    keyframe_interval: int = 1
    """Frames from one key frame of a video to the next. Above 1, the files are smaller, but the encoding may hint at
    the direction of time."""
    difficulty: Difficulty = "normal"
    """`hard`: ten more classes, which differ in the order of their halves and not in single steps; several moving
    objects, a moving camera and occlusions."""
    classes: tuple[str, ...] | None = None
    """Names of the classes to render; by default, all 16 (normal) or 26 (hard)."""
    masks: bool = False
    """Also write where the object is in each frame: masks/<as the video>.npz. Can be added to a finished data set."""
    num_workers: int = 2
    """Processes that render; 0 renders in the main process."""


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta synthesize`."""
    options = parse_arguments(SynthesizeArguments, arguments, command="gta synthesize", common=_COMMON)
    from gta.synthetic import synthesize

    summary = synthesize(
        options.folder,
        layout=options.layout,
        num_videos=options.num_videos,
        seed=options.seed,
        val_fraction=options.val_fraction,
        test_fraction=options.test_fraction,
        frame_size=(options.height, options.width),
        keyframe_interval=options.keyframe_interval,
        num_workers=options.num_workers,
        classes=options.classes,
        masks=options.masks,
        difficulty=options.difficulty,
    )
    splits = {"train": summary.num_train, "val": summary.num_val, "test": summary.num_test}
    sizes = ", ".join(f"{size:,} {split}" for split, size in splits.items() if size)
    print_line(f"{summary.root}: {len(summary.classes)} classes, {sizes} ({summary.layout} layout)")
    print_line(f"rendered {summary.num_rendered:,} videos in {summary.seconds:.1f} s, kept {summary.num_kept:,}")
    print_line(f"a model that ignores the order of frames can reach {100 * summary.ceiling:.2f} % top-1 at best")
