"""The probe on models whose use of time is known exactly."""

import json

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from gta.commands.probe import _class_table, _treatments_table
from gta.errors import DataError
from gta.evaluation.orders import ONE_FRAME, ORDERED, REVERSED
from gta.evaluation.probe import ProbeResult, probe
from gta.viz.probe_report import probe_page

CLASSES = ("brighter", "darker", "still")
REVERSALS = {"brighter": "darker", "darker": "brighter"}
SCALE = 20.0


class Prepare(nn.Module):
    def forward(self, clip):
        return clip.float() / 255


class ReadsTime(nn.Module):
    """Logits from the change between the first and the second half of the clip."""

    def __init__(self):
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))

    def forward(self, clip):
        light = clip.mean(dim=(1, 3, 4))
        half = light.shape[1] // 2
        change = light[:, half:].mean(1) - light[:, :half].mean(1)
        return SCALE * torch.stack([change, -change, 0.2 - change.abs()], dim=1) + self.anchor


class IgnoresTime(ReadsTime):
    """Logits from the mean and spread of the frames."""

    def forward(self, clip):
        light = clip.mean(dim=(1, 3, 4))
        spread = light.std(dim=1)
        return SCALE * torch.stack([spread, spread - 0.01, 0.2 - spread], dim=1) + self.anchor


def videos(num_views=1, frames=8, batch=4):
    """Clips that grow brighter, darker, or stay; batches as a loader makes them."""
    ramp = torch.linspace(20, 220, frames)
    kinds = [ramp, ramp.flip(0), torch.full((frames,), 120.0)]
    clips = [kinds[n % 3].clone() + 3 * n for n in range(10)]
    for start in range(0, 10, batch):
        numbers = list(range(start, min(start + batch, 10)))
        clip = torch.stack([clips[n] for n in numbers]).to(torch.uint8)
        clip = clip[:, None, None, :, None, None].expand(-1, num_views, 3, -1, 4, 4)
        yield {
            "clip": clip,
            "label": torch.tensor([n % 3 for n in numbers]),
            "index": torch.tensor(numbers),
            "skipped": [("broken.mp4", "damaged")] if start == 0 else [],
        }


def run(model, **options):
    options = {"num_permutations": 3, "reversals": REVERSALS, **options}
    return probe(model, videos(), prepare=Prepare(), classes=CLASSES, **options)


def test_a_model_that_reads_time():
    result = run(ReadsTime())
    assert result.top1(ORDERED) == 1.0
    assert result.top1(REVERSED) == pytest.approx(3 / 10)  # only the still ones
    assert result.read_as_reversal() == {"brighter": 1.0, "darker": 1.0}
    assert result.sees_order
    sensitivity = result.sensitivity()
    assert (sensitivity[:2, 0] > 0.9).all()
    assert sensitivity[2, 0] < 1e-6
    assert result.top1(ONE_FRAME) == pytest.approx(3 / 10)
    assert result.skipped == (("broken.mp4", "damaged"),)


def test_a_model_that_ignores_time():
    result = run(IgnoresTime())
    assert not result.sees_order
    assert result.order_effect < 1e-5
    assert result.top1(REVERSED) == result.top1(ORDERED)
    assert result.shuffled_top1().mean == pytest.approx(result.top1(ORDERED))
    assert result.top1(ONE_FRAME) < result.top1(ORDERED)  # one frame repeated is another set of frames
    assert result.read_as_reversal()["brighter"] == 0.0


@pytest.mark.parametrize(
    ("precision", "change", "verdict"),
    [("32", 0.01, True), ("bf16", 0.01, None), ("fp16", 0.3, True), ("bf16", 0.0, False), ("32", 1e-6, False)],
)
def test_rough_arithmetic_does_not_call_rounding_an_effect(precision, change, verdict):
    base = np.full((1, 2), 0.5, np.float32)
    moved = base + np.array([[change, -change]], np.float32)
    scores = {ORDERED: base, REVERSED: moved, ONE_FRAME: base}
    number = np.zeros(1, np.int64)
    result = ProbeResult(("a", "b"), {}, number, number, scores, precision=precision)
    assert result.sees_order is verdict
    assert result.to_json()["sees_order"] is verdict


@pytest.mark.parametrize("num_classes", [5, 6])
def test_top5_is_shown_where_it_tells_something(num_classes):
    scores = np.full((1, num_classes), 1 / num_classes, np.float32)
    number = np.zeros(1, np.int64)
    classes = tuple("abcdef"[:num_classes])
    values = ProbeResult(classes, {}, number, number, dict.fromkeys((ORDERED, REVERSED, ONE_FRAME), scores)).to_json()
    console = Console(record=True, width=120)
    console.print(_treatments_table("1 video", values))
    for shown in (console.export_text(), probe_page("Order of frames", values, {})):
        assert "top-1" in shown
        assert ("top-5" in shown) == (num_classes == 6)


def test_class_names_are_shown_as_they_are():
    row = {"num_videos": 1, "top1": {"in order": 1.0}, "taken_for_its_reversal_when_reversed": None}
    row["sensitivity"] = {"reversed": 0.1, "shuffled": 0.1, "one frame": 0.1}
    console = Console(record=True, width=120)
    console.print(_class_table({"jump [left]": row}))
    assert "jump [left]" in console.export_text()


