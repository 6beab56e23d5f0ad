"""Attention in other people's networks: torchvision, timm, modules of one's own."""

import inspect

import pytest
import timm
import torch
import torchvision
from models_support import randomise
from torch import nn

import gta
from gta.backbones.insertion import AttendedBlock, find_places, resize_attention
from gta.backbones.stages import every_other, find_stages


def attended(network):
    return [name for name, module in network.named_modules() if isinstance(module, AttendedBlock)]


def frames_of(clips, num_frames, size=32):
    return torch.randn(clips * num_frames, 3, size, size, generator=torch.Generator().manual_seed(0))


class Own(nn.Module):
    """A network of one's own with a 3D part."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv3d(3, 8, 1), nn.Sequential(nn.Conv3d(8, 16, 1), nn.ReLU()), nn.ReLU())

    def forward(self, clip):
        return self.encoder(clip)


def test_torchvision_resnet_takes_attention_and_gives_it_back():
    network = torchvision.models.resnet18(num_classes=4).eval()
    frames = frames_of(2, 4)
    with torch.no_grad():
        want = network(frames)
        gta.insert_attention(network, block="gta", at={"res3": 1, "res4": [1]}, num_frames=4)
        assert attended(network) == ["layer2.0", "layer3.1"]
        assert network.layer2[0].attention.sa.channels == 128
        assert network.layer3[1].attention.gta.channels == 256
        assert torch.equal(network(frames), want)
        assert not torch.equal(randomise(network)(frames), want)
    assert gta.remove_attention(network) == 2
    assert type(network.layer2[0]).__name__ == "BasicBlock"
    assert gta.remove_attention(network) == 0


def test_every_other_block_of_a_deep_network():
    network = torchvision.models.resnet50()
    gta.insert_attention(network, block="nl", at={"res3": 2, "res4": 3}, num_frames=2, first=1)
    assert attended(network) == ["layer2.1", "layer2.3", "layer3.1", "layer3.3", "layer3.5"]


def test_own_module_by_dotted_names():
    network = Own().eval()
    clip = torch.randn(1, 3, 4, 6, 6)
    want = network(clip)
    gta.insert_attention(network, block="sa+tape", at=["encoder.1"], num_frames=4)
    assert attended(network) == ["encoder.1"]
    assert network.encoder[1].attention.sa.channels == 16
    assert torch.equal(network(clip), want)
    assert gta.remove_attention(network) == 1
    gta.insert_attention(network, block="gta", at={"encoder": [0, 1]}, num_frames=4)
    assert attended(network) == ["encoder.0", "encoder.1"]


def test_a_block_inside_another_attended_one_takes_part():
    network = Own().eval()
    gta.insert_attention(network, at=["encoder", "encoder.1"], num_frames=4)
    assert attended(network) == ["encoder", "encoder.host.1"]
    clip, calls = torch.randn(1, 3, 4, 6, 6), []
    network.encoder.host[1].attention.register_forward_hook(lambda *_: calls.append(1))
    network(clip)
    assert calls == [1]
    assert gta.remove_attention(network) == 2
    assert list(network.state_dict()) == list(Own().state_dict())


def test_inserted_blocks_follow_dtype_device_and_mode():
    network = torchvision.models.resnet18().double().eval()
    gta.insert_attention(network, at={"res3": 1}, num_frames=2)
    attention = network.layer2[0].attention
    assert not attention.training
    assert {parameter.dtype for parameter in attention.parameters()} == {torch.float64}


def test_inserted_blocks_can_be_resized():
    network = torchvision.models.resnet18(num_classes=4).eval()
    gta.insert_attention(network, at={"res3": 1, "res4": 1}, num_frames=4)
    assert resize_attention(network, 8) == [
        f"layer{stage}.0.attention.gta.{name}" for stage in (2, 3) for name in ("mixing", "region_mixing")
    ]
    assert network(frames_of(1, 8)).shape == (8, 4)
    with pytest.raises(ValueError, match=r"12 frames.*8"):
        network(frames_of(1, 12))


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("resnet18", (2, 2, 2, 2)), ("regnety_002", (1, 1, 4, 7)), ("convnext_atto", (2, 2, 6, 2)),
        ("efficientnet_b0", (2, 2, 6, 5)), ("resnext50_32x4d", (3, 4, 6, 3)),
    ],
)  # fmt: skip
def test_stages_are_found_in_timm_networks(name, blocks):
    with torch.device("meta"):
        network = timm.create_model(name, num_classes=0)
    stages = find_stages(network)
    assert list(stages) == ["res2", "res3", "res4", "res5"]
    assert tuple(len(names) for names in stages.values()) == blocks
    for names in stages.values():
        for block in names:
            network.get_submodule(block)


def test_every_other():
    assert every_other(2, 4) == [0, 2]
    assert every_other(3, 6, first=1) == [1, 3, 5]
    assert every_other(1, 1, first=1) == [0]
    assert every_other(0, 3) == []
    with pytest.raises(ValueError, match=r"3 attention blocks.*4 blocks"):
        every_other(3, 4)


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ({"res3": 3}, "3 attention blocks"),
        ({"res3": [2]}, "no block 2"),
        ({"res9": 1}, "'res9'"),
        (["layer2.7"], r"'layer2\.7'"),
        (["fc"], r"fc \(Linear\) returns features of shape \(2, 1000\), with 2 axes"),
    ],
)
def test_places_that_do_not_exist_are_named(at, message):
    network = torchvision.models.resnet18()
    with pytest.raises(ValueError, match=message):
        gta.insert_attention(network, at=at, num_frames=2)
    assert attended(network) == []


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (3, r"`at` is 3: give stages and their blocks, such as \{'res3': 2"),
        ("blocks", "`at` is 'blocks': give stages"),
        ([3], r"`at` is \[3\]: give stages"),
        ({"blocks": [1.0]}, r"`at` has blocks: \[1.0\]: give a number of blocks, their indices, or 'all'"),
        ({"blocks": "some"}, "`at` has blocks: 'some'"),
        ({"blocks": True}, "`at` has blocks: True"),
        ({"block": 2}, "has no module 'block': give 'blocks'"),
        ({"res3": 2}, "has no stage res3: give 'blocks'"),
    ],
)
def test_places_of_another_form_are_refused_with_what_to_give(at, message):
    model = gta.create_model("tiny_vit", num_classes=2, num_frames=2)
    insert, create = map(inspect.unwrap, (gta.insert_attention, gta.create_model))  # without the tests' type checks
    with pytest.raises(ValueError, match=message):
        insert(model.backbone, at=at, num_frames=2)
    with pytest.raises(ValueError, match=message):
        create("tiny_vit_gta", at=at, num_frames=2)


def test_names_of_modules_are_for_insert_attention_only():
    with pytest.raises(ValueError, match=r"`at` is \['layer2.0'\]: give .*; only `gta.insert_attention` takes names"):
        inspect.unwrap(gta.create_model)("tiny_gta", at=["layer2.0"])


def test_a_place_is_taken_once():
    network = torchvision.models.resnet18()
    gta.insert_attention(network, at={"res3": 1}, num_frames=2)
    with pytest.raises(ValueError, match=r"layer2\.0 has an attention block already"):
        gta.insert_attention(network, at={"res3": 1}, num_frames=2)
    assert find_places(network, {"res3": 1}) == ["layer2.0"]


def test_stage_names_need_stages():
    with pytest.raises(ValueError, match="Own has no stage res3"):
        gta.insert_attention(Own(), at={"res3": 1}, num_frames=2)
