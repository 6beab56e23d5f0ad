"""Weights of other code bases give the same outputs here as in a restatement of their own networks."""

import collections
import pickle

import numpy as np
import pytest
import torch
from models_support import clip_of, randomise
from source_networks import Caffe2Names, PySlowFastNames, PytorchvideoNames, Weights, image_resnet, video_resnet

import gta
from gta.cli import run
from gta.errors import CheckpointError
from gta.models.pretrained import is_file_name, save_weights
from gta.models.weight_files import read_weights

TSM_PLACES = ((2, 0), (2, 2), (3, 0), (3, 2), (3, 4))
PYSLOWFAST_PLACES = ((3, 1), (3, 3), (4, 1), (4, 3), (4, 5))


def fold(clip):
    return clip.transpose(1, 2).flatten(0, 1)


def write_caffe2(path, weights):
    """As Caffe2 wrote them: arrays in a dict under `blobs`, with optimiser state beside them."""
    blobs = {key: tensor.numpy() for key, tensor in weights.items()}
    blobs |= {"conv1_w_momentum": np.zeros(3, "f4"), "lr": np.float32(0.1), "model_iter": np.zeros(1, "i8")}
    path.write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))


def check(tmp_path, source, clip, want, capsys, *, name, options=()):
    """Convert through the command line, load the result, compare logits; returns the model."""
    dest = tmp_path / "converted.safetensors"
    assert run(["convert", str(source), str(dest), "--num-frames", str(clip.shape[2]), *options]) == 0
    report = capsys.readouterr().out
    assert "weights used" in report
    assert "left out" not in report
    arguments = read_weights(dest).card.model
    assert arguments["name"] == name
    model = gta.create_model(**arguments, pretrained=str(dest)).eval()
    assert not model.loaded.unexpected
    assert not model.loaded.missing
    with torch.no_grad():
        got = model(clip)
    assert (got - want).norm() <= 1e-4 * want.norm()
    return model


def test_torchvision_resnet(tmp_path, capsys):
    weights, clip = Weights(), clip_of(2)
    want = image_resnet(weights, fold(clip), 50, num_frames=2)
    weights["bn1.num_batches_tracked"] = torch.tensor(3)
    torch.save(dict(weights), tmp_path / "resnet50.pth")
    check(tmp_path, tmp_path / "resnet50.pth", clip, want, capsys, name="r2d50")
    # The same weights as C2D, whose 2D kernels become 3D ones of length 1.
    model = gta.create_model("c2d50", num_classes=5, num_frames=2, pretrained=str(tmp_path / "resnet50.pth")).eval()
    with torch.no_grad():
        assert (model(clip) - want).norm() <= 1e-4 * want.norm()


def test_tsm_with_non_local_blocks(tmp_path, capsys):
    weights, clip = Weights(1), clip_of(4)
    want = image_resnet(
        weights, fold(clip), 50, prefix="module.base_model.", fc="module.new_fc", num_frames=4, shift=True,
        nonlocal_at=TSM_PLACES,
    )  # fmt: skip
    content = {
        "epoch": 3,
        "arch": "resnet50",
        "state_dict": collections.OrderedDict(weights),
        "best_prec1": np.float64(9),
    }
    torch.save(content, tmp_path / "tsm.pth")
    check(tmp_path, tmp_path / "tsm.pth", clip, want, capsys, name="tsm50_nl")
    # A model that the user names is described by the weights too.
    (tmp_path / "converted.safetensors").unlink()
    check(tmp_path, tmp_path / "tsm.pth", clip, want, capsys, name="tsm50_nl", options=["--model", "tsm50_nl"])
    other = gta.create_model("tsm50_nl", num_classes=5, num_frames=4, pretrained=str(tmp_path / "tsm.pth"))
    assert other.loaded.differing == ("scaled is True, there False",)
    assert "scaled is True" in other.loaded.summary()


def test_tsm_resnet101_shifts_every_second_block(tmp_path, capsys):
    weights, clip = Weights(2), clip_of(2)
    want = image_resnet(
        weights, fold(clip), 101, prefix="module.base_model.", fc="module.new_fc", num_frames=2, shift=True
    )
    torch.save({"state_dict": dict(weights)}, tmp_path / "tsm101.pth")
    check(tmp_path, tmp_path / "tsm101.pth", clip, want, capsys, name="tsm101")


