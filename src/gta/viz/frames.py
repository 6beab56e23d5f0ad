"""Frames of videos as pictures: strips of several frames, encoded for a page."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gta.viz.page import Html, image

STRIP_FRAMES = 8
_JPEG_QUALITY = 82


def frame_strip(
    frames: NDArray[Any], count: int = STRIP_FRAMES, gap_pixels: int = 2, height_pixels: int = 96
) -> NDArray[Any]:
    """Lay `count` evenly spaced frames of a video side by side on white.

    Args:
        frames: uint8, (T, H, W, 3).
        count: frames to show; a shorter video shows all of its frames.
        gap_pixels: white between two frames.
        height_pixels: smaller frames are enlarged by a whole factor until at least this high, larger ones are reduced
            to twice this height.

    Returns:
        uint8, (H', W', 3).
    """
    total = len(frames)
    picked = frames[spread(total, count)]
    height, width = picked.shape[1:3]
    factor = max(1, -(-height_pixels // height))
    picked = picked.repeat(factor, axis=1).repeat(factor, axis=2)
    if height > 2 * height_pixels:
        size = (max(1, round(width * 2 * height_pixels / height)), 2 * height_pixels)
        picked = np.stack([np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX)) for frame in picked])
    padded = np.pad(picked, ((0, 0), (0, 0), (0, gap_pixels), (0, 0)), constant_values=255)
    return np.concatenate(list(padded), axis=1)[:, :-gap_pixels] if gap_pixels else np.concatenate(list(padded), axis=1)


def spread(total: int, count: int = STRIP_FRAMES) -> list[int]:
    """`count` frame numbers, evenly over a video of `total` frames, first and last included; all of a shorter one."""
    return np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist()


def strip_image(frames: NDArray[Any], alternative: str) -> Html:
    """A strip of a video's frames, uint8 (T, H, W, 3), as a picture of a page."""
    return image(image_jpeg(frame_strip(frames)), alternative, media_type="image/jpeg")


def image_png(picture: NDArray[Any]) -> bytes:
    """Encode a uint8 (H, W, 3) or (H, W) picture as PNG."""
    return _encoded(picture, format="PNG", optimize=True)


def image_jpeg(picture: NDArray[Any], quality: int = _JPEG_QUALITY) -> bytes:
    """Encode a uint8 (H, W, 3) or (H, W) picture as JPEG."""
    return _encoded(picture, format="JPEG", quality=quality, optimize=True)


def _encoded(picture: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, **options)
    return buffer.getvalue()
