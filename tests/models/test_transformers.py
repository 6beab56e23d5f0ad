"""Attention over time in image transformers, over one small network of each family."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from models_support import randomise
from transformer_families import FAMILIES, FRAMES, frames_of

import gta
from gta.backbones.framewise import FramewiseBackbone
from gta.backbones.insertion import AttendedBlock
from gta.backbones.stages import find_stages, spread

BLOCKS = ["nl", "sa", "ta", "tape", "dnl", "pixel_gta", "region_gta", "gta"]
ORDER_BLIND = ["nl", "sa", "ta", "dnl"]


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param]


def attended(network):
    return [module for module in network.modules() if isinstance(module, AttendedBlock)]


@torch.no_grad()
def generic(network):
    """Generic weights: timm's start would let some branches and heads add almost nothing."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        parameter.normal_(std=0.2)
    return randomise(network).eval()


def with_attention(family, block="gta", **options):
    """A network with attention, all of its weights generic."""
    return generic(gta.insert_attention(family.build(), block=block, at=family.at, num_frames=FRAMES, **options))


@torch.no_grad()
def logits(network, frames):
    """Of clips: those of their frames, averaged."""
    return network(frames).unflatten(0, (-1, FRAMES)).mean(dim=1)


@pytest.mark.parametrize("block", ["gta", "nl"])
def test_the_output_is_the_same_bit_for_bit_after_insertion(family, block):
    network, frames = family.build().eval(), frames_of(family, 2)
    with_gradients = network(frames).detach()  # some kernels are others then
    with torch.no_grad():
        want = network(frames)
        gta.insert_attention(network, block=block, at=family.at, num_frames=FRAMES)
        assert attended(network)
        assert all(module.before == (family.side == "before") for module in attended(network))
        assert torch.equal(network(frames), want)
    assert torch.equal(network(frames).detach(), with_gradients)
    gta.remove_attention(network)
    assert torch.equal(logits(network, frames), want.unflatten(0, (-1, FRAMES)).mean(dim=1))


def test_the_frames_are_a_set_without_attention_and_a_sequence_with_gta(family):
    frames = frames_of(family, 1)
    shuffled = frames[[2, 0, 3, 1]]
    network = generic(family.build())
    assert torch.allclose(logits(network, frames), logits(network, shuffled), atol=1e-5)
    for block in ("tape", "pixel_gta", "gta"):
        network = with_attention(family, block)
        assert not torch.allclose(logits(network, frames), logits(network, shuffled), atol=1e-4), block


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("name", ["clip", "dinov3", "hiera", "swin"])
@pytest.mark.parametrize("prefix", ["keep", "mix"])
def test_every_block_sees_the_order_where_it_should(name, block, prefix):
    family = FAMILIES[name]
    network, frames = with_attention(family, block, prefix=prefix), frames_of(family, 1)
    with_it = logits(network, frames)
    difference = (with_it - logits(network, frames[[2, 0, 3, 1]])).abs().max()
    assert difference < 1e-4 if block in ORDER_BLIND else difference > 1e-3
    gta.remove_attention(network)
    assert (logits(network, frames) - with_it).abs().max() > 1e-3


def test_gradients_reach_the_blocks_and_not_the_frozen_network(family):
    network = with_attention(family)
    network.requires_grad_(False)
    for module in attended(network):
        module.attention.requires_grad_(True)
    network(frames_of(family, 2)).square().sum().backward()
    trained = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert trained == {name for name, _ in network.named_parameters() if ".attention." in name and ".host." not in name}
    mixing = [parameter for name, parameter in network.named_parameters() if name.endswith("mixing")]
    assert len(mixing) == 2 * len(attended(network))  # of pixels and of regions
    assert all(parameter.grad.abs().max() > 0 for parameter in mixing)


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.prefix])
def test_prefix_tokens_stay_or_are_mixed(name):
    family = FAMILIES[name]
    for prefix in ("keep", "mix"):
        network, seen = with_attention(family, "pixel_gta", prefix=prefix), []
        first = attended(network)[0]
        first.host.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        first.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        with torch.no_grad():
            network(frames_of(family, 1))
        before, after = seen
        assert torch.equal(before[:, : family.prefix], after[:, : family.prefix]) == (prefix == "keep")
        assert not torch.isclose(before[:, family.prefix :], after[:, family.prefix :]).all(dim=2).any()


