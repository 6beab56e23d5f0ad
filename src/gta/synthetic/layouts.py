"""Where the files of a data set go, which class each has, and the annotations in the four data sets' own formats."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from gta.config import Split, WrittenLayout
from gta.errors import OptionError
from gta.files import write_json, write_text
from gta.synthetic.classes import CLASSES, HARD_CLASSES, template
from gta.synthetic.parameters import DIFFICULTIES, Color, Difficulty, Look, draw_parameters
from gta.synthetic.render import FRAME_SIZE, MIN_SIDE
from gta.synthetic.write import KEYFRAME_INTERVAL

MANIFEST = "synthetic.json"
"""Name of the file that records what a folder holds."""
MASKS = Path("masks")
"""Folder of the masks, which is laid out as that of the videos."""
_FORMAT = 1  # of the manifest and of everything that decides on the frames: raised when the same settings give others
_SSV2_VIDEOS = "20bn-something-something-v2"
_SSV1_FRAMES = "20bn-something-something-v1"
_COLOR_NAMES: dict[str, Color] = {
    "black": (0.05, 0.05, 0.05),
    "grey": (0.5, 0.5, 0.5),
    "white": (0.95, 0.95, 0.95),
    "red": (0.85, 0.1, 0.1),
    "orange": (0.9, 0.5, 0.1),
    "yellow": (0.9, 0.9, 0.15),
    "green": (0.15, 0.65, 0.2),
    "cyan": (0.15, 0.85, 0.85),
    "blue": (0.15, 0.25, 0.85),
    "purple": (0.5, 0.15, 0.7),
    "pink": (0.9, 0.35, 0.75),
    "brown": (0.45, 0.28, 0.15),
}


@dataclass(frozen=True)
class SynthesisConfig:
    """Everything that determines the contents of a synthetic data set.

    Args:
        layout: layout of the folder.
        num_videos: number of videos in all splits.
        seed: seed of all random draws, 0 or more.
        val_fraction, test_fraction: shares of the validation and the test split, each in [0, 1); together below 1.
        frame_size: height and width in pixels, even.
        keyframe_interval: frames from one key frame to the next, 1 or more.
        classes: names of the classes to render.
        difficulty: `normal` or `hard`.
        masks: also write where the object is. Not in the manifest, since masks can be added to any data set later.

    Raises:
        OptionError: a value is invalid; the message names it.
    """

    layout: WrittenLayout = "folder"
    num_videos: int = 1280
    seed: int = 0
    val_fraction: float = 0.2
    test_fraction: float = 0.0
    frame_size: tuple[int, int] = FRAME_SIZE
    keyframe_interval: int = KEYFRAME_INTERVAL
    classes: tuple[str, ...] = CLASSES
    difficulty: Difficulty = "normal"
    masks: bool = False

    def __post_init__(self) -> None:
        if self.layout not in get_args(WrittenLayout):
            raise OptionError(f"`layout` is {self.layout}: it must be one of {', '.join(get_args(WrittenLayout))}")
        if self.difficulty not in DIFFICULTIES:
            raise OptionError(f"`difficulty` is {self.difficulty}: it must be one of {', '.join(DIFFICULTIES)}")
        if self.seed < 0:
            raise OptionError(f"`seed` is {self.seed}: it must be 0 or more")
        for option, share in (("val_fraction", self.val_fraction), ("test_fraction", self.test_fraction)):
            if not 0 <= share < 1:
                raise OptionError(f"`{option}` is {share}: it must lie in [0, 1)")
        if self.val_fraction + self.test_fraction >= 1:
            raise OptionError(
                f"`val_fraction` {self.val_fraction} and `test_fraction` {self.test_fraction} leave nothing to train on"
            )
        for name, side in zip(("height", "width"), self.frame_size, strict=True):
            if side < MIN_SIDE or side % 2:
                raise OptionError(f"the {name} is {side} pixels: it must be even and at least {MIN_SIDE}")
        if self.keyframe_interval < 1:
            raise OptionError(f"`keyframe_interval` is {self.keyframe_interval}: it must be 1 or more")
        self._check_classes()

    def _check_classes(self) -> None:
        known = HARD_CLASSES if self.difficulty == "hard" else CLASSES
        unknown = [name for name in self.classes if name not in known]
        if unknown:
            hint = " (it needs `difficulty` hard)" if unknown[0] in HARD_CLASSES else ""
            raise OptionError(f"`classes`: '{unknown[0]}' is not one of the {len(known)} synthetic classes{hint}")
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise OptionError("`classes` must name at least one class, and each only once")
        splits = 1 + (self.val_fraction > 0) + (self.test_fraction > 0)
        if self.num_videos < splits * len(self.classes):
            raise OptionError(
                f"`num_videos` is {self.num_videos}: {len(self.classes)} classes in {splits} split(s) need at least "
                f"{splits * len(self.classes)}, one per class and split"
            )

    def manifest(self) -> dict[str, Any]:
        """Give the settings as JSON values, to be compared with those of a folder that exists."""
        settings = {key: value for key, value in asdict(self).items() if key != "masks"}
        if self.difficulty == "normal":  # folders of earlier versions do not say so
            del settings["difficulty"]
        return {"format": _FORMAT, **settings, "frame_size": list(self.frame_size), "classes": list(self.classes)}

    def split_sizes(self) -> dict[Split, int]:
        """How many videos each split gets: the fractions rounded, but at least one of each class."""
        fewest = len(self.classes)
        test = max(fewest, round(self.num_videos * self.test_fraction)) if self.test_fraction else 0
        val = max(fewest, round(self.num_videos * self.val_fraction)) if self.val_fraction else 0
        excess = fewest - (self.num_videos - val - test)
        while excess > 0:  # tiny data sets only: give back to training what rounding up has taken
            if val >= test:
                val -= 1
            else:
                test -= 1
            excess -= 1
        return {"train": self.num_videos - val - test, "val": val, "test": test}


@dataclass(frozen=True)
class PlannedVideo:
    """One video to be: its number in the data set, class and split, and its path inside the data set's folder."""

    index: int
    class_name: str
    split: Split
    path: Path

    @property
    def mask_path(self) -> Path:
        """Path of its mask inside the data set's folder."""
        return MASKS / self.path.with_suffix(".npz")


