"""Chiral pairs from class names, and the probe of models that are not ours."""

import json
from dataclasses import dataclass
from types import SimpleNamespace

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import gta
from gta.clips.transforms import Normalize
from gta.errors import OptionError
from gta.evaluation.any_model import probe_model
from gta.evaluation.opposites import find_chiral_pairs, known_opposites, read_opposites, reversals_of
from gta.evaluation.orders import REVERSED
from gta.synthetic import CLASSES
from gta.synthetic.classes import REVERSALS


def test_the_pairs_of_the_synthetic_data_set_are_found_from_its_names() -> None:
    assert reversals_of(find_chiral_pairs(CLASSES)) == REVERSALS


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Pushing [something] from left to right", "Pushing [something] from right to left"),
        ("Moving [something] closer to [something]", "Moving [something] away from [something]"),
        ("Approaching [something] with your camera", "Moving away from [something] with your camera"),
        ("Putting [something] into [something]", "Taking [something] out of [something]"),
        ("Turning the camera upwards while filming", "Turning the camera downwards while filming"),
        ("Zooming In With Full Hand", "Zooming Out With Full Hand"),
        ("Turning Hand Clockwise", "Turning Hand Counterclockwise"),
        ("Pushing Hand Away", "Pulling Hand In"),
        ("Pushing Two Fingers Away", "Pulling Two Fingers In"),
        ("Rolling Hand Forward", "Rolling Hand Backward"),
        ("opening door", "closing door"),
        ("putting on shoes", "taking off shoes"),
        ("OpenFridge", "CloseFridge"),
        ("pick_up", "put_down"),
    ],
)  # fmt: skip
def test_pairs_in_the_styles_of_the_field(one: str, other: str) -> None:
    pairs = find_chiral_pairs((one, "Something else", other))
    assert [(pair.first, pair.second) for pair in pairs] == [(one, other)]
    assert "/" in pairs[0].rule


@pytest.mark.parametrize(
    "names",
    [
        ("Thumb Up", "Thumb Down"),
        ("push ups", "pull ups"),
        ("Holding something", "Shaking something"),
        ("opening door", "closing window"),
        ("Turning something upside down",),
    ],
)
def test_what_is_no_time_reversal_is_no_pair(names) -> None:
    assert find_chiral_pairs(names) == ()


# Class names of Something-Something V2: those with words that rules exchange, and neighbours that look like reversals.
SOMETHING = """
Approaching something with your camera; Attaching something to something; Burying something in something;
Closing something; Covering something with something; Digging something out of something;
Dropping something into something; Failing to put something into something because something does not fit;
Folding something; Letting something roll along a flat surface; Letting something roll down a slanted surface;
Letting something roll up a slanted surface, so it rolls back down;
Lifting something up completely without letting it drop down;
Lifting something up completely, then letting it drop down;
Lifting up one end of something without letting it drop down;
Lifting up one end of something, then letting it drop down;
Moving away from something with your camera; Moving something and something away from each other;
Moving something and something closer to each other; Moving something and something so they pass each other;
Moving something away from something; Moving something away from the camera; Moving something closer to something;
Moving something down; Moving something towards the camera; Moving something up; Opening something;
Picking something up; Piling something up; Plugging something into something;
Plugging something into something but pulling it right out as you remove your hand; Pouring something into something;
Pouring something onto something; Pouring something out of something;
Pretending to be tearing something that is not tearable; Pretending to close something without actually closing it;
Pretending to open something without actually opening it; Pretending to pick something up;
Pretending to put something into something; Pretending to put something on a surface;
Pretending to take something from somewhere; Pretending to take something out of something;
Pretending to turn something upside down; Pulling something from behind of something;
Pulling something from left to right; Pulling something from right to left; Pulling something onto something;
Pulling something out of something; Pulling two ends of something but nothing happens;
Pulling two ends of something so that it gets stretched; Pushing something from left to right;
Pushing something from right to left; Pushing something off of something; Pushing something onto something;
Pushing something so that it slightly moves; Pushing something with something; Putting something behind something;
Putting something into something; Putting something on a surface; Putting something onto something;
Removing something, revealing something behind; Rolling something on a flat surface; Stacking number of something;
Stuffing something into something; Taking something from somewhere; Taking something out of something;
Tearing something into two pieces; Tearing something just a little bit;
Trying but failing to attach something to something because it doesn't stick; Turning something upside down;
Turning the camera downwards while filming something; Turning the camera left while filming something;
Turning the camera right while filming something; Turning the camera upwards while filming something;
Twisting something; Uncovering something; Unfolding something; Wiping something off of something
"""


