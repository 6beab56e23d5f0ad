"""The same frames in another order: what a page shows to let the part of time in a prediction be felt.

All functions are pure: views uint8 (V, 3, T, H, W) in, the same shape out. The same arguments give the same frames.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from gta.evaluation.orders import mixed_order

Change = Literal["none", "reverse", "shuffle", "drop", "freeze"]
CHANGES: tuple[Change, ...] = get_args(Change)


def frame_order(change: Change, num_frames: int, amount: float = 1.0, *, seed: int = 0) -> list[int]:
    """Which frame stands at each place of the changed clip.

    Args:
        change: `reverse`: backwards, whatever the amount. `shuffle`: this share of the places (at least two where it is
            above 0) is drawn, and their frames go to another one of them, as far from forwards as from backwards
            (`gta.evaluation.orders.mixed_order`). `drop`: this share of the frames is missing,
            and the one before stays in its place; the first frame is never missing. `freeze`: the last share of the
            clip stands still.
        num_frames: T, 1 or more.
        amount: share of the frames that is changed, in [0, 1].
        seed: of what is drawn.

    Raises:
        ValueError: an argument is out of range.
    """
    if change not in CHANGES:
        raise ValueError(f"change is {change!r}: it must be one of {', '.join(CHANGES)}")
    if num_frames < 1 or not 0 <= amount <= 1:
        raise ValueError(f"{num_frames} frames changed by {amount}: at least 1 frame, and a share from 0 to 1")
    order = list(range(num_frames))
    count = round(amount * num_frames)
    if change == "reverse":
        return order[::-1]
    if change == "shuffle" and amount > 0 and num_frames > 1:
        return _shuffled(order, max(2, count), seed)
    if change == "drop":
        for place in sorted(_drawn(num_frames - 1, min(count, num_frames - 1), seed)):
            order[place + 1] = order[place]
    if change == "freeze":
        last = max(num_frames - count - 1, 0) if count else num_frames - 1
        order = [min(frame, last) for frame in order]
    return order


def changed(views: Tensor, change: Change, amount: float = 1.0, *, seed: int = 0) -> Tensor:
    """Views (V, 3, T, H, W) with their frames in the order of `frame_order`."""
    return views[:, :, frame_order(change, views.shape[2], amount, seed=seed)]


def _shuffled(order: list[int], count: int, seed: int) -> list[int]:
    """`count` places drawn, whose frames are mixed: none keeps its own."""
    places = sorted(_drawn(len(order), count, seed))
    result = list(order)
    for place, source in zip(places, mixed_order(count, seed=seed), strict=True):
        result[place] = order[places[source]]
    return result


def _drawn(total: int, count: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(total, generator=generator)[:count].tolist()
