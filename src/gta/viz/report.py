"""The comparison report of several models on one data set: one self-contained HTML file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from gta.types import Prediction
from gta.viz.charts import Series, confusion_table, legend, line_chart, shaded_table
from gta.viz.frames import strip_image
from gta.viz.page import (
    Html,
    code,
    figure,
    figures,
    image,
    isolated,
    join,
    page,
    paragraph,
    percent,
    section,
    table,
    text,
)


@dataclass(frozen=True)
class ModelResult:
    """What the report shows of one model. Accuracies are shares in [0, 1]."""

    name: str
    top1: float
    top5: float
    direction_accuracy: float | None
    num_parameters: int
    gflops: float
    train_seconds: float
    confusion: NDArray[Any]
    """Counts (K, K), rows true, columns predicted."""
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Quantity -> one value per epoch; NaN where nothing was measured."""
    treatments: Mapping[str, float] = field(default_factory=dict)
    """What was done to the order of the frames -> top-1."""


@dataclass(frozen=True)
class Example:
    """A video that the models were asked about."""

    title: str
    truth: str
    frames: NDArray[Any]
    """uint8, (T, H, W, 3)."""
    predictions: Mapping[str, Prediction]
    """Model name -> its prediction."""
    backwards: Mapping[str, Prediction] = field(default_factory=dict)
    """Model name -> its prediction of the same frames in reverse order."""


@dataclass(frozen=True)
class Panel:
    """One chart of the training curves."""

    title: str
    is_share: bool = False
    """Its values are shares in [0, 1] and are shown in percent."""


@dataclass(frozen=True)
class Picture:
    """A PNG picture with what to see in it."""

    png: bytes
    alternative: str
    caption: str


def compare_to_ceiling(models: Sequence[ModelResult], ceiling: float, error: float) -> list[str]:
    """What the numbers say of each model's use of the order of frames, in sentences that follow from them by rule.

    Args:
        models: the models.
        ceiling: best top-1 without the order of frames, in [0, 1].
        error: standard deviation of a measured top-1 at the ceiling.
    """
    sentences = []
    for model in models:
        gap = model.top1 - ceiling
        where = f"{100 * abs(gap):.1f} points {'above' if gap > 0 else 'below'} the ceiling"
        if gap > 2 * error:
            meaning = "more than a model that ignores the order of frames can reach."
        elif gap > 0:
            meaning = "which chance can explain: this does not show that it uses the order of frames."
        else:
            meaning = "which does not show any use of the order of frames."
        sentences.append(f"{model.name}: {percent(model.top1)} top-1, {where}, {meaning}")
    return sentences


def render_report(
    *,
    title: str,
    summary: Sequence[str],
    models: Sequence[ModelResult],
    classes: Sequence[str],
    examples: Sequence[Example],
    commands: Sequence[str],
    panels: Mapping[str, Panel],
    ceiling: tuple[float, float] | None = None,
    pictures: Sequence[Picture] = (),
    explained: Sequence[str] = (),
) -> str:
    """Return the whole report as HTML.

    Args:
        title: heading of the page.
        summary: paragraphs (plain text) above the table, such as the data set's size and the computed ceiling.
        models: one row each, in order.
        classes: names of the K classes, in the order of the confusion matrices.
        examples: videos with predictions.
        commands: next commands to try, shown as they are to be typed.
        panels: quantity of `ModelResult.curves` -> its panel.
        ceiling: best top-1 of a model that ignores the order of frames, and its sampling error, for a row of the table.
        pictures: what a model sees in a video.
        explained: paragraphs above those pictures.
    """
    results = [_result_table(models, ceiling)]
    if ceiling is not None:
        results += [paragraph(sentence) for sentence in compare_to_ceiling(models, *ceiling)]
    results.append(
        paragraph(
            "Direction: how often the true class scores above its own time reversal, over the classes that have one. "
            "Guessing gives 50 %.",
            kind="note",
        )
    )
    blocks = [
        *map(paragraph, summary),
        section("Results on held-out videos", *results),
        _backwards(models),
        section("Training", _curves(models, panels)),
        section("Confusions", figures(*(_confusion(model, classes) for model in models), broad=True)),
    ]
    if pictures:
        shown = [figure(image(one.png, one.alternative), one.caption, broad=True) for one in pictures]
        blocks.append(section("What the model sees", *map(paragraph, explained), *shown))
    if examples:
        blocks.append(section("Predictions on freshly rendered videos", *map(_example, examples)))
    if commands:
        blocks.append(section("Next", code("\n".join(commands))))
    return page(title, *blocks)


