"""Clips to calibrate and to compare with: of real videos, or rendered ones where there are none."""

import random
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gta.clips.dataset import VideoDataset, clip_views
from gta.clips.sampling import evaluation_indices
from gta.clips.transforms import EvaluationViews
from gta.config import ClipConfig, Split
from gta.datasets.layouts.common import videos_in
from gta.datasets.listing import VideoList, open_videos
from gta.errors import DataError, OptionError, VideoError
from gta.synthetic import CLASSES, render_clip

Clip = NDArray[np.uint8]
"""One clip in a batch of its own, (1, C, T, H, W)."""

VideoPart = tuple[Path, float | None, float | None]
"""A file, and the seconds where the part of it begins and ends that is a video of a data set."""


def real_clips(
    source: Path | VideoList, clip: ClipConfig, count: int, *, split: Split = "val", without: Collection[Path] = ()
) -> dict[VideoPart, Clip]:
    """The centre views of videos drawn from a data set, or from a folder of videos without classes.

    Args:
        source: the videos, or the folder of a data set or of videos without classes.
        clip: the protocol.
        count: the most clips to give; as many as there are if the videos are fewer.
        split: which part of a data set in a folder to draw from.
        without: files that must not be among them.

    Returns:
        The clips by what they are of, in the order of the draw, which is the same every time; each video at most once.

    Raises:
        DataError: there are no videos, or none can be read.
    """
    one = replace(clip, test_clips=1, test_crops=1)
    parts, read = _videos(source, one, split)
    root = source.root if isinstance(source, VideoList) else source
    numbers = {part: number for number, part in enumerate(parts)}
    order = [part for part in numbers if part[0] not in without]
    random.Random(0).shuffle(order)
    clips: dict[VideoPart, Clip] = {}
    for part in order:
        if len(clips) == count:
            break
        try:
            views = read(numbers[part])
        except VideoError:  # there are others; `gta data check` tells of them
            continue
        if views is not None:
            clips[part] = np.ascontiguousarray(views[:1].numpy())
    if without and not order:
        raise DataError(f"{root}: all its videos are used for comparison or timing: calibrate with others")
    if not clips:
        left = " left for calibration" if without else ""
        raise DataError(f"{root}: none of its {len(order)} videos{left} can be read")
    return clips


def _videos(
    source: Path | VideoList, clip: ClipConfig, split: Split
) -> tuple[list[VideoPart], Callable[[int], torch.Tensor | None]]:
    """The videos of a data set or of a folder, and what reads the views of one by its number."""
    try:
        videos = open_videos(source, split) if isinstance(source, Path) else source
        dataset = VideoDataset(videos, clip, training=False)
    except DataError:
        loose = videos_in(source) if isinstance(source, Path) and source.is_dir() else []
        if not loose:
            raise
        return [(path.resolve(), None, None) for path in loose], lambda number: clip_views(loose[number], clip)
    records = dataset.videos.records
    parts = [(record.path.resolve(), record.start_seconds, record.end_seconds) for record in records]
    return parts, lambda number: dataset[number].clip


def held_out_clips(root: Path, clip: ClipConfig, compared: int, calibrated: int) -> tuple[list[Clip], list[Clip]]:
    """Clips of one collection of videos to compare on and others to calibrate with: no video gives both.

    Args:
        root: a data set, whose training videos are taken, or a folder of videos.
        clip: the protocol.
        compared: the most clips to compare on; at most half of the videos go there.
        calibrated: the most clips to calibrate with.

    Raises:
        DataError: fewer than two videos can be read.
    """
    clips = list(real_clips(root, clip, compared + calibrated, split="train").values())
    held = min(compared, len(clips) // 2)
    if not held:
        raise DataError(
            f"{root}: only one video can be read; int8 needs one for calibration and another for comparison"
        )
    return clips[:held], clips[held : held + calibrated]


def synthetic_clips(clip: ClipConfig, count: int) -> list[Clip]:
    """The centre views of rendered videos, the classes of the synthetic data set in turn.

    Raises:
        OptionError: the clips are of optical flow, which is not rendered.
    """
    if clip.flow:
        raise OptionError("the model reads optical flow, which is not rendered: give `data`, a data set of flow")
    one = replace(clip, test_clips=1, test_crops=1)
    views = EvaluationViews(one)
    clips = []
    for index in range(count):
        pictures = torch.from_numpy(render_clip(CLASSES[index % len(CLASSES)], index=index)).permute(0, 3, 1, 2)
        chosen = [views.fit(pictures[frame]) for frame in evaluation_indices(one, len(pictures))[0]]
        clips.append(np.ascontiguousarray(views.finish(torch.stack(chosen)).numpy()))
    return clips
