"""The report: self-contained, escaped, and it says what it was given."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from page_reader import PageReader

from gta.types import Prediction
from gta.viz.report import Example, ModelResult, Panel, compare_to_ceiling, render_report


def _report() -> str:
    prediction = Prediction(Path("a.mp4"), ("Pushing <b> left", "Holding"), (0.75, 0.25))
    model = ModelResult(
        name="tiny_gta",
        top1=0.9375,
        top5=1.0,
        direction_accuracy=None,
        num_parameters=123456,
        gflops=0.1234,
        train_seconds=61.0,
        confusion=np.eye(2),
        curves={"val/top1": [0.5, 0.9]},
        treatments={"in order": 0.9375, "reversed": 0.125},
    )
    example = Example("fresh 1", "Pushing <b> left", np.zeros((9, 20, 30, 3), np.uint8), {"tiny_gta": prediction})
    return render_report(
        title="Report & more",
        summary=["Ceiling 56.2 %."],
        models=[model],
        classes=["Pushing <b> left", "Holding"],
        examples=[example],
        commands=["gta predict x.ckpt y.mp4"],
        panels={"val/top1": Panel("top-1", is_share=True)},
    )


def test_self_contained_balanced_and_escaped():
    page = _report()
    checker = PageReader()
    checker.feed(page)
    assert checker.open == []
    assert len(checker.sources) == 1
    assert all(source.startswith("data:image/jpeg;base64,") for source in checker.sources)
    assert "<b>" not in page
    assert not re.search(r"https?://|<script", page)
    text = " ".join(checker.text)
    for words in (
        "Report & more",
        "Ceiling 56.2 %.",
        "93.8 %",
        "0.12 M",
        "0.123",
        "61 s",
        "right",
        "gta predict x.ckpt",
        "12.5 %",
    ):
        assert words in text


def test_the_verdict_claims_only_what_the_numbers_show():
    model = ModelResult("m", 0.9, 1.0, None, 1, 1.0, 1.0, np.eye(2))
    sentences = [compare_to_ceiling([replace(model, top1=top1)], 0.56, 0.03)[0] for top1 in (0.9, 0.60, 0.4)]
    assert "34.0 points above the ceiling, more than a model that ignores the order of frames can reach" in sentences[0]
    assert "4.0 points above the ceiling, which chance can explain" in sentences[1]
    assert "16.0 points below the ceiling, which does not show" in sentences[2]


def test_accuracies_are_in_percent_everywhere():
    """Also in the curves: a fraction beside percentages is misread."""
    page = _report()
    assert "<title>tiny_gta, epoch 2: 90</title>" in page
    assert "top-1, %" in page
