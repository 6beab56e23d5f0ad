"""The clip that is explained: as the model reads it, and as people see it."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gta.clips.sampling import evaluation_indices
from gta.clips.transforms import EvaluationViews, prepare
from gta.config import ClipConfig
from gta.video.reading import open_video


class Clip(NamedTuple):
    """One clip: normalised float32 (1, 3, T, H, W), its frames uint8 (T, H, W, 3), their times, where it is from."""

    normalised: Tensor
    frames: NDArray[np.uint8]
    seconds: tuple[float, ...] | None
    source: str


def read_clip(path: str | Path, config: ClipConfig) -> Clip:
    """Read the middle view of a video: one clip, the crop in the middle.

    Raises:
        VideoError: the video cannot be read.
    """
    one = replace(config, test_clips=1, test_crops=1)
    views = EvaluationViews(one)
    with open_video(path) as video:
        indices = evaluation_indices(one, video.num_frames)[0]
        frames = views.finish(video.read(list(indices), fit=views.fit))
        fps = video.info().fps
    seconds = tuple(index / fps for index in indices) if fps > 0 else None
    return Clip(prepare(frames, one), _pictures(frames), seconds, str(path))


def given_clip(clip: Tensor, config: ClipConfig | None) -> Clip:
    """A clip that is in memory.

    Args:
        clip: uint8 (T, 3, H, W) as `gta.read_video` gives it or (1, 3, T, H, W); or normalised floats, (1, 3, T, H, W).
        config: whose mean and std the normalised numbers have; ImageNet's if not given.

    Raises:
        ValueError: it has another shape.
    """
    if clip.dtype == torch.uint8:
        normalised = prepare(clip, config)
        frames = clip.transpose(0, 1).unsqueeze(0) if clip.ndim == 4 else clip
    else:
        normalised, frames = clip, clip
    if normalised.ndim != 5 or normalised.shape[:2] != (1, 3) or not normalised.is_floating_point():
        raise ValueError(
            "one clip is explained at a time: uint8 (T, 3, H, W) or (1, 3, T, H, W), or normalised floating-point "
            f"numbers (1, 3, T, H, W), not {clip.dtype} {tuple(clip.shape)}"
        )
    if clip.dtype != torch.uint8:
        known = config or ClipConfig()
        mean, std = (torch.tensor(v, device=clip.device).view(3, 1, 1, 1) for v in (known.mean, known.std))
        frames = ((clip.detach().float() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    return Clip(normalised, _pictures(frames), None, "")


def _pictures(frames: Tensor) -> NDArray[np.uint8]:
    return np.ascontiguousarray(frames[0].permute(1, 2, 3, 0).cpu().numpy())
