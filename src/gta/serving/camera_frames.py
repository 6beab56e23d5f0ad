"""Frames of a visitor's camera, as a browser sends them: JPEG pictures in the text of a call."""

import base64
import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

PREFIX = "data:image/jpeg;base64,"
_MOST_SIDE = 4096
_MOST_RATIO = 8
"""Of the longer side to the shorter one, which is made as large as the model wants it: no camera is longer."""


def camera_frame(text: str | None) -> UInt8[np.ndarray, "H W 3"] | None:
    """The picture in a text; None if there is none, if it is damaged, or has a size that no camera's has."""
    if text is None or not text.startswith(PREFIX):
        return None
    try:
        with Image.open(
            io.BytesIO(base64.b64decode(text.removeprefix(PREFIX), validate=True)), formats=["JPEG"]
        ) as found:
            long, short = max(found.size), min(found.size)
            if long > _MOST_SIDE or long > _MOST_RATIO * short:
                return None
            return np.array(found.convert("RGB"))
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError):  # what Pillow says of damaged pictures
        return None