def plan_videos(config: SynthesisConfig) -> tuple[PlannedVideo, ...]:
    """List all videos, split by split, the classes taking turns, so that each split is balanced to within one."""
    videos: list[PlannedVideo] = []
    for split, size in config.split_sizes().items():
        for turn in range(size):
            index, name = len(videos), config.classes[turn % len(config.classes)]
            videos.append(PlannedVideo(index, name, split, _relative_path(config, index, name, split)))
    return tuple(videos)


def _relative_path(config: SynthesisConfig, index: int, class_name: str, split: Split) -> Path:
    if config.layout == "folder":
        return Path(split, class_name, f"{index:06d}.mp4")
    if config.layout == "kinetics":
        end = _end_seconds(config.seed, index)
        return Path(split, class_name, f"{_youtube_id(index)}_{0:06d}_{end:06d}.mp4")
    if config.layout == "ssv2":
        return Path(_SSV2_VIDEOS, f"{index + 1}.webm")
    return Path(_SSV1_FRAMES, f"{index + 1}")


def _youtube_id(index: int) -> str:
    return f"synth{index:06d}"  # eleven characters, as real ones have


def _end_seconds(seed: int, index: int) -> int:
    parameters = draw_parameters(seed, index)
    return math.ceil(parameters.num_frames / parameters.fps)


def write_annotations(root: Path, config: SynthesisConfig, videos: Sequence[PlannedVideo]) -> None:
    """Write the annotation files of the layout into `root` (a `folder` layout needs none)."""
    if config.layout == "ssv2":
        _annotate_ssv2(root, config, videos)
    elif config.layout == "ssv1":
        _annotate_ssv1(root, config, videos)
    elif config.layout == "kinetics":
        _annotate_kinetics(root, config, videos)


def _annotate_ssv2(root: Path, config: SynthesisConfig, videos: Sequence[PlannedVideo]) -> None:
    """labels.json maps a template without brackets to a number as text; test.json has no answers."""
    write_json(root / "labels.json", {name: str(number) for number, name in enumerate(sorted(config.classes))})
    files: dict[Split, str] = {"train": "train.json", "val": "validation.json", "test": "test.json"}
    for split, name in files.items():
        chosen = [video for video in videos if video.split == split]
        if split == "test":
            write_json(root / name, [{"id": video.path.stem} for video in chosen])
        else:
            write_json(root / name, [_ssv2_entry(config.seed, video) for video in chosen])


def _ssv2_entry(seed: int, video: PlannedVideo) -> dict[str, Any]:
    parameters = draw_parameters(seed, video.index)
    things = [_describe(parameters.look), _describe(parameters.cover)]
    placeholders = things[: video.class_name.lower().count("something")]
    label = video.class_name.lower()
    for thing in placeholders:
        label = label.replace("something", thing, 1)
    return {
        "id": video.path.stem,
        "label": label,
        "template": template(video.class_name),
        "placeholders": placeholders,
    }


def _describe(look: Look) -> str:
    """Say what a thing looks like in words: "red striped disc"."""

    def unlike(name: str) -> float:
        return math.dist(_COLOR_NAMES[name], look.color)

    texture = "" if look.texture == "plain" else f"{look.texture} "
    return f"{min(_COLOR_NAMES, key=unlike)} {texture}{look.shape}"


def _annotate_ssv1(root: Path, config: SynthesisConfig, videos: Sequence[PlannedVideo]) -> None:
    """Write semicolons between number and class, no header; the list of classes; the test list without answers."""
    stem = "something-something-v1"
    write_text(root / f"{stem}-labels.csv", "".join(f"{name}\n" for name in sorted(config.classes)))
    files: dict[Split, str] = {"train": "train", "val": "validation", "test": "test"}
    for split, name in files.items():
        chosen = [video for video in videos if video.split == split]
        ends = ["" if split == "test" else f";{video.class_name}" for video in chosen]
        lines = [f"{video.path.name}{end}\n" for video, end in zip(chosen, ends, strict=True)]
        write_text(root / f"{stem}-{name}.csv", "".join(lines))


def _annotate_kinetics(root: Path, config: SynthesisConfig, videos: Sequence[PlannedVideo]) -> None:
    """Write one table per split, with a header; the times are those of the clip in its source, here the whole of it."""
    splits: tuple[Split, ...] = ("train", "val", "test")
    for split in splits:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["label", "youtube_id", "time_start", "time_end", "split"])
        for video in videos:
            if video.split == split:
                end = _end_seconds(config.seed, video.index)
                table.writerow([video.class_name, _youtube_id(video.index), 0, end, split])
        write_text(root / f"{split}.csv", text.getvalue())
