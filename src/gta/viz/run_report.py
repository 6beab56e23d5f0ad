"""The report of one training run, and of one evaluation."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gta.evaluation.metrics import tells_top5
from gta.viz.charts import Series, legend, line_chart
from gta.viz.page import Html, code, figure, figures, isolated, join, page, paragraph, percent, section, text
from gta.viz.parts import Confusion, class_section, confusion_section, facts, settings_section, skipped_section


@dataclass(frozen=True)
class Measured:
    """An evaluation as it is stored (`EvaluationResult.to_json`), with frames of its worst confusions."""

    values: Mapping[str, Any]
    confusions: tuple[Confusion, ...] = ()


@dataclass(frozen=True)
class TrainingReport:
    """What a training run left."""

    title: str
    model: str
    rows: Sequence[Mapping[str, Any]]
    """One per epoch, as in metrics.csv."""
    timing: Sequence[Mapping[str, Any]]
    """One per epoch, as in timing.csv."""
    best_epoch: int
    """0 if nothing was validated."""
    best: Measured | None
    """The best epoch's evaluation."""
    steps: int
    bad_steps: int
    stopped_early: bool
    config: Mapping[str, Any]
    versions: Mapping[str, Any]
    skipped: Sequence[tuple[str, str]] = ()
    next_commands: Sequence[str] = field(default=())


def training_page(report: TrainingReport) -> str:
    """The report of a training run as one HTML file."""
    measured = report.best
    blocks = [paragraph(*_outcome(report)), section("Learning curves", _curves(report.rows))]
    if measured is not None:
        blocks += [_measures(measured.values, f"Validation after epoch {report.best_epoch}"), *_details(measured)]
    blocks += [
        skipped_section(report.skipped),
        _speed(report),
        settings_section("Configuration", report.config),
        settings_section("Versions", report.versions),
    ]
    if report.next_commands:
        blocks.append(section("Next", code("\n".join(report.next_commands))))
    return page(report.title, *blocks)


def evaluation_page(title: str, measured: Measured) -> str:
    """The report of an evaluation as one HTML file.

    Args:
        title: its heading.
        measured: the evaluation; besides the measures, its values say "checkpoint", "data", "split" and "protocol".
    """
    values = measured.values
    about = {name: values[name] for name in ("checkpoint", "data", "layout", "fold", "split", "precision")}
    skipped = [(entry["path"], entry["reason"]) for entry in values["skipped"]]
    return page(
        title,
        paragraph(f"{values['num_videos']} videos of ", isolated(values["data"]), f" ({values['split']})."),
        _measures(values, "Results"),
        *_details(measured),
        skipped_section(skipped),
        settings_section("How it was measured", {**about, "protocol": values["protocol"]}),
    )


def _outcome(report: TrainingReport) -> list[Html | str]:
    """What came out, as a sentence."""
    epochs = f"{len(report.rows)} epoch{'s' if len(report.rows) != 1 else ''} ({report.steps} steps)"
    parts: list[Html | str] = [isolated(report.model), f", trained for {epochs}"]
    if report.stopped_early:
        parts.append(" until it no longer improved")
    if report.best is None:
        return [*parts, "; no validation was made."]
    top1 = percent(report.best.values["top1"])
    return [*parts, f": {top1} top-1 on {report.best.values['num_videos']} validation videos, after epoch "
            f"{report.best_epoch}, whose weights are best.ckpt. The best epoch was chosen on these videos, so the "
            "accuracy on others may be lower."]  # fmt: skip


def _curves(rows: Sequence[Mapping[str, Any]]) -> Html:
    def column(key: str, factor: int = 1) -> list[float | None]:
        return [None if (value := row.get(key)) is None else factor * value for row in rows]

    panels = [
        ("Loss", False, {"training": column("train_loss"), "validation": column("val_loss")}),
        ("Top-1, %", True, {"training": column("train_top1", 100), "validation": column("val_top1", 100)}),
        ("Learning rate", True, {"learning rate": column("lr")}),
    ]
    drawn = []
    for title, from_zero, lines in panels:
        series = [Series(label, values) for label, values in lines.items()]
        chart = line_chart(series, x_label="epoch", y_label=title, from_zero=from_zero)
        labels = legend(list(lines)) if len(lines) > 1 else Html()
        drawn.append(figure(join(Html(f"<h3>{text(title)}</h3>"), labels, chart)))
    return figures(*drawn)


def _measures(values: Mapping[str, Any], title: str) -> Html:
    """The numbers of an evaluation, all accuracies in percent."""
    items = {"top-1": percent(values["top1"])}
    if tells_top5(len(values["per_class"])):
        items["top-5"] = percent(values["top5"])
    items["mean over the classes"] = percent(values["mean_class_accuracy"])
    if values.get("direction_accuracy") is not None:
        items["direction (guessing: 50 %)"] = percent(values["direction_accuracy"])
    items |= {"loss": f"{values['loss']:.4f}", "videos": str(values["num_videos"])}
    return section(title, facts(items))


def _details(measured: Measured) -> list[Html]:
    values = measured.values
    matrix = np.asarray(values["confusion"]["rows_true_columns_predicted"])
    return [
        class_section(values["per_class"]),
        confusion_section(matrix, values["confusion"]["classes"], measured.confusions),
    ]


def _speed(report: TrainingReport) -> Html:
    """How fast it was; nothing if no epoch was timed."""

    def known(key: str) -> list[float]:
        return [float(value) for row in report.timing if (value := row.get(key)) is not None]

    seconds, validation = known("seconds"), known("validation_seconds")
    items = {}
    if seconds:
        items["training"] = f"{sum(seconds):.0f} s in total, {statistics.median(seconds):.3g} s per epoch (median)"
    if clips := known("clips_per_second"):
        items["speed"] = f"{statistics.median(clips):.3g} clips per second (median), loading included"
    if validation:
        items["validation"] = f"{sum(validation):.0f} s in total"
    if memory := known("peak_memory_mib"):
        items["GPU memory"] = f"{max(memory):.0f} MiB at the peak"
    if report.bad_steps:
        items["steps without a finite loss"] = str(report.bad_steps)
    return section("Speed", facts(items)) if items else Html()
