"""Attention rows against a float64 softmax over the whole matrix."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from explain_references import attention_matrix, randomise
from hypothesis import given, settings
from hypothesis import strategies as st

from gta.blocks.attention import NonLocal, SpatialAttention, TemporalAttention
from gta.explain.attention import attention_maps, attention_rows, cell_starts

KINDS = ("nl", "nl_dot", "sa", "ta", "tape")


@st.composite
def cases(draw):
    """A block with random weights, features that fit it, and a query."""
    kind = draw(st.sampled_from(KINDS))
    channels, frames = draw(st.integers(2, 6)), draw(st.integers(1, 4))
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    options = {"inner_channels": draw(st.integers(1, 5)), "scaled": draw(st.booleans())}
    if kind in ("ta", "tape"):
        block = TemporalAttention(channels, num_frames=frames, encoding=kind == "tape", **options)
    else:
        options["pool"] = draw(st.sampled_from(["after", "before", "none"]))
        if kind == "sa":
            block = SpatialAttention(channels, **options)
        else:
            block = NonLocal(channels, instantiation="dot_product" if kind == "nl_dot" else "softmax", **options)
    seed = draw(st.integers(0, 2**31))
    randomise(block, seed)
    features = 2 * torch.randn(1, channels, frames, height, width, generator=torch.Generator().manual_seed(seed))
    query = tuple(draw(st.integers(0, length - 1)) for length in (frames, height, width))
    return kind, block, features, query


@given(cases())
@settings(max_examples=60, deadline=None)
def test_a_row_is_the_row_of_the_materialised_matrix(case):
    kind, block, features, query = case
    maps = attention_maps(block, features, query)
    expected = attention_matrix(block, features)[query]
    assert maps.weights.shape == expected.shape
    np.testing.assert_allclose(maps.weights, expected, atol=1e-5)
    assert maps.softmax == (kind != "nl_dot")
    if maps.softmax:
        assert maps.weights.sum() == pytest.approx(1, abs=1e-5)
        assert maps.weights.min() >= 0


@given(cases(), st.integers(1, 8))
@settings(max_examples=30, deadline=None)
def test_the_table_holds_the_rows_of_the_middle_positions_with_keys_added_up(case, side):
    kind, block, features, query = case
    _, _, frames, height, width = features.shape
    table = attention_maps(block, features, query, table_side=side).table
    matrix = attention_matrix(block, features)
    cells = [np.append(cell_starts(length, side), length) for length in (height, width)]
    middles = [(bounds[:-1] + bounds[1:] - 1) // 2 for bounds in cells]
    rows = matrix[:, middles[0]][:, :, middles[1]]
    if kind not in ("ta", "tape"):
        for axis, bounds in zip((-2, -1), cells, strict=True):
            parts = [rows.take(range(a, b), axis=axis).sum(axis=axis) for a, b in pairwise(bounds)]
            rows = np.stack(parts, axis=axis)
    assert table.shape == rows.shape
    assert table.shape[:3] == (frames, min(height, side), min(width, side))
    np.testing.assert_allclose(table, rows, atol=1e-5)


@given(st.integers(1, 40), st.integers(1, 12))
def test_a_pixel_belongs_to_the_cell_that_the_records_say(length, side):
    starts = cell_starts(length, side)
    cells = len(starts)
    for position in range(length):
        assert starts[position * cells // length] <= position
        assert position * cells // length + 1 == cells or position < starts[position * cells // length + 1]


def test_no_matrix_of_all_queries_is_made():
    """NL on 8 frames of 64 x 64: the matrix would have 268 million entries, 1 GiB; a row has 32,768."""
    block = randomise(NonLocal(4, inner_channels=2))
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            largest = max(largest, out.numel() if isinstance(out, torch.Tensor) else 0)
            return out

    with Watch(), torch.no_grad():
        attention_rows(block, torch.randn(1, 4, 8, 64, 64), torch.tensor([[3, 5, 7]]))
    assert largest <= 8 * 64 * 64 * 6
