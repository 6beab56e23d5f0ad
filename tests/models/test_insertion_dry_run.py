"""Whether a network can take attention is found at insertion, by one run that leaves it as it was."""

import pytest
import timm
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from models_support import randomise
from torch import nn

import gta
from gta.backbones.arrangement import Arrangement
from gta.backbones.feature_shape import FeatureShape, InputShape, recognise
from gta.backbones.framewise import FramewiseBackbone
from gta.backbones.insertion import AttendedBlock, resize_attention
from gta.backbones.token_shape import TokenFacts

VIDEO = torchvision.models.video


def inserted(network):
    return {name: module for name, module in network.named_modules() if isinstance(module, AttendedBlock)}


def snapshot(network):
    """Everything that a refusal must leave alone."""
    tensors = {name: value.clone() for name, value in network.state_dict().items()}
    kinds = [(name, type(module), module.training) for name, module in network.named_modules()]
    return tensors, kinds, torch.get_rng_state()


def assert_unchanged(network, before):
    tensors, kinds, random_state = snapshot(network)
    assert kinds == before[1]
    assert list(tensors) == list(before[0])
    assert all(torch.equal(value, before[0][name]) for name, value in tensors.items())
    assert torch.equal(random_state, before[2])


def small_vit(**options):
    return timm.create_model("vit_tiny_patch16_224", depth=2, embed_dim=24, num_heads=2, num_classes=2, **options)


@pytest.mark.parametrize("size", [32, 160, 384])
def test_torchvisions_vit_is_tried_with_the_size_that_it_was_built_for(size):
    network = torchvision.models.VisionTransformer(
        size, patch_size=16, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=16, num_classes=3
    ).eval()
    frames = torch.rand(2, 3, size, size)
    with torch.no_grad():
        plain = network(frames)
        gta.insert_attention(network, at={"blocks": "all"}, num_frames=2)
        assert len(inserted(network)) == 2
        assert torch.allclose(network(frames), plain, atol=1e-5)


def test_a_network_of_fixed_windows_is_no_backbone_but_takes_attention_itself():
    with pytest.raises(ValueError, match=r"MaxxVit does not read images of 32x32 pixels .*gta\.insert_attention"):
        gta.create_model("maxvit_pico_rw_256_gta", num_frames=2)
    network = timm.create_model("maxvit_pico_rw_256")
    gta.insert_attention(network, at={"res5": 1}, num_frames=1)
    assert len(inserted(network)) == 1


def test_a_transformer_without_a_convolution_is_a_backbone():
    network = timm.create_model("naflexvit_base_patch16_gap", num_classes=0, depth=2, embed_dim=24, num_heads=2)
    backbone = FramewiseBackbone(network, 2).eval()
    clip = torch.rand(2, 3, 2, 48, 48)
    with torch.no_grad():
        plain = backbone.pool(backbone(clip))
        gta.insert_attention(backbone, at={"blocks": "all"}, num_frames=2)
        assert len(inserted(backbone)) == 2
        assert torch.allclose(backbone.pool(backbone(clip)), plain, atol=1e-5)
    with pytest.raises(ValueError, match="do not divide into patches of 16x16"):
        backbone(torch.rand(1, 3, 2, 40, 40))


class Tokens(nn.Module):
    """Images as tokens, with others before them, of single frames or of several joined."""

    def __init__(self, extra=0, joined=1):
        super().__init__()
        self.extra, self.joined = extra, joined

    def forward(self, features):
        tokens = features.flatten(2).transpose(1, 2)
        tokens = nn.functional.pad(tokens, (0, 0, self.extra, 0))
        return tokens.unflatten(0, (-1, self.joined)).flatten(1, 2)


class Wrapped(nn.Module):
    """A stem, a block that is called in some way, a head; the batch norm counts its calls even in evaluation."""

    def __init__(self, block, call=lambda block, x: block(x)):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.BatchNorm2d(8), nn.Dropout(0.5))
        self.block = block
        self.unused = nn.Conv2d(8, 8, 1)
        self.call = call
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, images):
        self.calls += 1
        features = self.stem(images)
        nn.functional.batch_norm(features, self.stem[1].running_mean, self.stem[1].running_var, training=True)
        return self.call(self.block, features + torch.rand(()))


class Pair(nn.Module):
    def forward(self, features):
        return features, features


