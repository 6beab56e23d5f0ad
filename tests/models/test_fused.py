"""Blocks rearranged for inference: the same numbers, one way, and what is left as it is."""

import pytest
import torch
from models_support import randomise
from torch import nn

import gta
from gta.blocks import create_block, fused, list_blocks
from gta.blocks.fused import FusedGlobalTemporalAttention, FusedOutputProjection, FusedSpatialAttention, fuse

NAMES = [*list_blocks(), "sa+tape", "sa+pixel_gta", "sa+region_gta", "gta+gta"]


def features(*shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    return x.contiguous(memory_format=torch.channels_last_3d)


def kinds(model):
    return [type(part) for part in model.modules() if type(part).__name__.startswith("Fused")]


@pytest.mark.parametrize("name", NAMES)
def test_in_parts_and_in_place_the_numbers_are_those_of_the_block(name, monkeypatch):
    block = randomise(create_block(name, channels=16, num_frames=4)).eval()
    x, sliced = features(3, 16, 4, 5, 4), features(3, 16, 8, 5, 4)[:, :, ::2]
    quick = fuse(block)
    assert kinds(quick)
    for positions in (1, 45, 100_000):
        monkeypatch.setitem(fused._POSITIONS_AT_A_TIME, "cpu", positions)
        for given in (x, x.contiguous(), sliced):
            before = given.clone()
            with torch.no_grad():
                want, got = block(given), quick(given)
                assert torch.allclose(got, want, atol=1e-5)
            assert torch.equal(given, before)  # the caller's features are not overwritten
            assert got.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_and_no_clips(name):
    block = randomise(create_block(name, channels=16, num_frames=4)).eval()
    x = features(2, 16, 4, 4, 4)
    want = block(x).detach()
    with torch.no_grad():
        quick = fuse(block)
        assert quick(x[:0]).shape == (0, 16, 4, 4, 4)
        with torch.autocast("cpu", torch.bfloat16):
            found = [quick(x), quick(x.bfloat16())]
        found.append(quick.bfloat16()(x.bfloat16()))
        found.append(fuse(block.bfloat16())(x.bfloat16()))
    assert [part.dtype for part in found] == [torch.float32] + [torch.bfloat16] * 3
    for got in found:
        assert (got.float() - want).norm() < 0.05 * want.norm()


def test_a_network_is_copied_around_its_blocks_only():
    model = randomise(gta.create_model("tiny_gta", num_classes=3, num_frames=4)).eval()
    blocks = {name for name, part in model.named_modules() if name.endswith(".attention")}
    quick = fuse(model)
    assert blocks
    assert {name for name, part in quick.named_modules() if name.endswith(".attention")} == blocks
    assert kinds(quick).count(FusedSpatialAttention) == kinds(quick).count(FusedGlobalTemporalAttention) == len(blocks)
    assert kinds(model) == []
    assert quick.head is model.head
    assert {id(weight) for weight in quick.parameters()} < {id(weight) for weight in model.parameters()}
    clip = torch.rand(2, 3, 4, 32, 32)
    with torch.no_grad():
        assert torch.allclose(quick(clip), model(clip), atol=1e-5)
        want = quick(clip)
        assert fuse(quick) is quick  # one way: nothing is left to do
        model.train()(clip)  # other statistics of the blocks' norms do not reach the copy
        model.eval()
        randomise(model)
        assert not torch.allclose(quick(clip), want)  # but the shared layers are the same tensors


def test_the_ends_of_other_blocks_are_folded():
    for name, more in (("nl", {}), ("tape", {}), ("gta", {"gate": True})):
        assert FusedOutputProjection in kinds(fuse(create_block(name, channels=16, **more).eval())), name
    assert FusedGlobalTemporalAttention not in kinds(fuse(create_block("gta", channels=16, gate=True).eval()))


class Adapted(nn.Linear):
    """A linear layer that does more than its weights say, as adapters for fine-tuning do."""

    def forward(self, x):
        return super().forward(x) + 1


@pytest.mark.parametrize("place", ["sa.qkv", "sa.output.linear", "gta.values", "gta.output.linear", "gta.output.norm"])
def test_replaced_layers_still_count(place):
    block = randomise(create_block("gta", channels=16, num_frames=4)).eval()
    layer = block.get_submodule(place)
    other = nn.LayerNorm(16) if place.endswith("norm") else Adapted(layer.in_features, layer.out_features)
    block.set_submodule(place, other)
    x = features(2, 16, 4, 5, 4)
    with torch.no_grad():
        assert torch.allclose(fuse(block)(x), block(x), atol=1e-5)


@pytest.mark.parametrize("name", ["nl", "gta"])
def test_hooks_on_layers_around_the_blocks_are_called(name):
    model = gta.create_model(f"tiny_{name}", num_classes=3, num_frames=4).eval()
    seen = []
    for place in ("backbone", "head"):
        model.get_submodule(place).register_forward_hook(lambda module, args, out: seen.append(type(module)))
    with torch.no_grad():
        fuse(model)(torch.rand(1, 3, 4, 32, 32))
    assert len(seen) == 2


def test_what_cannot_be_rearranged_is_given_back_or_refused():
    for model in (
        nn.Linear(2, 2),
        gta.create_model("tiny", num_classes=2),
        create_block("gta", channels=16, norm="layer"),
    ):
        assert fuse(model.eval()) is model
    with pytest.raises(ValueError, match=r"eval\(\)"):
        fuse(create_block("gta", channels=16))
    quick = fuse(create_block("gta", channels=16, num_frames=4).eval())
    with pytest.raises(RuntimeError, match="gradients"):
        quick(features(1, 16, 4, 2, 2).requires_grad_())
    with torch.no_grad(), pytest.raises(ValueError, match=r"3 frames.*4"):
        quick(features(1, 16, 3, 2, 2))
    with torch.no_grad(), pytest.raises(ValueError, match=r"8 channels.*16"):
        quick(features(1, 8, 4, 2, 2))