def test_tsm_without_dropout_without_head_and_with_other_shifts(tmp_path, capsys):
    weights, clip = Weights(2), clip_of(2)
    # Trained with dropout 0, the classifier stays in the ImageNet network.
    names = {"prefix": "base_model.", "fc": "base_model.fc"}
    want = image_resnet(weights, fold(clip), 50, **names, num_frames=2, shift=True, div=4)
    torch.save({"state_dict": {f"module.{key}": tensor for key, tensor in weights.items()}}, tmp_path / "tsm.pth")
    check(tmp_path, tmp_path / "tsm.pth", clip, want, capsys, name="tsm50", options=["--shift-div", "4"])
    torch.save({key: tensor for key, tensor in weights.items() if ".fc." not in key}, tmp_path / "headless.pth")
    dest = tmp_path / "headless.safetensors"
    assert run(["convert", str(tmp_path / "headless.pth"), str(dest), "--num-classes", "7"]) == 0
    said = capsys.readouterr().out
    assert "2 kept their starting values: head.weight, head.bias" in said
    assert "2 assumed, because the file does not say: num_frames 8, shift_div 8" in said
    assert "--num-frames, --shift-div" in said
    card = read_weights(dest).card
    assert card.untrained == ("head.weight", "head.bias")
    assert (card.model["name"], card.model["num_classes"]) == ("tsm50", 7)
    loaded = gta.create_model("tsm50", num_classes=5, pretrained=str(tmp_path / "tsm.pth"), shift_div=4).loaded
    assert loaded.differing == ("shift_div is 4, there 8",)
    assert "shift_div 8" in loaded.assumed


@pytest.mark.parametrize("family", ["pyslowfast", "caffe2"])
@pytest.mark.parametrize("kind", ["slowfast_nl", "c2d_nl"])
def test_pyslowfast_and_caffe2(tmp_path, capsys, family, kind):
    weights, clip = Weights(3), clip_of(8)
    names = PySlowFastNames() if family == "pyslowfast" else Caffe2Names()
    places = PYSLOWFAST_PLACES if kind.endswith("_nl") else ()
    slowfast = kind.startswith("slowfast")
    want = video_resnet(
        weights, clip, 50, names, pathways=2 if slowfast else 1, kernel=5, pool=not slowfast, nonlocal_at=places
    )
    source = tmp_path / ("model.pyth" if family == "pyslowfast" else "model.pkl")
    if family == "pyslowfast":
        torch.save({"epoch": 1, "model_state": dict(weights), "cfg": "MODEL:\n  ARCH: c2d\n"}, source)
    else:
        write_caffe2(source, weights)
    name = ("slowfast50_8x8" if slowfast else "c2d50") + ("_nl" if places else "")
    model = check(tmp_path, source, clip, want, capsys, name=name)
    if slowfast:
        assert model.arguments["fusion_kernel"] == 5
    else:
        assert model.arguments["temporal_pool"] is True


def test_pyslowfast_c2d_without_temporal_pool(tmp_path, capsys):
    weights, clip = Weights(4), clip_of(2)
    want = video_resnet(weights, clip, 50, PySlowFastNames())
    torch.save({"model_state": dict(weights), "cfg": "MODEL:\n  ARCH: c2d_nopool\n"}, tmp_path / "c2d.pyth")
    check(tmp_path, tmp_path / "c2d.pyth", clip, want, capsys, name="c2d50")
    torch.save({"model_state": dict(weights)}, tmp_path / "bare.pyth")  # nothing tells, so the user does
    (tmp_path / "converted.safetensors").unlink()
    other = gta.create_model("c2d50", num_classes=5, num_frames=2, pretrained=str(tmp_path / "bare.pyth"))
    assert other.loaded.differing == ("temporal_pool is False, there True",)
    check(tmp_path, tmp_path / "bare.pyth", clip, want, capsys, name="c2d50", options=["--temporal-pool", "False"])


@pytest.mark.parametrize(("depth", "kernel", "temporal"), [(50, 7, 6), (101, 5, 23)])
def test_pytorchvideo_slowfast(tmp_path, capsys, depth, kernel, temporal):
    weights, clip = Weights(5), clip_of(8)
    want = video_resnet(weights, clip, depth, PytorchvideoNames(2), pathways=2, kernel=kernel, temporal=temporal)
    torch.save({"model_state": dict(weights)}, tmp_path / "hub.pyth")
    model = check(tmp_path, tmp_path / "hub.pyth", clip, want, capsys, name=f"slowfast{depth}_8x8")
    assert model.arguments["temporal_blocks"] == temporal


