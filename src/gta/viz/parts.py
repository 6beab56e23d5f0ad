"""Parts that several reports share: tables of classes, confusions, left-out videos, configurations, environments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from gta.terminal import quantity
from gta.viz.charts import confusion_table
from gta.viz.frames import strip_image
from gta.viz.page import Html, Text, bullets, figure, folded, isolated, join, paragraph, percent, section, table, text

_CLASSES_SHOWN = 24  # so many at once: the rest is unfolded
_MATRIX_CLASSES = 24  # a larger confusion matrix is told by its worst cells only
_SKIPPED_SHOWN = 200


@dataclass(frozen=True)
class ExampleVideo:
    """A video to show beside a number."""

    title: str
    frames: NDArray[Any] | None
    """uint8, (T, H, W, 3); None if it cannot be read any more."""
    note: str = ""


@dataclass(frozen=True)
class Confusion:
    """Videos of one class that were taken for another one."""

    truth: str
    predicted: str
    count: int
    num_videos: int
    """Videos of the true class."""
    examples: tuple[ExampleVideo, ...] = ()


def class_section(per_class: Mapping[str, Mapping[str, Any]]) -> Html:
    """Every class with its accuracy, the worst first.

    Args:
        per_class: class -> "accuracy" (share in [0, 1], or None without videos) and "num_videos".
    """
    seen = sorted(
        ((label, row) for label, row in per_class.items() if row["accuracy"] is not None),
        key=lambda item: (item[1]["accuracy"], item[0]),
    )
    absent = [label for label, row in per_class.items() if row["accuracy"] is None]
    rows = [[isolated(label), percent(row["accuracy"]), str(row["num_videos"])] for label, row in seen]
    head = ["class", "right", "videos"]
    blocks = [paragraph("The weakest classes come first.", kind="note")] if len(rows) > 1 else []
    blocks.append(table(head, rows[:_CLASSES_SHOWN]))
    if rows[_CLASSES_SHOWN:]:
        blocks.append(folded(f"{len(rows) - _CLASSES_SHOWN} more classes", table(head, rows[_CLASSES_SHOWN:])))
    if absent:
        blocks.append(
            folded(f"{quantity(len(absent), 'class', 'classes')} without a video here", bullets(map(isolated, absent)))
        )
    return section("Classes", *blocks)


def confusion_section(matrix: NDArray[Any], classes: Sequence[str], worst: Sequence[Confusion]) -> Html:
    """What is taken for what: the matrix where it is readable, and frames of the worst confusions.

    Args:
        matrix: videos (K, K), rows true, columns predicted.
        classes: K names.
        worst: the most frequent confusions, in order.
    """
    blocks: list[Html] = []
    if len(classes) <= _MATRIX_CLASSES:
        blocks += [
            paragraph("Videos by true class (row) and predicted class (column, by its number).", kind="note"),
            confusion_table(matrix, classes),
        ]
    if not worst:
        return section("Confusions", *blocks, paragraph("No video was classified as another class.", kind="note"))
    rows = [
        [
            isolated(one.truth),
            isolated(one.predicted),
            f"{one.count} of {one.num_videos}",
            percent(one.count / one.num_videos),
        ]
        for one in worst
    ]
    blocks.append(table(["true class", "taken for", "videos", "share"], rows, text_columns=2))
    for one in worst:
        if one.examples:
            blocks.append(
                join(Html("<h3>"), isolated(one.truth), " taken for ", isolated(one.predicted), Html("</h3>\n"))
            )
            blocks += [example_figure(example) for example in one.examples]
    return section("Confusions", *blocks)


def example_figure(example: ExampleVideo) -> Html:
    """Frames of a video in a strip, from its first to its last."""
    caption = join(isolated(example.title), f": {example.note}" if example.note else "")
    if example.frames is None:
        return paragraph(caption, kind="note")
    return figure(strip_image(example.frames, f"frames of {example.title}"), caption)


def skipped_section(skipped: Sequence[tuple[str, str]]) -> Html:
    """Videos that could not be read, as (path, reason)."""
    if not skipped:
        return section("Left-out videos", paragraph("None: every video could be read.", kind="note"))
    rows = [[isolated(path), isolated(reason)] for path, reason in skipped[:_SKIPPED_SHOWN]]
    blocks = [table(["video", "why"], rows, text_columns=2)]
    if len(skipped) > len(rows):
        blocks.append(paragraph(f"{len(skipped) - len(rows)} more.", kind="note"))
    return section(f"Left-out videos: {len(skipped)}", *blocks)


def settings_section(title: str, settings: Mapping[str, Any]) -> Html:
    """A nested configuration as a table of dotted names, folded."""
    rows = [[isolated(key), isolated(value)] for key, value in _flat(settings)]
    return section(title, folded(f"{len(rows)} settings", table(["setting", "value"], rows, text_columns=2)))


def facts(items: Mapping[str, Text]) -> Html:
    """A few numbers, each with what it is."""
    rows = "".join(f"<tr><td>{text(key)}</td><td>{text(value)}</td></tr>" for key, value in items.items())
    return Html(f'<table class="facts"><tbody>{rows}</tbody></table>\n')


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            lines += _flat(value, f"{prefix}{key}.")
        else:
            lines.append((prefix + str(key), "-" if value is None else value))
    return lines