def test_attention_reads_the_patches_of_a_frame_as_its_image():
    family = FAMILIES["clip"]
    network, seen = with_attention(family, "sa"), []
    block = attended(network)[0]
    block.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    block.attention.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        network(frames_of(family, 2))
    tokens, clips = seen
    assert clips.shape == (2, 32, FRAMES, 4, 4)
    for clip, frame, row, column in [(0, 0, 0, 0), (1, 2, 3, 1), (0, 3, 1, 2)]:
        want = tokens[clip * FRAMES + frame, 1 + row * 4 + column]
        assert torch.equal(clips[clip, :, frame, row, column], want)


def test_the_adapter_is_half_as_wide_unless_told_otherwise():
    for name, widths in [("clip", [16, 16]), ("swin", [16, 32])]:
        network = with_attention(FAMILIES[name], "pixel_gta")
        assert [module.attention.inner_channels for module in attended(network)] == widths
    assert attended(with_attention(FAMILIES["clip"], "pixel_gta", inner_channels=8))[0].attention.inner_channels == 8


def test_another_image_size_needs_nothing_new():
    family = FAMILIES["clip"]
    network = family.build(dynamic_img_size=True)
    gta.insert_attention(network, block="gta", at={"blocks": 1}, num_frames=FRAMES)
    network.eval()
    with torch.no_grad():
        for side in (32, 64, 96):
            assert network(torch.randn(FRAMES, 3, side, side)).shape == (FRAMES, 5)
        with pytest.raises(ValueError, match="8 patches do not form an image with the proportions 4x4"):
            network(torch.randn(FRAMES, 3, 32, 64))
    gta.remove_attention(network)
    wide = torch.randn(FRAMES, 3, 32, 64)
    gta.insert_attention(network, block="gta", at={"blocks": 1}, num_frames=FRAMES, example=wide)
    assert attended(network)[0].arrangement.grid == (2, 4)
    assert network(wide).shape == network(torch.randn(FRAMES, 3, 64, 128)).shape == (FRAMES, 5)


def test_places_among_the_blocks_of_a_transformer():
    assert [spread(count, 12) for count in (0, 1, 3, 12)] == [[], [6], [3, 6, 9], list(range(12))]
    with pytest.raises(ValueError, match="13 attention blocks do not fit 12"):
        spread(13, 12)
    network = FAMILIES["hiera"].build()
    stages = find_stages(network)
    assert [len(stages[key]) for key in ("res2", "res3", "res4", "res5", "blocks")] == [1, 1, 2, 1, 5]
    gta.insert_attention(network, at={"blocks": [1], "res4": "all"}, num_frames=FRAMES)
    assert [name for name, module in network.named_modules() if isinstance(module, AttendedBlock)] == [
        "blocks.1", "blocks.2", "blocks.3"
    ]  # fmt: skip


def test_a_backbone_pools_every_frame_as_the_network_does(family):
    if not hasattr(family.build(), "forward_head"):
        pytest.skip("torchvision's networks are no frame-wise backbones")
    network = generic(family.build())
    backbone = FramewiseBackbone(network, FRAMES)
    frames = frames_of(family, 2)
    clips = frames.unflatten(0, (2, FRAMES)).transpose(1, 2)
    with torch.no_grad():
        features = backbone(clips)
        assert features.shape[:3] == (2, backbone.num_features, FRAMES)
        single = network.forward_head(network.forward_features(frames), pre_logits=True)
        assert torch.allclose(backbone.pool(features), single.unflatten(0, (2, FRAMES)).mean(1), atol=1e-5)
    if backbone.fixed_size is not None:
        with pytest.raises(ValueError, match=r"clip is 64x40 pixels, the network reads \d+x\d+ only"):
            backbone(torch.zeros(1, 3, FRAMES, 64, 40))


