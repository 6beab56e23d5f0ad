"""Sampling: tables worked out by hand beside the formula, and properties."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gta.clips import sampling
from gta.clips.presets import clip_config
from gta.clips.sampling import (
    dense_test_indices,
    dense_train_indices,
    evaluation_indices,
    segment_test_indices,
    segment_train_indices,
    training_indices,
    tsn_test_indices,
    tsn_train_indices,
)


class Highest(random.Random):
    """Draws the largest number that is allowed."""

    def randrange(self, start, stop=None, step=1):
        return (start if stop is None else stop) - 1

    def randint(self, a, b):
        return b


class Lowest(random.Random):
    def randrange(self, start, stop=None, step=1):
        return 0 if stop is None else start

    def randint(self, a, b):
        return a


# int(d / 2 + d * i), d = N / n
TSN_TEST = [
    (8, 8, [0, 1, 2, 3, 4, 5, 6, 7]),  # d = 1: 0.5, 1.5, ...
    (16, 8, [1, 3, 5, 7, 9, 11, 13, 15]),  # d = 2: 1, 3, ...
    (10, 4, [1, 3, 6, 8]),  # d = 2.5: 1.25, 3.75, 6.25, 8.75
    (48, 8, [3, 9, 15, 21, 27, 33, 39, 45]),  # d = 6
    (3, 8, [0, 0, 0, 1, 1, 2, 2, 2]),  # d = 0.375: .19 .56 .94 1.31 1.69 2.06 2.44 2.81
    (1, 4, [0, 0, 0, 0]),
    (300, 8, [18, 56, 93, 131, 168, 206, 243, 281]),  # d = 37.5: 18.75, 56.25, 93.75, ...
]


@pytest.mark.parametrize(("num_video_frames", "num_frames", "expected"), TSN_TEST)
def test_tsn_test_table(num_video_frames, num_frames, expected):
    assert tsn_test_indices(num_video_frames, num_frames) == [expected]


def test_twice_sampling_adds_the_beginning_of_each_segment():
    # second clip: int(d * i), d = 2.5: 0, 2.5, 5, 7.5
    assert tsn_test_indices(10, 4, 2) == [[1, 3, 6, 8], [0, 2, 5, 7]]


def test_three_clips_are_spread_over_the_segment():
    # phases 1/2, 5/6, 1/6 of d = 6: 3, 5, 1
    assert [clip[0] for clip in tsn_test_indices(48, 8, 3)] == [3, 5, 1]


# i * d + randint(0, d - 1), d = N // n: the smallest and the largest draw
TSN_TRAIN = [
    (16, 8, [0, 2, 4, 6, 8, 10, 12, 14], [1, 3, 5, 7, 9, 11, 13, 15]),
    (21, 4, [0, 5, 10, 15], [4, 9, 14, 19]),  # d = 5: frame 20 is never drawn
    (8, 8, list(range(8)), list(range(8))),
    (4, 8, [0, 0, 1, 1, 2, 2, 3, 3], [0, 0, 1, 1, 2, 2, 3, 3]),  # stretched: i * 4 // 8
    (1, 3, [0, 0, 0], [0, 0, 0]),
]


@pytest.mark.parametrize(("num_video_frames", "num_frames", "lowest", "highest"), TSN_TRAIN)
def test_tsn_train_table(num_video_frames, num_frames, lowest, highest):
    assert tsn_train_indices(num_video_frames, num_frames, Lowest()) == lowest
    assert tsn_train_indices(num_video_frames, num_frames, Highest()) == highest


# start (N - n * stride) * k / K, rounded; one clip: the centre
DENSE_TEST = [
    (100, 8, 2, 1, [42]),  # (100 - 16) / 2
    (101, 8, 2, 1, [43]),  # 42.5 up
    (100, 8, 2, 4, [0, 21, 42, 63]),  # 84 * k / 4
    (100, 8, 8, 10, [0, 4, 7, 11, 14, 18, 22, 25, 29, 32]),  # 36 * k / 10: 0 3.6 7.2 10.8 14.4 18 21.6 25.2 28.8 32.4
    (10, 8, 2, 3, [0, 0, 0]),  # longer than the video
]


@pytest.mark.parametrize(("num_video_frames", "num_frames", "stride", "num_clips", "starts"), DENSE_TEST)
def test_dense_test_table(num_video_frames, num_frames, stride, num_clips, starts):
    clips = dense_test_indices(num_video_frames, num_frames, stride, num_clips)
    assert [clip[0] for clip in clips] == starts
    for start, clip in zip(starts, clips, strict=True):
        assert clip == [min(start + i * stride, num_video_frames - 1) for i in range(num_frames)]


def test_dense_window_longer_than_the_video_repeats_the_last_frame():
    assert dense_test_indices(5, 4, 2) == [[0, 2, 4, 4]]
    assert dense_train_indices(5, 4, 2, Highest()) == [0, 2, 4, 4]


def test_dense_train_starts_anywhere_the_window_fits():
    assert dense_train_indices(20, 4, 2, Lowest()) == [0, 2, 4, 6]
    assert dense_train_indices(20, 4, 2, Highest()) == [12, 14, 16, 18]


# parts from round(d * i) to round(d * (i + 1)), d = (N - 1) / n: smallest draw, largest draw, middle
SEGMENTS = [
    (9, 4, [0, 2, 4, 6], [2, 4, 6, 8], [1, 3, 5, 7]),
    (10, 4, [0, 2, 4, 7], [2, 4, 7, 9], [1, 3, 5, 8]),  # borders 0, 2.25, 4.5 (to even: 4), 6.75, 9
    (3, 4, [0, 0, 1, 2], [0, 1, 2, 2], [0, 0, 1, 2]),  # fewer frames than wanted: borders 0, 0.5, 1, 1.5, 2
    (1, 3, [0, 0, 0], [0, 0, 0], [0, 0, 0]),
]


@pytest.mark.parametrize(("num_video_frames", "num_frames", "lowest", "highest", "middle"), SEGMENTS)
def test_segments_table(num_video_frames, num_frames, lowest, highest, middle):
    assert segment_train_indices(num_video_frames, num_frames, Lowest()) == lowest
    assert segment_train_indices(num_video_frames, num_frames, Highest()) == highest
    assert segment_test_indices(num_video_frames, num_frames) == [middle]


def test_further_clips_of_segments_shift_inside_the_parts():
    # phases 1/2 and 0 of parts that are 2 frames long
    assert segment_test_indices(9, 4, 2) == [[1, 3, 5, 7], [0, 2, 4, 6]]


@settings(deadline=None, max_examples=150)
@given(
    num_video_frames=st.integers(1, 500),
    num_frames=st.integers(1, 70),
    stride=st.integers(1, 9),
    num_clips=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_every_protocol_gives_ordered_indices_inside_the_video(num_video_frames, num_frames, stride, num_clips, seed):
    rng = random.Random(seed)
    clips = [
        tsn_train_indices(num_video_frames, num_frames, rng),
        dense_train_indices(num_video_frames, num_frames, stride, rng),
        segment_train_indices(num_video_frames, num_frames, rng),
        *segment_test_indices(num_video_frames, num_frames, num_clips),
        *tsn_test_indices(num_video_frames, num_frames, num_clips),
        *dense_test_indices(num_video_frames, num_frames, stride, num_clips),
    ]
    assert len(clips) == 3 + 3 * num_clips
    for clip in clips:
        assert len(clip) == num_frames
        assert clip == sorted(clip)
        assert clip[0] >= 0
        assert clip[-1] < num_video_frames


@settings(deadline=None, max_examples=60)
@given(num_video_frames=st.integers(1, 400), num_frames=st.integers(1, 32))
def test_tsn_test_equals_the_formula_in_exact_arithmetic(num_video_frames, num_frames):
    # int(d / 2 + d * i) = floor(N * (2i + 1) / 2n)
    expected = [num_video_frames * (2 * i + 1) // (2 * num_frames) for i in range(num_frames)]
    assert tsn_test_indices(num_video_frames, num_frames)[0] == expected


def test_training_draws_reach_every_frame_of_a_segment():
    rng = random.Random(0)
    drawn = {tsn_train_indices(24, 4, rng)[1] for _ in range(200)}
    assert drawn == set(range(6, 12))


@pytest.mark.parametrize("bad", [(0, 8), (8, 0), (-1, 2)])
def test_impossible_numbers_are_refused(bad):
    with pytest.raises(ValueError, match=rf"{bad[1]} frames from a video of {bad[0]}"):
        tsn_test_indices(*bad)


def test_the_configuration_chooses_the_protocol():
    tsn, dense = clip_config("paper"), clip_config("paper", sampling="dense", data="kinetics")
    assert evaluation_indices(tsn, 48) == tsn_test_indices(48, 8, 1)
    segments = clip_config("pyslowfast")
    assert evaluation_indices(segments, 48) == segment_test_indices(48, 8, 1)
    assert training_indices(segments, 48, random.Random(3)) == segment_train_indices(48, 8, random.Random(3))
    assert evaluation_indices(dense, 300) == dense_test_indices(300, 8, 2, 10)
    assert training_indices(tsn, 48, random.Random(3)) == tsn_train_indices(48, 8, random.Random(3))
    assert training_indices(dense, 300, random.Random(3)) == dense_train_indices(300, 8, 2, random.Random(3))


def test_the_picture_in_the_docstring_is_true():
    drawn = {
        "tsn": tsn_test_indices(20, 4)[0],
        "segments": segment_test_indices(20, 4)[0],
        "dense": dense_test_indices(20, 4, 3)[0],
    }
    for name, indices in drawn.items():
        line = next(line for line in (sampling.__doc__ or "").splitlines() if line.split()[:1] == [name])
        assert line.split()[1] == "".join("x" if index in indices else "." for index in range(20))
