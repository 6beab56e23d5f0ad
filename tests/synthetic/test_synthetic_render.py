import dataclasses
import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gta.synthetic.classes import CLASSES, REVERSALS
from gta.synthetic.motion import poses, progress
from gta.synthetic.parameters import MAX_FRAMES, MIN_FRAMES, draw_parameters
from gta.synthetic.render import render, render_clip

INDICES = st.integers(0, 10_000)
FORWARDS = sorted({name for name in REVERSALS if name < REVERSALS[name]})


def eight_of(frames):
    """Take the middle frames of eight equal segments."""
    step = len(frames) / 8
    return frames[[int(step / 2 + step * i) for i in range(8)]].astype(np.float32)


@pytest.mark.parametrize("name", CLASSES)
def test_frames_are_uint8_and_vary_in_number(name):
    clips = [render_clip(name, index=index, frame_size=(48, 64)) for index in range(6)]
    assert all(clip.dtype == np.uint8 and clip.shape[1:] == (48, 64, 3) for clip in clips)
    assert all(MIN_FRAMES <= len(clip) <= MAX_FRAMES for clip in clips)
    assert len({len(clip) for clip in clips}) > 1


@settings(deadline=None, max_examples=15)
@given(name=st.sampled_from(FORWARDS), seed=st.integers(0, 1000), index=INDICES)
def test_a_pair_is_the_same_frames_in_opposite_order(name, seed, index):
    first = render_clip(name, seed=seed, index=index)
    second = render_clip(REVERSALS[name], seed=seed, index=index)
    assert np.array_equal(first, second[::-1])
    assert not np.array_equal(first, second)


def test_same_seed_and_index_same_frames_others_differ():
    clip = render_clip("Opening something", seed=3, index=5)
    assert np.array_equal(clip, render_clip("Opening something", seed=3, index=5))
    for seed, index in ((3, 6), (4, 5)):
        other = render_clip("Opening something", seed=seed, index=index)
        assert clip.shape != other.shape or not np.array_equal(clip, other)


def test_appearance_is_drawn_without_knowing_the_class():
    assert set(inspect.signature(draw_parameters).parameters) == {"seed", "index", "difficulty"}


def test_appearance_varies():
    drawn = [draw_parameters(0, index) for index in range(60)]
    assert len({p.look.shape for p in drawn}) == 6
    assert len({p.look.texture for p in drawn}) == 3
    assert len({p.fps for p in drawn}) > 3
    assert 10 < sum(p.distractor is None for p in drawn) < 50
    for field in ("num_frames", "size", "center", "noise", "travel", "ease", "background"):
        assert len({getattr(p, field) for p in drawn}) > 15, field


def test_progress_is_as_likely_as_its_time_reversal():
    times = np.linspace(0, 1, 21)
    curves = np.array([progress(draw_parameters(1, index), times) for index in range(1500)])
    mirrored = 1 - curves[:, ::-1]
    assert np.abs(curves.mean(0) - mirrored.mean(0)).max() < 0.01
    assert np.abs(curves.std(0) - mirrored.std(0)).max() < 0.01
    assert curves.std(0)[10] > 0.03  # and clips do differ in how they get there


@settings(deadline=None, max_examples=50)
@given(index=INDICES)
def test_progress_goes_from_0_to_1_and_never_back(index):
    done = progress(draw_parameters(0, index), np.linspace(-0.05, 1.05, 200))
    assert done[0] == 0
    assert done[-1] == pytest.approx(1)
    assert (np.diff(done) >= 0).all()


@settings(deadline=None, max_examples=50)
@given(index=INDICES)
def test_motions_go_where_their_names_say(index):
    parameters, times = draw_parameters(0, index), np.linspace(0, 1, 9)

    def change(motion, field):
        values = getattr(poses(motion, parameters, times), field)
        return float(values[-1] - values[0])

    assert change("right", "x") > 0.4
    assert change("down", "y") > 0.4
    assert change("nearer", "size") > 0.1
    assert change("open", "opening") > 0.5
    assert change("clockwise", "angle") > 1.9
    assert change("appear", "opacity") == pytest.approx(1)
    assert change("cover", "cover") < -0.4
    still = poses("still", parameters, times)
    assert all(np.ptp(getattr(still, f.name)) == 0 for f in dataclasses.fields(still) if f.name != "cover")
    assert np.ptp(poses("shake", parameters, np.linspace(0, 1, 50)).angle) > 0.2


@settings(deadline=None, max_examples=50)
@given(index=INDICES)
def test_objects_stay_in_the_picture_large_and_unlike_the_background(index):
    parameters = draw_parameters(0, index)
    for motion in ("right", "down", "nearer", "shake"):
        path = poses(motion, parameters, np.linspace(0, 1, 9))
        assert np.abs(path.x).max() < 0.5
        assert np.abs(path.y).max() < 0.5
        assert 2 * path.size.min() * 56 > 8  # pixels across when the short side is 56
    contrast = np.linalg.norm(np.subtract(parameters.look.color, parameters.background.color))
    assert contrast > 0.3


@pytest.mark.parametrize("name", [name for name in CLASSES if name != "Holding something still"])
def test_motion_is_visible_in_eight_frames(name):
    for index in range(5):
        quiet = dataclasses.replace(draw_parameters(2, index), noise=0.0, distractor=None)
        frames = eight_of(render(name, quiet))
        largest = max(np.abs(first - second).max() for first in frames for second in frames)
        assert largest > 60, (name, index)


def test_holding_still_differs_by_noise_only():
    quiet = dataclasses.replace(draw_parameters(2, 0), noise=0.0, distractor=None)
    frames = render("Holding something still", quiet)
    assert (frames == frames[0]).all()
    noisy = render("Holding something still", dataclasses.replace(quiet, noise=5.0)).astype(np.float32)
    assert 3 < (noisy - frames).std() < 6


def test_something_moves_to_the_right_on_the_screen():
    quiet = dataclasses.replace(draw_parameters(0, 0), noise=0.0, distractor=None)
    frames = render("Pushing something from left to right", quiet).astype(np.float32)
    empty = np.median(frames, axis=0)
    columns = [np.abs(frame - empty).sum(axis=(0, 2)) for frame in (frames[0], frames[-1])]
    first, last = (float((c * np.arange(len(c))).sum() / c.sum()) for c in columns)
    assert last > first + 20


def test_clockwise_as_the_viewer_sees_it():
    parameters = dataclasses.replace(
        draw_parameters(0, 0), noise=0.0, distractor=None, tilt=0.0, turn=np.pi / 2, center=(0.0, 0.0), lead_in=0.0
    )
    first = render("Turning something clockwise", parameters)[0]
    handle = np.abs(first / 255 - np.array(parameters.handle_color)).sum(-1) < 0.05
    rows, columns = np.nonzero(handle)
    assert columns.mean() < first.shape[1] / 2  # a quarter turn about "up" begins at the upper left
    assert rows.mean() < first.shape[0] / 2


@pytest.mark.parametrize("size", [(71, 96), (72, 30), (0, 0)])
def test_frame_sizes_that_do_not_fit(size):
    with pytest.raises(ValueError, match=f"frame size {size[0]}x{size[1]}: both sides must be even"):
        render_clip("Opening something", frame_size=size)


def test_unknown_class():
    with pytest.raises(ValueError, match="'Juggling' is not one of the 16"):
        render_clip("Juggling")