def _result_table(models: Sequence[ModelResult], ceiling: tuple[float, float] | None) -> Html:
    rows: list[list[str]] = [
        [
            isolated(model.name),
            percent(model.top1),
            percent(model.top5),
            percent(model.direction_accuracy),
            f"{model.num_parameters / 1e6:.2f} M",
            f"{model.gflops:.3f}",
            f"{model.train_seconds:.0f} s",
        ]
        for model in models
    ]
    if ceiling is not None:
        best = f"{percent(ceiling[0])} ± {100 * ceiling[1]:.1f}"
        rows.append(["best without the order of frames", best, "", "50.0 %", "", "", ""])
    head = ["model", "top-1", "top-5", "direction", "parameters", "GFLOPs", "training"]
    return table(head, rows, quiet_rows=int(ceiling is not None))


def _backwards(models: Sequence[ModelResult]) -> Html:
    """Top-1 under every treatment of the frames, a row for each model; nothing if that was not measured."""
    treated = [model for model in models if model.treatments]
    if not treated:
        return Html()
    names = list(treated[0].treatments)
    values = [[100 * model.treatments[key] for key in names] for model in treated]
    return section(
        "Played backwards",
        paragraph(
            "The same test videos with their frames in another order; each keeps its label. A model that uses the "
            "order of frames classifies a video played backwards as its reversal, so its top-1 falls; one that ignores "
            "it loses nothing. Top-1 in percent:"
        ),
        shaded_table(
            values,
            rows=[model.name for model in treated],
            columns=names,
            texts=[[f"{value:.1f} %" for value in row] for row in values],
            strongest=100.0,
            corner="model",
        ),
    )


def _curves(models: Sequence[ModelResult], panels: Mapping[str, Panel]) -> Html:
    charts = []
    for quantity, panel in panels.items():
        factor = 100 if panel.is_share else 1
        series = [Series(one.name, [factor * value for value in one.curves.get(quantity, ())]) for one in models]
        title = f"{panel.title}, %" if panel.is_share else panel.title
        chart = line_chart(series, x_label="epoch", y_label=title, from_zero=panel.is_share)
        charts.append(figure(join(Html(f"<h3>{text(title)}</h3>"), chart)))
    return join(legend([model.name for model in models]), figures(*charts))


def _confusion(model: ModelResult, classes: Sequence[str]) -> Html:
    matrix = confusion_table(model.confusion, classes)
    return figure(matrix, join(isolated(model.name), ": videos by true class (row) and predicted class (column)"))


def _example(example: Example) -> Html:
    rows: list[list[str]] = []
    for model, prediction in example.predictions.items():
        right = prediction.labels[0] == example.truth
        mark = Html('<span class="good">right</span>' if right else '<span class="bad">wrong</span>')
        rows.append([isolated(model), "forwards", mark, _guesses(prediction)])
        if model in example.backwards:
            rows.append(["", "backwards", "", _guesses(example.backwards[model])])
    caption = join(isolated(example.title), ": ", isolated(example.truth))
    strip = figure(strip_image(example.frames, f"{example.title}: {example.truth}"), caption)
    return join(strip, table(["model", "played", "", "prediction"], rows, text_columns=4))


def _guesses(prediction: Prediction) -> Html:
    pairs = zip(prediction.labels, prediction.scores, strict=True)
    return join(
        *(join(", " if place else "", isolated(label), f" ({score:.0%})") for place, (label, score) in enumerate(pairs))
    )
