"""I3D and Slow: their kernels, what inflating an image network means, their cost beside what pytorchvideo prints."""

import pytest
import timm
import torch
from models_support import randomise

import gta
from gta.models.flops import count_flops


def kernels_of(name):
    with torch.device("meta"):
        pathway = gta.create_model(name).backbone.pathway
    stages = [[block.conv_a.kernel_size[0] for block in pathway.get_submodule(f"res{s}")] for s in range(2, 6)]
    return pathway.stem.conv.kernel_size[0], stages


def test_temporal_kernels_are_those_of_the_papers():
    assert kernels_of("i3d50") == (5, [[3] * 3, [3, 1, 3, 1], [3, 1, 3, 1, 3, 1], [1, 3, 1]])
    assert kernels_of("slow50") == (1, [[1] * 3, [1] * 4, [3] * 6, [3] * 3])
    assert kernels_of("c2d50") == (1, [[1] * 3, [1] * 4, [1] * 6, [1] * 3])


# GFLOPs and million parameters of pytorchvideo's model zoo, on clips of 256 x 256 pixels, with 400 classes.
@pytest.mark.parametrize(
    ("name", "gflops", "parameters"),
    [("c2d50", 25.89, 24.33), ("i3d50", 37.53, 28.04), ("slow50", 54.52, 32.45)],
)
def test_cost_is_what_pytorchvideo_prints(name, gflops, parameters):
    options = {"temporal_pool": True} if name == "c2d50" else {}
    with torch.device("meta"):
        model = gta.create_model(name, num_classes=400, num_frames=8, **options)
    assert count_flops(model, (3, 8, 256, 256)) / 1e9 == pytest.approx(gflops, rel=0.02)
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(parameters, rel=0.02)


def test_an_inflated_network_sees_in_a_still_clip_what_the_image_network_sees(tmp_path):
    """In the middle of a long clip, where no convolution reaches beyond its ends."""
    torch.manual_seed(0)
    image = randomise(timm.create_model("resnet50", num_classes=7)).eval()
    torch.save(image.state_dict(), tmp_path / "image.pth")
    model = gta.create_model("i3d50", num_classes=7, num_frames=33, temporal_pool=False,
                             pretrained=str(tmp_path / "image.pth")).eval()  # fmt: skip
    assert any("inflated to 5 frames" in line for line in model.loaded.resized)
    assert any("inflated to 3 frames" in line for line in model.loaded.resized)
    picture = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        features = model.forward_features(picture[:, :, None].expand(-1, -1, 33, -1, -1))
        want = image.forward_features(picture)
    torch.testing.assert_close(features[:, :, 16], want, rtol=1e-3, atol=1e-3 * float(want.abs().max()))
    assert torch.equal(model.head.weight, image.fc.weight)


def test_the_first_frames_after_a_temporal_pool_are_those_that_attention_reads():
    model = gta.create_model("tiny_i3d_gta", num_classes=3, num_frames=8)
    assert model.forward_features(torch.randn(1, 3, 8, 32, 32)).shape[2] == 4
    model.set_num_frames(12)
    assert model(torch.randn(1, 3, 12, 32, 32)).shape == (1, 3)
    with pytest.raises(ValueError, match="num_frames is 1: a temporal pool after res2 needs at least 2"):
        model.set_num_frames(1)