def test_results_do_not_depend_on_batches_or_views():
    base = run(ReadsTime())
    for loader in (videos(batch=1), videos(num_views=3, batch=7)):
        other = probe(ReadsTime(), loader, prepare=Prepare(), classes=CLASSES, reversals=REVERSALS, num_permutations=3)
        for name in base.treatments:
            np.testing.assert_allclose(other.scores[name], base.scores[name], atol=1e-6)


def test_movement_is_total_variation():
    result = run(ReadsTime())
    one, other = result.scores[ORDERED], result.scores[REVERSED]
    by_hand = [
        0.5 * sum(abs(float(a) - float(b)) for a, b in zip(p, q, strict=True)) for p, q in zip(one, other, strict=True)
    ]
    np.testing.assert_allclose(result.movement(REVERSED), by_hand, atol=1e-9)
    assert (result.movement(ORDERED) == 0).all()


def test_json_is_complete_and_plain():
    values = json.loads(json.dumps(run(ReadsTime()).to_json(), allow_nan=False))
    assert values["treatments"][ORDERED]["direction_accuracy"] == 1.0
    assert values["treatments"][REVERSED]["share_of_predictions_changed"] == pytest.approx(7 / 10)
    assert values["per_class"]["still"]["taken_for_its_reversal_when_reversed"] is None
    assert values["per_class"]["brighter"]["num_videos"] == 4
    assert values["shuffled_top1"]["permutations"] == 3


def test_labels_that_the_model_does_not_know_have_movements_but_no_accuracies():
    known, result = run(ReadsTime()), run(ReadsTime(), foreign=("cat", "dog", "cow"))
    values = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert values["sees_order"]
    assert values["treatments"][REVERSED]["top1"] is None
    assert values["treatments"][REVERSED]["share_of_predictions_changed"] == pytest.approx(7 / 10)
    assert values["shuffled_top1"] is None
    assert list(values["per_class"]) == ["cat", "dog", "cow"]
    assert values["per_class"]["cat"]["top1"][ORDERED] is None
    np.testing.assert_array_equal(result.sensitivity(), known.sensitivity())
    with pytest.raises(ValueError, match="accuracy needs labels"):
        result.top1(ORDERED)


def test_modes_are_put_back():
    model = ReadsTime().train()
    run(model)
    assert model.training


def test_nothing_to_probe():
    empty = {
        "clip": torch.empty(0, 1, 3, 8, 4, 4, dtype=torch.uint8),
        "label": torch.empty(0, dtype=torch.int64),
        "index": torch.empty(0, dtype=torch.int64),
        "skipped": [("a.mp4", "damaged")],
    }
    with pytest.raises(DataError, match=r"a\.mp4"):
        probe(ReadsTime(), [empty], prepare=Prepare(), classes=CLASSES)
    with pytest.raises(ValueError, match="permutations"):
        run(ReadsTime(), num_permutations=0)


def _scored(moved: float, precision: str = "32") -> ProbeResult:
    """Two videos of which the first's probabilities move by `moved` when anything is done to its frames."""
    base = np.array([[0.6, 0.4], [0.3, 0.7]], np.float32)
    other = base + np.array([[-moved, moved], [0, 0]], np.float32)
    scores = {"in order": base, "reversed": other, "shuffled 1": other, "one frame": other}
    index, labels = np.arange(2), np.array([0, 1])
    return ProbeResult(("a", "b"), {}, index, labels, scores, precision=precision)  # pyright: ignore


@pytest.mark.parametrize(
    ("moved", "precision", "sees", "words"),
    [
        (
            0.0,
            "32",
            False,
            "makes no difference to this model: no class probability of any video changes by more than 0",
        ),
        (5e-4, "32", False, "makes no difference"),
        (
            5e-3,
            "32",
            True,
            "changes no prediction of this model, and no class probability of any video changes by more",
        ),
        (0.3, "32", True, "up to 50.0 % of the predictions, and the class probabilities by up to 0.15"),
        (5e-3, "bf16", None, "is lost in rounding"),
        (0.3, "bf16", True, "up to 50.0 % of the predictions"),
    ],
)
def test_the_verdict_says_what_the_tables_show(moved, precision, sees, words) -> None:
    result = _scored(moved, precision)
    assert result.sees_order is sees
    assert words in result.verdict
    changed = result.to_json()["treatments"]["reversed"]["share_of_predictions_changed"]
    assert ("% of the predictions" in result.verdict) == (changed > 0)


def test_study_and_probe_have_one_rule() -> None:
    from gta.evaluation.orders import INVARIANCE_TOLERANCE, sees_order
    from gta.studies import results

    for effect in (0.0, INVARIANCE_TOLERANCE, 1.001 * INVARIANCE_TOLERANCE, 0.5):
        cell = object.__new__(results.CellResult)
        object.__setattr__(cell, "order_effect", effect)
        assert cell.sees_order is sees_order(effect)
