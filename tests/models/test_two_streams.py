"""Networks of optical flow, the second of two streams: 2L channels in, otherwise like the others."""

import json

import pytest
import torch
from models_support import randomise

import gta
from gta.config import ClipConfig
from gta.errors import OptionError

CLIP = torch.randn(2, 6, 4, 32, 32, generator=torch.Generator().manual_seed(1))


def make(name="tiny_flow", **options):
    torch.manual_seed(0)
    return gta.create_model(name, num_classes=3, num_frames=4, dropout=0.0, **options)


@pytest.mark.parametrize("name", ["tiny_flow", "tiny_flow_gta"])
def test_contract(name):
    model = make(name, flow_length=3)
    assert model.in_channels == 6
    model(CLIP).square().sum().backward()
    if name == "tiny_flow":
        assert all(parameter.grad is not None for parameter in model.parameters())
    model = randomise(model).eval()
    again = gta.create_model(**json.loads(json.dumps(model.arguments))).eval()
    again.load_state_dict(model.state_dict())
    with torch.no_grad():
        want = model(CLIP)
        assert torch.equal(again(CLIP), want)
        blind = torch.allclose(model(CLIP.flip(2)), want, rtol=1e-4, atol=1e-5)
        assert blind == (name == "tiny_flow")  # the order of stacks; within them it is seen
        assert not torch.allclose(model(CLIP.flip(1)), want, rtol=1e-3)
        exported = torch.export.export(model, (CLIP,)).module()
        torch.testing.assert_close(exported(CLIP), want, rtol=1e-4, atol=1e-5)
    model.set_num_frames(6)
    assert model(torch.randn(1, 6, 6, 32, 32)).shape == (1, 3)


def test_five_flows_are_usual():
    assert make().in_channels == 10
    with torch.device("meta"):
        network = gta.create_model("flow50", num_classes=3)
    assert network.backbone.network.conv1.weight.shape == (64, 10, 7, 7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make()(CLIP), r"shape \(B, 10, T, H, W\), not \(2, 6, 4, 32, 32\)"),
        (lambda: make("tiny")(CLIP), r"shape \(B, 3, T, H, W\), not \(2, 6, 4, 32, 32\)"),
        (lambda: make(flow_length=-1), "flow_length is -1"),
        (lambda: make("tiny", flow_length=3), "flow_length does not apply"),
    ],
)
def test_what_does_not_fit_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("name", "flow", "message"), [
    ("tiny_flow", 0, r"tiny_flow reads optical flow: set data.clip.flow to 5 \(it is 0\)"),
    ("tiny", 2, r"tiny reads frames: leave data.clip.flow out \(it is 2\)"),
])  # fmt: skip
def test_training_says_which_clips_a_network_reads(name, flow, message):
    from gta.runs.composition import _check_channels

    with pytest.raises(OptionError, match=message):
        _check_channels(ClipConfig(flow=flow), name, make(name).in_channels)
