"""Weights that cannot become the network they come from are refused, by name and in one line."""

import argparse
import functools
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.models as tv
from hypothesis import given, settings
from hypothesis import strategies as st
from source_networks import PySlowFastNames, PytorchvideoNames, Weights, video_resnet
from torch import nn

import gta
from gta.cli import run
from gta.errors import CheckpointError
from gta.models.foreign import name_foreign
from gta.models.weight_files import read_weights

# Keys and shapes as the networks' own code bases store them: one of each that tells them apart.
FOREIGN = {
    "X3D": [
        {"s1.pathway0_stem.conv_xy.weight": (24, 3, 1, 3, 3), "s2.pathway0_res0.branch2.b.weight": (54, 1, 3, 3, 3)},
        {"blocks.0.conv.conv_t.weight": (9, 3, 1, 3, 3)},
    ],
    "R(2+1)D": [
        {"blocks.1.res_blocks.0.branch2.conv_b.conv_t.weight": (9, 9, 3, 1, 1)},
    ],
    "CSN": [
        {"blocks.0.conv.weight": (64, 3, 3, 7, 7), "blocks.1.res_blocks.0.branch2.conv_b.weight": (64, 1, 3, 3, 3)},
    ],
    "MViT": [{"patch_embed.proj.weight": (96, 3, 3, 7, 7), "blocks.0.attn.pool_q.weight": (96, 1, 3, 3, 3)}],
    "MobileNet-TSM": [{"module.base_model.features.0.0.weight": (32, 3, 3, 3), "module.new_fc.weight": (5, 1280)}],
    "BNInception of TSN or TSM": [{"module.base_model.conv1_7x7_s2.weight": (64, 3, 7, 7)}],
    "a network of mmaction2": [{"backbone.layer1.0.conv1.conv.weight": (9, 9, 1, 1), "cls_head.fc_cls.weight": (5, 9)}],
    "TimeSformer": [{"model.blocks.0.temporal_attn.qkv.weight": (9, 3), "model.pos_embed": (1, 4, 3)}],
    "Inception I3D": [{"Conv3d_1a_7x7.conv3d.weight": (64, 3, 7, 7, 7)}],
    "a 3D ResNet with 3x3x3 convolutions": [{"module.conv1.weight": (9, 3, 7, 7, 7), "module.layer4.0.bn1.bias": (1,)}],
}  # fmt: skip


@pytest.mark.parametrize(("network", "keys"), [(name, keys) for name, some in FOREIGN.items() for keys in some])
def test_other_networks_are_refused_by_their_name(tmp_path, capsys, network, keys):
    path = tmp_path / "model.pyth"
    torch.save({"model_state": {key: torch.zeros(1).expand(shape).clone() for key, shape in keys.items()}}, path)
    assert run(["convert", str(path), str(tmp_path / "out.safetensors")]) == 2
    said = capsys.readouterr().err
    assert f"weights of {network}, which gta does not support" in said
    assert said.count("\n") == 1
    with pytest.raises(CheckpointError, match="which gta does not support"):
        gta.create_model("tiny", num_classes=5, pretrained=str(path))


def test_the_page_for_users_of_other_libraries_promises_no_weights_that_are_refused():
    page = (Path(__file__).parents[2] / "docs" / "coming-from.md").read_text(encoding="utf-8")
    promised = page.partition("\n## ")[0]
    sections = {part.partition("\n")[0]: part for part in page.split("\n## ")[1:]}
    assert [name for name in sections if name not in promised and name != "The TSM code"] == [
        "mmaction2",
        "Hugging Face Transformers",
    ]
    assert "the TSM code" in promised
    assert "not converted" in sections["mmaction2"]
    assert "do not convert" in sections["Hugging Face Transformers"]


@pytest.mark.parametrize(
    ("build", "network"),
    [
        (tv.video.r3d_18, "a 3D ResNet with 3x3x3 convolutions"),
        (tv.video.mc3_18, "a 3D ResNet with 3x3x3 convolutions"),
        (tv.video.r2plus1d_18, "R(2+1)D"),
        (tv.video.s3d, "S3D"),
        (tv.video.mvit_v1_b, "MViT"),
        (tv.video.swin3d_t, "a Swin transformer"),
        (tv.vit_b_16, "a vision transformer"),
        (tv.resnet50, None),
        (tv.resnet101, None),
    ],
)
def test_torchvision_networks_are_known_by_name(build, network):
    with torch.device("meta"):
        assert name_foreign(build().state_dict()) == network


