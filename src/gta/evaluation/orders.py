"""Treatments of a clip's frames: in order, reversed, shuffled, one frame repeated - as lists of frame numbers."""

from collections.abc import Iterator, Sequence
from itertools import islice

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

_CANDIDATES = 256
"""Draws that `mixed_order` chooses among."""


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
        num_frames: number of frames (T).
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
        drawn = _permutations(num_frames, [seed, number, index])
        orders[shuffled(number)] = next(order for order in drawn if order != forwards or num_frames == 1)
    orders[ONE_FRAME] = [num_frames // 2] * num_frames
    return orders


def mixed_order(num_frames: int, *, seed: int) -> list[int]:
    """A permutation that leaves no frame in its place and runs neither forwards nor backwards.

    Of the first `_CANDIDATES` permutations of a seed that leave no frame in its place, the one whose rank correlation
    with the forward order (Kendall's tau, |tau| <= 1; that with the backward order is -tau) is nearest to 0; among
    equals, the one in which the fewest frames are followed by a neighbour of theirs, and as many steps go forwards as
    backwards. A single draw often runs nearly backwards, and then it shows what reversal does, not what disorder does.
    Two frames can only change places (tau = -1), three can only go round (|tau| = 1/3).

    Args:
        num_frames: T, 2 or more.
        seed: seed of the draw, 0 or more.

    Returns:
        For each of the places 0 ... T - 1 the number of the frame that takes it.

    Raises:
        ValueError: there are fewer than 2 frames.
    """
    if num_frames < 2:
        raise ValueError(f"a clip of {num_frames} frames cannot be mixed")
    drawn = _permutations(num_frames, [seed])
    moved = (order for order in drawn if all(frame != place for place, frame in enumerate(order)))
    return min(islice(moved, _CANDIDATES), key=_regularity)


def kendall_tau(order: Sequence[int]) -> float:
    """Kendall's rank correlation of a permutation with the forward order, in [-1, 1]: 1 forwards, -1 backwards.

    Args:
        order: two or more different numbers.
    """
    values = np.asarray(order)
    later = np.triu_indices(len(values), 1)
    return float(np.sign(values[None, :] - values[:, None])[later].mean())


def _regularity(order: Sequence[int]) -> tuple[float, int]:
    """How much an order runs in one direction: over all pairs of frames, then from each frame to the next."""
    steps = np.diff(order)
    return abs(kendall_tau(order)), int((np.abs(steps) == 1).sum()) + abs(int(np.sign(steps).sum()))


def _permutations(num_frames: int, seed: Sequence[int]) -> Iterator[list[int]]:
    """Permutations of 0 ... T - 1 without end, the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    while True:
        yield rng.permutation(num_frames).tolist()
