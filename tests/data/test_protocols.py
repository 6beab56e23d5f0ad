"""Presets, label rules and transforms."""

import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gta.clips.labels import flip_targets, has_side, mirrored_name
from gta.clips.presets import PRESETS, clip_config
from gta.clips.transforms import (
    EvaluationViews,
    Normalize,
    TrainingView,
    multiscale_box,
    multiscale_offsets,
    multiscale_sizes,
    random_box,
    resize,
    view_boxes,
)
from gta.config import ClipConfig
from gta.datasets.layouts.something import without_brackets
from gta.errors import OptionError
from gta.video.resize import resized_size


def frames(num_frames: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (num_frames, height, width, 3), generator=generator, dtype=torch.uint8).permute(
        0, 3, 1, 2
    )


# --- presets ---------------------------------------------------------------------------------------------------------


def test_the_paper_preset_is_what_the_paper_says():
    clip = clip_config("paper", num_frames=16)
    assert (clip.sampling, clip.num_frames) == ("tsn", 16)
    assert (clip.resize, clip.crop, clip.crop_size) == ((240, 320), "multiscale", 224)
    assert (clip.flip, clip.averaging) == ("label_aware", "softmax")
    assert (clip.test_clips, clip.test_crops, clip.test_resize, clip.test_crop_size) == (1, 1, None, None)


def test_the_three_presets_differ_where_their_sources_disagree():
    tsm, slowfast = clip_config("tsm"), clip_config("pyslowfast")
    assert (tsm.flip, tsm.averaging, tsm.resize) == ("none", "logits", 256)
    assert (slowfast.flip, slowfast.averaging, slowfast.train_short_side) == ("none", "softmax", (256, 320))
    assert (slowfast.mean, slowfast.std) == ((0.45,) * 3, (0.225,) * 3)
    kinetics = clip_config("pyslowfast", data="kinetics")
    assert (kinetics.flip, kinetics.test_clips, kinetics.test_crops, kinetics.test_crop_size) == ("random", 10, 3, 256)
    assert (slowfast.sampling, slowfast.test_crops, kinetics.sampling) == ("segments", 1, "dense")
    assert clip_config("paper", sampling="segments").train_short_side == (256, 340)


def test_other_crop_sizes_scale_the_whole_protocol():
    small = clip_config("paper", crop_size=56)
    assert (small.resize, small.crop_size) == ((60, 80), 56)
    slowfast = clip_config("pyslowfast", crop_size=56)
    assert (slowfast.train_short_side, slowfast.resize, slowfast.test_crop_size) == ((64, 80), 64, 64)


def test_an_unknown_preset_is_named():
    with pytest.raises(OptionError, match=r"'slowfst'.*paper, tsm, pyslowfast"):
        clip_config("slowfst")


# --- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected", "mirrored"),
    [
        ("Pushing something from left to right", True, "Pushing something from right to left"),
        ("Turning the camera left while filming something", True, "Turning the camera right while filming something"),
        ("turn_left", True, "turn_right"),
        ("RIGHT", True, "LEFT"),
        ("Moving leftwards", True, "Moving rightwards"),
        ("Putting something upright on the table", False, "Putting something upright on the table"),
        ("leftover food", False, "leftover food"),
        ("bright light", False, "bright light"),
    ],
)
def test_sides_in_class_names(name, expected, mirrored):
    assert has_side(name) is expected
    assert mirrored_name(name) == mirrored


def test_flip_targets():
    classes = ["Pulling left to right", "pulling right to left", "Turning left", "Holding something"]
    assert flip_targets(classes, "none") == [None] * 4
    assert flip_targets(classes, "random") == [0, 1, 2, 3]
    assert flip_targets(classes, "label_aware") == [None, None, None, 3]
    assert flip_targets(classes, "swap") == [1, 0, None, 3]  # turning right is no class: turning left stays


def test_templates_lose_only_their_brackets():
    assert without_brackets("Putting [something] on [something]") == "Putting something on something"
    assert without_brackets("[Something] falling like a feather") == "Something falling like a feather"


# --- boxes -----------------------------------------------------------------------------------------------------------


def test_multiscale_sizes_of_the_papers_frames():
    # 240 * (1, .875, .75, .66) = 240, 210, 180, 158; pairs at most one step apart, as (height, width)
    assert multiscale_sizes(240, 320, 224) == [
        *[(240, 240), (240, 210)],
        *[(210, 240), (210, 210), (210, 180)],
        *[(180, 210), (180, 180), (180, 158)],
        *[(158, 180), (158, 158)],
    ]
    # 256 * .875 = 224 exactly; 256: 256, 224, 192, 168
    assert (224, 224) in multiscale_sizes(256, 340, 224)
    # 258 * .875 = 225: within 2 pixels of 224
    assert (224, 224) in multiscale_sizes(258, 340, 224)
    assert all(225 not in size for size in multiscale_sizes(258, 340, 224))


def test_multiscale_offsets_are_tsns_thirteen():
    # steps of a quarter of the room: (240 - 200) / 4 = 10 down, (320 - 200) / 4 = 30 to the right
    assert set(multiscale_offsets(240, 320, 200, 200)) == {
        *[(0, 0), (0, 120), (40, 0), (40, 120), (20, 60)],
        *[(20, 0), (20, 120), (40, 60), (0, 60)],
        *[(10, 30), (10, 90), (30, 30), (30, 90)],
    }