@pytest.mark.parametrize("pooled", [True, False])
def test_pytorchvideo_c2d(tmp_path, capsys, pooled):
    weights, clip = Weights(6), clip_of(4)
    want = video_resnet(weights, clip, 50, PytorchvideoNames(1, pooled), pool=pooled)
    torch.save(dict(weights), tmp_path / "hub.pyth")
    check(tmp_path, tmp_path / "hub.pyth", clip, want, capsys, name="c2d50")


def tiny_file(tmp_path, name="tiny", **options):
    model = randomise(gta.create_model(name, num_classes=4, **options)).eval()
    path = tmp_path / f"{name}.safetensors"
    save_weights(model, path)
    return model, path


def test_backbone_weights_go_into_a_model_with_attention(tmp_path):
    plain, path = tiny_file(tmp_path, "tiny_tsm")
    model = gta.create_model("tiny_tsm_gta", num_classes=4, pretrained=str(path)).eval()
    assert all(".attention." in key for key in model.loaded.missing)
    clip = clip_of(8)
    with torch.no_grad():
        assert torch.equal(model(clip), plain(clip))  # fresh blocks are the identity


@pytest.mark.parametrize(
    ("source", "stored", "target", "asked", "differing"),
    [
        ("tiny_slowfast", {"alpha": 8}, "tiny_slowfast", {}, ("alpha is 4, there 8",)),
        ("tiny_slowfast", {"alpha": 8}, "tiny_slowfast", {"alpha": 8}, ()),
        ("tiny_tsm", {}, "tiny", {}, ("shift_div is None, there 8",)),
        ("tiny", {}, "tiny_tsm", {}, ("shift_div is 8, there None",)),
        ("tiny_tsm", {"shift_div": 4}, "tiny_tsm_gta", {}, ("shift_div is 8, there 4",)),
        ("tiny_c2d", {"temporal_pool": True}, "tiny_c2d_nl", {}, ("temporal_pool is False, there True",)),
        ("tiny_nl", {"instantiation": "dot_product"}, "tiny_nl", {}, ("instantiation is softmax, there dot_product",)),
        ("tiny_nl", {"pool": "none"}, "tiny_nl", {}, ("pool is after, there none",)),
        ("tiny", {}, "tiny_nl", {"pool": "none", "instantiation": "dot_product"}, ()),
    ],
)
def test_our_own_files_say_what_the_model_computes_otherwise(tmp_path, source, stored, target, asked, differing):
    _, path = tiny_file(tmp_path, source, **stored)
    assert gta.create_model(target, num_classes=4, pretrained=str(path), **asked).loaded.differing == differing


def test_files_of_before_the_options_have_their_usual_values(tmp_path):
    model = gta.create_model("tiny_tsm", num_classes=4)
    for name in ("shift_div", "instantiation"):
        del model.arguments[name]
    save_weights(model, tmp_path / "old.safetensors")
    again = gta.create_model("tiny_tsm", num_classes=4, pretrained=str(tmp_path / "old.safetensors"))
    assert again.loaded.differing == ()


def test_checkpoint_of_a_training_run_is_read(tmp_path, capsys):
    model, _ = tiny_file(tmp_path, "tiny_gta")
    state = {f"model.{key}": value for key, value in model.state_dict().items()} | {"prepare.mean": torch.zeros(3)}
    torch.save({"state_dict": state, "gta": {"format": 1, "model": model.arguments}}, tmp_path / "best.ckpt")
    assert run(["convert", str(tmp_path / "best.ckpt"), str(tmp_path / "out.safetensors")]) == 0
    assert "tiny_gta, 4 classes" in capsys.readouterr().out
    for source in ("best.ckpt", "out.safetensors"):
        again = gta.create_model("tiny_gta", num_classes=4, pretrained=str(tmp_path / source)).eval()
        with torch.no_grad():
            assert torch.equal(again(clip_of(8)), model(clip_of(8)))


def test_another_number_of_classes_leaves_the_head_out(tmp_path):
    _, path = tiny_file(tmp_path)
    model = gta.create_model("tiny", num_classes=9, pretrained=str(path))
    assert set(model.loaded.unexpected) == {"head.weight", "head.bias"}
    assert set(model.loaded.missing) == {"head.weight", "head.bias"}


