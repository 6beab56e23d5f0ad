"""Layer-wise decay of the learning rate, by the layers that timm's networks name."""

import pytest
import timm
from timm.optim import param_groups_layer_decay
from torch import nn

from gta.config import OptimConfig
from gta.errors import OptionError
from gta.models.registry import create_model
from gta.recipes import recipe
from gta.training.layers import layer_scales
from gta.training.optim import parameter_groups


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224", "mobilenetv3_small_050"])
def test_it_is_timms_own_decay_for_timms_own_network(name: str) -> None:
    network = timm.create_model(name, num_classes=5, img_size=32) if "vit" in name else timm.create_model(name)
    theirs = {
        id(parameter): group["lr_scale"]
        for group in param_groups_layer_decay(network, layer_decay=0.5)
        for parameter in group["params"]
    }
    ours = layer_scales(network, 0.5)
    ratio = {theirs[id(parameter)] / ours[key] for key, parameter in network.named_parameters()}
    assert len({round(value, 9) for value in ratio}) == 1  # theirs gives the head's layer 1, ours what is behind it


def test_attention_and_head_learn_at_the_full_rate_and_the_stem_at_the_lowest() -> None:
    model = create_model("tiny_gta", num_classes=3, num_frames=4)
    scales = layer_scales(model, 0.5)
    added = {key: value for key, value in scales.items() if ".attention." in key or key.startswith("head.")}
    assert set(added.values()) == {1.0}
    backbone = {key: value for key, value in scales.items() if key not in added}
    plain = layer_scales(create_model("tiny", num_classes=3, num_frames=4), 0.5)
    assert {key.replace(".host", ""): value for key, value in backbone.items()} == {
        key: value for key, value in plain.items() if not key.startswith("head.")
    }
    assert max(backbone.values()) == 0.5
    assert min(backbone.values()) == backbone["backbone.network.conv1.0.weight"]


def test_every_parameter_is_in_one_group_with_its_rate() -> None:
    model = create_model("tiny_gta", num_classes=3, num_frames=4)
    optim = OptimConfig(lr=0.1, layer_decay=0.5, mixing_lr_factor=2.0, weight_decay=0.1)
    groups = parameter_groups(model, optim)
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    assert len(rates) == sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    for key, scale in layer_scales(model, 0.5).items():
        factor = 2.0 if key.endswith("mixing") else 1.0  # of pixels and of regions
        assert rates[id(model.get_parameter(key))] == pytest.approx(0.1 * scale * factor), key
    assert groups[0]["lr"] == 0.1
    assert {group["name"] for group in parameter_groups(model, OptimConfig())} == {
        "weights",
        "norms_and_biases",
        "mixing",
    }


def test_a_network_that_does_not_know_its_layers_is_refused_in_one_line() -> None:
    model = create_model("tiny_c2d", num_classes=3, num_frames=4)
    with pytest.raises(OptionError, match=r"optim\.layer_decay to 1"):
        parameter_groups(model, OptimConfig(layer_decay=0.9))
    assert set(layer_scales(nn.Linear(2, 2), 1.0).values()) == {1.0}


def test_the_recipe_adapt_trains_attention_and_head_only() -> None:
    config = recipe("adapt")
    assert (config.model.freeze, config.optim.optimizer) == ("backbone", "adamw")
