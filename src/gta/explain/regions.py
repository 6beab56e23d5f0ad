"""Which of a block's regions are worth looking at."""

from dataclasses import dataclass

import numpy as np

from gta.explain.records import Array


@dataclass(frozen=True)
class Region:
    """One region of a block and what speaks for showing it; all in [0, 1]."""

    index: int
    contrast: float
    """How sharply it sets positions apart: its standard deviation over frames and positions, 1 the largest possible."""
    share: float
    """The share of all positions that it holds, on average."""
    likeness: float
    """Its greatest correlation with a region chosen before it; 0 for the first."""


def distinct_regions(regions: Array, count: int) -> list[Region]:
    """Choose the regions that show most: first the sharpest, then again and again the sharpest unlike those chosen.

    A region is scored by its contrast times one minus its greatest correlation with those chosen before.

    Args:
        regions: (t, R, h, w) in [0, 1], summing to 1 over R.
        count: how many to choose, at most.
    """
    maps = np.asarray(regions, dtype=np.float64).transpose(1, 0, 2, 3).reshape(regions.shape[1], -1)
    shares = maps.mean(axis=1)
    spread = maps.std(axis=1)
    centred = maps - shares[:, None]
    norms = np.linalg.norm(centred, axis=1)
    likeness = centred @ centred.T / np.maximum(np.outer(norms, norms), np.finfo(float).tiny)
    chosen: list[Region] = []
    left = list(range(len(maps)))
    while left and len(chosen) < count:
        known = [region.index for region in chosen]
        like = {i: float(np.clip(likeness[i, known], 0, 1).max(initial=0)) for i in left}
        best = max(left, key=lambda i: (spread[i] * (1 - like[i]), -i))
        left.remove(best)
        chosen.append(Region(best, float(2 * spread[best]), float(shares[best]), like[best]))
    return chosen
