import math
from functools import partial

import engine_fakes as fakes
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gta.config import OptimConfig
from gta.models.catalog import BACKBONES, BLOCK_SUFFIXES
from gta.models.registry import create_model, list_models
from gta.training.optim import create_optimizer, learning_rate_factor, parameter_groups, scaled_learning_rate


class Mixed(nn.Module):
    """One parameter of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.layer_norm = nn.LayerNorm((4, 2))
        self.mixing = nn.Parameter(torch.randn(2, 2, 3, 3))
        self.scale = nn.Parameter(torch.ones(()))
        self.spared = nn.Parameter(torch.randn(3, 3))
        self.fixed = nn.Parameter(torch.randn(3, 3), requires_grad=False)
        self.tied = self.conv

    def no_weight_decay(self) -> set[str]:
        return {"spared", "of_another_network"}


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return create_model(name, num_classes=5)


# Every backbone alone, and every block in the narrowest.
NAMES = sorted({*BACKBONES, *({f"tiny_{suffix}" for suffix in BLOCK_SUFFIXES} & {*list_models()})})


@pytest.mark.parametrize("make", [Mixed, fakes.FakeModel, *(partial(on_meta, name) for name in NAMES)])
def test_every_trainable_parameter_is_in_exactly_one_group(make) -> None:
    model = make()
    groups = parameter_groups(model, OptimConfig())
    members = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(members) == len(set(members))
    assert set(members) == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}


def test_only_weights_are_decayed_unless_asked() -> None:
    model = Mixed()
    groups = {
        group["name"]: group for group in parameter_groups(model, OptimConfig(weight_decay=0.1, mixing_lr_factor=0.5))
    }
    assert [id(p) for p in groups["weights"]["params"]] == [id(model.conv.weight)]
    assert [id(p) for p in groups["mixing"]["params"]] == [id(model.mixing)]
    assert id(model.spared) in {id(p) for p in groups["norms_and_biases"]["params"]}
    assert groups["weights"]["weight_decay"] == 0.1
    assert groups["norms_and_biases"]["weight_decay"] == groups["mixing"]["weight_decay"] == 0
    assert groups["mixing"]["lr"] == 0.5 * groups["weights"]["lr"]
    asked = parameter_groups(model, OptimConfig(weight_decay=0.1, decay_mixing=True, decay_norms_and_biases=True))
    assert {group["weight_decay"] for group in asked} == {0.1}


def test_gta_model_has_its_matrices_in_the_mixing_group() -> None:
    model = create_model("tiny_gta", num_classes=5)
    groups = {group["name"]: group["params"] for group in parameter_groups(model, OptimConfig())}
    assert groups["mixing"]
    assert all(parameter.shape[-1] == parameter.shape[-2] == 8 for parameter in groups["mixing"])


@given(batch=st.integers(1, 4096))
def test_learning_rate_is_linear_in_the_global_batch(batch: int) -> None:
    assert scaled_learning_rate(OptimConfig(lr=0.01, lr_batch_size=32), batch) == pytest.approx(0.01 * batch / 32)
    assert scaled_learning_rate(OptimConfig(lr=0.01, lr_batch_size=32, scale_lr=False), batch) == 0.01


def test_scaling_reaches_every_group_of_the_optimiser() -> None:
    optimizer = create_optimizer(Mixed(), OptimConfig(lr=0.01, lr_batch_size=32, mixing_lr_factor=2.0), global_batch=64)
    assert {group["name"]: group["lr"] for group in optimizer.param_groups} == pytest.approx(
        {"weights": 0.02, "norms_and_biases": 0.02, "mixing": 0.04}
    )


def test_paper_schedule_by_hand() -> None:
    optim = OptimConfig(schedule="steps", warmup_epochs=2.0, step_epochs=(30, 40, 45), warmup_start_factor=0.01)
    factor = learning_rate_factor(optim, steps_per_epoch=100, total_epochs=50.0)
    table = {0: 0.01, 100: 0.505, 200: 1.0, 2999: 1.0, 3000: 0.1, 3999: 0.1, 4000: 0.01, 4499: 0.01, 4500: 0.001}
    for step, value in table.items():
        assert factor(step) == pytest.approx(value)


def test_cosine_by_hand_per_step_and_per_epoch() -> None:
    optim = OptimConfig(schedule="cosine", warmup_epochs=0.0, final_factor=0.1)
    factor = learning_rate_factor(optim, steps_per_epoch=10, total_epochs=4.0)
    assert [factor(step) for step in (0, 20, 40, 99)] == pytest.approx([1.0, 0.55, 0.1, 0.1])
    stepped = OptimConfig(schedule="cosine", schedule_interval="epoch", warmup_epochs=0.0)
    by_epoch = learning_rate_factor(stepped, steps_per_epoch=10, total_epochs=4.0)
    assert by_epoch(10) == by_epoch(19) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


@settings(deadline=None, max_examples=50)
@given(
    schedule=st.sampled_from(["steps", "cosine", "constant"]),
    warmup=st.floats(0.0, 5.0),
    steps=st.integers(1, 50),
    step=st.integers(0, 2000),
)
def test_factor_stays_in_bounds(schedule, warmup, steps, step) -> None:
    optim = OptimConfig(schedule=schedule, warmup_epochs=warmup, step_epochs=(3, 7))
    factor = learning_rate_factor(optim, steps_per_epoch=steps, total_epochs=10.0)
    assert 0 <= factor(step) <= 1
