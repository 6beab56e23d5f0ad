"""Whether an exported network says what the original says: differences of the outputs, agreement on the class."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gta.errors import ExportError
from gta.export.card import ExportPrecision, Output

Measure = Literal["largest_difference", "mean_distance"]

LIMITS: dict[ExportPrecision, tuple[Measure, float]] = {
    "float32": ("largest_difference", 1e-4),
    "bf16": ("mean_distance", 0.02),
    "int8": ("mean_distance", 0.10),
}
"""What an export may differ by, unless told otherwise: the largest difference of any output in float32; with fewer
digits the mean distance of the probabilities, which one clip on the edge of two classes does not decide."""


_MOST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Parity:
    """The outputs of an exported network beside those of the original, on the same clips.

    Args:
        clips: what they were of.
        num_clips: how many.
        largest_difference: of any output.
        mean_distance: half the sum of the absolute differences of a clip's probabilities (total variation, 0 to 1),
            averaged over the clips.
        top1_agreement: share of the clips of which both name the same class.
        measure: which of them the limit is for.
        limit: the most that is taken for equal.
    """

    clips: str
    num_clips: int
    largest_difference: float
    mean_distance: float
    top1_agreement: float
    measure: Measure
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the difference keeps the limit."""
        return getattr(self, self.measure) <= self.limit

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        return {**asdict(self), "passed": self.passed}

    def summary(self) -> str:
        """One line for people."""
        return (
            f"{self.num_clips} clips ({self.clips}): largest difference {self.largest_difference:.2g}, mean distance "
            f"of the probabilities {self.mean_distance:.2g}, top-1 agreement {100 * self.top1_agreement:.1f} %"
        )

    def require(self) -> None:
        """Raise unless it passed.

        Raises:
            ExportError: it did not; the text has the numbers.
        """
        if not self.passed:
            raise ExportError(
                f"the exported model differs from the original: {self.measure.replace('_', ' ')} "
                f"{getattr(self, self.measure):.3g}, the limit is {self.limit:g} ({self.summary()}); "
                "`limit` sets another one, `force` keeps the model anyway"
            )


def compare(
    original: NDArray[np.float32],
    exported: NDArray[np.float32],
    *,
    output: Output,
    precision: ExportPrecision,
    clips: str,
    limit: float | None = None,
) -> Parity:
    """Compare the outputs (N, K) of both networks for the same N clips.

    Args:
        original: of the original network in float32.
        exported: of the exported one.
        output: what they are.
        precision: of the exported one; chooses measure and limit.
        clips: what they are outputs of, in a few words.
        limit: another limit.

    Raises:
        ValueError: they have different shapes, or there are none.
    """
    if original.shape != exported.shape or original.ndim != 2 or not original.size:
        raise ValueError(f"outputs {original.shape} and {exported.shape} cannot be compared")
    first, second = original.astype(np.float64), exported.astype(np.float64)
    difference = float(np.abs(first - second).max())
    if output == "logits":
        first, second = _softmax(first), _softmax(second)
    distance = float(np.abs(first - second).sum(axis=1).mean() / 2)
    measure, usual = LIMITS[precision]
    return Parity(
        clips=clips,
        num_clips=len(original),
        # NaN compares as no difference at all, and is no JSON: the most that there can be.
        largest_difference=difference if math.isfinite(difference) else _MOST,
        mean_distance=distance if math.isfinite(distance) else 1.0,
        top1_agreement=float((original.argmax(axis=1) == exported.argmax(axis=1)).mean()),
        measure=measure,
        limit=usual if limit is None else limit,
    )


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
