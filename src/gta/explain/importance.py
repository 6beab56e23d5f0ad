"""Frame importance: what becomes of a class's probability when frames are missing."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from gta.explain.network import Network
from gta.explain.records import FrameImportance

MAX_CHANGES = 16
"""Longer clips are changed a few neighbouring frames at a time, so many times at most."""
_NUMBERS_AT_A_TIME = 2_000_000  # of the clips that are classified together


def frame_groups(num_frames: int, most: int = MAX_CHANGES) -> NDArray[np.int64]:
    """Divide the frames into at most `most` runs of neighbours, (N, 2): first frame, and one after the last."""
    bounds = np.linspace(0, num_frames, min(num_frames, most) + 1).round().astype(np.int64)
    return np.stack([bounds[:-1], bounds[1:]], axis=1)


def leave_out(clip: Float[Tensor, "1 C T H W"], start: int, stop: int) -> Float[Tensor, "1 C T H W"]:
    """The clip without some frames: the one before them, or else the one after, stays in their place."""
    order = list(range(clip.shape[2]))
    order[start:stop] = [start - 1 if start else stop] * (stop - start)
    return clip[:, :, order]


def blank(clip: Float[Tensor, "1 C T H W"], start: int, stop: int) -> Float[Tensor, "1 C T H W"]:
    """The clip with some frames in the mean colour of the training data: 0 after normalisation."""
    changed = clip.clone()
    changed[:, :, start:stop] = 0
    return changed


def frame_importance(
    network: Network,
    clip: Float[Tensor, "1 C T H W"],
    class_index: int,
    *,
    logits: Float[Tensor, "1 K"],
    backward: Float[Tensor, "1 K"],
) -> FrameImportance:
    """Measure the probability of a class for the clip with its frames changed.

    Args:
        network: the model.
        clip: normalised, T at least 2: something has to stand in for a frame.
        class_index: whose probability.
        logits: of the clip as it is.
        backward: of the clip played backwards.

    Raises:
        ValueError: the clip has a single frame.
    """
    num_frames = clip.shape[2]
    if num_frames < 2:
        raise ValueError("the importance of frames needs a clip of at least 2 frames")
    groups = frame_groups(num_frames)
    changes = (change(clip, start, stop) for change in (leave_out, blank) for start, stop in groups.tolist())
    with torch.no_grad():
        found = torch.cat([network.logits(some) for some in _batches(changes, clip.numel())])
    left_out, blanked = _probabilities(found, class_index).reshape(2, -1)
    return FrameImportance(
        class_index=class_index,
        groups=groups,
        intact=float(_probabilities(logits, class_index)[0]),
        left_out=left_out,
        blanked=blanked,
        backward=float(_probabilities(backward, class_index)[0]),
    )


def _batches(clips: Iterator[Tensor], numbers: int) -> Iterator[Tensor]:
    most, batch = max(1, _NUMBERS_AT_A_TIME // numbers), []
    for clip in clips:
        batch.append(clip)
        if len(batch) == most:
            yield torch.cat(batch)
            batch = []
    if batch:
        yield torch.cat(batch)


def _probabilities(logits: Tensor, class_index: int) -> NDArray[np.float64]:
    return logits.double().softmax(dim=1)[:, class_index].cpu().numpy()
