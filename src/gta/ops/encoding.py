"""Positional encoding."""

import math

import torch
from torch import Tensor


def sinusoidal_encoding(
    num_positions: int, channels: int, *, dtype: torch.dtype = torch.float32, device: torch.device | None = None
) -> Tensor:
    """Encode positions by sines and cosines of geometrically spaced wavelengths (Vaswani et al. 2017, Sec. 3.5).

    Args:
        num_positions: number of positions, here frames.
        channels: width of the encoding; if it is odd, the last cosine is left out.
        dtype: dtype of the result, which is computed in at least single precision.
        device: device of the result.

    Returns:
        The encoding `(num_positions, channels)`, in [-1, 1]; sines and cosines alternate.
    """
    precise = torch.promote_types(dtype, torch.float32)
    position = torch.arange(num_positions, dtype=precise, device=device)[:, None]
    even = torch.arange(0, channels, 2, dtype=precise, device=device)
    angle = position * torch.exp(even * (-math.log(10_000.0) / channels))
    encoding = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
    return encoding[:, :channels].to(dtype)
