"""One decoded video frame as an upright RGB tensor."""

import threading

import numpy as np
import torch
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

# Converters keep tables between frames of the same size; making them anew for every file would cost more than the
# frames. They must not be shared by threads.
_THREAD = threading.local()


def _reformatter() -> VideoReformatter:
    if not hasattr(_THREAD, "reformatter"):
        _THREAD.reformatter = VideoReformatter()
    return _THREAD.reformatter


def to_rgb(frame: VideoFrame, *, compact: bool) -> torch.Tensor:
    """Convert a frame to uint8 (3, H, W) in red, green, blue, turned upright.

    Args:
        frame: as the decoder gave it.
        compact: copy the rows together. The decoder leaves gaps between them, over which resizing stumbles; a frame
            that is only stacked needs no extra copy.
    """
    rgb = _reformatter().reformat(frame, format="rgb24", threads=1).to_ndarray()
    turns = frame.rotation % 360 // 90
    if turns:
        rgb = np.rot90(rgb, turns)
    if compact or turns:
        rgb = np.ascontiguousarray(rgb)
    return torch.from_numpy(rgb).permute(2, 0, 1)
