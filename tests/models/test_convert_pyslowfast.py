"""PySlowFast's files: the configuration beside the weights decides what they compute, and gaps are announced."""

import copy
import json

import pytest
import torch
import yaml
from models_support import clip_of, randomise
from PIL import Image
from source_networks import Caffe2Names, PySlowFastNames, PytorchvideoNames, Weights, video_resnet

import gta
from gta.cli import run
from gta.errors import CheckpointError
from gta.model_card import ModelCard
from gta.models.conversion import find_key_map
from gta.models.sources import describe_source
from gta.models.weight_files import WeightFile, read_weights

TINY = {"width": 8, "depth": 10}
TWO = {"pathways": 2, "beta": 4, "temporal": 1, "kernel": 7}


def config_of(arch="slowfast", **changes):
    """A whole configuration, as PySlowFast writes it, of a tiny network; changes are named SECTION__KEY."""
    two = arch == "slowfast"

    def per_stage(*values):
        return [[value] * (2 if two else 1) for value in values]

    config = {
        "BN": {"NORM_TYPE": "batchnorm"},
        "DATA": {
            "NUM_FRAMES": 16, "SAMPLING_RATE": 2, "MEAN": [0.45, 0.45, 0.45], "STD": [0.225, 0.225, 0.225],
            "TRAIN_JITTER_SCALES": [256, 320], "TRAIN_CROP_SIZE": 224, "TEST_CROP_SIZE": 256,
            "REVERSE_INPUT_CHANNEL": False, "RANDOM_FLIP": True,
        },
        "MODEL": {"ARCH": arch, "DROPOUT_RATE": 0.25, "HEAD_ACT": "softmax", "NUM_CLASSES": 5},
        "NONLOCAL": {
            "LOCATION": per_stage([], [], [], []), "GROUP": per_stage(1, 1, 1, 1), "INSTANTIATION": "dot_product",
            "POOL": [[[1, 2, 2], [1, 2, 2]]] * 4,
        },
        "RESNET": {
            "DEPTH": 50, "NUM_BLOCK_TEMP_KERNEL": per_stage(1, 1, 1, 1), "NUM_GROUPS": 1, "STRIDE_1X1": False,
            "SPATIAL_STRIDES": per_stage(1, 2, 2, 2), "SPATIAL_DILATIONS": per_stage(1, 1, 1, 1),
            "TRANS_FUNC": "bottleneck_transform", "WIDTH_PER_GROUP": 64,
        },
        "SLOWFAST": {"ALPHA": 4, "BETA_INV": 4, "FUSION_CONV_CHANNEL_RATIO": 2, "FUSION_KERNEL_SZ": 7},
        "TEST": {"NUM_ENSEMBLE_VIEWS": 10, "NUM_SPATIAL_CROPS": 3},
        "TRAIN": {"DATASET": "kinetics"},
        "OUTPUT_DIR": ".",
    }  # fmt: skip
    for name, value in changes.items():
        section, key = name.split("__")
        config[section][key] = value
    return config


def write(path, weights, config=None):
    content = {"epoch": 1, "model_state": dict(weights)}
    torch.save(content | ({"cfg": yaml.safe_dump(config)} if config else {}), path)


def convert(tmp_path, source, *options):
    dest = tmp_path / "out.safetensors"
    dest.unlink(missing_ok=True)
    assert run(["convert", str(source), str(dest), *options]) == 0
    card = read_weights(dest).card
    return gta.create_model(**card.model, pretrained=str(dest)).eval(), card


def assert_same(model, weights, clip, depth=10, **network):
    """Logits in both precisions; the source's are those of its restatement."""
    double = copy.deepcopy(model).double()
    with torch.no_grad():
        want = video_resnet(weights, clip, depth, **network)
        assert (model(clip) - want).norm() <= 1e-4 * want.norm()
        want = video_resnet(weights.double(), clip.double(), depth, **network)
        assert (double(clip.double()) - want).norm() <= 1e-10 * want.norm()


