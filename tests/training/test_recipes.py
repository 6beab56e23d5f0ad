"""Every recipe is complete and sound without any data; test_train_command.py runs some."""

import json
import random
import subprocess
import sys

import pytest
from timm import is_model

from gta.clips.sampling import evaluation_indices, training_indices
from gta.config import TrainConfig, config_from_json, config_to_json
from gta.models.registry import list_models, split_name
from gta.recipes import RECIPES, SUMMARIES


def test_every_recipe_resolves_to_a_known_model_and_round_trips_through_json() -> None:
    known = set(list_models())
    for name, make in RECIPES.items():
        config = make()
        assert config.model.name in known or is_model(split_name(config.model.name)[0]), name
        assert config.model.num_frames == config.data.clip.num_frames, name
        assert config.run.folder.name == name
        assert config_from_json(TrainConfig, json.loads(json.dumps(config_to_json(config)))) == config, name


@pytest.mark.parametrize("data", ["ssv1", "ssv2"])
@pytest.mark.parametrize("block", ["", "_nl", "_dnl", "_gta"])
def test_something_something_is_complete(data: str, block: str) -> None:
    for backbone in ("r2d50", "tsm50"):
        for frames in (8, 16):
            config = RECIPES[f"{data}_{backbone}{block}_{frames}f"]()
            assert config.model.num_frames == frames
            assert config.data.layout == data
    assert RECIPES[f"{data}_slowfast50_16x8{block}"]().model.num_frames == 64


@pytest.mark.parametrize(
    "name", ["c2d50", "c2d50_nl", "c2d50_gta", "slowfast101_8x8", "slowfast101_8x8_nl", "slowfast101_8x8_gta"]
)
def test_kinetics_is_complete(name: str) -> None:
    config = RECIPES[f"k400_{name}"]()
    assert (config.run.max_epochs, config.optim.schedule, config.optim.lr, config.optim.lr_batch_size) == (
        196,
        "cosine",
        0.01,
        64,
    )
    assert (config.data.clip.test_clips, config.data.clip.test_crops, config.data.clip.test_crop_size) == (10, 3, 256)


def test_section_4_of_the_paper() -> None:
    config = RECIPES["ssv2_r2d50_gta_8f"]()
    optim, clip = config.optim, config.data.clip
    assert (optim.optimizer, optim.momentum, optim.lr, optim.lr_batch_size) == ("sgd", 0.9, 0.01, 32)
    assert (optim.warmup_epochs, optim.step_epochs, optim.step_factor) == (2.0, (30, 40, 45), 0.1)
    assert (config.run.max_epochs, config.model.dropout, config.model.pretrained) == (50, 0.5, "imagenet")
    assert (clip.sampling, clip.resize, clip.crop_size, clip.flip) == ("tsn", (240, 320), 224, "label_aware")
    slowfast = RECIPES["ssv2_slowfast50_16x8_gta"]()
    assert (slowfast.run.max_epochs, slowfast.optim.lr, slowfast.optim.lr_batch_size) == (22, 0.03, 128)
    assert (slowfast.optim.step_epochs, slowfast.optim.weight_decay) == ((14, 18), 1e-6)
    assert (slowfast.data.clip.train_short_side, slowfast.data.clip.flip) == ((256, 340), "none")
    assert (slowfast.data.clip.test_clips, slowfast.data.clip.test_crops) == (1, 1)


def test_slowfast_sees_the_whole_of_a_short_video() -> None:
    clip = RECIPES["ssv2_slowfast50_16x8_gta"]().data.clip
    for indices in (training_indices(clip, 45, random.Random(0)), *evaluation_indices(clip, 45)):
        assert len(indices) == 64
        assert max(indices.count(index) for index in set(indices)) <= 4
        assert indices[0] <= 1
        assert indices[-1] >= 43


def test_ablations_of_tables_2_to_4() -> None:
    assert RECIPES["ssv1_r2d50_gta_res3_1_res4_1_8f"]().model.at == {"res3": 1, "res4": 1}
    assert {RECIPES[f"ssv1_r2d50_gta_{n}groups_8f"]().model.num_groups for n in (1, 2, 4, 16)} == {1, 2, 4, 16}
    for block in ("sa", "ta", "pixel_gta", "region_gta", "sa_ta", "sa_tape", "sa_pixel_gta", "sa_region_gta"):
        assert RECIPES[f"ssv1_r2d50_{block}_8f"]().model.name == f"r2d50_{block}"


def test_every_recipe_has_a_summary_with_the_papers_number_where_there_is_one() -> None:
    assert SUMMARIES.keys() == RECIPES.keys()
    assert SUMMARIES["ssv1_r2d50_gta_8f"] == "Table 1: 50.6 % top-1 in the paper"
    assert SUMMARIES["k400_c2d50_gta"] == "Table 5: 75.9 % top-1 in the paper"


def test_recipes_do_not_import_pytorch() -> None:
    code = "import sys, gta.recipes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
