"""Treatments of a clip's frames: in order, reversed, shuffled, one frame repeated - as lists of frame numbers."""

import numpy as np

from gta.config import Precision

ORDERED = "in order"
REVERSED = "reversed"
ONE_FRAME = "one frame"


INVARIANCE_TOLERANCE = 1e-3
"""A model whose class probabilities change by less than this when the frames are reversed or shuffled, on every
held-out video, does not see their order (float32 rounding changes them by about 1e-6)."""

ROUGH_TOLERANCE = 0.1
"""The same in bf16 or fp16, whose rounding may add up to changes of some percent: what lies between the two is open."""


def sees_order(effect: float, precision: Precision = "32") -> bool | None:
    """Whether the order of the frames makes a difference to a model: the one rule of probes and studies.

    Args:
        effect: largest change of any class probability of any video when its frames are reversed or shuffled, [0, 1].
        precision: arithmetic that the probabilities were computed in.

    Returns:
        True or False; None if that cannot be told from rounding: in bf16 and fp16 the sums of a model that ignores the
        order come out differently in another order.
    """
    if precision == "32" or effect <= INVARIANCE_TOLERANCE:
        return effect > INVARIANCE_TOLERANCE
    return True if effect > ROUGH_TOLERANCE else None


def shuffled(number: int) -> str:
    """Name of the shuffle `number` (1, 2, ...)."""
    return f"shuffled {number}"


def frame_orders(num_frames: int, *, num_permutations: int, seed: int, index: int) -> dict[str, list[int]]:
    """For each treatment the frames that take the places of a clip's frames 0 ... T - 1.

    The shuffles of a video depend on the seed, the shuffle's number and the video alone, so results do not depend on
    batches or on the order of the videos. They are never the identity (where there is more than one frame).

    Args:
        num_frames: T.
        num_permutations: shuffles.
        seed: seed of the shuffles, 0 or more.
        index: number of the video in its data set, 0 or more.

    Returns:
        Treatment -> T frame numbers; `ORDERED` is the first. `ONE_FRAME` repeats the middle one.

    Raises:
        ValueError: there are no frames.
    """
    if num_frames < 1:
        raise ValueError(f"a clip of {num_frames} frames cannot be reordered")
    forwards = list(range(num_frames))
    orders = {ORDERED: forwards, REVERSED: forwards[::-1]}
    for number in range(1, num_permutations + 1):
        rng = np.random.default_rng([seed, number, index])
        order = rng.permutation(num_frames).tolist()
        while order == forwards and num_frames > 1:
            order = rng.permutation(num_frames).tolist()
        orders[shuffled(number)] = order
    orders[ONE_FRAME] = [num_frames // 2] * num_frames
    return orders
