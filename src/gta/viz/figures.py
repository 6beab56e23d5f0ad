"""Matplotlib figures without global state: made on the Agg canvas, handed on as PNG bytes."""

import io
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

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
    figure.savefig(buffer, format="png", dpi=dots_per_inch, metadata={"Software": None})
    return buffer.getvalue()


def plain_text(name: object) -> str:
    """A name as text of a figure: `$` begins no formula, and nothing in it breaks the line."""
    return printable(name).replace("$", r"\$")


def mixing_figure(mixing: NDArray[Any], title: str) -> Figure:
    """Draw the learned T x T matrices M of a global temporal attention (Sec. 3.3, Eqs. 6-7).

    The left picture is the mean of |M| over groups and heads: which frame listens to which. The right one is all of M
    as the single (N_h*T, G*T) matrix that the block multiplies with.

    Args:
        mixing: M, (G, N_h, T, T); row = output frame, column = input frame.
        title: heading, usually the name of the block.
    """
    if mixing.ndim != 4 or mixing.shape[2] != mixing.shape[3]:
        raise ValueError(f"M has shape {mixing.shape}, expected (G, N_h, T, T)")
    groups, heads, frames, _ = mixing.shape
    figure = new_figure(8.6, 4.2)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.35])
    mean = np.abs(mixing).mean(axis=(0, 1))
    shown = left.imshow(mean, cmap="viridis", vmin=0)
    left.set_title("mean |M| over groups and heads", fontsize=9)
    left.set_xticks(range(frames), range(1, frames + 1))
    left.set_yticks(range(frames), range(1, frames + 1))
    left.set_xlabel("input frame", fontsize=9)
    left.set_ylabel("output frame", fontsize=9)
    figure.colorbar(shown, ax=left, shrink=0.7).ax.tick_params(labelsize=7)
    whole = mixing.transpose(1, 2, 0, 3).reshape(heads * frames, groups * frames)
    limit = float(np.abs(whole).max()) or 1.0
    shown = right.imshow(whole, cmap="RdBu_r", vmin=-limit, vmax=limit)
    right.set_title(f"M: {groups} groups (columns) x {heads} heads (rows) of {frames} x {frames}", fontsize=9)
    right.set_xticks([g * frames - 0.5 for g in range(groups)], [])
    right.set_yticks([h * frames - 0.5 for h in range(heads)], [])
    right.grid(color="black", linewidth=0.4, alpha=0.5)
    figure.colorbar(shown, ax=right, shrink=0.7).ax.tick_params(labelsize=7)
    for axis in (left, right):
        axis.tick_params(labelsize=7)
    figure.suptitle(plain_text(title), fontsize=10)
    return figure
