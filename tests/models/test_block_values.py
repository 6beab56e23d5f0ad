"""Every block equals its equations, written with loops: values and gradients."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from models_support import randomise
from references import non_local, reference, weights_of

from gta.blocks import create_block
from gta.blocks.fused import fuse

NAMES = [
    "nl", "sa", "ta", "tape", "dnl", "pixel_gta", "region_gta", "gta",
    "sa+ta", "sa+tape", "sa+pixel_gta", "sa+region_gta",
]  # fmt: skip

SHAPES = st.tuples(st.integers(1, 2), st.sampled_from([4, 8]), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))


def values_and_gradients(function, x, weights, direction):
    """The output and the gradients of its weighted sum with respect to x and the parameters."""
    x = x.detach().clone().requires_grad_()
    out = function(x)
    wanted = [x, *(w for w in weights.values() if w.requires_grad)]
    return [out, *torch.autograd.grad((out * direction).sum(), wanted)]


def assert_close(got, want, tolerance):
    """Each relative to its own norm, but for a few roundings of the largest.

    What is zero in exact arithmetic by cancellation (the region logits' gradient when there is one position) has no
    relative error: a few roundings of what it was computed from are all that the dtype can promise.
    """
    largest = max(b.double().norm() for b in want)
    for a, b in zip(got, want, strict=True):
        rounding = 8 * torch.finfo(a.dtype).eps * largest
        error = (a.double() - b.double()).norm()
        allowed = tolerance * b.double().norm().clamp_min(1e-3) + rounding
        assert error <= allowed, f"error {error:.2e} of norm {b.double().norm():.2e}, allowed {allowed:.2e}"


@pytest.mark.parametrize("name", NAMES)
@example(shape=(2, 4, 1, 1, 1), seed=1673, pool="after", scaled=False, groups=4, heads=1)  # regions of one position
@settings(max_examples=5, deadline=None)
@given(
    shape=SHAPES,
    seed=st.integers(0, 10_000),
    pool=st.sampled_from(["after", "before", "none"]),
    scaled=st.booleans(),
    groups=st.sampled_from([1, 2, 4]),
    heads=st.sampled_from([None, 1, 3]),
)
def test_block_equals_its_equations(name, shape, seed, pool, scaled, groups, heads):
    torch.manual_seed(seed)
    options = {
        "channels": shape[1], "num_frames": shape[2], "num_groups": groups, "num_heads": heads,
        "num_regions": 3, "pool": pool, "scaled": scaled,
    }  # fmt: skip
    block = randomise(create_block(name, **options).double().eval())
    x, direction = torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
    weights = weights_of(block)
    want = values_and_gradients(lambda v: reference(name, v, weights, pool=pool, scaled=scaled), x, weights, direction)
    assert_close(values_and_gradients(block, x, weights, direction), want, 1e-10)
    with torch.no_grad():
        assert_close([fuse(block)(x)], want[:1], 1e-10)
    single = block.float()
    weights32 = weights_of(single)
    got = values_and_gradients(single, x.float(), weights32, direction.float())
    assert_close(got, want, 1e-5)
    with torch.no_grad():
        assert_close([fuse(single)(x.float())], want[:1], 1e-5)


@pytest.mark.parametrize("pool", ["after", "before", "none"])
@settings(max_examples=5, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 10_000), scaled=st.booleans())
def test_non_local_block_without_softmax_equals_its_equations(pool, shape, seed, scaled):
    torch.manual_seed(seed)
    options = {"channels": shape[1], "pool": pool, "scaled": scaled, "instantiation": "dot_product"}
    block = randomise(create_block("nl", **options).double().eval())
    x, direction = torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
    weights = weights_of(block)
    want = values_and_gradients(lambda v: non_local(v, weights, pool=pool, softmaxed=False), x, weights, direction)
    assert_close(values_and_gradients(block, x, weights, direction), want, 1e-10)
    with torch.no_grad():
        assert_close([fuse(block)(x)], want[:1], 1e-10)
        query, _, value = block.project(x)  # its weights are those that it adds the values up with
        inner = (block.attention(x) @ value.flatten(1, 2)).view(query.shape)
        assert_close([block._finish(inner, x)], want[:1], 1e-10)
    assert_close(values_and_gradients(block.float(), x.float(), weights_of(block), direction.float()), want, 1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_block_in_training_normalises_over_the_batch(name):
    torch.manual_seed(1)
    shape = (2, 8, 3, 3, 2)
    block = randomise(create_block(name, channels=8, num_frames=3, num_groups=2, num_regions=3).double().train())
    weights = weights_of(block)
    x, direction = torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
    want = values_and_gradients(lambda v: reference(name, v, weights, training=True), x, weights, direction)
    assert_close(values_and_gradients(block, x, weights, direction), want, 1e-9)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_layer_norm_is_over_the_channels_of_a_position(name, training):
    torch.manual_seed(3)
    shape = (2, 8, 3, 3, 2)
    options = {"channels": 8, "num_frames": 3, "num_groups": 2, "num_regions": 3, "norm": "layer"}
    block = randomise(create_block(name, **options).double().train(training))
    weights = weights_of(block)
    x, direction = torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
    want = values_and_gradients(lambda v: reference(name, v, weights), x, weights, direction)
    assert_close(values_and_gradients(block, x, weights, direction), want, 1e-9)


def test_constant_regions_equal_their_equations():
    torch.manual_seed(2)
    block = create_block(
        "gta", channels=8, num_frames=3, num_groups=2, num_regions=3, regions="constant", region_size=(2, 3)
    )
    block = randomise(block.double().eval())
    x, direction = torch.randn(2, 8, 3, 2, 3, dtype=torch.float64), torch.randn(2, 8, 3, 2, 3, dtype=torch.float64)
    weights = weights_of(block)
    want = values_and_gradients(lambda v: reference("gta", v, weights, constant=True), x, weights, direction)
    assert_close(values_and_gradients(block, x, weights, direction), want, 1e-10)
    with torch.no_grad():
        assert_close([fuse(block)(x)], want[:1], 1e-10)
    for either in (block, fuse(block)):
        with pytest.raises(ValueError, match=r"3x2.*2x3"), torch.no_grad():
            either(x.transpose(3, 4))
