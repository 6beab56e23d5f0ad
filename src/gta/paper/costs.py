"""GFLOPs and parameters that the paper prints beside its models (Tables 1 and 5)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class PaperRow:
    """A row of a table in the paper, and the model that reproduces it."""

    table: int
    """Number of the table in the paper: 1, 5, 6 or 7."""
    title: str
    """The model's name as shown."""
    model: str
    """Name of the model, as `create_model` takes it."""
    num_classes: int
    """174 (Something-Something) or 400 (Kinetics)."""
    clip: tuple[int, int, int]
    """Frames, height and width in pixels of the clip that is counted."""
    gflops: float | None
    """The printed multiply-adds of one clip, in 1e9; None: not printed."""
    parameters: float | None = None
    """The printed number of parameters, in millions; None: not printed."""
    note: str = ""
    """Why our numbers differ from the printed ones; empty: no note."""
    year: int | None = None
    """Year of the method's paper; None: a row of the paper's own experiments."""
    source: str = ""
    """Where the numbers are printed; empty: in the paper."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `create_model`."""
    also: tuple[str, int] | None = None
    """A second model and its number of frames: the row is the ensemble of both."""


_IN_2D = (8, 224, 224)
_IN_3D = (64, 256, 256)
_R101_NOTE = "the paper prints 137 GFLOPs for both, but five blocks of either kind give another number"

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
