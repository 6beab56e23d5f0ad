"""R(2+1)D and S3D-G: torchvision's networks where it has them, gates against their equation, costs by hand."""

import pytest
import torch
import torchvision.models.video as tv
from models_support import clip_of, randomise
from torch import nn

import gta
from gta.backbones.separable import R2Plus1DBackbone, S3DGBackbone, SelfGate
from gta.models.flops import count_flops


def test_r2plus1d_of_18_layers_is_torchvisions():
    torch.manual_seed(0)
    theirs = randomise(tv.r2plus1d_18()).eval()
    ours = R2Plus1DBackbone(8, depths=(2, 2, 2, 2)).eval()
    ours.load_state_dict({key: value for key, value in theirs.state_dict().items() if not key.startswith("fc.")})
    clip = clip_of(8)
    with torch.no_grad():
        torch.testing.assert_close(theirs.fc(ours.pool(ours(clip))), theirs(clip), rtol=1e-4, atol=1e-4)


def test_s3d_without_gates_is_torchvisions():
    torch.manual_seed(0)
    theirs = randomise(tv.s3d()).eval()
    ours = S3DGBackbone(16, gates=False).eval()
    ours.load_state_dict({key: value for key, value in theirs.state_dict().items() if key.startswith("features.")})
    clip = clip_of(16)
    with torch.no_grad():
        torch.testing.assert_close(ours(clip), theirs.features(clip), rtol=1e-4, atol=1e-4)


def test_a_gate_weighs_channels_by_their_means():
    gate = randomise(SelfGate(4))
    x = torch.randn(2, 4, 3, 2, 2)
    for clip in range(2):
        weights = torch.sigmoid(gate.linear.weight @ x[clip].flatten(1).mean(dim=1))
        torch.testing.assert_close(gate(x)[clip], x[clip] * weights[:, None, None, None])


def test_gates_stand_on_every_branch_and_after_the_stem():
    """As in the authors' code; the paper's table has 2.79 million more parameters with gates, not 1.22."""
    with torch.device("meta"):
        sizes = [sum(p.numel() for p in S3DGBackbone(16, gates=gates).parameters()) for gates in (True, False)]
    blocks = (
        (64, 128, 32, 32), (128, 192, 96, 64), (192, 208, 48, 64), (160, 224, 64, 64), (128, 256, 64, 64),
        (112, 288, 64, 64), (256, 320, 128, 128), (256, 320, 128, 128), (384, 384, 128, 128),
    )  # fmt: skip
    assert sizes[0] - sizes[1] == 192**2 + sum(width**2 for block in blocks for width in block)
    assert (sizes[0] - sizes[1]) / 1e6 == pytest.approx(1.22, abs=0.005)


def test_fresh_gates_are_half_open():
    torch.manual_seed(0)
    network = S3DGBackbone(8, width=8)
    gates = [module for module in network.modules() if isinstance(module, SelfGate)]
    assert len(gates) == 1 + 4 * 9
    for gate in gates:
        x = torch.rand(1, gate.linear.in_features, 2, 3, 3)
        torch.testing.assert_close(gate(x), x / 2, atol=0.05, rtol=0)


def by_hand(frames, side, classes=400, *, separate=False):
    """R(2+1)D-34: multiply-adds and weights of the convolutions.

    `separate`: with a middle width of its own for every pair, as in the paper's formula.
    """

    def pair(channels, out, middle):
        return 9 * channels * middle, 3 * middle * out

    spatial, temporal = 49 * 3 * 45, 3 * 45 * 64
    positions = frames * (side // 2) ** 2
    work, weights = positions * (spatial + temporal), spatial + temporal
    before = 64
    for stage, depth in enumerate((3, 4, 6, 3)):
        out = 64 * 2**stage
        for block in range(depth):
            channels = before if block == 0 else out
            middle = 27 * channels * out // (9 * channels + 3 * out)
            halved = stage > 0 and block == 0
            flat, long = pair(channels, out, middle)
            wide = positions // 4 if halved else positions  # after the stride of the 1x3x3 convolution
            positions = positions // 8 if halved else positions
            work += wide * flat + positions * long
            weights += flat + long
            if halved:
                work, weights = work + positions * channels * out, weights + channels * out
            if separate:
                middle = 27 * out * out // (9 * out + 3 * out)
            flat, long = pair(out, out, middle)
            work, weights = work + positions * (flat + long), weights + flat + long
        before = out
    return work + before * classes, weights + before * classes


def test_cost_is_what_a_count_by_hand_gives():
    with torch.device("meta"):
        model = gta.create_model("r2plus1d34", num_classes=400)
    work, weights = by_hand(32, 112)
    assert count_flops(model, (3, 32, 112, 112)) == pytest.approx(work, rel=0.02)
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(weights, rel=0.02)
    _, papers = by_hand(32, 112, separate=True)
    assert (papers - weights) / 1e6 == pytest.approx(1.9, abs=0.05)  # as `gta paper --table 5` says


@pytest.mark.parametrize(
    ("name", "frames"), [("tiny_r2plus1d", 6), ("tiny_s3dg", 10), ("tiny_i3d", 6), ("tiny_slow", 6)]
)
def test_attention_follows_the_frames_of_its_stage(name, frames):
    torch.manual_seed(0)
    model = gta.create_model(f"{name}_gta", num_classes=3, num_frames=8, zero_init=False).eval()
    model.set_num_frames(frames)
    again = gta.create_model(**model.arguments).eval()
    again.load_state_dict(model.state_dict())
    with torch.no_grad():
        want = model(clip_of(frames))
        assert torch.equal(again(clip_of(frames)), want)
        exported = torch.export.export(model, (clip_of(frames),)).module()
        torch.testing.assert_close(exported(clip_of(frames)), want, rtol=1e-4, atol=1e-5)


def test_s3d_says_how_many_frames_it_needs():
    with pytest.raises(ValueError, match="num_frames is 4: S3D reduces eight frames to one and needs at least 5"):
        gta.create_model("tiny_s3dg", num_frames=4)


def test_the_statistics_of_evaluation_follow_a_short_training():
    """With torchvision's momentum, they would still be those of the start after sixty steps."""
    torch.manual_seed(0)
    network = S3DGBackbone(8, width=8).train()
    means: dict[nn.BatchNorm3d, torch.Tensor] = {}
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]
    for norm in norms:
        norm.register_forward_hook(lambda module, given, _: means.update({module: given[0].mean(dim=(0, 2, 3, 4))}))
    clip = torch.randn(4, 3, 8, 64, 64)
    with torch.no_grad():
        for _ in range(60):
            network(clip)
    for norm in norms:
        torch.testing.assert_close(norm.running_mean, means[norm], rtol=0.05, atol=0.05)
