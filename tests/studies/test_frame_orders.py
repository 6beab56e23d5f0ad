"""Treatments of frames are what their names say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gta.evaluation.orders import ONE_FRAME, ORDERED, REVERSED, frame_orders, shuffled


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 20), st.integers(0, 4), st.integers(0, 99), st.integers(0, 10**6))
def test_treatments(num_frames, num_permutations, seed, index):
    orders = frame_orders(num_frames, num_permutations=num_permutations, seed=seed, index=index)
    forwards = list(range(num_frames))
    assert next(iter(orders)) == ORDERED
    assert orders[ORDERED] == forwards
    assert orders[REVERSED] == forwards[::-1]
    assert orders[ONE_FRAME] == [num_frames // 2] * num_frames
    for number in range(1, num_permutations + 1):
        assert sorted(orders[shuffled(number)]) == forwards
        assert orders[shuffled(number)] != forwards or num_frames == 1
    assert len(orders) == 3 + num_permutations


def test_shuffles_depend_on_seed_number_and_video_only():
    first = frame_orders(12, num_permutations=3, seed=1, index=7)
    again = frame_orders(12, num_permutations=2, seed=1, index=7)
    assert first[shuffled(1)] == again[shuffled(1)]
    assert first[shuffled(2)] == again[shuffled(2)]
    different = {
        tuple(first[shuffled(1)]),
        tuple(first[shuffled(2)]),
        tuple(frame_orders(12, num_permutations=1, seed=1, index=8)[shuffled(1)]),
        tuple(frame_orders(12, num_permutations=1, seed=2, index=7)[shuffled(1)]),
    }
    assert len(different) == 4


def test_no_frames():
    with pytest.raises(ValueError, match="0 frames"):
        frame_orders(0, num_permutations=1, seed=0, index=0)
