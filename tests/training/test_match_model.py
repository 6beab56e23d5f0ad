"""Clips as the pretrained network had its images: `data.match_model`, and the options of transformers in a run."""

import json
from dataclasses import replace

import pytest
import torch
from torchvision.transforms.v2 import functional as F

import gta
from gta.backbones.torchvision_video import _facts
from gta.cli import run
from gta.clips.presets import clip_config, matched_to
from gta.clips.transforms import EvaluationViews
from gta.models.pretrained import save_weights
from gta.runs.composition import _matched
from gta.synthetic import CLASSES, synthesize

SIGLIP = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "input_size": (3, 384, 384), "interpolation": "bicubic"}


def test_mean_std_size_and_interpolation_come_from_the_network_and_the_rest_is_scaled_along():
    clip = matched_to(clip_config("paper"), SIGLIP)
    assert (clip.mean, clip.std, clip.interpolation) == ((0.5,) * 3, (0.5,) * 3, "bicubic")
    assert clip.crop_size == 384
    assert clip.resize == (round(240 * 384 / 224), round(320 * 384 / 224))
    assert clip.flip == "label_aware"
    small = matched_to(replace(clip_config("paper"), crop_size=112), SIGLIP)
    assert (small.crop_size, small.interpolation) == (112, "bicubic")
    assert matched_to(clip_config("paper"), {}) == clip_config("paper")
    assert matched_to(clip_config("paper"), {"interpolation": "lanczos"}).interpolation == "bilinear"


@pytest.mark.parametrize(
    ("built", "crop", "expected"),
    [(None, 224, 160), (224, 224, 224), (96, 224, 96), (None, 128, 128), (96, 128, 128)],
)
def test_the_size_is_the_crops_unless_224_then_that_the_network_is_built_for_then_its_own(built, crop, expected):
    model = gta.create_model("test_vit_gta", num_classes=2, num_frames=4, image_size=built)
    assert model.data_config["input_size"] == (3, 4, built or 160, built or 160)
    config = gta.recipe("adapt").override("model.pretrained", "imagenet", "data.clip.crop_size", crop)
    clip = _matched(config, model).data.clip
    assert (clip.crop_size, clip.mean) == (expected, (0.5, 0.5, 0.5))


def test_torchvisions_weights_say_what_their_clips_are():
    from torchvision.models.video import R3D_18_Weights

    facts = _facts(R3D_18_Weights.KINETICS400_V1.transforms())
    clip = matched_to(clip_config("pyslowfast"), facts)
    assert (clip.crop_size, clip.interpolation) == (112, "bilinear")
    assert clip.mean == pytest.approx((0.43216, 0.394666, 0.37645))


def test_frames_are_resized_as_the_clip_says():
    frames = torch.randint(0, 256, (3, 40, 56), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for name, mode in (("bilinear", F.InterpolationMode.BILINEAR), ("bicubic", F.InterpolationMode.BICUBIC)):
        clip = replace(clip_config("paper"), interpolation=name, resize=(20, 24))
        want = F.resize(frames, [20, 24], interpolation=mode, antialias=True)
        assert torch.equal(EvaluationViews(clip).fit(frames), want)


def test_a_run_takes_the_networks_clips_and_keeps_them_in_its_checkpoint(tmp_path, capsys):
    synthesize(tmp_path / "videos", num_videos=8, val_fraction=0.5, classes=CLASSES[:2], frame_size=(48, 64))
    options = {"num_classes": 7, "num_frames": 4}
    save_weights(gta.create_model("test_vit", **options), tmp_path / "image.safetensors")
    small = ["--run.max-steps=1", "--data.batch-size=2", "--data.num-workers=0", "--run.accelerator=cpu"]
    small += ["--num-frames=4", f"--data.root={tmp_path / 'videos'}", f"--run.folder={tmp_path / 'run'}"]
    network = ["--model.name=test_vit_gta", f"--model.pretrained={tmp_path / 'image.safetensors'}"]
    network += ["--model.inner-channels=16", "--model.prefix=mix", "--model.side=after"]
    assert run(["train", "finetune_transformer", *small, *network]) == 0
    assert "clips prepared like the images of test_vit_gta: 160 pixels" in capsys.readouterr().err
    clip = json.loads((tmp_path / "run" / "config.json").read_text())["data"]["clip"]
    assert (clip["crop_size"], clip["mean"], clip["interpolation"]) == (160, [0.5, 0.5, 0.5], "bicubic")
    predictor = gta.Predictor.from_checkpoint(tmp_path / "run" / "last.ckpt", device="cpu")
    assert predictor.clip.crop_size == 160
    assert predictor.model.arguments["inner_channels"] == 16
    assert predictor.model.arguments["prefix"] == "mix"
    attended = [module for module in predictor.model.modules() if hasattr(module, "before")]
    assert attended
    assert not any(module.before for module in attended)
