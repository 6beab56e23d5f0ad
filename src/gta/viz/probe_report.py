"""The report of a probe of temporal order."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gta.evaluation.metrics import tells_top5
from gta.viz.charts import bars, shaded_table
from gta.viz.page import Html, folded, isolated, page, paragraph, percent, section, table
from gta.viz.parts import settings_section, skipped_section

_CLASSES_SHOWN = 40  # so many at once: the rest is unfolded
_CHANGES = ("reversed", "shuffled", "one frame")


def probe_page(title: str, values: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """The report of a probe as one HTML file.

    Args:
        title: its heading.
        values: from `ProbeResult.to_json`.
        about: how it was measured.
    """
    verdict = values["verdict"]
    skipped = [(entry["path"], entry["reason"]) for entry in values["skipped"]]
    return page(
        title,
        paragraph(f"{verdict[0].upper()}{verdict[1:]} ({values['num_videos']} videos)."),
        _treatments(values["treatments"], values["num_classes"]),
        _pairs(values.get("chiral_pairs", [])),
        _classes(values["per_class"]),
        skipped_section(skipped),
        settings_section("How it was measured", about),
    )


def _treatments(treatments: Mapping[str, Mapping[str, Any]], num_classes: int) -> Html:
    shares = {"top1": "top-1", "top5": "top-5", "direction_accuracy": "direction"}
    if not tells_top5(num_classes):
        del shares["top5"]
    rows = [
        [
            isolated(treatment),
            *(percent(row[key]) for key in shares),
            percent(row["share_of_predictions_changed"]),
            percent(row["movement"]),
        ]
        for treatment, row in treatments.items()
    ]
    head = ["frames", *shares.values(), "predictions changed", "movement"]
    top1 = {treatment: row["top1"] for treatment, row in treatments.items()}
    drawn = [bars({key: 100 * share for key, share in top1.items()}, high=100)] if None not in top1.values() else []
    note = "Movement: how much probability moved to other classes compared with the original order, on average."
    return section("Frames in another order", *drawn, table(head, rows), paragraph(note, kind="note"))


def _pairs(pairs: Sequence[Mapping[str, Any]]) -> Html:
    """How well the model tells classes from their time reversals; nothing where there are none."""
    if not pairs:
        return Html("")
    head = ["class", "its time reversal", "found by", "videos", "direction", "taken for its reversal"]
    rows = [
        [
            *(isolated(pair[key]) for key in ("first", "second", "rule")),
            str(pair["num_videos"]),
            percent(pair["direction_accuracy"]),
            percent(pair["taken_for_its_reversal"]),
        ]
        for pair in pairs
    ]
    note = (
        "Direction: how many videos score higher for their own class than for its reversal; guessing gives half. "
        "Taken for its reversal: how many are classified as the other class when played backwards."
    )
    return section("Actions and their time reversals", table(head, rows), paragraph(note, kind="note"))


def _classes(per_class: Mapping[str, Mapping[str, Any]]) -> Html:
    """How far the predictions of each class's videos move, the most sensitive first; shaded up to the largest."""
    ordered = sorted(per_class.items(), key=lambda item: -(item[1]["sensitivity"]["reversed"] or 0.0))
    values = np.array(
        [
            [row["sensitivity"][key] if row["sensitivity"][key] is not None else np.nan for key in _CHANGES]
            for _, row in ordered
        ],
        dtype=np.float64,
    ).reshape(len(ordered), len(_CHANGES))
    full = float(np.nan_to_num(values).max(initial=0.0)) or 1.0

    def part(begin: int, end: int | None) -> Html:
        chosen = ordered[begin:end]
        return shaded_table(
            values[begin:end],
            rows=[label for label, _ in chosen],
            columns=_CHANGES,
            texts=[[percent(row["sensitivity"][key]) for key in _CHANGES] for _, row in chosen],
            strongest=full,
            corner="class",
        )

    blocks = [
        paragraph(
            "How much probability moves to other classes when the frames of a class's videos are reversed, shuffled or "
            f"replaced by a single one. The deepest shade is {percent(full)}.",
            kind="note",
        ),
        part(0, _CLASSES_SHOWN),
    ]
    if len(ordered) > _CLASSES_SHOWN:
        blocks.append(folded(f"{len(ordered) - _CLASSES_SHOWN} less sensitive classes", part(_CLASSES_SHOWN, None)))
    flips = {label: row["taken_for_its_reversal_when_reversed"] for label, row in ordered}
    known = {label: 100 * share for label, share in flips.items() if share is not None}
    if known:
        blocks += [
            Html("<h3>Taken for its reversal when played backwards</h3>"),
            paragraph(
                "For a model that understands time, this is close to its accuracy on the original videos.", kind="note"
            ),
            bars(known, high=100),
        ]
    return section("Temporal sensitivity", *blocks)