class Scaled(nn.Module):
    """Takes a second argument."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 16, 1)

    def forward(self, features, factor, *, shift=0.0):
        return self.conv(features) * factor + shift


class Windows(nn.Module):
    """Cuts images into 2x2 windows, more images than frames."""

    def forward(self, features):
        return features.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)


@pytest.mark.parametrize(
    ("network", "place", "words"),
    [
        (lambda: Wrapped(Tokens(extra=17)), "block", r"block \(Tokens\) .*\(4, 273, 8\), tokens .*num_prefix_tokens"),
        (lambda: Wrapped(Tokens(joined=2)), "block", r"block \(Tokens\) .*\(2, 512, 8\), tokens whose first axis"),
        (lambda: small_vit(patch_drop_rate=0.5), "blocks.0", r"VisionTransformer drops different patches"),
        (lambda: Wrapped(Pair()), "block", r"block \(Pair\) returns a tuple, not one tensor"),
        (lambda: Wrapped(nn.Flatten()), "block", r"block \(Flatten\) returns .*\(4, 2048\), with 2 axes"),
        (lambda: Wrapped(Windows()), "block", r"block \(Windows\) .*\(256, 8, 2, 2\), whose first axis does not count"),
        (lambda: Wrapped(nn.Identity()), "unused", r"unused \(Conv2d\) is not called when Wrapped runs"),
        (
            lambda: Wrapped(nn.Conv2d(8, 8, 1), call=lambda block, x: x * block.out_channels),
            "block",
            r"block \(Conv2d\): Wrapped reads its 'out_channels'",
        ),
        (
            lambda: Wrapped(nn.PixelShuffle(2), call=lambda block, x: block(torch.cat([block(x)] * 2, 1))),
            "block",
            r"block is called more than once .*\(4, 1, 64, 64\)",
        ),
        (lambda: nn.Sequential(nn.Linear(3, 4)), "0", r"Sequential has no convolution .* example="),
        (lambda: nn.Sequential(nn.LazyConv2d(4, 1)), "0", r"0\.weight has no shape yet"),
    ],
    ids=["tokens", "whole", "drop", "pair", "flat", "windows", "unused", "attribute", "twice", "linear", "lazy"],
)  # fmt: skip
def test_what_cannot_work_is_refused_at_insertion(network, place, words):
    network = network()
    lazy = any(isinstance(layer, nn.modules.lazy.LazyModuleMixin) for layer in network.modules())
    before = None if lazy else snapshot(network)
    with pytest.raises(ValueError, match=words) as caught:
        gta.insert_attention(network, block="dnl", at=[place], num_frames=4)
    assert "\n" not in str(caught.value)
    if before is not None:
        assert_unchanged(network, before)


def test_nothing_is_inserted_when_one_place_of_several_is_unfit():
    network = Wrapped(nn.Sequential(nn.Conv2d(8, 8, 1), nn.Flatten()))
    before = snapshot(network)
    with pytest.raises(ValueError, match=r"block\.1 \(Flatten\)"):
        gta.insert_attention(network, at=["block.0", "block.1"], num_frames=4)
    assert_unchanged(network, before)


def test_the_run_leaves_modes_statistics_and_random_state_alone():
    network = Wrapped(nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)))
    network.stem[1].eval()
    network.block.forget_me_not = network.block[1].running_mean
    before = snapshot(network)
    gta.insert_attention(network, block="ta", at=["block"], num_frames=4, example=torch.randn(8, 3, 16, 16))
    torch.set_rng_state(before[2])  # the new block's own weights are random
    assert gta.remove_attention(network) == 1
    assert_unchanged(network, before)
    assert network.block.forget_me_not is network.block[1].running_mean


def test_other_arguments_reach_the_block():
    network = Wrapped(Scaled(), call=lambda block, x: block(x, 2.0, shift=1.0))
    gta.insert_attention(network, block="gta", at=["block"], num_frames=4)
    assert network.block.attention.gta.channels == 16
    assert network.eval()(torch.randn(4, 3, 32, 32)).shape == (4, 16, 8, 8)


@pytest.mark.parametrize(
    ("name", "frames"), [("r3d_18", [16, 8, 4, 2]), ("mc3_18", [16] * 4), ("r2plus1d_18", [16, 8, 4, 2])]
)
def test_each_stage_of_a_3d_network_has_its_own_number_of_frames(name, frames):
    network = getattr(VIDEO, name)(num_classes=3).eval()
    clip = torch.randn(1, 3, 16, 32, 32)
    with torch.no_grad():
        want = network(clip)
        gta.insert_attention(network, at={f"res{stage}": 1 for stage in range(2, 6)}, num_frames=16)
        blocks = inserted(network)
        assert [block.num_frames for block in blocks.values()] == frames
        assert [block.attention.gta.mixing.shape[-1] for block in blocks.values()] == frames
        assert torch.equal(network(clip), want)
        assert not torch.equal(randomise(network)(clip), want)
    if len(set(frames)) > 1:
        with pytest.raises(ValueError, match="different numbers of frames"):
            resize_attention(network, 8)
    else:
        assert len(resize_attention(network, 8)) == 2 * 4  # the matrices of pixels and of regions


def test_widths_of_s3d_are_those_that_it_returns():
    network = VIDEO.s3d(num_classes=3).eval()
    # Several branches are joined: none of the block's own layers has the width of its output.
    gta.insert_attention(network, at=["features.5", "features.9"], example=torch.zeros(1, 3, 16, 224, 224))
    assert [(b.attention.sa.channels, b.num_frames) for b in inserted(network).values()] == [(256, 8), (512, 4)]


@pytest.mark.parametrize(("name", "width"), [("ecaresnet26t", 512), ("densenet121", 512), ("cspresnet50", 256)])
def test_widths_of_timm_networks_are_those_that_they_return(name, width):
    network = timm.create_model(name, num_classes=2)
    place = {"ecaresnet26t": "layer2.0", "densenet121": "features.denseblock2", "cspresnet50": "stages.1.blocks.1"}
    gta.insert_attention(network, at=[place[name]], num_frames=1)
    (block,) = inserted(network).values()
    assert block.attention.sa.channels == width


def test_models_of_this_package_take_what_timm_returns():
    model = gta.create_model("ecaresnet26t_gta", num_classes=2, num_frames=2).eval()
    assert model(torch.randn(1, 3, 2, 32, 32)).shape == (1, 2)
    with pytest.raises(ValueError, match="returns a tuple, not one tensor"):
        gta.create_model("tnt_s_legacy_patch16_224_gta", num_classes=2, num_frames=1)


class TwoInputs(nn.Module):
    """A clip with frames first, and a number."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)

    def forward(self, clip, factor):
        return self.conv(clip.flatten(0, 1)).unflatten(0, clip.shape[:2]) * factor