I3D = {"stem": 5, "kernels": [[3], [3, 1], [3, 1], [1, 3]]}
SLOW = {"kernels": [[1], [1], [3], [3]]}
CASES = {
    "slowfast": ("slowfast", {}, {}),
    "alpha": ("slowfast", {"SLOWFAST__ALPHA": 8}, {"alpha": 8}),
    "kernel": ("slowfast", {"SLOWFAST__FUSION_KERNEL_SZ": 5}, {"kernel": 5}),
    "beta": ("slowfast", {"SLOWFAST__BETA_INV": 2}, {"beta": 2}),
    "temporal": ("slowfast", {"RESNET__NUM_BLOCK_TEMP_KERNEL": [[1, 1], [1, 1], [0, 0], [1, 1]]}, {"temporal": 0}),
    "c2d": ("c2d", {}, {"pool": True}),
    "2d": ("2d", {}, {}),
    "slow_c2d": ("slow_c2d", {}, {}),
    "c2d_nopool": ("c2d_nopool", {}, {}),
    "i3d": ("i3d", {}, {"pool": True, **I3D}),
    "i3d_nopool": ("i3d_nopool", {}, I3D),
    "slow_i3d": ("slow_i3d", {"RESNET__STRIDE_1X1": True}, {"stride_1x1": True, **I3D}),
    "slow": ("slow", {}, SLOW),
    "dot i3d": ("i3d", {}, {"pool": True, "nonlocal_at": [(3, 0), (4, 0)], "softmax": False, **I3D}),
    "stride": ("c2d", {"RESNET__STRIDE_1X1": True}, {"pool": True, "stride_1x1": True}),
    "dot": ("slowfast", {}, {"nonlocal_at": [(3, 0), (4, 0)], "softmax": False}),
    "dot c2d": ("c2d", {}, {"pool": True, "nonlocal_at": [(4, 0)], "softmax": False}),
    "softmax": ("slowfast", {"NONLOCAL__INSTANTIATION": "softmax"}, {"nonlocal_at": [(3, 0), (4, 0)]}),
    "no pool": (
        "c2d_nopool", {"NONLOCAL__POOL": [[[1, 1, 1]]] * 4},
        {"nonlocal_at": [(3, 0)], "softmax": False, "nonlocal_pool": False},
    ),
    "no pool, softmax": (
        "slowfast", {"NONLOCAL__POOL": [[[1, 1, 1], [1, 1, 1]]] * 4, "NONLOCAL__INSTANTIATION": "softmax"},
        {"nonlocal_at": [(3, 0)], "nonlocal_pool": False},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_configurations_decide_what_is_computed(tmp_path, capsys, case):
    arch, changes, network = CASES[case]
    two = arch == "slowfast"
    network = {"names": PySlowFastNames(), "width": 8, **(TWO if two else {}), **network}
    if places := network.get("nonlocal_at"):
        at = {stage for stage, _ in places}
        location = [[[0] if stage in at else []] + ([[]] if two else []) for stage in range(2, 6)]
        changes = {"NONLOCAL__LOCATION": location, **changes}
    weights, clip = Weights(3), clip_of(16, 64)
    video_resnet(weights, clip, 10, **network)
    write(tmp_path / "model.pyth", weights, config_of(arch, **changes))
    name = "tiny_i3d" if "stem" in network else "tiny_slow" if "kernels" in network else "tiny_c2d"
    name = ("tiny_slowfast" if two else name) + ("_nl" if places else "")
    model, _ = convert(tmp_path, tmp_path / "model.pyth", "--model", name)
    said = capsys.readouterr().out
    assert "assumed" not in said
    assert "different" not in said
    assert_same(model, weights, clip, **network)


def test_names_of_the_published_slowfast_networks(tmp_path, capsys):
    weights, clip = Weights(5), clip_of(16, 32)
    network = {"names": PySlowFastNames(), "pathways": 2, "alpha": 8, "kernel": 5}
    video_resnet(weights, clip, 50, **network)
    whole = {"RESNET__NUM_BLOCK_TEMP_KERNEL": [[3, 3], [4, 4], [6, 6], [3, 3]], "SLOWFAST__BETA_INV": 8}
    for frames, alpha, name in ((64, 4, "slowfast50_16x8"), (32, 4, "slowfast50_8x8"), (32, 8, "slowfast50_4x16")):
        changes = {"DATA__NUM_FRAMES": frames, "SLOWFAST__ALPHA": alpha, "SLOWFAST__FUSION_KERNEL_SZ": 5}
        config = config_of(**whole, **changes)
        file = WeightFile(tmp_path / "model.pyth", weights, config=config)
        described = describe_source(file, find_key_map(weights)).arguments
        assert (described["name"], described["num_frames"], described["alpha"]) == (name, frames, alpha)
    write(tmp_path / "model.pyth", weights, config)
    model, card = convert(tmp_path, tmp_path / "model.pyth")
    assert (card.model["name"], card.model["num_frames"], card.clip.num_frames) == ("slowfast50_4x16", 32, 32)
    model.set_num_frames(16)
    assert_same(model, weights, clip, depth=50, **network)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arch", "network", "name"), [("i3d", {"pool": True, **I3D}, "i3d50"), ("slow", SLOW, "slow50")]
)
@pytest.mark.parametrize("torchvideo", [False, True])
def test_names_of_the_published_networks_of_one_pathway(tmp_path, capsys, arch, network, name, torchvideo):
    """Their kernels tell which they are; pytorchvideo's files have no configuration."""
    names = PytorchvideoNames(1, pooled="pool" in network) if torchvideo else PySlowFastNames()
    weights, clip = Weights(5), clip_of(8, 32)
    video_resnet(weights, clip, 50, names, **network)
    config = config_of(arch, DATA__NUM_FRAMES=8)
    write(tmp_path / "model.pyth", weights, None if torchvideo else config)
    model, card = convert(tmp_path, tmp_path / "model.pyth")
    assert (card.model["name"], card.model["temporal_pool"], card.model["num_frames"]) == (name, "pool" in network, 8)
    assert_same(model, weights, clip, depth=50, names=names, **network)
    said = capsys.readouterr().out
    assert ("assumed" in said) == torchvideo
    assert "they count" not in said
    write(tmp_path / "other.pyth", weights, config_of("c2d", DATA__NUM_FRAMES=8))
    if not torchvideo:
        convert(tmp_path, tmp_path / "other.pyth")
        assert f"its MODEL.ARCH is c2d, but its weights are those of {arch}: they count" in capsys.readouterr().out


REFUSED = [
    ("slowfast", "NONLOCAL__GROUP", [[1, 1], [4, 1], [1, 1], [1, 1]]),
    ("slowfast", "NONLOCAL__POOL", [[[2, 2, 2], [1, 2, 2]]] * 4),
    ("slowfast", "NONLOCAL__INSTANTIATION", "concatenation"),
    ("slowfast", "NONLOCAL__LOCATION", [[[], []], [[], []], [[0], []], [[], []]]),
    ("slowfast", "NONLOCAL__LOCATION", [[[], []], [[0], [0]], [[], []], [[], []]]),
    ("slowfast", "SLOWFAST__BETA_INV", 8),
    ("slowfast", "SLOWFAST__FUSION_KERNEL_SZ", 5),
    ("slowfast", "SLOWFAST__FUSION_CONV_CHANNEL_RATIO", 1),
    ("slowfast", "RESNET__STRIDE_1X1", True),
    ("slowfast", "RESNET__NUM_BLOCK_TEMP_KERNEL", [[1, 0], [1, 1], [1, 1], [1, 1]]),
    ("slowfast", "RESNET__NUM_BLOCK_TEMP_KERNEL", [[1, 1], [1, 1], [1, 0], [1, 1]]),
    ("slowfast", "RESNET__NUM_BLOCK_TEMP_KERNEL", [[1, 1], [1, 1], [0, 0], [1, 1]]),
    ("slowfast", "DATA__NUM_FRAMES", 18),
    ("c2d", "RESNET__SPATIAL_STRIDES", [[1], [2], [2], [1]]),
    ("c2d", "RESNET__SPATIAL_DILATIONS", [[1], [1], [1], [2]]),
    ("c2d", "RESNET__NUM_GROUPS", 32),
    ("c2d", "RESNET__TRANS_FUNC", "basic_transform"),
    ("c2d", "BN__NORM_TYPE", "sub_batchnorm"),
    ("c2d", "DATA__NUM_FRAMES", 0),
    ("c2d", "DATA__STD", [0.2, 0.0, 0.2]),
    ("c2d", "DATA__MEAN", ["a", "b", "c"]),
    ("c2d", "MODEL__ARCH", "x3d"),
    ("c2d", "MODEL__ARCH", "csn"),
    ("c2d", "MODEL__ARCH", "nonsense"),
]


@pytest.fixture(scope="module")
def tiny_weights():
    made = {}
    for arch, network in (("slowfast", {**TWO, "nonlocal_at": [(3, 0)]}), ("c2d", {"nonlocal_at": [(3, 0)]})):
        made[arch] = Weights(4)
        video_resnet(made[arch], clip_of(16, 32), 10, PySlowFastNames(), width=8, **network)
    return made


@pytest.mark.parametrize(("arch", "key", "value"), REFUSED)
def test_what_gta_does_not_have_is_refused_by_name(tmp_path, capsys, tiny_weights, arch, key, value):
    location = [[[]], [[0]], [[]], [[]]] if arch == "c2d" else [[[], []], [[0], []], [[], []], [[], []]]
    path, model = tmp_path / "model.pyth", f"tiny_{arch}_nl"
    write(path, tiny_weights[arch], config_of(arch, **{"NONLOCAL__LOCATION": location, key: value}))
    assert run(["convert", str(path), str(tmp_path / "out.safetensors"), "--model", model]) == 2
    said = capsys.readouterr().err
    assert key.replace("__", ".") in said
    assert said.count("\n") == 1
    with pytest.raises(CheckpointError, match=key.replace("__", r"\.")):
        gta.create_model(model, num_classes=5, pretrained=str(path))


@pytest.mark.parametrize(
    "text", ["a: [", "just words", "- 1", "MODEL: 3", "[" * 5000, "RESNET: {DEPTH: deep}", "&a [*a]"]
)
def test_configurations_that_cannot_be_read_are_refused(tmp_path, capsys, tiny_weights, text):
    path = tmp_path / "model.pyth"
    torch.save({"model_state": dict(tiny_weights["c2d"]), "cfg": text}, path)
    assert run(["convert", str(path), str(tmp_path / "out.safetensors"), "--model", "tiny_c2d_nl"]) == 2
    said = capsys.readouterr().err
    assert "configuration (cfg)" in said
    assert said.count("\n") == 1


def test_clips_come_from_the_configuration(tmp_path, capsys, tiny_weights):
    changes = {
        "DATA__MEAN": [0.1, 0.2, 0.3], "DATA__STD": [0.4, 0.5, 0.6], "DATA__TRAIN_CROP_SIZE": 192,
        "DATA__TEST_CROP_SIZE": 208, "DATA__SAMPLING_RATE": 5, "DATA__RANDOM_FLIP": False,
        "NONLOCAL__LOCATION": [[[]], [[0]], [[]], [[]]],
    }  # fmt: skip
    write(tmp_path / "model.pyth", tiny_weights["c2d"], config_of("c2d", **changes))
    model, card = convert(tmp_path, tmp_path / "model.pyth", "--model", "tiny_c2d_nl", "--num-frames", "8")
    clip = card.clip
    assert (clip.mean, clip.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert (clip.crop_size, clip.test_crop_size, clip.test_resize) == (192, 208, 208)
    assert (clip.num_frames, clip.frame_stride, clip.sampling, clip.flip) == (8, 5, "dense", "none")
    assert (clip.test_clips, clip.test_crops) == (10, 3)
    assert (model.arguments["head_window"], model.arguments["dropout"]) == (6, 0.25)
    write(tmp_path / "model.pyth", tiny_weights["c2d"], config_of("c2d", TRAIN__DATASET="ssv2", **changes))
    _, card = convert(tmp_path, tmp_path / "model.pyth", "--model", "tiny_c2d_nl")
    assert (card.clip.mean, card.clip.sampling) == ((0.3, 0.2, 0.1), "segments")  # it reads pictures as BGR
    capsys.readouterr()


@pytest.mark.parametrize("arch", ["slowfast", "c2d"])
@pytest.mark.parametrize(
    ("dataset", "reverse", "bgr"), [("kinetics", True, True), ("ssv2", True, False), ("ssv2", False, True)]
)
def test_networks_that_read_blue_first_get_their_stem_reversed(tmp_path, capsys, arch, dataset, reverse, bgr):
    network = {"names": PySlowFastNames(), "width": 8, **(TWO if arch == "slowfast" else {"pool": True})}
    weights, clip = Weights(3), clip_of(16, 64)
    video_resnet(weights, clip, 10, **network)
    changes = {"DATA__REVERSE_INPUT_CHANNEL": reverse, "TRAIN__DATASET": dataset}
    write(tmp_path / "model.pyth", weights, config_of(arch, **changes))
    model, _ = convert(tmp_path, tmp_path / "model.pyth", "--model", f"tiny_{arch}")
    assert ("channels are reversed" in capsys.readouterr().out) == bgr
    with torch.no_grad():
        want = video_resnet(weights, clip.flip(1) if bgr else clip, 10, **network)
        assert (model(clip) - want).norm() <= 1e-4 * want.norm()
    direct = gta.create_model(f"tiny_{arch}", num_classes=5, num_frames=16, pretrained=str(tmp_path / "model.pyth"))
    assert torch.equal(direct.state_dict()["head.weight"], model.state_dict()["head.weight"])
    assert all(
        torch.equal(a, b) for a, b in zip(direct.state_dict().values(), model.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("arch", ["slowfast", "c2d"])
def test_clips_larger_than_in_training_are_classified_window_by_window(tmp_path, capsys, arch):
    network = {"names": PySlowFastNames(), "width": 8, **(TWO if arch == "slowfast" else {"pool": True})}
    weights, clip = Weights(3), clip_of(16, 96)  # 3 x 3 positions, trained on 2 x 2
    video_resnet(weights, clip, 10, **network)
    write(tmp_path / "model.pyth", weights, config_of(arch, DATA__TRAIN_CROP_SIZE=64))
    model, _ = convert(tmp_path, tmp_path / "model.pyth", "--model", f"tiny_{arch}")
    assert_same(model, weights, clip, window=2, **network)
    plain, _ = convert(tmp_path, tmp_path / "model.pyth", "--model", f"tiny_{arch}", "--head-window", "0")
    assert_same(plain, weights, clip, **network)
    options = ["--model", f"tiny_{arch}", "--head-average", "logits"]
    logits, _ = convert(tmp_path, tmp_path / "model.pyth", *options)
    assert_same(logits, weights, clip, window=2, average="logits", **network)
    config = config_of(arch, DATA__TRAIN_CROP_SIZE=64) | {"MULTIGRID": {"SHORT_CYCLE": True}}
    write(tmp_path / "model.pyth", weights, config)
    assert convert(tmp_path, tmp_path / "model.pyth", "--model", f"tiny_{arch}")[0].head_window is None
    capsys.readouterr()


def test_windows_are_for_evaluation_and_for_3d_networks_only():
    model = randomise(gta.create_model("tiny_c2d", num_classes=5, head_window=1, dropout=0.0))
    features = torch.rand(1, model.backbone.num_features, 8, 2, 3)
    assert torch.allclose(model.forward_head(features), model.head(features.mean(dim=(2, 3, 4))), atol=1e-6)
    probabilities = torch.stack(
        [model.head(features.mean(dim=2)[..., i, j]).softmax(1) for i in (0, 1) for j in (0, 1, 2)]
    )
    got = model.eval().forward_head(features)
    assert torch.allclose(got.softmax(dim=1), probabilities.mean(dim=0), atol=1e-6)
    with pytest.raises(ValueError, match="head_window is 0"):
        gta.create_model("tiny_c2d", head_window=0)
    with pytest.raises(ValueError, match="head_window does not apply"):
        gta.create_model("tiny", head_window=7)


def test_files_without_a_configuration_say_what_was_assumed(tmp_path, capsys):
    network = {"names": PySlowFastNames(), "width": 8, **TWO, "nonlocal_at": [(3, 0)]}
    weights, clip = Weights(3), clip_of(16, 64)
    video_resnet(weights, clip, 10, **network)
    write(tmp_path / "bare.pyth", weights)
    model, card = convert(tmp_path, tmp_path / "bare.pyth", "--model", "tiny_slowfast_nl", "--num-frames", "16")
    said = capsys.readouterr().out
    for line in ("alpha 4", "pool before", "instantiation softmax", "head_window 7", "--alpha", "--instantiation"):
        assert line in said
    assert "num_frames" not in said  # which the user gave
    assert "alpha 4" in card.notes["report"]["assumed"]
    assert_same(model, weights, clip, **network)
    options = ["--alpha", "8", "--instantiation", "dot_product", "--pool", "none", "--num-frames", "16"]
    model, _ = convert(tmp_path, tmp_path / "bare.pyth", "--model", "tiny_slowfast_nl", *options)
    said = capsys.readouterr().out
    assert "different" not in said
    assert "--alpha" not in said
    assert_same(model, weights, clip, **network | {"alpha": 8, "softmax": False, "nonlocal_pool": False})
    direct = gta.create_model("tiny_slowfast_nl", num_classes=5, pretrained=str(tmp_path / "bare.pyth"), alpha=8)
    assert "alpha 4" in direct.loaded.assumed
    assert "alpha is 8, there 4" in direct.loaded.differing


def test_a_model_that_the_user_names_states_its_frames(tmp_path, capsys):
    weights = Weights(5)
    video_resnet(weights, clip_of(16, 32), 50, Caffe2Names(), pathways=2, kernel=5)
    torch.save(dict(weights), tmp_path / "model.pth")
    model, _ = convert(tmp_path, tmp_path / "model.pth", "--model", "slowfast50_4x16")
    assert (model.arguments["alpha"], model.num_frames) == (8, 32)
    assert "alpha" not in capsys.readouterr().out


@pytest.mark.parametrize("told", [True, False])
def test_pytorchvideo_networks_inside_pyslowfast(tmp_path, capsys, told):
    weights, clip = Weights(5), clip_of(16, 96)
    network = {"names": PytorchvideoNames(2), "width": 8, **TWO, "alpha": 8}
    video_resnet(weights, clip, 10, **network)
    config = config_of(SLOWFAST__ALPHA=8, DATA__TRAIN_CROP_SIZE=64)
    wrapped = {f"model.{key}": tensor for key, tensor in weights.items()}
    write(tmp_path / "ptv.pyth", wrapped, config if told else None)
    options = [] if told else ["--alpha", "8", "--head-window", "2"]
    model, _ = convert(tmp_path, tmp_path / "ptv.pyth", "--model", "tiny_slowfast", "--num-frames", "16", *options)
    assert ("assumed" in capsys.readouterr().out) != told
    average = "probabilities" if told else "logits"  # as its networks do when they stand alone
    assert_same(model, weights, clip, window=2, average=average, **network)


def test_the_report_is_kept_with_the_weights(tmp_path, capsys, tiny_weights):
    changes = {"NONLOCAL__LOCATION": [[[]], [[0]], [[]], [[]]], "MODEL__HEAD_ACT": "sigmoid"}
    write(tmp_path / "model.pyth", tiny_weights["c2d"], config_of("c2d", **changes))
    _, card = convert(tmp_path, tmp_path / "model.pyth", "--model", "tiny_c2d_nl")
    assert "HEAD_ACT sigmoid" in capsys.readouterr().out
    assert isinstance(card, ModelCard)
    assert "sigmoid" in json.dumps(card.notes)


@pytest.mark.parametrize("reverse", [False, True])
def test_predict_gives_what_the_source_gives(tmp_path, capsys, reverse):
    """Frames of one colour, so that the clip is known: decoded as RGB, normalised, then perhaps reversed."""
    network = {"names": PySlowFastNames(), "width": 8, **TWO}
    weights = Weights(3)
    video_resnet(weights, clip_of(16, 32), 10, **network)
    mean, std, colour = [0.3, 0.4, 0.6], [0.2, 0.25, 0.4], (200, 90, 10)
    changes = {
        "DATA__MEAN": mean, "DATA__STD": std, "DATA__REVERSE_INPUT_CHANNEL": reverse, "DATA__TRAIN_CROP_SIZE": 64,
        "DATA__TEST_CROP_SIZE": 96, "DATA__TRAIN_JITTER_SCALES": [64, 80], "TEST__NUM_ENSEMBLE_VIEWS": 2,
    }  # fmt: skip
    write(tmp_path / "model.pyth", weights, config_of(**changes))
    convert(tmp_path, tmp_path / "model.pyth", "--model", "tiny_slowfast")
    (tmp_path / "video").mkdir()
    for number in range(1, 41):
        Image.new("RGB", (120, 96), colour).save(tmp_path / "video" / f"{number:05d}.png")
    capsys.readouterr()
    assert run(["predict", str(tmp_path / "out.safetensors"), str(tmp_path / "video"), "--json"]) == 0
    found = {entry["label"]: entry["score"] for entry in json.loads(capsys.readouterr().out)[0]["predictions"]}
    values = [(value / 255 - m) / s for value, m, s in zip(colour, mean, std, strict=True)]
    clip = torch.tensor(values[::-1] if reverse else values).view(1, 3, 1, 1, 1).expand(1, 3, 16, 96, 96)
    want = video_resnet(weights, clip, 10, window=2, **network).exp()[0]
    for number in range(5):
        assert found[f"class {number}"] == pytest.approx(want[number].item(), abs=1e-4)
