"""Plots of studies and of the probe of temporal order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

from gta.viz.figures import COLOURS, new_figure, plain_text


@dataclass(frozen=True)
class Bar:
    """One row of an accuracy plot. Accuracies are shares in [0, 1], `paper` a percentage."""

    label: str
    values: Sequence[float]
    """One per seed."""
    part: str = ""
    paper: float | None = None


def accuracy_figure(
    bars: Sequence[Bar],
    *,
    ceiling: float | None,
    title: str,
    x_label: str = "top-1 on held-out videos, %",
) -> Figure:
    """Draw every run as a dot, the mean as a bar with its sample deviation, and beside it the paper's numbers.

    The paper's numbers have a panel and an axis of their own, because they belong to another data set.

    Args:
        bars: rows from top to bottom.
        ceiling: best top-1 without the order of frames, in [0, 1]; drawn as a line.
        title: heading.
        x_label: what the bars show.
    """
    with_paper = any(bar.paper is not None for bar in bars)
    figure = new_figure(9.5 if with_paper else 6.8, 1.3 + 0.36 * len(bars))
    panels = figure.subplots(
        1, 2 if with_paper else 1, squeeze=False, sharey=True, width_ratios=[1.6, 1][: 1 + with_paper]
    )
    left = panels[0][0]
    parts = list(dict.fromkeys(bar.part for bar in bars))
    for place, bar in enumerate(bars):
        colour = COLOURS[parts.index(bar.part) % len(COLOURS)]
        values = 100 * np.asarray(bar.values, dtype=np.float64)
        if len(values):
            spread = values.std(ddof=1) if len(values) > 1 else 0.0
            left.barh(
                place, values.mean(), xerr=spread, color=colour, alpha=0.45, height=0.62, ecolor="#444", capsize=2
            )
            left.plot(values, np.full(len(values), place), ".", color=colour, ms=6)
            left.text(102, place, f"{values.mean():.1f}", va="center", ha="left", fontsize=8)
    left.set_xlim(0, 112)  # room for the means
    left.set_xticks(range(0, 101, 20))
    left.set_ylim(len(bars) - 0.4, -0.6)
    left.set_yticks(
        range(len(bars)),
        [plain_text(f"{bar.part}  {bar.label}" if bar.part else bar.label) for bar in bars],
        fontsize=8,
    )
    left.set_xlabel(x_label, fontsize=9)
    if ceiling is not None:
        left.axvline(100 * ceiling, color="#b00020", linewidth=1.2, linestyle="--")
        left.set_title(f"dashed: best to be expected without the\norder of frames ({100 * ceiling:.2f} %)", fontsize=8)
    if with_paper:
        _paper_panel(panels[0][1], bars, parts)
    for axis in panels[0]:
        axis.grid(axis="x", alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(axis="x", labelsize=8)
    figure.suptitle(plain_text(title), fontsize=10)
    return figure


def _paper_panel(axis: Axes, bars: Sequence[Bar], parts: Sequence[str]) -> None:
    for place, bar in enumerate(bars):
        if bar.paper is not None:
            colour = COLOURS[parts.index(bar.part) % len(COLOURS)]
            axis.barh(
                place, bar.paper, color=colour, alpha=0.25, height=0.62, hatch="//", edgecolor=colour, linewidth=0.4
            )
            axis.text(bar.paper + 0.8, place, f"{bar.paper:.1f}", va="center", fontsize=8, color="#555")
    axis.set_xlim(0, 70)
    axis.set_xlabel("the paper's top-1, %", fontsize=9)
    axis.set_title("the paper, on another data set\n(Something-Something V1)", fontsize=8)


@dataclass(frozen=True)
class CostPoint:
    """One row of a cost-accuracy plot."""

    label: str
    top1: Sequence[float]
    """One per seed, in [0, 1]."""
    gflops: float
    rate: float | None
    """Training clips per second, measured; None if they were not."""
    sees_order: bool


def cost_figure(points: Sequence[CostPoint], *, ceiling: float | None, title: str) -> Figure:
    """Draw accuracy over cost: over multiply-adds, and over measured speed where all rows have one.

    Args:
        points: rows.
        ceiling: best top-1 without the order of frames, in [0, 1]; drawn as a line.
        title: heading.
    """
    timed = all(point.rate for point in points)
    figure = new_figure(12.5 if timed else 8.4, 4.6)
    panels = figure.subplots(1, 2 if timed else 1, squeeze=False, sharey=True)[0]
    costs = [[point.gflops for point in points], [point.rate or 0.0 for point in points]]
    names = ("GFLOPs per clip (lower is cheaper)", "training clips per second, measured (higher is cheaper)")
    for axis, values, name in zip(panels, costs, names, strict=False):
        for number, (point, cost) in enumerate(zip(points, values, strict=True)):
            runs = 100 * np.asarray(point.top1, dtype=np.float64)
            colour, marker = COLOURS[number % len(COLOURS)], "o^Dv"[number // len(COLOURS) % 4]
            face = colour if point.sees_order else "white"
            axis.vlines(cost, runs.min(), runs.max(), color=colour, alpha=0.4, linewidth=1.5)
            axis.plot(
                cost, runs.mean(), marker, color=colour, markerfacecolor=face, ms=6, label=plain_text(point.label)
            )
        if max(values) > 2 * min(values) > 0:
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))  # evenly apart, so that none overlap
            axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.margins(x=0.12)
        axis.set_xlabel(name, fontsize=9)
        if ceiling is not None:
            axis.axhline(100 * ceiling, color="#b00020", linewidth=1.0, linestyle="--")
        axis.grid(alpha=0.25, which="both")
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8, which="both")
    panels[0].set_ylabel("top-1 on held-out videos, %", fontsize=9)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize=7.5, frameon=False)
    words = "hollow: ignores the order of frames" + ("; dashed: best possible without it" if ceiling else "")
    figure.suptitle(f"{plain_text(title)}\n{words}", fontsize=9)
    return figure


def seed_curve_figure(
    curves: Mapping[str, Sequence[Sequence[float | None]]], *, ceiling: float | None, title: str, y_label: str
) -> Figure:
    """Draw one line per row: the mean over its seeds, with the range from the lowest to the highest as a band.

    Args:
        curves: row -> one series (a value per epoch, shares in [0, 1], None where nothing was measured) per seed.
        ceiling: drawn as a dashed line.
        title: heading.
        y_label: what is drawn.
    """
    figure = new_figure(8.4, 4.2)
    axis = figure.subplots()
    styles = ("-", "--", ":", "-.")
    for number, (label, series) in enumerate(curves.items()):
        length = min(map(len, series), default=0)
        table = np.array([list(line)[:length] for line in series], dtype=np.float64)  # None becomes NaN
        if not length or np.isnan(table).all():
            continue
        measured = np.flatnonzero(~np.isnan(table).any(axis=0))
        values = 100 * table[:, measured]
        colour, style = COLOURS[number % len(COLOURS)], styles[number // len(COLOURS) % len(styles)]
        axis.plot(
            measured + 1,
            values.mean(axis=0),
            color=colour,
            linestyle=style,
            linewidth=1.6,
            marker="o",
            ms=3,
            label=plain_text(label),
        )
        axis.fill_between(measured + 1, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.13, linewidth=0)
    if ceiling is not None:
        axis.axhline(100 * ceiling, color="#b00020", linewidth=1.0, linestyle="--")
    axis.set_ylim(0, 100)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel("epoch", fontsize=9)
    axis.set_ylabel(y_label, fontsize=9)
    axis.set_title(plain_text(title), fontsize=10)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
    figure.legend(loc="outside right upper", fontsize=7.5, frameon=False)
    return figure


def probe_figure(accuracies: Mapping[str, float], *, title: str) -> Figure:
    """Draw the top-1 accuracy under each treatment of the frames.

    Args:
        accuracies: treatment -> share in [0, 1].
        title: heading.
    """
    figure = new_figure(6.4, 1.1 + 0.34 * len(accuracies))
    axis = figure.subplots()
    for place, value in enumerate(accuracies.values()):
        axis.barh(place, 100 * value, color=COLOURS[0] if place == 0 else COLOURS[1], alpha=0.7, height=0.62)
        axis.text(100 * value + 1, place, f"{100 * value:.1f}", va="center", fontsize=8)
    axis.set_yticks(range(len(accuracies)), [plain_text(name) for name in accuracies], fontsize=8)
    axis.set_ylim(len(accuracies) - 0.4, -0.6)
    axis.set_xlim(0, 106)
    axis.set_xlabel("top-1, %", fontsize=9)
    axis.set_title(plain_text(title), fontsize=10)
    axis.grid(axis="x", alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(axis="x", labelsize=8)
    return figure


def sensitivity_figure(classes: Sequence[str], treatments: Sequence[str], values: NDArray[np.float64]) -> Figure:
    """Draw the temporal sensitivity of each class as a table of shades.

    Args:
        classes: C names, from top to bottom.
        treatments: N names, from left to right.
        values: (C, N) in [0, 1].
    """
    if values.shape != (len(classes), len(treatments)):
        raise ValueError(f"values are {values.shape}, expected {(len(classes), len(treatments))}")
    figure = new_figure(3.6 + 0.75 * len(treatments), 1.4 + 0.24 * len(classes))
    axis = figure.subplots()
    shares = 100 * values
    strongest = float(np.nan_to_num(shares).max(initial=0.0)) or 1.0  # weak models are told apart as well
    picture = axis.imshow(shares, cmap="Blues", vmin=0, vmax=strongest, aspect="auto")
    axis.set_xticks(range(len(treatments)), [plain_text(name) for name in treatments], fontsize=8)
    axis.set_yticks(range(len(classes)), [plain_text(name) for name in classes], fontsize=7)
    if len(classes) <= 60:
        for row, column in np.ndindex(shares.shape):
            shade = "white" if shares[row, column] > 0.6 * strongest else "black"
            axis.text(column, row, f"{shares[row, column]:.1f}", ha="center", va="center", fontsize=6.5, color=shade)
    axis.set_title("temporal sensitivity: how much probability\nmoves to other classes, %", fontsize=9)
    figure.colorbar(picture, ax=axis, shrink=0.7).ax.tick_params(labelsize=7)
    return figure