def test_the_pairs_of_something_something_are_exactly_its_time_reversals() -> None:
    names = [" ".join(name.split()) for name in SOMETHING.split(";")]
    assert {(pair.first, pair.second) for pair in find_chiral_pairs(names)} == {
        ("Approaching something with your camera", "Moving away from something with your camera"),
        ("Burying something in something", "Digging something out of something"),
        ("Closing something", "Opening something"),
        ("Covering something with something", "Uncovering something"),
        ("Folding something", "Unfolding something"),
        ("Moving something and something away from each other", "Moving something and something closer to each other"),
        ("Moving something away from something", "Moving something closer to something"),
        ("Moving something away from the camera", "Moving something towards the camera"),
        ("Moving something down", "Moving something up"),
        ("Pouring something into something", "Pouring something out of something"),
        ("Pulling something from left to right", "Pulling something from right to left"),
        ("Pushing something from left to right", "Pushing something from right to left"),
        ("Putting something into something", "Taking something out of something"),
        (
            "Turning the camera downwards while filming something",
            "Turning the camera upwards while filming something",
        ),
        ("Turning the camera left while filming something", "Turning the camera right while filming something"),
    }


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([*CLASSES, "opening door", "closing door", "Thumb Up"]), unique=True))
def test_every_class_is_in_one_pair_at_most_and_the_order_does_not_matter(names) -> None:
    pairs = find_chiral_pairs(names)
    members = [name for pair in pairs for name in (pair.first, pair.second)]
    assert len(set(members)) == len(members)
    assert reversals_of(pairs) == reversals_of(find_chiral_pairs(names[::-1]))


