"""The comparison report of several models on one data set: one self-contained HTML file, no scripts, no second file."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from gta.types import Prediction
from gta.viz.figures import (
    confusion_figure,
    curve_figure,
    data_uri,
    frame_strip,
    image_png,
    mixing_figure,
    png_bytes,
)

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1e21; background: #fff; max-width: 1060px; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem } h2 { font-size: 1.2rem; margin-top: 2.2rem }
table { border-collapse: collapse; margin: .8rem 0 } th, td { padding: .35rem .8rem; border-bottom: 1px solid #ddd }
th { text-align: left; font-weight: 600 } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
img { max-width: 100%; height: auto } .pair { display: flex; flex-wrap: wrap; gap: 1rem }
.pair figure { flex: 1 1 480px; min-width: 0; max-width: 760px }
.note { color: #555 } .good { color: #00693e } .bad { color: #b00020 } code { background: #f3f4f6; padding: 0 .25rem }
pre { background: #f3f4f6; padding: .8rem; overflow-x: auto } figure { margin: 1rem 0 } figcaption { font-size: .9rem }
"""


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
    """Quantity -> one value per epoch."""
    mixing: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Name of each global temporal attention -> its M, (G, N_h, T, T)."""


@dataclass(frozen=True)
class Example:
    """A video that the models were asked about."""

    title: str
    truth: str
    frames: NDArray[Any]
    """uint8, (T, H, W, 3)."""
    predictions: Mapping[str, Prediction]
    """Model name -> its prediction."""


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _image(png: bytes, caption: str) -> str:
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="{data_uri(png)}"><figcaption class="note">{text}</figcaption></figure>'


def _result_table(models: Sequence[ModelResult], ceiling: tuple[float, float] | None) -> str:
    head = ["model", "top-1", "top-5", "direction", "parameters", "GFLOPs", "training"]
    cells = [f"<th{'' if i == 0 else ' class=n'}>{text}</th>" for i, text in enumerate(head)]
    rows = [f"<tr>{''.join(cells)}</tr>"]
    for model in models:
        values = [
            _percent(model.top1),
            _percent(model.top5),
            _percent(model.direction_accuracy),
            f"{model.num_parameters / 1e6:.2f} M",
            f"{model.gflops:.3f}",
            f"{model.train_seconds:.0f} s",
        ]
        numbers = "".join(f"<td class=n>{value}</td>" for value in values)
        rows.append(f"<tr><td><code>{html.escape(model.name)}</code></td>{numbers}</tr>")
    if ceiling is not None:
        figure = f"{_percent(ceiling[0])} &plusmn; {100 * ceiling[1]:.1f}"
        cells = f"<td>ceiling without order</td><td class=n>{figure}</td><td></td><td class=n>50.0 %</td>"
        rows.append(f'<tr class="note">{cells}<td colspan=3></td></tr>')
    return f"<table>{''.join(rows)}</table>"


def _example(example: Example) -> str:
    rows = []
    for name, prediction in example.predictions.items():
        right = prediction.labels[0] == example.truth
        mark = '<span class="good">right</span>' if right else '<span class="bad">wrong</span>'
        guesses = ", ".join(
            f"{html.escape(label)} ({score:.0%})"
            for label, score in list(zip(prediction.labels, prediction.scores, strict=True))[:3]
        )
        rows.append(f"<tr><td><code>{html.escape(name)}</code></td><td>{mark}</td><td>{guesses}</td></tr>")
    picture = _image(image_png(frame_strip(example.frames)), f"{example.title}: {example.truth}")
    return f"{picture}<table>{''.join(rows)}</table>"


def render_report(
    *,
    title: str,
    summary: Sequence[str],
    models: Sequence[ModelResult],
    classes: Sequence[str],
    examples: Sequence[Example],
    commands: Sequence[str],
    panels: Mapping[str, str],
    ceiling: tuple[float, float] | None = None,
) -> str:
    """Return the whole report as HTML.

    Args:
        title: heading of the page.
        summary: paragraphs (plain text) above the table, such as the data set's size and the computed ceiling.
        models: one row each, in order.
        classes: names of the K classes, in the order of the confusion matrices.
        examples: videos with predictions.
        commands: next commands to try, shown as they are to be typed.
        panels: quantity of `ModelResult.curves` -> title of its panel.
        ceiling: best top-1 of a model that ignores the order of frames, and its sampling error, for a row of the table.
    """
    confusions = "".join(
        _image(png_bytes(confusion_figure(model.confusion, classes, model.name)), f"Confusion matrix of {model.name}")
        for model in models
    )
    curves = curve_figure({model.name: model.curves for model in models}, panels, "epoch")
    mixing = "".join(
        _image(png_bytes(mixing_figure(matrix, f"{model.name}: {name}")), f"M of {name} in {model.name}")
        for model in models
        for name, matrix in model.mixing.items()
    )
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        *(f"<p>{html.escape(paragraph)}</p>" for paragraph in summary),
        "<h2>Results on held-out videos</h2>",
        _result_table(models, ceiling),
        '<p class="note">Direction: how often the true class scores above its own time reversal, over the classes '
        "that have one. Guessing gives 50 %.</p>",
        "<h2>Training</h2>",
        _image(png_bytes(curves), "Training curves"),
        "<h2>Confusion matrices</h2>",
        f'<div class="pair">{confusions}</div>',
    ]
    if mixing:
        parts += [
            "<h2>What the temporal attention learned</h2>",
            "<p>Global temporal attention mixes frames with learned T x T matrices M that do not depend on the video: "
            "the row is the frame that is written, the column the frame that is read.</p>",
            mixing,
        ]
    if examples:
        parts += ["<h2>Predictions on freshly rendered videos</h2>", *map(_example, examples)]
    if commands:
        parts += ["<h2>Next</h2>", f"<pre>{html.escape(chr(10).join(commands))}</pre>"]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )
