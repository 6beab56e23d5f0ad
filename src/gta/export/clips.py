"""Clips to calibrate and to compare with: of real videos, or rendered ones where there are none."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gta.clips.dataset import VideoDataset, clip_views
from gta.clips.sampling import evaluation_indices
from gta.clips.transforms import EvaluationViews
from gta.config import ClipConfig
from gta.datasets.layouts.common import videos_in
from gta.datasets.listing import Split, open_videos
from gta.errors import DataError, VideoError
from gta.synthetic import CLASSES, render_clip

Clip = NDArray[np.uint8]
"""One clip in a batch of its own, (1, 3, T, H, W)."""


def real_clips(root: Path, clip: ClipConfig, count: int, *, split: Split, seed: int = 0) -> list[Clip]:
    """The centre views of videos drawn from a data set, or from a folder of videos without classes.

    Args:
        root: folder of the data set.
        clip: the protocol.
        count: the most clips to give; as many as there are if the videos are fewer.
        split: which part of a data set to draw from.
        seed: of the draw.

    Raises:
        DataError: there are no videos, or none can be read.
    """
    one = replace(clip, test_clips=1, test_crops=1)
    loose: list[Path] = []
    dataset = None
    try:
        dataset = VideoDataset(open_videos(root, split), one, training=False)
    except DataError:
        loose = videos_in(root) if root.is_dir() else []
        if not loose:
            raise
    order = list(range(len(loose) if dataset is None else len(dataset)))
    random.Random(seed).shuffle(order)
    clips: list[Clip] = []
    for index in order:
        if len(clips) == count:
            break
        try:
            views = clip_views(loose[index], one) if dataset is None else dataset[index].clip
        except VideoError:  # there are others; `gta data check` tells of them
            continue
        if views is not None:
            clips.append(np.ascontiguousarray(views[:1].numpy()))
    if not clips:
        raise DataError(f"{root}: none of its {len(order)} videos can be read")
    return clips


def synthetic_clips(clip: ClipConfig, count: int) -> list[Clip]:
    """The centre views of rendered videos, the classes of the synthetic data set in turn."""
    one = replace(clip, test_clips=1, test_crops=1)
    views = EvaluationViews(one)
    clips = []
    for index in range(count):
        pictures = torch.from_numpy(render_clip(CLASSES[index % len(CLASSES)], index=index)).permute(0, 3, 1, 2)
        chosen = [views.fit(pictures[frame]) for frame in evaluation_indices(one, len(pictures))[0]]
        clips.append(np.ascontiguousarray(views.finish(torch.stack(chosen)).numpy()))
    return clips