def test_a_model_by_its_name():
    model = gta.create_model(
        "vit_tiny_patch16_224_pixel_gta", num_classes=3, num_frames=2, global_pool="avg", at={"blocks": "all"}
    ).eval()
    clip = torch.randn(1, 3, 2, 48, 32)  # no neighbours are pooled: any proportions
    assert model(clip).shape == (1, 3)
    assert model.arguments["at"] == {"blocks": "all"}
    assert len(attended(model)) == 12
    model.set_num_frames(4)
    assert model(torch.randn(1, 3, 4, 32, 32)).shape == (1, 3)
    with pytest.raises(ValueError, match="30x32 pixels, which do not divide into patches of 16x16"):
        model(torch.zeros(1, 3, 4, 30, 32))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("resnet18", {"image_size": 64}, "image_size does not apply to 'resnet18'"),
        ("vit_tiny_patch16_siglip_224", {}, "neither one of this package's backbones nor a timm model: did you mean"),
        ("r2d50_gt", {}, "nor a timm model: did you mean 'r2d50_gta'?"),
        ("qqq", {}, r"nor a timm model: see gta\.list_models\(\) and timm\.list_models\(\)"),
        ("vit_tiny_patch16_224", {"global_pool": "most"}, "global_pool='most'"),
        ("deit_tiny_patch16_224_gta", {"at": {"blocks": 13}}, "13 attention blocks do not fit 12"),
    ],
)
def test_what_does_not_fit_a_name_is_said(name, options, words):
    with pytest.raises(ValueError, match=words):
        gta.create_model(name, num_frames=2, **options)


def test_a_misspelt_argument_is_named_with_the_one_that_may_be_meant():
    with pytest.raises(TypeError, match=r"create_model has no argument 'num_class': did you mean num_classes\?$"):
        gta.create_model("tiny_gta", num_class=3)  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match=r"no argument 'num_group': did you mean num_groups\?$"):
        gta.create_model("tiny_gta", num_group=3)  # pyright: ignore[reportCallIssue]


def test_a_region_that_no_position_chooses_has_finite_gradients():
    value = torch.randn(1, 1, 4, 3, requires_grad=True)
    scores = torch.tensor([[[[0.0, exponent]] * 4] for exponent in (-40.0, -80.0, -87.0, -95.0, -120.0)])
    scores.requires_grad_(True)
    pooled = gta.ops.pool_regions(value.expand(5, -1, -1, -1), scores.softmax(dim=3))
    pooled.square().sum().backward()
    assert pooled.isfinite().all()
    assert value.grad.isfinite().all()
    assert scores.grad.isfinite().all()


def test_an_exported_program_gives_the_same_numbers_for_any_number_of_clips(family):
    network = with_attention(family).double()  # so that the order of sums makes no difference that can be seen
    with torch.no_grad():
        clips = FRAMES * torch.export.Dim("clips", min=1, max=64)
        exported = torch.export.export(network, (frames_of(family, 2).double(),), dynamic_shapes=({0: clips},)).module()
        for number in (1, 3):
            frames = frames_of(family, number, seed=number).double()
            assert torch.allclose(exported(frames), network(frames), atol=1e-9), number


def test_compiled_in_one_graph_gives_the_same_numbers():
    # In a process of its own: the run-time checks of shapes, which the tests switch on, cannot be traced.
    script = Path(__file__).with_name("compile_transformers.py")
    done = subprocess.run([sys.executable, script, *FAMILIES], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == list(FAMILIES)