def test_another_number_of_frames_resizes_the_matrices(tmp_path):
    eight, path = tiny_file(tmp_path, "tiny_gta")
    sixteen = gta.create_model("tiny_gta", num_classes=4, num_frames=16, pretrained=str(path)).eval()
    assert len(sixteen.loaded.resized) == 4
    assert all("8 -> 16 frames" in line for line in sixteen.loaded.resized)
    rows = [key for key in eight.state_dict() if key.endswith("mixing")]
    for key in rows:
        old, new = eight.state_dict()[key].sum(dim=-1), sixteen.state_dict()[key].sum(dim=-1)
        assert torch.allclose(new, torch.nn.functional.interpolate(old, size=16, mode="linear"), atol=1e-5)
    assert eight.set_num_frames(16) == [line.split(" ")[0] for line in sixteen.loaded.resized]
    with torch.no_grad():
        assert torch.equal(eight(clip_of(16)), sixteen(clip_of(16)))


def test_another_number_of_frames_resizes_constant_regions(tmp_path):
    constant = {"regions": "constant", "region_size": (4, 4)}
    eight, path = tiny_file(tmp_path, "tiny_gta", at={"res3": 1}, **constant)
    sixteen = gta.create_model(
        "tiny_gta", num_classes=4, num_frames=16, at={"res3": 1}, pretrained=str(path), **constant
    ).eval()
    assert {line.split(" ")[0].rpartition(".")[2] for line in sixteen.loaded.resized} == {
        "mixing",
        "region_mixing",
        "assignment",
    }
    eight.set_num_frames(16)
    with torch.no_grad():
        assert torch.equal(eight(clip_of(16)), sixteen(clip_of(16)))


def test_a_folder_does_not_stand_for_weights(tmp_path, monkeypatch):
    (tmp_path / "imagenet").mkdir()
    monkeypatch.chdir(tmp_path)
    assert not is_file_name("imagenet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("backbone.network.layer2.0.conv1.weight"), "1 weights of the backbone are missing"),
        (lambda state: state.update({"backbone.network.extra": torch.zeros(1)}), "backbone.network.extra"),
        (lambda state: state.update({"backbone.network.bn1.weight": torch.zeros(7)}), r"bn1.weight has shape \(7,\)"),
    ],
)
def test_a_backbone_is_loaded_whole_or_not_at_all(tmp_path, change, message):
    state = dict(gta.create_model("tiny", num_classes=4).state_dict())
    change(state)
    torch.save(state, tmp_path / "broken.pth")
    with pytest.raises(CheckpointError, match=message):
        gta.create_model("tiny", num_classes=4, pretrained=str(tmp_path / "broken.pth"))


def test_attention_without_a_place_is_refused(tmp_path):
    _, path = tiny_file(tmp_path, "tiny_gta")
    with pytest.raises(CheckpointError, match="name a model with such attention"):
        gta.create_model("tiny", num_classes=4, pretrained=str(path))


class Evil:
    def __reduce__(self):
        return (print, ("this must not run",))


@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_files_that_would_run_code_are_refused(tmp_path, capsys, suffix):
    path = tmp_path / f"evil{suffix}"
    content = {"blobs": {"conv1_w": np.zeros(3, "f4"), "evil": Evil()}}
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save({"state_dict": {"conv1.weight": torch.zeros(1), "evil": Evil()}}, path)
    assert run(["convert", str(path), str(tmp_path / "out.safetensors")]) == 2
    printed = capsys.readouterr()
    assert "this must not run" not in printed.out
    assert path.name in printed.err
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("suffix", [".pkl", ".pth", ".safetensors"])
def test_files_that_hold_no_weights_are_refused(tmp_path, capsys, suffix):
    path = tmp_path / f"text{suffix}"
    assert run(["convert", str(path), str(tmp_path / "out.safetensors")]) == 2
    assert "no such file" in capsys.readouterr().err
    path.write_text("no weights at all")
    assert run(["convert", str(path), str(tmp_path / "out.safetensors")]) == 2
    assert path.name in capsys.readouterr().err


def test_dest_is_not_replaced_unasked(tmp_path, capsys):
    (tmp_path / "there.safetensors").write_text("mine")
    assert run(["convert", str(tmp_path / "x.pth"), str(tmp_path / "there.safetensors")]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(["convert", str(tmp_path / "x.pth"), str(tmp_path / "there.bin")]) == 2
