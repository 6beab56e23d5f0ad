"""Maps of a few positions laid over pictures of many pixels."""

from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]

HEAT = "inferno"
"""Colour map of weights: dark where there is none, equally readable in grey and for the colour-blind."""


def enlarge(weights: Array, height: int, width: int) -> NDArray[np.float32]:
    """Interpolate a map (h, w) linearly to the pixels of a picture."""
    picture = Image.fromarray(np.ascontiguousarray(weights, dtype=np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)


def heat_overlay(frame: Array, weights: Array, top: float) -> NDArray[np.uint8]:
    """Lay a map over a greyed frame: the heavier the weight, the brighter and the more opaque the colour.

    Args:
        frame: uint8 (H, W, 3).
        weights: (h, w), not negative.
        top: the weight that gets the brightest colour.
    """
    grey = frame.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    share = np.clip(enlarge(weights, *frame.shape[:2]) / max(top, np.finfo(np.float32).tiny), 0, 1)
    colour = 255 * colormaps[HEAT](share)[..., :3]
    opacity = (0.85 * np.sqrt(share))[..., None]
    return np.rint((1 - opacity) * 0.8 * grey[..., None] + opacity * colour).clip(0, 255).astype(np.uint8)


def region_overlay(frame: Array, weights: Array, colour: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Keep a frame where a region holds its pixels, tinted in the region's colour, and darken it elsewhere.

    Args:
        frame: uint8 (H, W, 3).
        weights: (h, w) in [0, 1], the share of each position that belongs to the region.
        colour: red, green and blue in [0, 1].
    """
    share = np.clip(enlarge(weights, *frame.shape[:2]), 0, 1)[..., None]
    tinted = 0.55 * frame.astype(np.float32) + 0.45 * 255 * np.array(colour, dtype=np.float32)
    return np.rint(share * tinted + (1 - share) * 0.3 * frame).clip(0, 255).astype(np.uint8)
