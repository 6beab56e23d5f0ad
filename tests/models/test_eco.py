"""ECO, ECO Lite and the stream of differences against restatements of their text, and what they cost."""

import pytest
import torch
import torch.nn.functional as F
from models_support import clip_of, randomise

import gta
from gta.backbones.eco import PreActivation3d
from gta.backbones.two_stream import differences
from gta.models.flops import count_flops


@pytest.mark.parametrize("stride", [1, 2])
def test_blocks_of_the_3d_network_have_their_norms_before_their_convolutions(stride):
    block = randomise(PreActivation3d(4, 4 * stride, stride=stride)).eval()
    x = torch.randn(1, 4, 4, 6, 6)

    def norm(layer, v):
        shape = (1, -1, 1, 1, 1)
        scaled = (v - layer.running_mean.view(shape)) / (layer.running_var.view(shape) + layer.eps).sqrt()
        return F.relu(scaled * layer.weight.view(shape) + layer.bias.view(shape))

    first = norm(block.norm, x)
    out = F.conv3d(first, block.conv_a.weight, stride=stride, padding=1)
    out = F.conv3d(norm(block.norm_a, out), block.conv_b.weight, padding=1)
    want = out + (x if stride == 1 else F.conv3d(first, block.shortcut.weight, stride=stride, padding=1))
    torch.testing.assert_close(block(x), want)


def test_eco_is_both_networks_over_one_stem():
    """The 3D network reads 96 of 64 (here 12 of 8) channels; the 2D features of all frames are averaged beside it."""
    torch.manual_seed(0)
    model = randomise(gta.create_model("tiny_eco", num_classes=3, num_frames=8, dropout=0.0)).eval()
    backbone, clip = model.backbone, clip_of(8, 64, batch=2)
    with torch.no_grad():
        frames = []
        for t in range(8):
            image = F.max_pool2d(backbone.stem(clip[:, :, t]), 3, 2, 1)
            frames.append(backbone.first(F.max_pool2d(backbone.stem_last(image), 3, 2, 1)))
        read = torch.stack([backbone.split.double_first(frame) for frame in frames], dim=2)
        assert read.shape == (2, 12, 8, 8, 8)
        volume = backbone.res5(backbone.res4(backbone.res3(backbone.join(read))))
        volume = F.relu(backbone.norm(volume)).mean(dim=(2, 3, 4))
        single = torch.stack([backbone.last(backbone.split(frame)).mean(dim=(2, 3)) for frame in frames]).mean(dim=0)
        want = model.head(torch.cat([volume, single], dim=1))
        torch.testing.assert_close(model(clip), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["tiny_eco", "tiny_eco_lite", "tiny_difference"])
def test_they_can_be_exported(name):
    torch.manual_seed(0)
    model = gta.create_model(f"{name}_gta", num_classes=3, num_frames=4, zero_init=False).eval()
    clip = clip_of(4, batch=2)
    with torch.no_grad():
        exported = torch.export.export(model, (clip,)).module()
        torch.testing.assert_close(exported(clip), model(clip), rtol=1e-4, atol=1e-5)


def test_other_numbers_of_frames():
    """Attention after res4 has half the frames; full ECO merges four frames into one."""
    lite = gta.create_model("tiny_eco_lite_gta", num_classes=3, num_frames=6).eval()
    assert lite.backbone.attention_frames(6) == {"res3.0": 6, "res4.0": 3, "res4.1": 3, "res5.0": 2, "res5.1": 2}
    lite.set_num_frames(7)
    again = gta.create_model(**lite.arguments).eval()
    again.load_state_dict(lite.state_dict())
    with torch.no_grad():
        assert torch.equal(again(clip_of(7, batch=2)), lite(clip_of(7, batch=2)))
    differences = gta.create_model("tiny_difference", num_classes=3, num_frames=4).eval()
    differences.set_num_frames(6)
    assert differences(clip_of(6)).shape == (1, 3)
    eco = gta.create_model("tiny_eco", num_classes=3, num_frames=8)
    eco.set_num_frames(16)
    with pytest.raises(ValueError, match="num_frames is 6: ECO merges four frames into one and needs a multiple of 4"):
        eco.set_num_frames(6)


