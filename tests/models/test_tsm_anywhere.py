"""Temporal shifts in timm's networks: `<name>_tsm`."""

import pytest
import torch
from safetensors.torch import save_file

import gta
from gta.backbones.tsm import ShiftedConv


def shifts(model) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, ShiftedConv)]


def test_inverted_residuals_are_shifted_where_the_public_code_has_it() -> None:
    """TSM's MobileNetV2: of 17 blocks, the 10 that expand and have a skip connection."""
    network = gta.create_model("mobilenetv2_100_tsm", num_classes=3, num_frames=4)
    found = shifts(network)
    assert len(found) == 10
    assert all(name.endswith("conv_pw") for name in found)
    blocks = {name: module for name, module in network.named_modules() if hasattr(module, "has_skip")}
    wanted = [name for name, block in blocks.items() if block.has_skip and hasattr(block, "conv_pwl")]
    assert [name.removesuffix(".conv_pw") for name in found] == wanted


def test_the_convolution_reads_neighbouring_frames() -> None:
    shifted = next(
        m for m in gta.create_model("mobilenetv2_100_tsm", num_frames=3).modules() if isinstance(m, ShiftedConv)
    )
    width = shifted.conv.in_channels
    frames = torch.randn(2 * 3, width, 2, 2)
    clips, fold = frames.unflatten(0, (2, 3)), width // 8
    expected = clips.clone()
    for time in range(3):
        expected[:, time, :fold] = clips[:, time + 1, :fold] if time < 2 else 0
        expected[:, time, fold : 2 * fold] = clips[:, time - 1, fold : 2 * fold] if time > 0 else 0
    with torch.no_grad():
        torch.testing.assert_close(shifted(frames), shifted.conv(expected.flatten(0, 1)))


def test_a_shifted_resnet50_is_tsm50() -> None:
    options = {"num_classes": 3, "num_frames": 4}
    known, named = (gta.create_model(name, **options).eval() for name in ("tsm50", "resnet50_tsm"))
    named.load_state_dict(known.state_dict())
    clip = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        assert torch.equal(known(clip), named(clip))


@pytest.mark.parametrize(("name", "sees"), [("mobilenetv3_small_050", False), ("mobilenetv3_small_050_tsm_gta", True)])
def test_a_shifted_network_sees_the_order_and_takes_the_plain_ones_weights(name, sees, tmp_path) -> None:
    torch.manual_seed(0)
    plain = gta.create_model("mobilenetv3_small_050", num_classes=3, num_frames=4)
    weights = {name: tensor.contiguous() for name, tensor in plain.state_dict().items()}
    save_file(weights, tmp_path / "plain.safetensors")
    model = gta.create_model(name, num_classes=3, num_frames=4, pretrained=str(tmp_path / "plain.safetensors"))
    assert model.loaded is not None
    assert all(".attention." in key for key in model.loaded.missing)
    clip, model = torch.randn(1, 3, 4, 64, 64).double(), model.double().eval()
    with torch.no_grad():
        moved = (model(clip) - model(clip.flip(2))).abs().max()
    assert moved > 1e-6 if sees else moved < 1e-12


@pytest.mark.parametrize("name", ["convnext_atto_tsm", "vit_tiny_patch16_224_tsm"])
def test_other_blocks_are_refused(name) -> None:
    with pytest.raises(ValueError, match=r"has no conv1 that a temporal shift could precede"):
        gta.create_model(name, num_classes=3, num_frames=4)