@pytest.mark.parametrize(
    "name",
    ["tiny_gta", "tiny_tsm", "tiny_slowfast_nl", "tiny_c2d", "i3d50", "slow50_nl", "slowfast50_8x8", "tsm101_nl"],
)
def test_our_own_networks_are_not_foreign(name):
    with torch.device("meta"):
        assert name_foreign(gta.create_model(name).state_dict()) is None


class Evil:
    def __reduce__(self):
        return (print, ("this must not run",))


REFUSED = {
    "print": Evil(),
    "torch.nn.modules.linear.Linear": nn.Linear(1, 1),
    "argparse.Namespace": argparse.Namespace(a=1),
    "functools.partial": functools.partial(int),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("form", ["pkl", "zip", "legacy"])
def test_refused_pickles_name_what_was_refused(tmp_path, capsys, name, form):
    path = tmp_path / ("file.pkl" if form == "pkl" else "file.pth")
    content = {"state_dict": {"conv1.weight": torch.zeros(1) if form != "pkl" else np.zeros(1)}, "x": REFUSED[name]}
    if form == "pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    assert run(["convert", str(path), str(tmp_path / "out.safetensors")]) == 2
    printed = capsys.readouterr()
    assert f"it refers to {name}" in printed.err.replace("builtins.", "")
    assert printed.err.count("\n") == 1
    for advice in ("weights_only", "safe_globals", "trust", "Weights only"):
        assert advice not in printed.err
    assert "this must not run" not in printed.out


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_programs_are_refused(tmp_path):
    path = tmp_path / "script.pt"
    torch.jit.trace(nn.Linear(1, 1), torch.zeros(1)).save(path)
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_weights(path)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    "key", ["backbone.network.layer2.0.conv1.weight", "head.bias", "backbone.network.bn1.running_var"]
)
def test_weights_that_are_no_numbers_are_refused(tmp_path, number, key):
    state = dict(gta.create_model("tiny", num_classes=4).state_dict())
    state[key] = state[key].clone()
    state[key][(-1,) * state[key].ndim] = number
    torch.save(state, tmp_path / "broken.pth")
    with pytest.raises(CheckpointError, match=f"{key} holds NaN or infinite"):
        gta.create_model("tiny", num_classes=4, pretrained=str(tmp_path / "broken.pth"))


def test_negative_variances_are_refused(tmp_path):
    state = dict(gta.create_model("tiny", num_classes=4).state_dict())
    state["backbone.network.bn1.running_var"] = -state["backbone.network.bn1.running_var"]
    torch.save(state, tmp_path / "broken.pth")
    with pytest.raises(CheckpointError, match=r"bn1.running_var is negative"):
        gta.create_model("tiny", num_classes=4, pretrained=str(tmp_path / "broken.pth"))


@pytest.mark.parametrize("name", ["tiny_nl", "tiny_gta"])
def test_attention_blocks_and_the_head_are_loaded_whole_or_not_at_all(tmp_path, name):
    state = dict(gta.create_model(name, num_classes=4).state_dict())
    one = [key for key in state if ".attention." in key and "num_batches" not in key]
    for lacking in [*one[:1], *[key for key in one if ".norm." in key][:2], one[-1], "head.bias"]:
        torch.save({key: value for key, value in state.items() if key != lacking}, tmp_path / "partial.pth")
        with pytest.raises(CheckpointError, match=r"1 weights .* missing, the first is " + lacking):
            gta.create_model(name, num_classes=4, pretrained=str(tmp_path / "partial.pth"))
    place = one[0].partition(".attention.")[0]
    rest = {key: value for key, value in state.items() if not key.startswith(f"{place}.attention.")}
    torch.save(rest, tmp_path / "without.pth")  # a whole block may be missing: it starts as the identity
    loaded = gta.create_model(name, num_classes=4, pretrained=str(tmp_path / "without.pth")).loaded
    assert loaded.missing
    assert all(key.startswith(f"{place}.attention.") for key in loaded.missing)