def by_hand(frames, lite, classes=174):
    """Multiply-adds and weights of 224-pixel clips from the tables of ECO and of BN-Inception."""

    def inception(channels, single, triple, double, pooled):
        weights = channels * (single + triple[0] + double[0] + pooled)
        return weights + 9 * (triple[0] * triple[1] + double[0] * double[1] + double[1] ** 2)

    stem, second = 49 * 3 * 64, 64 * 64 + 9 * 64 * 192
    a, b = inception(192, 64, (64, 64), (64, 96), 32), inception(256, 64, (64, 96), (64, 96), 64)
    read = 320 * 64 + 9 * 64 * 96
    weights = stem + second + a + b + read
    work = frames * (112**2 * stem + 56**2 * second + 28**2 * (a + b + read))
    sides = {28**2 * frames: 27 * (96 * 128 + 2 * 128**2), 14**2 * frames / 2: 27 * (2 * 128 * 256 + 3 * 256**2),
             7**2 * frames / 4: 27 * (2 * 256 * 512 + 3 * 512**2)}  # fmt: skip
    work += sum(positions * kernel for positions, kernel in sides.items())
    weights += sum(sides.values())
    if not lite:
        triple, last = 320 * 128 + 9 * 128 * 160, 9 * 96 * 96  # 3c: its 3x3 convolutions halve the sides
        pairs = (((224, 64, 96, 96, 128), 576), ((192, 96, 128, 96, 128), 576), ((160, 128, 160, 128, 160), 576))
        pairs += (((96, 128, 192, 160, 192), 608),)
        fours = [inception(wide, one, (b, c), (d, e), 128) for (one, b, c, d, e), wide in pairs]
        fives = [inception(1056, 352, (192, 320), (160, 224), 128), inception(1024, 352, (192, 320), (192, 224), 128)]
        halved = (608 * 128, 9 * 128 * 192, 608 * 192 + 9 * 192 * 256, 9 * 256 * 256)
        weights += triple + last + sum(fours) + sum(fives) + sum(halved)
        work += frames * (28**2 * 320 * 128 + 14**2 * (9 * 128 * 160 + last + sum(fours)))
        work += frames * (14**2 * (halved[0] + halved[2]) + 7**2 * (halved[1] + halved[3] + sum(fives)))
    features = 512 + (0 if lite else 1024)
    return work + features * classes, weights + features * classes


@pytest.mark.parametrize(("name", "frames"), [("eco", 8), ("eco", 16), ("eco_lite", 16)])
def test_cost_is_what_a_count_by_hand_gives(name, frames):
    with torch.device("meta"):
        model = gta.create_model(name, num_classes=174, num_frames=frames)
    work, weights = by_hand(frames, name == "eco_lite")
    assert count_flops(model, (3, frames, 224, 224)) == pytest.approx(work, rel=0.02)
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(weights, rel=0.02)
    if name == "eco":  # 32 and 64 GFLOPs, 47.5 million parameters in the tables that compare with it
        assert work / 1e9 == pytest.approx(4 * frames, rel=0.02)
        assert weights / 1e6 == pytest.approx(47.5, rel=0.02)


def test_the_stream_of_differences_is_the_image_network_on_what_changes():
    torch.manual_seed(0)
    model = randomise(gta.create_model("tiny_difference", num_classes=3, num_frames=4, dropout=0.0)).eval()
    image = gta.create_model("tiny", num_classes=3, num_frames=4, dropout=0.0).eval()
    image.load_state_dict({key.replace("backbone.frames.", "backbone."): v for key, v in model.state_dict().items()})
    clip = clip_of(4, batch=2)
    steps = [clip[:, :, t + 1] - clip[:, :, t] for t in range(3)]
    changes = torch.stack([*steps, steps[-1]], dim=2)
    torch.testing.assert_close(differences(clip), changes)
    with torch.no_grad():
        torch.testing.assert_close(model(clip), image(2 * changes))
        still = clip[:, :, :1].expand(-1, -1, 4, -1, -1)
        torch.testing.assert_close(model(still), image(torch.zeros_like(still)))
    assert not differences(clip[:, :, :1]).any()
