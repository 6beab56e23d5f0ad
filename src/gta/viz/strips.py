"""Pictures in rows: a column for each frame of a clip, rows of pictures or of bars, labels on the left."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray

from gta.explain.records import nearest
from gta.viz.figures import new_figure, plain_text
from gta.viz.frames import spread

Array = NDArray[Any]

# Inches.
_LABEL, _CELL, _GAP, _BARS, _MARGIN = 1.75, 1.12, 0.05, 0.46, 0.12
_LINE = 0.2
MAX_COLUMNS = 8


@dataclass(frozen=True)
class Row:
    """One row: a picture for each column, or one bar for each; with a label of a heading and a remark."""

    heading: str
    remark: str
    pictures: Sequence[Array | None] = ()
    """uint8 (H, W, 3) for each column; None leaves its place empty."""
    bars: Sequence[float] | None = None
    """In place of pictures: a value for each column."""
    highest: float | None = None
    """The value of a bar of full height; the largest if not given."""
    colour: str = "#0072B2"


@dataclass
class Strip:
    """A figure in the making."""

    title: str
    remark: str
    columns: Sequence[str]
    """Captions of the columns."""
    footnote: str = ""
    rows: list[Row] = field(default_factory=list)
    cross: tuple[int, int, float, float] | None = None
    """A red cross on the picture of a row and column, at a share of its width and height."""

    def figure(self, aspect: float) -> Figure:
        """Draw it; `aspect` is the height of a picture over its width."""
        heights = [_BARS if row.bars is not None else _CELL * aspect for row in self.rows]
        notes = _LINE * 0.85 * (self.footnote.count("\n") + 1) if self.footnote else 0
        width = _MARGIN * 2 + _LABEL + len(self.columns) * (_CELL + _GAP)
        height = _MARGIN * 2 + 3 * _LINE + sum(heights) + _GAP * 1.6 * len(heights) + notes
        figure = new_figure(width, height)
        figure.set_layout_engine("none")

        def axes(x: float, y: float, w: float, h: float) -> Axes:
            placed = figure.add_axes((x / width, 1 - (y + h) / height, w / width, h / height))
            placed.set_axis_off()
            return placed

        def text(x: float, y: float, words: str, room: float | None = None, **how: Any) -> None:
            placed = figure.text(x / width, 1 - y / height, plain_lines(words), va="top", **how)
            if room is not None:
                _shorten(placed, words, room)

        whole = width - 2 * _MARGIN
        text(_MARGIN, _MARGIN, self.title, whole, fontsize=11, fontweight="bold")
        text(_MARGIN, _MARGIN + 1.15 * _LINE, self.remark, whole, fontsize=8.5, color="#444444")
        top = _MARGIN + 3 * _LINE
        for column, caption in enumerate(self.columns):
            middle = _MARGIN + _LABEL + column * (_CELL + _GAP) + _CELL / 2
            text(middle, top - 0.8 * _LINE, caption, fontsize=7.5, color="#444444", ha="center")
        for number, (row, tall) in enumerate(zip(self.rows, heights, strict=True)):
            edge = _MARGIN + _LABEL - 0.1
            text(edge, top + tall / 2 - 0.17, row.heading, _LABEL - 0.1, fontsize=8.5, fontweight="bold", ha="right")
            text(edge, top + tall / 2, row.remark, _LABEL - 0.1, fontsize=7, color="#444444", ha="right")
            places = [
                axes(_MARGIN + _LABEL + column * (_CELL + _GAP), top, _CELL, tall)
                for column in range(len(self.columns))
            ]
            if row.bars is None:
                _draw_pictures(places, row)
            else:
                _draw_bars(places, row, row.bars)
            if self.cross is not None and self.cross[0] == number:
                _draw_cross(places[self.cross[1]], *self.cross[2:], row)
            top += tall + 1.6 * _GAP
        if self.footnote:
            text(_MARGIN, top + _GAP, self.footnote, fontsize=7.5, color="#444444")
        return figure


def plain_lines(text: str) -> str:
    """Several lines of text of a figure."""
    return "\n".join(plain_text(line) for line in text.split("\n"))


def _shorten(text: Text, words: str, room: float) -> None:
    """Cut the middle out of each line of `words` that is wider than `room` inches, as names differ at their ends."""
    figure = text.get_figure(root=True)
    assert figure is not None
    lines = words.split("\n")
    for number, line in enumerate(lines):
        kept = len(line)
        while True:
            half = (kept - 1) // 2
            lines[number] = line if kept == len(line) else f"{line[: kept - 1 - half]}…{line[len(line) - half :]}"
            text.set_text(plain_lines(lines[number]))
            if kept < 4 or text.get_window_extent().width <= room * figure.dpi:
                break
            kept -= 1
    text.set_text(plain_lines("\n".join(lines)))


def _draw_pictures(places: Sequence[Axes], row: Row) -> None:
    for place, picture in zip(places, row.pictures, strict=True):
        if picture is not None:
            place.imshow(picture, interpolation="bilinear", aspect="auto")


def _draw_bars(places: Sequence[Axes], row: Row, bars: Sequence[float]) -> None:
    """One bar for each column, from a common baseline; negative ones hang below it."""
    largest = row.highest or max(map(abs, bars)) or 1.0
    lowest = min(0.0, min(bars) / largest)
    for place, value in zip(places, bars, strict=True):
        share = value / largest
        place.set_xlim(0, 1)
        place.set_ylim(lowest * 1.35 if lowest else 0, 1.35)
        place.plot([0, 1], [0, 0], color="#999999", linewidth=0.8, clip_on=False)
        place.bar(0.5, share, width=0.5, color=row.colour if value >= 0 else "#999999")
        place.text(0.5, max(share, 0) + 0.05, _short(value), ha="center", va="bottom", fontsize=6.5, color="#222222")


def _short(value: float) -> str:
    """A number that fits over a bar: two digits that count, and nothing where there is nothing to see."""
    size = abs(value)
    return "0" if size < 0.0005 else f"{value:.3f}" if size < 0.1 else f"{value:.2f}"


def _draw_cross(place: Axes, x: float, y: float, row: Row) -> None:
    height, width = next(picture for picture in row.pictures if picture is not None).shape[:2]
    at = ([x * width - 0.5], [y * height - 0.5])
    place.plot(*at, marker="+", markersize=13, markeredgewidth=4, color="white", clip_on=False)
    place.plot(*at, marker="+", markersize=12, markeredgewidth=2, color="#e00000", clip_on=False)


def pick_columns(num_frames: int, keep: int, most: int = MAX_COLUMNS) -> list[int]:
    """At most `most` evenly spaced frames, `keep` among them."""
    picked = spread(num_frames, most)
    picked[nearest(picked, keep)] = keep
    return picked