def test_the_user_extends_the_opposites(tmp_path) -> None:
    path = tmp_path / "mine.json"
    rule = {"name": "dock/undock", "swap": [["docking", "undocking"]]}
    path.write_text(json.dumps({"rules": [rule], "pairs": [["Sunrise", "Sunset"]], "never": ["opening door"]}))
    more = known_opposites() + read_opposites(path)
    names = ("docking a boat", "sunset", "opening door", "closing door", "sunrise", "undocking a boat")
    rules = {(pair.first, pair.second): pair.rule for pair in find_chiral_pairs(names, more)}
    assert rules == {("docking a boat", "undocking a boat"): "dock/undock", ("sunset", "sunrise"): "named"}


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"rule": []}',
        '{"rules": [{"name": "x"}]}',
        '{"pairs": [["a"]]}',
        '{"pairs": [["a", "A"]]}',
        '{"never": [3]}',
    ],
)
def test_a_file_of_another_form_is_one_clear_line(tmp_path, content: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(OptionError, match=r"mine\.json") as caught:
        read_opposites(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(OptionError, match="cannot be read"):
        read_opposites(tmp_path / "none.json")


@dataclass
class Output:
    """What Hugging Face's models return."""

    logits: torch.Tensor


class FramesFirst(nn.Module):
    """Reads (B, T, C, H, W): logits from the change of brightness; without parameters."""

    def __init__(self, timeless: bool = False) -> None:
        super().__init__()
        self.timeless = timeless
        self.config = SimpleNamespace(id2label={0: "opening door", 1: "closing door", 2: "waving"})

    def forward(self, pixel_values: torch.Tensor) -> Output:
        assert pixel_values.shape[2] == 3
        light = pixel_values.mean(dim=(2, 3, 4))
        change = light[:, -1] - light[:, 0]
        if self.timeless:
            change = light.std(dim=1)
        return Output(torch.stack([change, -change, -2 * change.abs() + 0.3], dim=1) * 9)


def clips(count: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, C, T, H, W) that grow brighter, darker, or stay; labels."""
    label = torch.arange(count) % 3
    slope = torch.tensor([1.0, -1.0, 0.0])[label]
    light = 0.5 + 0.4 * slope[:, None] * torch.linspace(-1, 1, 6)
    return light[:, None, :, None, None].expand(-1, 3, -1, 4, 5).clone(), label


def test_a_model_with_frames_first_and_named_logits() -> None:
    clip, label = clips()
    parts = zip(clip.split(4), label.split(4), strict=True)
    loader = [{"pixel_values": part.transpose(1, 2), "labels": labels} for part, labels in parts]
    result = probe_model(FramesFirst().train(), loader, layout="BTCHW", num_permutations=2)
    assert result.classes == ("opening door", "closing door", "waving")
    assert result.top1("in order") == 1
    assert result.top1(REVERSED) == pytest.approx(1 / 3)
    assert result.read_as_reversal() == {"opening door": 1.0, "closing door": 1.0}
    (pair,) = result.to_json()["chiral_pairs"]
    assert (pair["rule"], pair["direction_accuracy"], pair["taken_for_its_reversal"]) == ("open/close", 1.0, 1.0)
    assert pair["num_videos"] == 6
    blind = probe_model(FramesFirst(timeless=True), loader, layout="BTCHW", num_permutations=2)
    assert not blind.sees_order
    assert blind.to_json()["chiral_pairs"][0]["direction_accuracy"] == 0.5


def test_a_3d_network_and_pairs_of_clips_and_labels() -> None:
    torch.manual_seed(0)
    clip = torch.rand(2, 3, 4, 6, 6)
    pool = nn.Sequential(nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    model = nn.Sequential(nn.Conv3d(3, 4, 3), nn.ReLU(), pool)
    result = probe_model(model, [(clip, torch.tensor([0, 3]))], num_permutations=1)
    assert result.classes == ("class 0", "class 1", "class 2", "class 3")
    with torch.no_grad():
        expected = model(clip.flip(2)).softmax(dim=1).numpy()
    assert result.scores[REVERSED] == pytest.approx(expected, abs=1e-5)
    assert result.chiral_pairs() == []


def test_channels_last_clips_arrive_as_the_model_wants_them() -> None:
    clip, label = clips()

    class Last(FramesFirst):
        def forward(self, video: torch.Tensor) -> torch.Tensor:
            return super().forward(video.permute(0, 1, 4, 2, 3)).logits

    result = probe_model(Last(), [(clip.permute(0, 2, 3, 4, 1), label)], layout="BTHWC", num_permutations=1)
    assert result.top1("in order") == 1


UINT8 = torch.zeros(2, 6, 3, 4, 5, dtype=torch.uint8)


@pytest.mark.parametrize("prepare", [gta.prepare, lambda clip: clip / 255, Normalize((0.5,) * 3, (0.5,) * 3)])
def test_clips_are_prepared_by_a_module_or_any_function(prepare) -> None:
    clip, label = clips()
    pixels = (255 * clip).round().to(torch.uint8)
    result = gta.probe(FramesFirst(), [(pixels.transpose(1, 2), label)], layout="BTCHW", prepare=prepare)
    with torch.no_grad():
        expected = FramesFirst()(prepare(pixels).transpose(1, 2)).logits.softmax(dim=1).numpy()
    assert result.scores["in order"] == pytest.approx(expected, abs=1e-5)


def test_reversals_of_classes_that_nobody_named_are_those_of_their_numbers() -> None:
    clip, label = clips()
    model = nn.Sequential(nn.Flatten(), nn.Linear(clip[0].numel(), 3))
    result = gta.probe(model, [(clip, label)], reversals={"class 0": "class 1"}, num_permutations=1)
    assert result.reversals == {"class 0": "class 1"}
    with pytest.raises(ValueError, match="`reversals` names 'opening'"):
        gta.probe(model, [(clip, label)], reversals={"class 0": "opening"}, num_permutations=1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layout": "TCHW"}, "TCHW"),
        ({"precision": "half"}, "`precision` is 'half': it must be one of '32', 'bf16', 'fp16'"),
        ({"averaging": "mean"}, "`averaging` is 'mean': it must be one of 'softmax', 'logits'"),
        ({"loader": [3]}, "clips, labels"),
        ({"loader": [(torch.rand(2, 3, 4, 4), torch.zeros(2))]}, "five axes"),
        ({"classes": ("a", "b")}, "3 logits per clip, but there are 2 classes"),
        ({"loader": [(clips()[0].transpose(1, 2), torch.full((9,), 7))]}, "one is 7"),
        ({"loader": [(clips()[0].transpose(1, 2), torch.tensor([*range(-1, 2)] * 3))]}, "one is -1"),
        ({"loader": [(clips()[0].transpose(1, 2), torch.eye(9, dtype=torch.int64))]}, r"one whole number .*\(9, 9\)"),
        ({"loader": [(clips()[0].transpose(1, 2), torch.zeros(9))]}, "one whole number .*torch.float32"),
        ({"loader": [(clips()[0].transpose(1, 2), torch.zeros(8, dtype=torch.int64))]}, r"\(9,\) here; .*\(8,\)"),
        ({"loader": [(clips()[0].transpose(1, 2), torch.tensor(0))]}, "one whole number"),
        ({"loader": [(UINT8, torch.zeros(2, dtype=torch.int64))]}, "give `prepare`"),
        ({"reversals": {"opening door": "shutting door"}}, "`reversals` names 'shutting door'"),
        ({"reversals": {"a": "b"}, "classes": None}, "`reversals` names 'a'"),
    ],
)
def test_what_does_not_fit_is_a_value_error(change, words: str, monkeypatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # which sees wrong types first, in tests
    clip, label = clips()
    given = {"loader": [(clip.transpose(1, 2), label)], "layout": "BTCHW", **change}
    with pytest.raises(ValueError, match=words):
        probe_model(FramesFirst(), given.pop("loader"), num_permutations=1, **given)
