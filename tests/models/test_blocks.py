"""What every block promises besides its numbers: identity at birth, memory layout, other lengths, clear errors."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models_support import randomise
from torch import nn

import gta
from gta.blocks import AttentionSpec, create_block, list_blocks
from gta.ops import (
    from_tokens,
    global_temporal_attention,
    mix_frames,
    resize_mixing,
    temporal_shift,
    to_tokens,
)

NAMES = [*list_blocks(), "sa+tape", "sa+pixel_gta", "sa+region_gta"]


def features(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("name", NAMES)
def test_fresh_block_is_the_identity_bit_for_bit(name, norm):
    block = create_block(name, channels=16, num_frames=4, norm=norm)
    x = features(2, 16, 4, 5, 6)
    assert torch.equal(block.train()(x), x)
    assert torch.equal(block.eval()(x), x)
    with torch.no_grad():
        assert torch.equal(block(x), x)


@pytest.mark.parametrize("name", NAMES)
def test_without_zero_init_a_fresh_block_changes_its_input(name):
    block = create_block(name, channels=16, num_frames=4, zero_init=False)
    x = features(2, 16, 4, 5, 6)
    assert not torch.allclose(block(x), x, atol=1e-3)


class CopyCounter(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts tensors as large as the features that are made by copying."""

    def __init__(self, numel):
        super().__init__()
        self.numel, self.copies = numel, []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        copying = function.overloadpacket in (torch.ops.aten.clone, torch.ops.aten.copy_, torch.ops.aten._to_copy)
        if copying and isinstance(out, torch.Tensor) and out.numel() >= self.numel:
            self.copies.append(str(function))
        return out


@pytest.mark.parametrize("name", NAMES)
def test_no_copy_at_entry_or_exit_when_channels_last(name):
    block = randomise(create_block(name, channels=32, num_frames=4, num_regions=2)).eval()
    x = channels_last(features(2, 32, 4, 6, 6))
    assert to_tokens(x).data_ptr() == x.data_ptr()
    assert to_tokens(x).is_contiguous()
    with CopyCounter(x.numel()) as counter:
        out = block(x)
    assert counter.copies == []
    assert out.stride() == x.stride()
    folded = features(8, 32, 6, 6).contiguous(memory_format=torch.channels_last)  # a frame-wise network's features
    clips = folded.unflatten(0, (2, 4)).transpose(1, 2)
    assert to_tokens(clips).data_ptr() == folded.data_ptr()
    with CopyCounter(x.numel()) as counter:
        out = block(clips).transpose(1, 2).flatten(0, 1)
    assert counter.copies == []
    assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", NAMES)
