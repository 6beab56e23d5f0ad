"""The hard size: classes that only the order of their halves tells apart, moving things, a moving camera."""

from dataclasses import replace

import numpy as np
import pytest

from gta.datasets.listing import open_videos
from gta.errors import DataError, OptionError
from gta.synthetic import (
    CLASSES,
    HARD_CLASSES,
    REVERSALS,
    SAME_FRAMES,
    permutation_invariant_ceiling,
    render_clip,
    render_mask,
    synthesize,
)
from gta.synthetic.parameters import draw_parameters
from gta.synthetic.render import render

EXCHANGED = sorted(set(SAME_FRAMES) - set(REVERSALS))
SIZE = (32, 40)


def hard(name: str, index: int, **options) -> np.ndarray:
    return render_clip(name, index=index, frame_size=SIZE, difficulty="hard", **options)


def frames_of(clip: np.ndarray) -> list[bytes]:
    return [picture.tobytes() for picture in clip]


def test_the_hard_size_has_ten_classes_more_and_a_ceiling_that_counts_them():
    assert HARD_CLASSES[:16] == CLASSES
    assert len(HARD_CLASSES) == len(set(HARD_CLASSES)) == 26
    assert all(SAME_FRAMES[SAME_FRAMES[name]] == name for name in SAME_FRAMES)
    assert permutation_invariant_ceiling(HARD_CLASSES) == (12 + 2) / 26
    assert permutation_invariant_ceiling(EXCHANGED) == 1 / 2


@pytest.mark.parametrize("name", sorted(SAME_FRAMES)[::2])
def test_both_classes_of_a_pair_are_made_of_the_same_frames(name):
    for index in range(3):
        one, other = hard(name, index), hard(SAME_FRAMES[name], index)
        assert frames_of(one) != frames_of(other)
        assert sorted(frames_of(one)) == sorted(frames_of(other))


@pytest.mark.parametrize("name", EXCHANGED)
def test_there_and_back_nothing_jumps_where_the_halves_meet(name):
    """Neither the ends nor the middle of a clip give its class away."""
    for index in range(4):
        clip = hard(name, index).astype(np.int16)
        steps = np.abs(np.diff(clip, axis=0)).mean(axis=(1, 2, 3))
        around = np.abs(clip[0] - clip[-1]).mean()
        assert around <= steps.max() * 1.2
        middle = len(clip) // 2
        assert steps[middle - 2 : middle + 1].max() <= steps.max()


def test_there_and_back_is_itself_when_played_backwards():
    """Each place is passed in both directions: the class is in the order of the halves, not in the steps."""
    name = "Pushing something to the right and back"
    mask = render_mask(name, draw_parameters(0, 1), frame_size=(64, 80)).astype(float)
    x = (mask.sum(axis=1) * np.arange(mask.shape[2])).sum(axis=1) / mask.sum(axis=(1, 2))
    assert np.argmax(x) in range(len(x) // 2 - 3, len(x) // 2 + 4)
    assert np.abs(x[1:] - x[1:][::-1]).max() < 0.05 * np.ptp(x)
    exchanged = render_mask(SAME_FRAMES[name], draw_parameters(0, 1), frame_size=(64, 80))
    np.testing.assert_array_equal(exchanged, np.roll(mask, -(len(mask) // 2), axis=0))


def test_the_normal_size_is_what_it_was():
    """What makes a clip hard is drawn after everything else, from a generator of its own."""
    normal, harder = draw_parameters(3, 5), draw_parameters(3, 5, "hard")
    assert (normal.orbiters, normal.camera, normal.post) == ((), None, None)
    assert normal.look == harder.look
    assert normal.travel == harder.travel
    assert 1 <= len(harder.orbiters) <= 3
    assert harder.camera is not None
    assert any(draw_parameters(0, index, "hard").post is not None for index in range(8))


def test_a_post_hides_a_part_of_the_object_but_never_all_of_it():
    posts = hidden = 0
    for index in range(12):
        parameters = draw_parameters(0, index, "hard")
        if parameters.post is not None:
            posts += 1
            seen = render_mask("Holding something still", parameters, frame_size=SIZE).astype(bool).sum(axis=(1, 2))
            open_ = replace(parameters, post=None)
            whole = render_mask("Holding something still", open_, frame_size=SIZE).astype(bool).sum(axis=(1, 2))
            assert (seen <= whole).all()
            assert (seen > 0).all()
            hidden += int((seen < whole).any())
    assert posts
    assert hidden


def test_the_camera_and_other_things_move():
    """Without them, a clip of something that is held still hardly changes from frame to frame."""
    parameters = replace(draw_parameters(0, 0, "hard"), post=None, noise=0.0)
    alone = replace(parameters, orbiters=(), camera=None)

    def change(chosen):
        frames = render("Holding something still", chosen, frame_size=SIZE).astype(float)
        return np.abs(np.diff(frames, axis=0)).mean()

    assert change(replace(alone, camera=parameters.camera)) > 2 * change(alone)
    assert change(replace(alone, orbiters=parameters.orbiters)) > 2 * change(alone)


def test_a_hard_folder_says_so_and_is_not_mixed_with_another(tmp_path):
    options = {"num_videos": 52, "val_fraction": 0.5, "frame_size": SIZE, "num_workers": 0}
    summary = synthesize(tmp_path / "hard", difficulty="hard", **options)
    assert summary.classes == HARD_CLASSES
    assert len(open_videos(tmp_path / "hard", "train").classes) == 26
    with pytest.raises(DataError, match=r"difficulty|classes"):
        synthesize(tmp_path / "hard", **options)
    with pytest.raises(OptionError, match=r"Opening and closing something.*needs `difficulty` hard"):
        synthesize(tmp_path / "easy", classes=("Opening and closing something",), **options)
