"""Treatments of a clip's frames: in order, reversed, shuffled, one frame repeated - as lists of frame numbers."""

import numpy as np

ORDERED = "in order"
REVERSED = "reversed"
ONE_FRAME = "one frame"


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
