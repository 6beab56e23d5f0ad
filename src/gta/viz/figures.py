"""Matplotlib figures without global state: made on the Agg canvas, handed on as PNG bytes."""

import io
import warnings

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gta.terminal import printable

# One colour per model, in order of appearance: told apart by people with colour-vision deficiencies as well
# (Okabe and Ito's palette, without its yellow, which is too pale for lines on white).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of `width` x `height` inches that belongs to no window and no pyplot state."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def png_bytes(figure: Figure, dots_per_inch: int = 120) -> bytes:
    """Render a figure to PNG."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Names come in any script; the font shows a box for what it lacks, which needs no warning as well.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(buffer, format="png", dpi=dots_per_inch, metadata={"Software": None})
    return buffer.getvalue()


def plain_text(name: object) -> str:
    """A name as text of a figure: `$` begins no formula, and nothing in it breaks the line."""
    return printable(name).replace("$", r"\$")
