"""Charts and shaded matrices as markup: the browser sets their text, so they stay sharp on narrow and on dark screens,
and names in any script come out right, which pictures of a plotting library do not promise.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gta.viz.page import Html, Text, isolated, join, text

Number = int | float

NUM_COLOURS = 7  # --c0 to --c6 in page.css: Okabe and Ito's palette, told apart with colour-vision deficiencies as well
DEEP = 0.722  # from this shade on, black and white change places in the cell: the colours of page.css are made for it

# Units of the drawing, which the page scales to the width that there is.
_WIDTH, _HEIGHT = 360, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 10, 34


def ticks(low: Number, high: Number, count: int = 5, *, whole: bool = False) -> list[float]:
    """Round numbers that cover [low, high], 1, 2 or 5 times a power of ten apart.

    Args:
        low: smallest value.
        high: largest value, not below `low`.
        count: about how many steps.
        whole: whole numbers only (epochs), from within the range.
    """
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if power * factor * count >= span * 0.999)
    if whole:
        step = max(1, round(step))
        first, last = math.ceil(low / step), math.floor(high / step)
        return [float(step * number) for number in range(first, last + 1)] or [float(low)]
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{step * number:.12g}") for number in range(first, max(last, first + 1) + 1)]


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    label: str
    values: Sequence[Number | None]
    """One value per step, counted from 1; None or NaN where nothing was measured."""


def line_chart(
    series: Sequence[Series], *, x_label: str, y_label: str, from_zero: bool = False, limit: Number | None = None
) -> Html:
    """Draw lines over whole steps (epochs).

    Args:
        series: the lines; the n-th has the n-th colour of `legend`.
        x_label: what one step is.
        y_label: what is drawn, with its unit.
        from_zero: the vertical axis begins at 0.
        limit: a value to mark by a dashed line.
    """
    points = [
        [(step, float(value)) for step, value in enumerate(one.values, 1) if value is not None and math.isfinite(value)]
        for one in series
    ]
    every = [value for line in points for _, value in line] + ([limit] if limit is not None else [])
    longest = max((len(one.values) for one in series), default=1) or 1
    down = ticks(0.0 if from_zero else min(every, default=0.0), max(every, default=1.0))
    across = ticks(1, max(longest, 1), 6, whole=True) if longest > 1 else [1.0]
    x = _Axis(1, max(longest, 2), _LEFT, _WIDTH - _RIGHT)
    y = _Axis(down[0], down[-1], _HEIGHT - _BOTTOM, _TOP)
    parts = [_grid_line(y, value) for value in down]
    parts += [_below(x, value, f"{value:.0f}") for value in across]
    if limit is not None:
        parts.append(f'<path class="limit" d="M{_LEFT} {y(limit)}H{_WIDTH - _RIGHT}"/>')
    for number, (one, line) in enumerate(zip(series, points, strict=True)):
        colour = f"var(--c{number % NUM_COLOURS})"
        path = " ".join(
            f"{'L' if place and line[place - 1][0] == step - 1 else 'M'}{x(step)} {y(value)}"
            for place, (step, value) in enumerate(line)
        )
        parts.append(f'<path class="line{_dash(number)}" style="stroke:{colour}" d="{path}"/>')
        parts += [
            f'<circle cx="{x(step)}" cy="{y(value)}" r="2.6" style="fill:{colour}">'
            f"<title>{text(one.label)}, {text(x_label)} {step}: {value:.4g}</title></circle>"
            for step, value in line
        ]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">{text(x_label)}</text>')
    alternative = f"{y_label} for each {x_label}: {', '.join(one.label for one in series)}"
    return Html(
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text(alternative)}">'
        f"{''.join(parts)}</svg>"
    )


def legend(labels: Sequence[str], *, limit: str = "") -> Html:
    """Names of the lines in their colours, and what the dashed line is."""
    items = [
        f'<span class="key{_dash(number)}" style="--colour:var(--c{number % NUM_COLOURS})">{isolated(label)}</span>'
        for number, label in enumerate(labels)
    ]
    if limit:
        items.append(f'<span class="limit">{text(limit)}</span>')
    return Html(f'<div class="legend">{"".join(items)}</div>\n')


def bars(
    values: Mapping[str, Number | None],
    *,
    unit: str = "%",
    high: Number | None = None,
    digits: int = 1,
    dots: Mapping[str, Sequence[Number]] | None = None,
    limit: Number | None = None,
) -> Html:
    """Draw horizontal bars from 0 with their numbers.

    Args:
        values: label -> length, 0 or more; None for a bar without a value.
        unit: of the values.
        high: value of a full bar; the largest of the values if not given.
        digits: of the numbers, after the point.
        dots: label -> single values (runs) to mark on its bar.
        limit: a value to mark by a dashed line on all bars.
    """
    full = high or max((value for value in values.values() if value is not None), default=0.0) or 1.0

    def percent(value: Number) -> str:
        return f"{100 * min(max(value / full, 0.0), 1.0):.2f}%"

    rows = []
    for label, value in values.items():
        parts = [f'<span class="fill" style="width:{percent(0 if value is None else value)}"></span>']
        parts += [f'<span class="dot" style="left:{percent(dot)}"></span>' for dot in (dots or {}).get(label, ())]
        if limit is not None:
            parts.append(f'<span class="limit" style="left:{percent(limit)}"></span>')
        number = "-" if value is None else f"{value:.{digits}f} {unit}"
        parts.append(f'<span class="value">{text(number)}</span>')
        rows.append(
            f'<div class="label">{isolated(label)}</div>'
            f'<div class="track" style="--colour:var(--c0)">{"".join(parts)}</div>'
        )
    return Html(f'<div class="bars">{"".join(rows)}</div>\n')


def shaded_table(
    values: ArrayLike,
    *,
    rows: Sequence[Text],
    columns: Sequence[Text],
    texts: Sequence[Sequence[str]],
    strongest: Number | None = None,
    corner: Text = "",
) -> Html:
    """A matrix whose cells are shaded by their values; negative ones in another colour.

    Args:
        values: (N, M).
        rows: N names.
        columns: M titles.
        texts: what stands in the cells, (N, M).
        strongest: value of the deepest shade; the largest absolute value of all if not given, so that weak values are
            told apart as well.
        corner: what rows and columns are.

    Raises:
        ValueError: the sizes do not agree.
    """
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.shape != (len(rows), len(columns)) or matrix.shape != (len(texts), len(texts[0]) if texts else 0):
        raise ValueError(f"the matrix is {matrix.shape}, but there are {len(rows)} rows and {len(columns)} columns")
    finite = np.nan_to_num(matrix, nan=0.0)
    full = strongest or float(np.abs(finite).max(initial=0.0)) or 1.0
    head = "".join(f"<th>{text(title)}</th>" for title in columns)
    lines = []
    for label, shades, words in zip(rows, np.clip(finite / full, -1, 1), texts, strict=True):
        cells = "".join(
            f'<td{_shade_class(shade)} style="--s:{abs(shade):.3f}">{text(word)}</td>'
            for shade, word in zip(shades, words, strict=True)
        )
        lines.append(f"<tr><th>{isolated(label)}</th>{cells}</tr>")
    kind = "heat large" if len(columns) > 10 else "heat"
    return Html(
        f'<div class="wide"><table class="{kind}"><thead><tr><th>{text(corner)}</th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>\n"
    )


def confusion_table(counts: ArrayLike, classes: Sequence[str]) -> Html:
    """A confusion matrix: rows are the true classes, columns the predicted ones, shaded by the share of the row.

    Args:
        counts: videos, (K, K).
        classes: K names; the columns bear their numbers, so that they fit on a narrow screen.
    """
    matrix = np.asarray(counts, dtype=np.int64)
    if matrix.shape != (len(classes), len(classes)):
        raise ValueError(f"the confusion matrix is {matrix.shape}, but there are {len(classes)} classes")
    return shaded_table(
        matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1),
        rows=[join(f"{number} ", isolated(label)) for number, label in enumerate(classes, 1)],
        columns=[str(number) for number in range(1, len(classes) + 1)],
        texts=[[str(value) if value else "" for value in row] for row in matrix],
        strongest=1.0,
        corner=join("true class, down; predicted class, across"),
    )


def _dash(number: int) -> str:
    """Class of a line's dashes: where the colours come round again, lines differ in them."""
    turn = number // NUM_COLOURS % 3
    return f" dash{turn}" if turn else ""


class _Axis:
    """A linear map from values to units of the drawing, rounded to tenths."""

    def __init__(self, low: Number, high: Number, start: Number, end: Number) -> None:
        self._low, self._start = low, start
        self._scale = (end - start) / (high - low)

    def __call__(self, value: Number) -> float:
        return round(self._start + (value - self._low) * self._scale, 1)


def _grid_line(axis: _Axis, value: Number) -> str:
    height = axis(value)
    label = f'<text x="{_LEFT - 5}" y="{height + 4}" text-anchor="end">{value:g}</text>'
    return f'<path class="grid" d="M{_LEFT} {height}H{_WIDTH - _RIGHT}"/>{label}'


def _below(axis: _Axis, value: Number, label: str) -> str:
    return f'<text x="{axis(value)}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="middle">{label}</text>'


def _shade_class(shade: Number) -> str:
    kinds = [kind for kind, wanted in (("neg", shade < 0), ("deep", abs(shade) > DEEP)) if wanted]
    return f' class="{" ".join(kinds)}"' if kinds else ""