@pytest.mark.parametrize("number", ["0", "-3"])
def test_no_classes_are_an_error(tmp_path, capsys, number):
    state = dict(gta.create_model("r2d50", num_classes=4).backbone.network.state_dict())
    torch.save(state, tmp_path / "r.pth")
    assert run(["convert", str(tmp_path / "r.pth"), str(tmp_path / "o.safetensors"), "--num-classes", number]) == 2
    assert "num_classes" in capsys.readouterr().err.replace("-", "_")
    with pytest.raises(ValueError, match=f"num_classes is {number}"):
        gta.create_model("tiny", num_classes=int(number))


@pytest.mark.parametrize("name", REFUSED)
def test_checkpoints_for_prediction_name_what_was_refused_too(tmp_path, capsys, name):
    path = tmp_path / "best.ckpt"
    torch.save({"state_dict": {}, "gta": {"x": REFUSED[name]}}, path)
    assert run(["predict", str(path), "x.mp4"]) == 2
    said = capsys.readouterr().err
    assert f"it refers to {name}" in said.replace("builtins.", "")
    assert "weights_only" not in said


def tsm_like(seed=0):
    """The state of a narrow TSM network under TSM's names."""
    torch.manual_seed(seed)
    state = gta.create_model("tiny_tsm", num_classes=4).state_dict()
    names = {key: key.replace("backbone.network.", "base_model.").replace("head.", "new_fc.") for key in state}
    return {name.replace(".conv1.conv.", ".conv1.net."): state[key] for key, name in names.items()}


_CONV = "base_model.layer1.0.conv2.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.update({"base_model.fc.weight": s["new_fc.weight"]}),
            "two of its weights correspond to head.weight",
        ),
        (lambda s: s.update({_CONV: s[_CONV].to(torch.int8)}), "quantised"),
        (lambda s: s.update({"new_fc.weight": torch.tensor(1.0)}), "head"),
    ],
)
def test_ambiguous_and_quantised_weights_are_refused(tmp_path, change, message):
    state = tsm_like()
    torch.save(state, tmp_path / "whole.pth")
    assert not gta.create_model("tiny_tsm", num_classes=4, pretrained=str(tmp_path / "whole.pth")).loaded.missing
    change(state)
    torch.save(state, tmp_path / "changed.pth")
    with pytest.raises(CheckpointError, match=message):
        gta.create_model("tiny_tsm", num_classes=4, pretrained=str(tmp_path / "changed.pth"))


@pytest.fixture(scope="module")
def foreign_files():
    """Small networks under the names of three code bases, by the model that takes them."""
    clip = torch.zeros(1, 3, 16, 32, 32)
    files = {"tiny_tsm": tsm_like()}
    for name, names in (("tiny_slowfast_nl", PySlowFastNames()), ("tiny_slowfast", PytorchvideoNames(2))):
        files[name] = Weights(1)
        places = [(3, 0)] if name.endswith("nl") else ()
        options = {"pathways": 2, "beta": 4, "temporal": 1, "width": 8, "nonlocal_at": places}
        video_resnet(files[name], clip, 10, names, **options)
    return files


CHANGES = {
    "scalar": lambda tensor: torch.tensor(1.0),
    "empty": lambda tensor: tensor.reshape(-1)[:0],
    "flat": lambda tensor: tensor.reshape(-1),
    "integers": lambda tensor: tensor.to(torch.int32),
    "complex": lambda tensor: tensor.to(torch.complex64),
    "no number": lambda tensor: tensor * float("nan"),
    "one more": lambda tensor: torch.cat([tensor, tensor]) if tensor.ndim else tensor[None],
    "text": lambda tensor: "text",
    "gone": None,
}


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_changed_files_are_refused_in_our_own_words(tmp_path_factory, foreign_files, data):
    model = data.draw(st.sampled_from(sorted(foreign_files)))
    state = dict(foreign_files[model])
    for key in data.draw(st.lists(st.sampled_from(sorted(state)), min_size=1, max_size=3, unique=True)):
        change = CHANGES[data.draw(st.sampled_from(sorted(CHANGES)))]
        if change is None:
            del state[key]
        else:
            state[key] = change(state[key])
    folder = tmp_path_factory.mktemp("changed")
    torch.save({"model_state": state}, folder / "file.pyth")
    words = ["convert", str(folder / "file.pyth"), str(folder / "out.safetensors")]
    named = data.draw(st.booleans())
    code = run([*words, *(["--model", model] if named else [])])  # anything else than success or our own error raises
    assert code in (0, 2)
    assert (folder / "out.safetensors").exists() == (code == 0)
