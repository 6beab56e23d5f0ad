"""torchvision's video networks as backbones: the same numbers as torchvision's own, with and without attention."""

import pytest
import torch
from models_support import randomise
from torchvision.models import get_model

import gta
from gta.backbones.torchvision_video import NETWORKS, TorchvisionBackbone
from gta.cli import run

CLASSES = 5
# One of each kind, with the frames and pixels of a small clip; S3D's own pool needs 224 pixels and 16 frames.
KINDS = {"r3d_18": (8, 32), "mc3_18": (8, 32), "r2plus1d_18": (8, 32), "s3d": (16, 224), "swin3d_t": (8, 32)}
MVIT = {"mvit_v2_s": (16, 224)}  # the only size that torchvision builds


def sizes(name):
    return (KINDS | MVIT)[name]


def original(name):
    torch.manual_seed(0)
    return get_model(name, weights=None, num_classes=CLASSES).eval()


def create(name, block="", **options):
    return gta.create_model(f"torchvision/{name}{block}", num_classes=CLASSES, num_frames=sizes(name)[0], **options)


def clip_of(name, clips=1):
    frames, side = sizes(name)
    return torch.randn(clips, 3, frames, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", KINDS | MVIT)
def test_a_file_of_torchvision_gives_torchvisions_own_logits_and_a_fresh_block_changes_nothing(tmp_path, name):
    network = original(name)
    path = tmp_path / "weights.pth"
    torch.save(network.state_dict(), path)
    with torch.no_grad():
        want = network(clip_of(name))
        plain = create(name, pretrained=str(path)).eval()
        assert not plain.loaded.missing
        assert torch.allclose(plain(clip_of(name)), want, atol=2e-6)
        attended = create(name, "_gta", pretrained=str(path)).eval()
        assert torch.equal(attended(clip_of(name)), plain(clip_of(name)))
    assert attended.arguments["at"]


@pytest.mark.parametrize("name", ["r2plus1d_18", "mc3_18", "swin3d_t"])
def test_a_training_step_reaches_everything_and_the_file_builds_it_again(tmp_path, name):
    model = randomise(create(name, "_gta", dropout=0.0)).train()
    torch.nn.functional.cross_entropy(model(clip_of(name, 2)), torch.tensor([0, 1])).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    path = tmp_path / "model.safetensors"
    from gta.models.pretrained import save_weights

    save_weights(model, path)
    again = gta.create_model(pretrained=str(path)).eval()
    with torch.no_grad():
        assert torch.equal(again(clip_of(name)), model.eval()(clip_of(name)))


@pytest.mark.parametrize("name", ["r3d_18", "mc3_18", "r2plus1d_18", "swin3d_t"])
def test_another_number_of_frames_reaches_each_block_with_its_own(name):
    model = randomise(create(name, "_gta")).eval()
    model.set_num_frames(16)
    built = gta.create_model(f"torchvision/{name}_gta", num_classes=CLASSES, num_frames=16)
    places = model.backbone.attention_frames(16)
    assert places == {
        key: module.num_frames for key, module in built.backbone.named_modules() if hasattr(module, "host")
    }
    with torch.no_grad():
        assert model(torch.randn(1, 3, 16, 32, 32)).shape == (1, CLASSES)


def test_mvit_reads_the_frames_and_pixels_that_it_was_built_for():
    model = create("mvit_v2_s")
    with pytest.raises(ValueError, match="encoding for 16 frames"):
        model.set_num_frames(8)
    with pytest.raises(ValueError, match="224x224 only"):
        model.backbone(torch.randn(1, 3, 16, 256, 256))
    with pytest.raises(ValueError, match="reads 16 frames only"):
        gta.create_model("torchvision/mvit_v2_s", num_frames=8)


@pytest.mark.parametrize("head", ["step", "relation"])
def test_heads_that_need_an_axis_of_time_are_refused_on_mvit(head):
    with pytest.raises(ValueError, match=rf"head is '{head}': .* torchvision/mvit_v2_s .* average or attentive"):
        gta.create_model("torchvision/mvit_v2_s", num_classes=CLASSES, head=head)


def test_a_network_exports_and_is_listed():
    model = randomise(create("swin3d_t", "_gta")).eval()
    clip = clip_of("swin3d_t", 2)
    with torch.no_grad():
        program = torch.export.export(model, (clip,))
        assert torch.allclose(program.module()(clip), model(clip), atol=1e-5)
    assert {f"torchvision/{name}" for name in NETWORKS} <= set(gta.list_models())
    assert isinstance(model.backbone, TorchvisionBackbone)


def test_unknown_networks_options_and_weights_are_named():
    with pytest.raises(ValueError, match="no video network 'slowfast'"):
        gta.create_model("torchvision/slowfast")
    with pytest.raises(ValueError, match="image_size does not apply"):
        gta.create_model("torchvision/r3d_18", image_size=64)
    with pytest.raises(ValueError, match="there are kinetics, KINETICS400_V1"):
        gta.create_model("torchvision/r3d_18", pretrained="imagenet21k")


def test_a_file_is_converted_once_its_network_is_named(tmp_path, capsys):
    path = tmp_path / "r3d.pth"
    torch.save(original("r3d_18").state_dict(), path)
    out = tmp_path / "out.safetensors"
    assert run(["convert", str(path), str(out)]) == 2
    assert "named as the model" in capsys.readouterr().err
    assert run(["convert", str(path), str(out), "--model", "torchvision/r3d_18"]) == 0
    assert gta.create_model(pretrained=str(out)).num_classes == CLASSES
