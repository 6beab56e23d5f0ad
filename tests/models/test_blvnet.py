"""bLVNet-TAM: which frame goes into which branch, what is mixed over time, and its cost beside the printed one."""

import pytest
import torch
import torch.nn.functional as F
from models_support import randomise

import gta
from gta.backbones.blvnet import AggregatedFrames, BigLittle, LeanBottleneck
from gta.models.flops import count_flops


def frames_of(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


def test_tam_weighs_three_frames_of_a_clip_and_ends_in_a_relu():
    module = AggregatedFrames(3)
    with torch.no_grad():
        module.mix.weights.weight.normal_(generator=torch.Generator().manual_seed(0))
    weight, x = module.mix.weights.weight[:, 0, :, 0, 0], frames_of(8, 3, 2, 2)
    for clip in (0, 4):
        for t in range(4):
            want = sum(weight[:, 1 + step, None, None] * x[clip + t + step] for step in (-1, 0, 1) if 0 <= t + step < 4)
            torch.testing.assert_close(module(x, 4)[clip + t], torch.relu(want))


def test_a_stage_reads_the_second_frame_of_a_pair_small_and_the_first_one_narrow():
    torch.manual_seed(0)
    stage = randomise(BigLittle(8, 16, 4, stride=2)).eval()
    x = frames_of(8, 8, 12, 12)
    with torch.no_grad():
        mixed = stage.mix(x, 4)
        for pair in range(4):
            big, little = stage.big(mixed[2 * pair + 1][None]), stage.widen(stage.little(mixed[2 * pair][None]))
            assert (big.shape, little.shape) == ((1, 16, 6, 6), (1, 16, 12, 12))
            want = stage.fuse(torch.relu(little + F.interpolate(big, scale_factor=2.0)))
            for frame in (2 * pair, 2 * pair + 1):
                torch.testing.assert_close(stage(x, 4)[frame], want[0])
    assert [len(stage.big), len(stage.little)] == [3, 1]
    assert [block.relu for block in stage.big] == [True, True, False]


def test_shortcuts_average_where_blocks_have_a_stride():
    block = randomise(LeanBottleneck(4, 4, stride=2)).eval()
    x = frames_of(1, 4, 6, 6)
    want = torch.relu(block.residual(x) + F.avg_pool2d(x, 3, 2, 1))
    torch.testing.assert_close(block(x), want)
    other = randomise(LeanBottleneck(4, 4)).eval()
    torch.testing.assert_close(other(x, 2 * x), torch.relu(other.residual(x) + 2 * x))


def by_hand(frames, classes=174):
    """Multiply-adds and weights of bLVNet-TAM-50 (alpha 2, beta 4) on 224-pixel clips."""
    half, work, weights = frames / 2, 0, 0

    def add(positions, kernel):
        nonlocal work, weights
        work, weights = work + positions * kernel, weights + kernel

    def bottleneck(channels, out, before, after):
        inner = out // 4
        add(before, channels * inner)
        add(after, 9 * inner**2 + inner * out + (channels * out if channels != out else 0))

    add(112**2 * frames, 49 * 3 * 64 + 3 * 64)
    add(56**2 * half, 9 * 64 * 64 + 9 * 32 * 32 + 32 * 64 + 64 * 64)
    add(112**2 * half, 9 * 64 * 32)
    channels = 64
    for side, out, depth, stride in ((56, 256, 3, 2), (28, 512, 4, 2), (14, 1024, 6, 1)):
        whole, small = side**2 * half, (side // 2) ** 2 * half
        add(2 * whole, 3 * channels)
        bottleneck(channels, out, whole, small)
        for _ in range(depth - 2):
            bottleneck(out, out, small, small)
        bottleneck(channels, out // 2, whole, whole)
        add(whole, out // 2 * out)
        bottleneck(out, out, whole, whole / stride**2)
        channels = out
    for number in range(3):
        before, after = (14**2 if number == 0 else 7**2) * half, 7**2 * half
        add(before, 3 * channels)
        bottleneck(channels, 2048, before, after)
        channels = 2048
    return work + channels * classes, weights + channels * classes


@pytest.mark.parametrize(("frames", "printed"), [(16, 23.8), (32, 47.7)])
def test_cost_is_what_its_paper_prints(frames, printed):
    """8 x 2 and 16 x 2 frames; 25 million parameters."""
    with torch.device("meta"):
        model = gta.create_model("blvnet_tam50", num_classes=174, num_frames=frames)
    work, weights = by_hand(frames)
    counted = count_flops(model, (3, frames, 224, 224))
    assert counted == pytest.approx(work, rel=0.02)
    assert counted / 1e9 == pytest.approx(printed, rel=0.02)
    size = sum(parameter.numel() for parameter in model.parameters())
    assert size == pytest.approx(weights, rel=0.02)
    assert size / 1e6 == pytest.approx(25.0, rel=0.02)


@pytest.mark.parametrize("name", ["tiny_blvnet", "tiny_blvnet_gta"])
def test_it_is_resized_stored_and_exported(name):
    torch.manual_seed(0)
    model = gta.create_model(name, num_classes=3, num_frames=8, zero_init=False).eval()
    model.set_num_frames(6)
    clip = frames_of(1, 3, 6, 32, 32)
    again = gta.create_model(**model.arguments).eval()
    again.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert model.forward_features(clip).shape[2] == 3
        assert torch.equal(again(clip), model(clip))
        exported = torch.export.export(model, (clip,)).module()
        torch.testing.assert_close(exported(clip), model(clip), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="num_frames is 5: bLVNet reads pairs of frames"):
        model.set_num_frames(5)
