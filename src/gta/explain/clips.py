"""The clip that is explained: as the model reads it, and as people see it."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gta.clips.dataset import open_source
from gta.clips.sampling import evaluation_indices
from gta.clips.transforms import EvaluationViews, Normalize, prepare
from gta.config import ClipConfig


class Clip(NamedTuple):
    """One clip: normalised float32 (1, C, T, H, W), its frames uint8 (T, H, W, 3), their times, where it is from."""

    normalised: Tensor
    frames: NDArray[np.uint8]
    seconds: tuple[float, ...] | None
    source: str


def read_clip(path: str | Path, config: ClipConfig) -> Clip:
    """Read the middle view of a video, or of a folder of optical flow: one clip, the crop in the middle.

    Raises:
        VideoError: the video cannot be read.
    """
    one = replace(config, test_clips=1, test_crops=1)
    views = EvaluationViews(one)
    with open_source(path, one) as video:
        indices = evaluation_indices(one, video.num_frames)[0]
        frames = views.finish(video.read(list(indices), fit=views.fit))
        fps = video.info().fps
    seconds = tuple(index / fps for index in indices) if fps > 0 else None
    return Clip(prepare(frames, one), _pictures(frames), seconds, str(path))


def given_clip(clip: Tensor, config: ClipConfig | None) -> Clip:
    """A clip that is in memory.

    Args:
        clip: uint8 (T, 3, H, W) as `gta.read_video` gives it or (1, 3, T, H, W); or normalised floats, (1, 3, T, H, W);
            2L channels of optical flow, where `config` says so.
        config: how clips are normalised; with ImageNet's mean and std if not given.

    Raises:
        ValueError: it has another shape.
    """
    known = config or ClipConfig()
    channels = known.channels
    if clip.dtype == torch.uint8:
        normalised = prepare(clip, known)
        frames = clip.transpose(0, 1).unsqueeze(0) if clip.ndim == 4 else clip
    else:
        normalised, frames = clip, clip
    if normalised.ndim != 5 or normalised.shape[:2] != (1, channels) or not normalised.is_floating_point():
        raise ValueError(
            f"one clip is explained at a time: uint8 (T, {channels}, H, W) or (1, {channels}, T, H, W), or normalised "
            f"floating-point numbers (1, {channels}, T, H, W), not {clip.dtype} {tuple(clip.shape)}"
        )
    if clip.dtype != torch.uint8:
        norm = Normalize(known.mean, known.std, flow=known.flow).to(clip.device)
        frames = ((clip.detach().float() - norm.shift) / norm.scale).round().clamp(0, 255).to(torch.uint8)
    return Clip(normalised, _pictures(frames), None, "")


def _pictures(frames: Tensor) -> NDArray[np.uint8]:
    """Frames (1, C, T, H, W) for people; of optical flow, the first at each frame: red horizontal, green vertical."""
    if frames.shape[1] != 3:
        frames = torch.cat([frames[:, :2], torch.full_like(frames[:, :1], 128)], dim=1)
    return np.ascontiguousarray(frames[0].permute(1, 2, 3, 0).cpu().numpy())
