"""Changed orders of frames, against what their names say."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gta.evaluation.orders import kendall_tau
from gta.serving.changes import CHANGES, changed, frame_order

_AMOUNTS = st.floats(0, 1)


@given(st.integers(1, 40), _AMOUNTS, st.integers(0, 9))
def test_a_shuffle_keeps_every_frame_and_moves_the_share_asked_for(total, amount, seed):
    order = frame_order("shuffle", total, amount, seed=seed)
    assert sorted(order) == list(range(total))
    moved = sum(frame != place for place, frame in enumerate(order))
    assert moved == (0 if total == 1 or amount == 0 else max(2, round(amount * total)))


@given(st.integers(4, 40), st.integers(0, 9))
def test_a_whole_shuffle_is_no_reversal(total, seed):
    assert abs(kendall_tau(frame_order("shuffle", total, 1.0, seed=seed))) <= 0.1


@given(st.integers(1, 40), _AMOUNTS, st.integers(0, 9))
def test_dropped_frames_are_replaced_by_the_one_before(total, amount, seed):
    order = frame_order("drop", total, amount, seed=seed)
    assert order == sorted(order)
    assert total - len(set(order)) == min(round(amount * total), total - 1)
    assert all(frame in (place, order[place - 1]) for place, frame in enumerate(order) if place)
    assert order[0] == 0


@given(st.integers(1, 40), _AMOUNTS)
def test_a_frozen_clip_runs_and_then_stands_still(total, amount):
    order = frame_order("freeze", total, amount)
    running = max(total - round(amount * total), 1)
    assert order == [min(place, running - 1) for place in range(total)]


@pytest.mark.parametrize("change", CHANGES)
def test_every_view_is_changed_alike_and_the_given_one_is_left_alone(change):
    views = torch.randint(0, 256, (3, 3, 8, 2, 2), dtype=torch.uint8)
    before = views.clone()
    found = changed(views, change, 0.5, seed=3)
    order = frame_order(change, 8, 0.5, seed=3)
    assert all(torch.equal(found[v, :, t], before[v, :, order[t]]) for v in range(3) for t in range(8))
    assert torch.equal(views, before)
    assert (order == list(range(8))) == (change == "none")
    assert order == ([7, 6, 5, 4, 3, 2, 1, 0] if change == "reverse" else order)


@pytest.mark.parametrize(("total", "amount"), [(0, 0.5), (8, 1.5), (8, -0.1)])
def test_what_does_not_fit_is_refused(total, amount):
    with pytest.raises(ValueError, match=rf"{total} frames changed by {amount}"):
        frame_order("drop", total, amount)
