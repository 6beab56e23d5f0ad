"""Which features a block was built for, and what is said of others."""

from typing import NamedTuple

from torch import Tensor


class ExpectedShape(NamedTuple):
    """What the sizes of features (B, C, T, H, W) must be; None where any will do."""

    channels: int
    num_frames: int | None = None
    size: tuple[int, int] | None = None


def check_features(features: Tensor, expected: ExpectedShape) -> None:
    """Raise ValueError when `features` are not what a block was built for; the text has both numbers."""
    channels, frames = features.shape[1:3]
    if channels != expected.channels:
        raise ValueError(f"features have {channels} channels, the block was built for {expected.channels}")
    if expected.num_frames is not None and frames != expected.num_frames:
        raise ValueError(f"features have {frames} frames, the block was built for {expected.num_frames}")
    height, width = features.shape[3:]
    if expected.size is not None and (height, width) != tuple(expected.size):
        raise ValueError(
            f"features are {height}x{width}, the constant regions were built for {expected.size[0]}x{expected.size[1]}"
        )
