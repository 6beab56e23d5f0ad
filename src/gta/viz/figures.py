"""Matplotlib figures without global state: made on the Agg canvas, handed on as PNG bytes or data URIs."""

import base64
import io
from collections.abc import Mapping, Sequence
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


def data_uri(png: bytes) -> str:
    """Return PNG bytes as a `data:` URI, so that a page needs no second file."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def curve_figure(
    curves: Mapping[str, Mapping[str, Sequence[float]]], panels: Mapping[str, str], x_label: str
) -> Figure:
    """Draw training curves, one panel per quantity and one line per model.

    Args:
        curves: model name -> quantity -> one value per epoch; a quantity may be missing for a model, NaN is a gap.
        panels: quantity -> title of its panel, in drawing order.
        x_label: what one step on the horizontal axis is.
    """
    figure = new_figure(4.2 * len(panels), 3.0)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (quantity, title) in zip(axes, panels.items(), strict=True):
        for colour, (name, values) in zip(_cycle(len(curves)), curves.items(), strict=True):
            series = values.get(quantity)
            if series:
                axis.plot(
                    range(1, len(series) + 1),
                    series,
                    color=colour,
                    label=plain_text(name),
                    linewidth=1.8,
                    marker="o",
                    ms=3,
                )
        axis.set_title(plain_text(title), fontsize=10)
        axis.set_xlabel(x_label, fontsize=9)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    axes[0].legend(fontsize=9, frameon=False)
    return figure


def plain_text(name: object) -> str:
    """A name as text of a figure: `$` begins no formula, and nothing in it breaks the line."""
    return printable(name).replace("$", r"\$")


def confusion_figure(matrix: NDArray[Any], classes: Sequence[str], title: str) -> Figure:
    """Draw a confusion matrix: rows are the true classes, columns the predicted ones, each row scaled to its sum.

    Args:
        matrix: counts, (K, K).
        classes: K names.
        title: heading of the picture.
    """
    counts = np.asarray(matrix, dtype=np.float64)
    if counts.shape != (len(classes), len(classes)):
        raise ValueError(f"the confusion matrix is {counts.shape}, but there are {len(classes)} classes")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(3.2, 0.27 * len(classes) + 2.6)
    figure = new_figure(side, side)
    axis = figure.subplots()
    picture = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    positions = range(len(classes))
    names = [plain_text(name) for name in classes]
    axis.set_xticks(positions, names, rotation=90, fontsize=8)
    axis.set_yticks(positions, names, fontsize=8)
    axis.set_xlabel("predicted", fontsize=9)
    axis.set_ylabel("true", fontsize=9)
    axis.set_title(plain_text(title), fontsize=10)
    if len(classes) <= 24:
        for row, column in np.argwhere(counts > 0):
            colour = "white" if shares[row, column] > 0.55 else "black"
            axis.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", fontsize=8, color=colour)
    figure.colorbar(picture, ax=axis, shrink=0.5, label="share of the true class").ax.tick_params(labelsize=7)
    return figure


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


def frame_strip(frames: NDArray[Any], count: int = 8, gap_pixels: int = 2, height_pixels: int = 96) -> NDArray[Any]:
    """Lay `count` evenly spaced frames of a video side by side on white.

    Args:
        frames: uint8, (T, H, W, 3).
        count: frames to show; a shorter video shows all of its frames.
        gap_pixels: white between two frames.
        height_pixels: frames are enlarged by a whole factor until at least this high.

    Returns:
        uint8, (H', W', 3).
    """
    total = len(frames)
    picked = frames[np.linspace(0, total - 1, min(count, total)).round().astype(int)]
    factor = max(1, -(-height_pixels // picked.shape[1]))
    picked = picked.repeat(factor, axis=1).repeat(factor, axis=2)
    padded = np.pad(picked, ((0, 0), (0, 0), (0, gap_pixels), (0, 0)), constant_values=255)
    return np.concatenate(list(padded), axis=1)[:, :-gap_pixels] if gap_pixels else np.concatenate(list(padded), axis=1)


def image_png(image: NDArray[Any]) -> bytes:
    """Encode a uint8 (H, W, 3) picture as PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _cycle(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]