@settings(deadline=None, max_examples=150)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 300), st.integers(0, 99))
def test_every_box_lies_inside_the_frame(height, width, crop_size, seed):
    rng = random.Random(seed)
    boxes = [random_box(height, width, crop_size, rng), *view_boxes(height, width, crop_size, 1)]
    boxes += view_boxes(height, width, crop_size, 3)
    if min(height, width) >= 2:
        boxes.append(multiscale_box(height, width, crop_size, rng))
    for top, left, box_height, box_width in boxes:
        assert 0 <= top <= top + box_height <= height
        assert 0 <= left <= left + box_width <= width
        assert min(box_height, box_width) >= 1


def test_view_boxes():
    assert view_boxes(240, 320, 224, 1) == [(8, 48, 224, 224)]
    assert view_boxes(256, 340, 256, 3) == [(0, 0, 256, 256), (0, 42, 256, 256), (0, 84, 256, 256)]
    assert view_boxes(340, 256, 256, 3) == [(0, 0, 256, 256), (42, 0, 256, 256), (84, 0, 256, 256)]


@pytest.mark.parametrize(
    ("size", "target", "expected"),
    [
        ((240, 427), (240, 320), (240, 320)),
        ((240, 427), 256, (256, 455)),
        ((427, 240), 256, (455, 256)),
        ((100, 100), 50, (50, 50)),
        ((2, 1000), 1, (1, 500)),
    ],
)
def test_resized_size(size, target, expected):
    assert resized_size(*size, target) == expected


# --- pixels ----------------------------------------------------------------------------------------------------------


def test_resizing_keeps_type_and_range_and_averages():
    picture = torch.zeros(3, 8, 8, dtype=torch.uint8)
    picture[:, :, 4:] = 200
    small = resize(picture, (4, 4))
    assert small.dtype == torch.uint8
    assert small[0, 0].tolist()[0] < 10
    assert small[0, 0].tolist()[-1] > 190
    assert resize(picture, (8, 8)) is picture


def test_the_views_of_an_evaluation_are_clips_times_crops_in_order():
    clip = ClipConfig(num_frames=2, resize=(16, 24), crop_size=16, test_clips=2, test_crops=3)
    views = EvaluationViews(clip)
    source = frames(4, 16, 24)
    result = views.finish(torch.stack([views.fit(frame) for frame in source]))
    assert result.shape == (6, 3, 2, 16, 16)
    for number, (start, left) in enumerate([(0, 0), (0, 4), (0, 8), (2, 0), (2, 4), (2, 8)]):
        expected = source[start : start + 2, :, :, left : left + 16].transpose(0, 1)
        assert torch.equal(result[number], expected)


def test_flip_mirrors_the_whole_clip_and_obeys_the_class():
    clip = ClipConfig(num_frames=3, resize=(16, 16), crop="center", crop_size=16)
    source = frames(3, 16, 16)
    seen = set()
    for seed in range(20):
        view = TrainingView(clip, random.Random(seed), may_flip=True)
        result = view.finish(source)
        expected = source.flip(-1) if view.flipped else source
        assert torch.equal(result, expected.transpose(0, 1))
        seen.add(view.flipped)
        assert not TrainingView(clip, random.Random(seed), may_flip=False).flipped
    assert seen == {True, False}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("sampling", ["tsn", "segments", "dense"])
def test_every_preset_makes_clips_of_its_size(preset, sampling):
    clip = clip_config(preset, sampling=sampling, num_frames=3, crop_size=28, test_clips=2, test_crops=3)
    for size in ((40, 50), (50, 40), (20, 90)):
        view = TrainingView(clip, random.Random(1), may_flip=True)
        source = frames(3, *size)
        assert view.finish(torch.stack([view.fit(frame) for frame in source])).shape == (3, 3, 28, 28)
        views = EvaluationViews(clip)
        side = clip.test_crop_size or clip.crop_size
        many = torch.stack([views.fit(frame) for frame in frames(6, *size)])
        assert views.finish(many).shape == (6, 3, 3, side, side)


def test_the_same_seed_makes_the_same_clip():
    clip = clip_config("paper", crop_size=28)
    source = frames(8, 30, 40)
    twice = [TrainingView(clip, random.Random(7), may_flip=True).finish(source) for _ in range(2)]
    assert torch.equal(*twice)


def test_normalize_equals_the_formula():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    clips = torch.randint(0, 256, (2, 3, 4, 5, 6), dtype=torch.uint8)
    expected = clips.double() / 255
    for channel in range(3):
        expected[:, channel] = (expected[:, channel] - mean[channel]) / std[channel]
    result = Normalize(mean, std)(clips)
    assert result.dtype == torch.float32
    assert torch.allclose(result.double(), expected, atol=2e-6)
    assert Normalize(mean, std)(clips[None]).shape == (1, *clips.shape)
    assert not list(Normalize(mean, std).state_dict())


def test_normalize_refuses_what_does_not_fit():
    normalize = Normalize((0.5,) * 3, (0.5,) * 3)
    with pytest.raises(ValueError, match=r"uint8 .* not torch.float32"):
        normalize(torch.zeros(1, 3, 2, 4, 4))
    with pytest.raises(ValueError, match=r"\(1, 2, 3, 4, 4\)"):
        normalize(torch.zeros(1, 2, 3, 4, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match="std above 0"):
        Normalize((0.5,) * 3, (0.5, 0.0, 0.5))


def test_train_and_test_sizes_may_differ():
    clip = replace(clip_config("paper", crop_size=28), test_resize=40, test_crop_size=36)
    views = EvaluationViews(clip)
    assert views.finish(torch.stack([views.fit(f) for f in frames(8, 30, 60)])).shape == (1, 3, 8, 36, 36)
