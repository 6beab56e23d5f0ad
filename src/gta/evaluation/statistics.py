"""What is said about a handful of runs: mean, sample deviation, paired gaps with a confidence interval."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Student's t: the two-sided 95 % quantile for 1, 2, ... degrees of freedom (any table of the distribution).
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


@dataclass(frozen=True)
class Summary:
    """Mean and spread of a few values, in their unit."""

    mean: float
    """Their mean."""
    deviation: float | None
    """Their sample standard deviation (n - 1); None for fewer than two values."""
    count: int
    """Their number, 1 or more."""

    @property
    def half_width(self) -> float | None:
        """Half of the 95 % confidence interval of the mean (Student's t); None for fewer than two values."""
        if self.deviation is None:
            return None
        return t_quantile(self.count - 1) * self.deviation / math.sqrt(self.count)


def t_quantile(degrees: int) -> float:
    """Two-sided 95 % quantile of Student's t; beyond 30 degrees of freedom Cornish and Fisher's expansion.

    Raises:
        ValueError: fewer than one degree of freedom.
    """
    if degrees < 1:
        raise ValueError(f"Student's t with {degrees} degrees of freedom is undefined")
    if degrees <= len(_T95):
        return _T95[degrees - 1]
    z = 1.959964
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def summarise(values: Sequence[float]) -> Summary | None:
    """Mean and sample deviation; None without values."""
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return Summary(mean, None, len(values))
    squares = math.fsum((value - mean) ** 2 for value in values)
    return Summary(mean, math.sqrt(squares / (len(values) - 1)), len(values))


def paired_gap(values: Mapping[int, float], reference: Mapping[int, float]) -> Summary | None:
    """Summary of `values[seed] - reference[seed]` over the seeds that both have; None if there is none.

    Runs with the same seed see the same batches, so differences within a seed vary less than the runs themselves.
    """
    shared = sorted(set(values) & set(reference))
    return summarise([values[seed] - reference[seed] for seed in shared])


def proportion_error(share: float, count: int) -> float:
    """Standard error of a share that was measured on `count` videos: sqrt(p (1 - p) / n).

    Raises:
        ValueError: the share is not in [0, 1] or there are no videos.
    """
    if not 0 <= share <= 1 or count < 1:
        raise ValueError(f"a share of {share} of {count} videos is not possible")
    return math.sqrt(share * (1 - share) / count)


def ranks(means: Mapping[str, float]) -> dict[str, int]:
    """Place of each row, 1 for the largest mean; equal means share the better place."""
    return {key: 1 + sum(other > value for other in means.values()) for key, value in means.items()}
