"""Blocks of other papers against plain restatements of their equations, their cost against a count by hand."""

import pytest
import torch
import torch.nn.functional as F
from models_support import randomise

from gta.backbones.insertion import insert_attention
from gta.blocks import create_block, list_motion_blocks
from gta.blocks.motion import Correlation, MotionExcitation, MultipleTemporalAggregation, SpatioTemporalMotion
from gta.models.flops import count_flops
from gta.models.registry import create_model

BLOCKS = list_motion_blocks()


def features(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def over_frames(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """A filter over three frames for each channel, as a loop: weight (C, 1, 3, 1, 1)."""
    out = torch.zeros_like(x)
    for frame in range(x.shape[2]):
        for offset in (-1, 0, 1):
            if 0 <= frame + offset < x.shape[2]:
                out[:, :, frame] += weight[:, 0, offset + 1, 0, 0, None, None] * x[:, :, frame + offset]
    return out


def each_frame(x: torch.Tensor, weight: torch.Tensor, groups: int = 1) -> torch.Tensor:
    """A 2D convolution of every frame with the kernel of a (., ., 1, h, w) one."""
    kernel = weight[:, :, 0]
    frames = [F.conv2d(x[:, :, t], kernel, padding=kernel.shape[-1] // 2, groups=groups) for t in range(x.shape[2])]
    return torch.stack(frames, dim=2)


def motion(squeezed: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    moved = each_frame(squeezed, weight, groups=squeezed.shape[1])
    steps = [moved[:, :, t + 1] - squeezed[:, :, t] for t in range(squeezed.shape[2] - 1)]
    return torch.stack([*steps, torch.zeros_like(squeezed[:, :, 0])], dim=2)


def test_motion_excitation_is_that_of_tea():
    module = randomise(MotionExcitation(32)).eval().double()
    x = features(2, 32, 4, 5, 6).double()
    squeezed = module.squeeze_norm(each_frame(x, module.squeeze.weight))
    pooled = motion(squeezed, module.transform.weight).mean(dim=(3, 4), keepdim=True)
    attention = 2 * torch.sigmoid(module.expand_norm(each_frame(pooled, module.expand.weight))) - 1
    torch.testing.assert_close(module(x), x + x * attention)


def test_multiple_temporal_aggregation_is_that_of_tea():
    module = randomise(MultipleTemporalAggregation(16)).double()
    x = features(2, 16, 4, 5, 6).double()
    results = [x[:, :4]]
    for number in (1, 2, 3):
        given = x[:, 4 * number : 4 * number + 4] + (results[-1] if number > 1 else 0)
        moved = over_frames(given, module.temporal[number - 1].weight)
        results.append(each_frame(moved, module.spatial[number - 1].weight))
    torch.testing.assert_close(module(x), torch.cat(results, dim=1))


def test_spatio_temporal_motion_is_that_of_stm():
    module = randomise(SpatioTemporalMotion(32)).double()
    x = features(2, 32, 4, 5, 6).double()
    cstm = each_frame(over_frames(x, module.temporal.weight), module.spatial.weight)
    cmm = each_frame(motion(each_frame(x, module.squeeze.weight), module.transform.weight), module.restore.weight)
    torch.testing.assert_close(module(x), cstm + cmm)


def test_correlation_is_that_of_corrnet():
    module = randomise(Correlation(6, groups=2, size=3)).double()
    x = features(2, 6, 3, 4, 5).double()
    out = torch.zeros(2, 2 * 9, 3, 4, 5, dtype=torch.double)
    for t, y, z, group, dy, dz in torch.cartesian_prod(*map(torch.arange, (3, 4, 5, 2, 3, 3))).tolist():
        before, row, column = max(t - 1, 0), y + dy - 1, z + dz - 1
        if 0 <= row < 4 and 0 <= column < 5:
            channels = slice(3 * group, 3 * group + 3)
            weight = module.filter[channels, 3 * dy + dz]
            products = weight * x[:, channels, t, y, z] * x[:, channels, before, row, column]
            out[:, 9 * group + 3 * dy + dz, t, y, z] = products.sum(dim=1) / 3
    torch.testing.assert_close(module(x), out)


def test_temporal_aggregation_weighs_neighbouring_frames():
    block = create_block("tam", channels=8, zero_init=False)
    x = features(2, 8, 4, 5, 6)
    torch.testing.assert_close(block(x), over_frames(x, block.weights.weight))


@pytest.mark.parametrize("name", BLOCKS)
def test_contract(name):
    """A fresh block is the identity; gradients reach every parameter; any number of frames; the order counts."""
    block = create_block(name, channels=64, num_frames=4)
    x = features(2, 64, 4, 6, 5)
    assert torch.equal(block.train()(x), x)
    assert torch.equal(block.eval()(x), x)
    assert block.resize(6) == []
    block = randomise(block).train()
    block(features(2, 64, 6, 6, 5)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in block.parameters())
    block.eval()
    with torch.no_grad():
        if name == "tam":  # its random weights are those of no identity
            block.weights.weight.normal_()
        last = x.contiguous(memory_format=torch.channels_last_3d)
        torch.testing.assert_close(block(last), block(x))
        backwards = block(x.flip(2)).mean(dim=2)
        assert not torch.allclose(backwards, block(x).mean(dim=2), atol=1e-3)
    with pytest.raises(ValueError, match="features have 8 channels, the block was built for 64"):
        block(features(1, 8, 4, 6, 5))


def by_hand(name: str, channels: int, frames: int, positions: int) -> tuple[int, int]:
    """Multiply-adds and parameters from the papers' text; C/4 in the bottleneck, 16 for 1 in ME and CMM."""
    inner, squeezed = channels // 4, channels // 64
    places = frames * positions
    if name == "tam":
        return 3 * channels * places, 3 * channels
    steps = (frames - 1) * positions
    down, down_parameters = places * channels * inner, channels * inner + 2 * inner
    if name == "tea":
        fragment = inner // 4
        work = places * inner * squeezed + steps * 9 * squeezed + frames * squeezed * inner
        work += 3 * places * (3 * fragment + 9 * fragment**2)
        weights = 2 * inner * squeezed + 9 * squeezed + 2 * squeezed + 2 * inner + 3 * (3 * fragment + 9 * fragment**2)
        out = inner
    elif name == "stm":
        work = places * (3 * inner + 9 * inner**2) + 2 * places * inner * squeezed + steps * 9 * squeezed
        weights = 3 * inner + 9 * inner**2 + 2 * inner * squeezed + 9 * squeezed
        out = inner
    else:
        work, weights, out = places * 49 * inner, 49 * inner, 32 * 49
    up, up_parameters = places * out * channels, (out + 1) * channels + 2 * channels
    return down + work + up, down_parameters + weights + up_parameters


@pytest.mark.parametrize("name", BLOCKS)
def test_cost_is_what_a_count_by_hand_gives(name):
    with torch.device("meta"):
        block = create_block(name, channels=512, num_frames=8)
    work, weights = by_hand(name, 512, 8, 28 * 28)
    assert count_flops(block, (1, 512, 8, 28, 28)) == pytest.approx(work, rel=0.02)
    assert sum(parameter.numel() for parameter in block.parameters()) == pytest.approx(weights, rel=0.02)


@pytest.mark.parametrize("name", BLOCKS)
def test_in_a_model(name):
    """By name; the fresh insertion leaves the host as it was; stored weights come back; it can be exported."""
    torch.manual_seed(0)
    model = create_model(f"tiny_{name}", num_classes=5, num_frames=4).eval()
    clip = features(1, 3, 4, 32, 32)
    torch.manual_seed(0)
    host = create_model("tiny", num_classes=5, num_frames=4).eval()
    host.load_state_dict({key.replace(".host.", "."): value for key, value in model.state_dict().items()}, strict=False)
    with torch.no_grad():
        torch.testing.assert_close(model(clip), host(clip))
        randomise(model).eval()
        copy = create_model(**model.arguments).eval()
        copy.load_state_dict(model.state_dict())
        assert torch.equal(copy(clip), model(clip))
        exported = torch.export.export(model, (clip,)).module()
        torch.testing.assert_close(exported(clip), model(clip), atol=1e-4, rtol=1e-4)
        model.resize(6)
        assert model(features(1, 3, 6, 32, 32)).shape == (1, 5)


def test_another_network_takes_them():
    host = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3, padding=1), torch.nn.ReLU()).eval()
    frames = features(8, 3, 6, 6)
    want = host(frames)
    insert_attention(host, block="tea+tam", at=["0"], num_frames=4)
    torch.testing.assert_close(host(frames), want)