def test_memory_format_does_not_change_the_numbers(name):
    block = randomise(create_block(name, channels=16, num_frames=4)).eval()
    x = features(2, 16, 4, 4, 6)
    sliced = features(2, 16, 8, 4, 6)[:, :, ::2]
    assert torch.allclose(block(channels_last(x)), block(x), atol=1e-5)
    assert torch.allclose(block(sliced), block(sliced.clone()), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_no_clips_give_no_clips(name):
    block = create_block(name, channels=16, num_frames=4).eval()
    with torch.no_grad():
        assert block(features(0, 16, 4, 5, 4)).shape == (0, 16, 4, 5, 4)


@pytest.mark.parametrize("name", NAMES)
def test_block_computes_in_bfloat16(name):
    block = randomise(create_block(name, channels=16, num_frames=4)).eval()
    x = features(2, 16, 4, 4, 4)
    want = block(x).detach()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        mixed = block(x)
    with torch.no_grad():
        pure = block.bfloat16()(x.bfloat16())
    for got in (mixed, pure):
        assert (got.float() - want).norm() < 0.05 * want.norm()


@pytest.mark.parametrize("name", NAMES)
def test_export_gives_the_same_numbers(name):
    block = randomise(create_block(name, channels=16, num_frames=4)).eval()
    x = features(2, 16, 4, 4, 4)
    exported = torch.export.export(block, (x,)).module()
    assert torch.allclose(exported(x), block(x), atol=1e-6)


def test_compiled_in_one_graph_gives_the_same_numbers():
    # In a process of its own: the run-time checks of shapes, which the tests switch on, cannot be traced.
    script = Path(__file__).with_name("compile_blocks.py")
    done = subprocess.run(
        [sys.executable, script, *list_blocks()], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == list_blocks()


@pytest.mark.parametrize("name", NAMES)
def test_resize_makes_the_block_read_another_number_of_frames(name):
    block = randomise(create_block(name, channels=16, num_frames=4)).eval()
    resized = block.resize(6)
    has_mixing = "gta" in name
    names = ["mixing", "region_mixing"] if name == "gta" else ["mixing"] * has_mixing
    assert [key.rpartition(".")[2] for key in resized] == names
    assert block(features(1, 16, 6, 3, 3)).shape == (1, 16, 6, 3, 3)
    for key, parameter in block.named_parameters():
        if key in resized:
            assert parameter.shape[2:] == (6, 6)
    if has_mixing or "tape" in name:
        with pytest.raises(ValueError, match=r"4 frames.*6"):
            block(features(1, 16, 4, 3, 3))


def test_constant_regions_are_resized():
    block = create_block("region_gta", channels=16, num_frames=4, regions="constant", region_size=(3, 3))
    assert block.resize(8) == ["mixing", "assignment"]
    assert block(features(1, 16, 8, 3, 3)).shape == (1, 16, 8, 3, 3)


@given(old=st.integers(1, 12), new=st.integers(1, 24), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_resizing_keeps_the_sum_of_each_row(old, new, seed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(2, 3, old, old, dtype=torch.float64, generator=generator)
    resized = resize_mixing(weight, new)
    assert resized.shape == (2, 3, new, new)
    # A matrix whose rows all sum to s stays one; in general the sums are interpolated or averaged.
    level = weight - weight.mean(dim=-1, keepdim=True) + 0.7 / old
    assert torch.allclose(resize_mixing(level, new).sum(dim=-1), torch.full((), 0.7, dtype=torch.float64))
    if new == old:
        assert torch.equal(resized, weight)
    if new == 2 * old:
        want = nn.functional.interpolate(weight.sum(dim=-1), size=new, mode="linear")
        assert torch.allclose(resized.sum(dim=-1), want)


@given(
    batch=st.integers(1, 2), frames=st.integers(1, 4), positions=st.integers(1, 3), width=st.integers(1, 3),
    groups=st.integers(1, 3), heads=st.integers(1, 3), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_fast_mixing_equals_the_loops_of_eqs_5_to_7(batch, frames, positions, width, groups, heads, seed):
    generator = torch.Generator().manual_seed(seed)
    value = torch.randn(batch, positions, frames, groups * width, dtype=torch.float64, generator=generator)
    weight = torch.randn(groups, heads, frames, frames, dtype=torch.float64, generator=generator)
    want = torch.zeros(batch, positions, frames, heads * width, dtype=torch.float64)
    for k in range(heads):
        for g in range(groups):
            for t in range(frames):
                for u in range(frames):
                    part = value[:, :, u, g * width : (g + 1) * width]
                    want[:, :, t, k * width : (k + 1) * width] += weight[g, k, t, u] * part
    assert torch.allclose(global_temporal_attention(value, weight), want, atol=1e-12)
    assert torch.allclose(mix_frames(value.transpose(1, 2), weight).transpose(1, 2), want, atol=1e-12)


def test_temporal_shift_moves_channels_as_described():
    frames = torch.arange(3 * 8, dtype=torch.float32).reshape(3, 8, 1, 1)
    shifted = temporal_shift(frames, 3).flatten(1)
    assert shifted[:, 0].tolist() == [8.0, 16.0, 0.0]  # from the next frame
    assert shifted[:, 1].tolist() == [0.0, 1.0, 9.0]  # from the previous frame
    assert torch.equal(shifted[:, 2:], frames.flatten(1)[:, 2:])
    with pytest.raises(ValueError, match=r"3 frames.*2"):
        temporal_shift(frames, 2)


def test_tokens_round_trip():
    x = features(2, 3, 4, 5, 6)
    assert torch.equal(from_tokens(to_tokens(x), 5, 6), x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: create_block("gta", channels=20, num_groups=8), r"20 channels.*8 groups"),
        (lambda: create_block("pixel_gta", channels=32, inner_channels=12), r"12 inner channels.*8 groups"),
        (lambda: create_block("gta", channels=16, num_groups=0), "num_groups is 0"),
        (lambda: create_block("gta", channels=16, num_heads=0), "num_heads is 0"),
        (lambda: create_block("region_gta", channels=16, num_regions=0), "num_regions is 0"),
        (lambda: create_block("gta", channels=16, num_frames=0), "num_frames is 0"),
        (lambda: create_block("nope", channels=16), "'nope' is not a block"),
        (lambda: create_block("sa+nope", channels=16), "'nope' is not a block"),
        (lambda: create_block("gta", channels=16, regions="constant"), "region_size"),
        (lambda: create_block("sa", channels=16, pool="sometimes"), "'sometimes'"),
        (lambda: create_block("sa", channels=16, norm="group"), "'group'"),
        (lambda: create_block("sa", channels=16)(features(1, 8, 2, 2, 2)), r"8 channels.*16"),
        (lambda: create_block("gta", channels=16, num_frames=4)(features(1, 16, 3, 2, 2)), r"3 frames.*4"),
    ],
)
def test_what_does_not_fit_is_said_with_both_numbers(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


@pytest.mark.parametrize("heads", [1, 4, 16])
def test_other_numbers_of_heads_map_back_to_the_channels(heads):
    block = create_block("gta", channels=32, num_frames=4, num_groups=8, num_heads=heads)
    assert block.gta.mixing.shape == (8, heads, 4, 4)
    assert block(features(1, 32, 4, 3, 3)).shape == (1, 32, 4, 3, 3)


def test_mixing_starts_with_the_variance_kept():
    torch.manual_seed(0)
    block = create_block("pixel_gta", channels=512, num_frames=8)
    mixed = mix_frames(torch.randn(1, 8, 64, 128), block.mixing)
    assert 0.8 < mixed.std().item() < 1.25


def test_projections_that_read_the_same_input_are_one_product():

    class Products(torch.utils._python_dispatch.TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.widths = []
            self.mixed = []

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function.overloadpacket in (torch.ops.aten.addmm, torch.ops.aten.mm):
                self.widths.append(args[-1].shape[-1])
            if function.overloadpacket is torch.ops.aten.bmm and args[0].shape == (1, 4 * 8, 4 * 8):
                self.mixed.append(args[1].shape[-1])
            return function(*args, **(kwargs or {}))

    block = create_block("gta", channels=64, num_frames=4, num_regions=5)
    with Products() as products:
        block(features(1, 64, 4, 4, 4))
    assert products.widths == [3 * 16, 64, 2 * 16 + 5, 64]
    assert products.mixed == [16 * 2, 5 * 2]  # positions and regions, each of 16 / 8 channels


def test_a_spec_is_the_same_as_its_keywords():
    given = {"num_groups": 4, "num_regions": 3, "pool": "none", "toeplitz": True, "norm": "layer"}
    spec = AttentionSpec.of(**given)
    assert given.items() <= spec.arguments().items()
    assert AttentionSpec.of(**spec.arguments()) == spec
    blocks = [
        create_block("gta", channels=16, num_frames=4, **given),
        create_block("gta", channels=16, num_frames=4, spec=spec),
    ]
    assert str(blocks[0]) == str(blocks[1])
    assert blocks[1].sa.pool == "none"
    assert {k: v.shape for k, v in blocks[0].state_dict().items()} == {
        k: v.shape for k, v in blocks[1].state_dict().items()
    }
    with pytest.raises(TypeError, match="'num_group' is not an option"):
        create_block("gta", channels=16, num_group=4)
    with pytest.raises(TypeError, match="'norm' cannot be combined with spec"):
        create_block("gta", channels=16, norm="layer", spec=spec)
    with pytest.raises(TypeError, match="no argument 'num_group': did you mean num_groups"):
        gta.create_model("tiny_gta", num_group=4)
