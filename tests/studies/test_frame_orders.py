"""Treatments of frames are what their names say."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gta.evaluation.orders import ONE_FRAME, ORDERED, REVERSED, frame_orders, kendall_tau, mixed_order, shuffled


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


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 40), st.integers(0, 10**6))
def test_a_mixed_order_runs_neither_forwards_nor_backwards(num_frames, seed):
    """Tau by its definition: pairs in order minus pairs out of order, over all pairs."""
    order = mixed_order(num_frames, seed=seed)
    assert order == mixed_order(num_frames, seed=seed)
    assert sorted(order) == list(range(num_frames))
    assert all(frame != place for place, frame in enumerate(order))
    pairs = [(order[i], order[j]) for i in range(num_frames) for j in range(i + 1, num_frames)]
    tau = sum(1 if first < second else -1 for first, second in pairs) / len(pairs)
    assert kendall_tau(order) == pytest.approx(tau)
    assert abs(tau) <= {2: 1, 3: 1 / 3 + 1e-9}.get(num_frames, 0.1)


def test_seeds_mix_eight_frames_differently_and_break_up_neighbours():
    orders = [mixed_order(8, seed=seed) for seed in range(10)]
    assert len(set(map(tuple, orders))) == 10
    for order in orders:
        assert sum(abs(after - before) == 1 for before, after in pairwise(order)) <= 1


def test_one_frame_cannot_be_mixed():
    with pytest.raises(ValueError, match="1 frames"):
        mixed_order(1, seed=0)
