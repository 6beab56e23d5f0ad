"""Resizing decoded frames, as data sets and clips both do."""

import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from gta.config import Interpolation


def resized_size(height: int, width: int, resize: tuple[int, int] | int) -> tuple[int, int]:
    """Height and width after `ClipConfig.resize`: the given pair, or the short side given and the aspect kept."""
    if not isinstance(resize, int):
        return resize
    if height <= width:
        return resize, max(int(width * resize / height), 1)
    return max(int(height * resize / width), 1), resize


def resize(frames: torch.Tensor, size: tuple[int, int], interpolation: Interpolation = "bilinear") -> torch.Tensor:
    """Resize uint8 (..., C, H, W) to `size` (height, width) with antialiasing; itself if it fits already."""
    if tuple(frames.shape[-2:]) == tuple(size):
        return frames
    return F.resize(frames, list(size), interpolation=InterpolationMode(interpolation), antialias=True)
