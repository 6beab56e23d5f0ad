"""Exported programs take any number of clips, whatever number they were exported with."""

import pytest
import torch
from models_support import randomise
from timm.models.resnet import BasicBlock, ResNet
from torch.export import Dim

import gta

FRAMES = 4


def frames_of(clips):
    return torch.randn(clips * FRAMES, 3, 32, 32, generator=torch.Generator().manual_seed(clips))


def network(block):
    net = ResNet(BasicBlock, (1, 1, 1, 1), num_classes=5, channels=(8, 16, 16, 16))
    gta.insert_attention(net, block=block, at={"res3": 1}, num_frames=FRAMES)
    return randomise(net).eval()


SEVERAL = FRAMES * Dim("clips", min=1, max=64)


@pytest.mark.parametrize(
    ("block", "clips", "batch", "grad"),
    [
        ("gta", 1, Dim.DYNAMIC, False),
        ("gta", 1, Dim.AUTO, True),
        ("gta", 2, SEVERAL, False),
        ("nl", 1, Dim.DYNAMIC, False),
        ("sa+tape", 1, Dim.DYNAMIC, False),
        ("pixel_gta", 2, SEVERAL, False),
    ],
)
def test_a_frame_wise_network_with_attention_is_exported_for_any_number_of_clips(block, clips, batch, grad):
    net = network(block)
    with torch.set_grad_enabled(grad):
        exported = torch.export.export(net, (frames_of(clips),), dynamic_shapes=({0: batch},)).module()
    with torch.no_grad():
        for number in (1, 2, 3, 7):
            frames = frames_of(number)
            assert torch.allclose(exported(frames), net(frames), atol=1e-5, rtol=1e-5), number


@pytest.mark.parametrize("name", ["tiny_gta", "tiny_nl"])
def test_a_model_is_exported_for_any_batch(name):
    model = randomise(gta.create_model(name, num_classes=5, num_frames=FRAMES)).eval()
    with torch.no_grad():
        batch = {0: Dim("batch", min=1, max=64)}
        exported = torch.export.export(model, (torch.randn(2, 3, FRAMES, 32, 32),), dynamic_shapes=(batch,)).module()
        for number in (1, 2, 3, 7):
            clips = torch.randn(number, 3, FRAMES, 32, 32)
            assert torch.allclose(exported(clips), model(clips), atol=1e-5, rtol=1e-5), number
