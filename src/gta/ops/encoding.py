"""Positional encoding."""

import math

import torch
from torch import Tensor


def sinusoidal_encoding(num_positions: int, channels: int) -> Tensor:
    """Sines and cosines of geometrically spaced wavelengths, interleaved (Vaswani et al. 2017, Sec. 3.5).

    Args:
        num_positions: how many positions, here frames.
        channels: width of the encoding; an odd one lacks the last cosine.

    Returns:
        Encoding of shape `(num_positions, channels)`, float32, in [-1, 1].
    """
    position = torch.arange(num_positions, dtype=torch.float32)[:, None]
    even = torch.arange(0, channels, 2, dtype=torch.float32)
    angle = position * torch.exp(even * (-math.log(10_000.0) / channels))
    encoding = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
    return encoding[:, :channels]
