"""Blocks of other papers against plain restatements of their equations, their cost against a count by hand."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from models_support import randomise
from torch import nn

from gta.backbones.insertion import insert_attention
from gta.blocks import create_block, list_motion_blocks
from gta.blocks.motion import Correlation, MotionExcitation, MultipleTemporalAggregation, SpatioTemporalMotion
from gta.blocks.motion_squeeze import MotionSqueeze
from gta.blocks.region_graph import RegionGraph, overlap_graphs
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
    module = randomise(MultipleTemporalAggregation(16)).eval().double()
    x = features(2, 16, 4, 5, 6).double()
    results = [x[:, :4]]
    for number in (1, 2, 3):
        given = x[:, 4 * number : 4 * number + 4] + (results[-1] if number > 1 else 0)
        moved = over_frames(given, module.temporal[number - 1].weight)
        results.append(torch.relu(module.norms[number - 1](each_frame(moved, module.spatial[number - 1].weight))))
    torch.testing.assert_close(module(x), torch.cat(results, dim=1))


def test_spatio_temporal_motion_is_that_of_stm():
    module = randomise(SpatioTemporalMotion(32)).eval().double()
    x = features(2, 32, 4, 5, 6).double()
    cstm = torch.relu(module.norm(each_frame(over_frames(x, module.temporal.weight), module.spatial.weight)))
    squeezed = module.squeeze_norm(each_frame(x, module.squeeze.weight))
    cmm = each_frame(motion(squeezed, module.transform.weight), module.restore.weight)
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


def test_motion_is_that_of_motion_squeeze():
    """Position by position: similarities of a window, sharpened around the best, and the offsets they expect."""
    module = randomise(MotionSqueeze(16, inner_channels=6, size=3)).eval().double().requires_grad_(False)
    x = features(1, 16, 3, 4, 5).double()
    reduced = torch.relu(module.reduce_norm(torch.einsum("dc,cthw->tdhw", module.reduce.weight[:, :, 0, 0], x[0])))
    want = torch.zeros(3, 3, 4, 5, dtype=torch.double)
    for t, y, z in torch.cartesian_prod(*map(torch.arange, (2, 4, 5))).tolist():
        here, found = reduced[t, :, y, z], {}
        for dy, dz in itertools.product((-1, 0, 1), repeat=2):
            row, column = y + dy, z + dz
            inside = 0 <= row < 4 and 0 <= column < 5
            there = reduced[t + 1, :, row, column] if inside else torch.zeros(6, dtype=torch.double)
            found[dy, dz] = F.cosine_similarity(here, there, dim=0, eps=1e-6)
        by, bz = max(found, key=lambda offset: found[offset])
        scores = {
            (dy, dz): float(value) * math.exp(-((dy - by) ** 2 + (dz - bz) ** 2) / 50) / 0.01
            for (dy, dz), value in found.items()
        }
        total = sum(math.exp(score - max(scores.values())) for score in scores.values())
        for (dy, dz), score in scores.items():
            weight = math.exp(score - max(scores.values())) / total
            want[0, t, y, z] += weight * dz
            want[1, t, y, z] += weight * dy
        want[2, t, y, z] = found[by, bz]
    want[:, 2] = want[:, 1]
    torch.testing.assert_close(module.motion(x)[0], want, rtol=1e-6, atol=1e-6)


def test_motion_points_where_the_pattern_goes():
    """A pattern that moves by one position to the right and two down, and how far that is of a reach of 7."""
    module = MotionSqueeze(8, inner_channels=8).eval()
    with torch.no_grad():
        module.reduce.weight.copy_(torch.eye(8)[:, :, None, None])
    one = torch.rand(1, 8, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    right, down, sure = module.motion(torch.cat([one, one.roll((2, 1), dims=(3, 4))], dim=2))[0, :, 0, 8:12, 8:12]
    torch.testing.assert_close(right, torch.full((4, 4), 1 / 7), atol=0.02, rtol=0)
    torch.testing.assert_close(down, torch.full((4, 4), 2 / 7), atol=0.02, rtol=0)
    torch.testing.assert_close(sure, torch.ones(4, 4))


def test_a_clip_of_one_frame_has_no_motion():
    block = randomise(MotionSqueeze(16)).eval()
    assert not block.motion(features(1, 16, 1, 4, 4)).any()
    assert block(features(1, 16, 1, 4, 4)).shape == (1, 16, 1, 4, 4)


def test_overlaps_join_neighbouring_frames():
    """Regions with sharp borders: the weight of an edge is the intersection over union, rows add up to 1."""
    masks = torch.zeros(1, 2, 4, 2)  # positions 0 1 | 2 3, then 0 | 1 2 3
    masks[0, 0, :2, 0] = masks[0, 0, 2:, 1] = masks[0, 1, :1, 0] = masks[0, 1, 1:, 1] = 1
    forward, backward = overlap_graphs(masks)
    overlaps = torch.tensor([[1 / 2, 1 / 4], [0, 2 / 3]])
    want = torch.zeros(4, 4)
    want[:2, 2:] = overlaps / overlaps.sum(dim=1, keepdim=True)
    torch.testing.assert_close(forward[0], want)
    want = torch.zeros(4, 4)
    want[2:, :2] = overlaps.T / overlaps.T.sum(dim=1, keepdim=True)
    torch.testing.assert_close(backward[0], want)


def test_graph_convolution_is_that_of_region_graphs():
    """Node by node: three layers over three graphs, with residuals; features of a position from its regions."""
    module = randomise(RegionGraph(16, num_regions=2)).eval().double()
    x = features(1, 16, 3, 2, 3).double()
    tokens = x[0].flatten(2).permute(1, 2, 0)  # (T, S, C)
    values, logits = module.values(tokens).split([4, 2], dim=2)
    share = logits.softmax(dim=2)
    nodes = {(t, r): sum(share[t, s, r] * values[t, s] for s in range(6)) / share[t, :, r].sum()
             for t in range(3) for r in range(2)}  # fmt: skip
    keys = list(nodes)
    query, key = module.similarity.weight.chunk(2)
    similar = {a: torch.stack([query @ nodes[a] @ (key @ nodes[b]) / 2 for b in keys]).softmax(dim=0) for a in keys}

    def overlap(a, b):
        one, other = share[a[0], :, a[1]], share[b[0], :, b[1]]
        return torch.minimum(one, other).sum() / torch.maximum(one, other).sum()

    for layer, norm in zip(module.layers, module.norms, strict=True):
        weights = layer.weight.chunk(3)
        found = {}
        for a in keys:
            out = sum(similar[a][i] * (weights[0] @ nodes[b]) for i, b in enumerate(keys))
            for graph, step in ((1, 1), (2, -1)):
                near = {b: overlap(a, b) if step > 0 else overlap(b, a) for b in keys if b[0] == a[0] + step}
                total = sum(near.values())
                out = out + sum(edge / total * (weights[graph] @ nodes[b]) for b, edge in near.items())
            found[a] = nodes[a] + torch.relu(norm(out))
        nodes = found
    inner = torch.stack(
        [torch.stack([sum(share[t, s, r] * nodes[t, r] for r in range(2)) for s in range(6)]) for t in range(3)]
    )
    want = module.output(inner[None], tokens[None])[0].permute(2, 0, 1).unflatten(2, (2, 3))
    torch.testing.assert_close(module(x)[0], want)


def test_filters_over_time_start_as_shifts():
    """STM: a quarter of the channels from either side. TEA: each frame itself, but for the last fragment's halves."""
    x = features(1, 16, 4, 2, 2)
    before, after = F.pad(x, (0, 0, 0, 0, 1, 0))[:, :, :-1], F.pad(x, (0, 0, 0, 0, 0, 1))[:, :, 1:]
    method = create_block("stm", channels=64).method
    assert torch.equal(method.temporal(x), torch.cat([before[:, :4], x[:, 4:12], after[:, 12:]], dim=1))
    *first, last = create_block("tea", channels=64).method[1].temporal
    fragment, sides = x[:, :4], torch.cat([before[:, :2], after[:, 2:4]], dim=1)
    assert all(torch.equal(temporal(fragment), fragment) for temporal in first)
    assert torch.equal(last(fragment), sides)