def test_an_example_gives_what_cannot_be_guessed():
    network = TwoInputs()
    with pytest.raises(ValueError, match=r"TwoInputs does not run on .*example=.*factor"):
        gta.insert_attention(network, at=["conv"], num_frames=5)
    gta.insert_attention(network, at=["conv"], num_frames=5, example=(torch.zeros(2, 5, 3, 8, 8), 2.0))
    assert network.conv.num_frames == 5
    assert network(torch.zeros(2, 5, 3, 8, 8), 2.0).shape == (2, 5, 8, 8, 8)


@pytest.mark.parametrize(
    ("example", "words"),
    [
        (torch.zeros(6, 3, 8, 8), r"6 frames cannot be split into clips of 4"),
        (torch.zeros(2, 8), r"the example has no tensor of frames"),
        (torch.zeros(4, 5, 8, 8), r"does not run on \(4, 5, 8, 8\), the example: RuntimeError"),
    ],
)
def test_examples_that_do_not_fit(example, words):
    with pytest.raises(ValueError, match=words):
        gta.insert_attention(nn.Sequential(nn.Conv2d(3, 8, 1)), at=["0"], num_frames=4, example=example)


def test_the_number_of_frames_may_not_contradict_the_example():
    clip = torch.zeros(1, 3, 8, 16, 16)
    network = VIDEO.r3d_18(num_classes=2)
    with pytest.raises(ValueError, match="num_frames is 16, but the example has clips of 8 frames"):
        gta.insert_attention(network, at={"res3": 1}, num_frames=16, example=clip)
    gta.insert_attention(network, at={"res3": 1}, num_frames=4, example=clip)  # as many as there are inside
    assert [block.num_frames for block in inserted(network).values()] == [4]


@given(
    clips=st.integers(1, 3), frames=st.integers(2, 9), channels=st.integers(1, 40), height=st.integers(2, 12),
    width=st.integers(2, 12), stride=st.sampled_from([4, 8, 16]), volume=st.booleans(),
)  # fmt: skip
def test_layouts_are_told_apart(clips, frames, channels, height, width, stride, volume):
    given_ = InputShape(clips, frames, (height * stride, width * stride))
    first, last = nn.Conv2d(1, 1, 1), nn.LayerNorm(1)
    shape = (clips, channels, frames, height, width) if volume else (clips * frames, channels, height, width)
    assert recognise(torch.empty(shape), given_, first, "block") == FeatureShape(channels, frames)
    moved = torch.empty(shape).movedim(1, -1)
    assert recognise(moved, given_, last, "block") == FeatureShape(channels, frames, Arrangement("channels_last"))
    if not volume:
        tokens = torch.empty(clips * frames, height * width + 5, channels)
        found = recognise(tokens, given_, last, "block", facts=TokenFacts(prefix=5))
        assert found == FeatureShape(channels, frames, Arrangement("tokens", 5, (height, width)))
