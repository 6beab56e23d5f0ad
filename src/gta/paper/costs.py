"""GFLOPs and parameters that the paper prints beside its models (Tables 1 and 5)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class PaperRow:
    """One row of the paper, and the model that stands for it."""

    table: int
    title: str
    model: str
    num_classes: int
    clip: tuple[int, int, int]
    """Frames, height and width that the paper counts for."""
    gflops: float | None
    """Giga multiply-adds of one clip that are printed, if they are."""
    parameters: float | None = None
    """Million parameters that are printed, if they are."""
    note: str = ""
    year: int | None = None
    """Year of the method's paper; None: a row of the paper's own experiments."""
    source: str = ""
    """Where the printed numbers stand; empty: in the paper."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `create_model`."""
    also: tuple[str, int] | None = None
    """A second model and its frames: the row is the ensemble of both."""


_IN_2D = (8, 224, 224)
_IN_3D = (64, 256, 256)
_R101_NOTE = "the paper prints 137 for both, which five blocks of either kind do not explain"

PAPER_ROWS: tuple[PaperRow, ...] = (
    PaperRow(1, "R2D-50", "r2d50", 174, _IN_2D, 32.7, 23.9),
    PaperRow(1, "R2D-50 + NL", "r2d50_nl", 174, _IN_2D, 61.1, 31.2),
    PaperRow(1, "R2D-50 + DNL", "r2d50_dnl", 174, _IN_2D, 49.9, 31.2),
    PaperRow(1, "R2D-50 + GTA", "r2d50_gta", 174, _IN_2D, 50.2, 31.2),
    PaperRow(1, "SlowFast-R50 16x8", "slowfast50_16x8", 174, _IN_3D, 131.4, 34.0),
    PaperRow(1, "SlowFast-R50 16x8 + NL", "slowfast50_16x8_nl", 174, _IN_3D, 239.9, 41.4),
    PaperRow(1, "SlowFast-R50 16x8 + DNL", "slowfast50_16x8_dnl", 174, _IN_3D, 169.1, 41.4),
    PaperRow(1, "SlowFast-R50 16x8 + GTA", "slowfast50_16x8_gta", 174, _IN_3D, 169.9, 41.4),
    PaperRow(5, "C2D-R50 + NL", "c2d50_nl", 400, (8, 256, 256), 77.0),
    PaperRow(5, "C2D-R50 + GTA", "c2d50_gta", 400, (8, 256, 256), 62.0),
    PaperRow(5, "SlowFast-R101 8x8 + NL", "slowfast101_8x8_nl", 400, (32, 256, 256), 137.0, note=_R101_NOTE),
    PaperRow(5, "SlowFast-R101 8x8 + GTA", "slowfast101_8x8_gta", 400, (32, 256, 256), 137.0, note=_R101_NOTE),
)