@pytest.mark.parametrize(("name", "channels"), [("tea", 64), ("tea", 2048), ("stm", 64), ("stm", 2048)])
@torch.no_grad()
def test_no_part_of_a_fresh_method_drowns_the_others(name, channels):
    """Fragments, and the two halves of STM, are of comparable size at the start, however wide the block is."""
    torch.manual_seed(0)
    block = create_block(name, channels=channels).train()
    inner = F.relu(torch.randn(4, channels // 4, 8, 7, 7))
    if name == "tea":
        sizes = [float(part.square().mean().sqrt()) for part in block.method(inner).chunk(4, dim=1)]
    else:
        method = block.method
        both = method(inner)
        method.restore.weight.data.zero_()
        cstm = method(inner)
        sizes = [float(part.square().mean().sqrt()) for part in (cstm, both - cstm)]
    assert max(sizes) / min(sizes) < 4, sizes


def test_narrow_channels_are_rounded_and_odd_ones_refused():
    assert create_block("tea", channels=40).reduce.out_channels == 12
    for name in ("corr", "stm", "tea"):
        x = features(1, 3, 2, 8, 8)
        assert torch.equal(create_block(name, channels=3).eval()(x), x)
    with pytest.raises(ValueError, match="tea: 10 inner channels do not divide into 4 fragments"):
        create_block("tea", channels=40, inner_channels=10)


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
    for layer in block.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.momentum = 1.0  # the statistics become those of the clip that is looked at
    with torch.no_grad():
        block(x)
        block.eval()
        if name == "tam":  # its random weights are those of no identity
            block.weights.weight.normal_()
        last = x.contiguous(memory_format=torch.channels_last_3d)
        torch.testing.assert_close(block(last), block(x))
        backwards = block(x.flip(2)).mean(dim=2)
        assert not torch.allclose(backwards, block(x).mean(dim=2), atol=1e-3)
    with pytest.raises(ValueError, match="features have 8 channels, the block was built for 64"):
        block(features(1, 8, 4, 6, 5))


def by_hand(name: str, channels: int, frames: int, positions: int) -> tuple[int, int]:
    """Multiply-adds and parameters of the layers that the papers name: D = C/4, and D/16 in ME and CMM."""
    inner, squeezed = channels // 4, channels // 64
    places = frames * positions
    if name == "tam":
        return 3 * channels * places, 3 * channels
    if name == "st_adapter":
        half = channels // 2
        return places * (2 * channels * half + 27 * half), 2 * channels * half + 27 * half + 2 * half + channels
    steps = (frames - 1) * positions
    if name == "ms":  # C/8 channels, 15 x 15 offsets, depthwise and pointwise layers 3-16-32-64-C
        reduced, widths = channels // 8, (3, 16, 32, 64, channels)
        pairs = list(zip(widths, widths[1:], (49, 9, 9, 9), strict=False))
        work = places * (channels * reduced + sum(a * kernel + a * b for a, b, kernel in pairs))
        work += steps * (225 * reduced + 225 * 2)
        weights = channels * reduced + 2 * reduced + sum(a * kernel + 2 * a + a * b + 2 * b for a, b, kernel in pairs)
        return work, weights + channels
    if name == "gcn":  # R = 8 regions a frame; three layers with a matrix for each of three graphs
        regions, nodes = 8, frames * 8
        work = places * (channels * (inner + regions) + 2 * regions * inner + inner * channels)
        work += nodes * inner * 2 * inner + nodes**2 * inner + 3 * (nodes * 3 * inner**2 + 3 * nodes**2 * inner)
        weights = (channels + 1) * (inner + regions) + 2 * inner**2 + 3 * (3 * inner**2 + 2 * inner)
        return work, weights + (inner + 1) * channels + 2 * channels
    down, down_parameters = places * channels * inner, channels * inner + 2 * inner
    if name == "tea":
        fragment = inner // 4
        work = places * inner * squeezed + steps * 9 * squeezed + frames * squeezed * inner
        work += 3 * places * (3 * fragment + 9 * fragment**2)
        weights = 2 * inner * squeezed + 9 * squeezed + 2 * squeezed + 2 * inner
        weights += 3 * (3 * fragment + 9 * fragment**2 + 2 * fragment)
        out = inner
    elif name == "stm":
        work = places * (3 * inner + 9 * inner**2) + 2 * places * inner * squeezed + steps * 9 * squeezed
        weights = 3 * inner + 9 * inner**2 + 2 * inner * squeezed + 9 * squeezed + 2 * inner + 2 * squeezed
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
        model.set_num_frames(6)
        assert model(features(1, 3, 6, 32, 32)).shape == (1, 5)


def test_another_network_takes_them():
    host = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3, padding=1), torch.nn.ReLU()).eval()
    frames = features(8, 3, 6, 6)
    want = host(frames)
    insert_attention(host, block="tea+tam", at=["0"], num_frames=4)
    torch.testing.assert_close(host(frames), want)
