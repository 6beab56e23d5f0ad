"""Mixup and cutmix, frozen norms, averaged weights, activation checkpointing, signals, launches, the run folder."""

import copy
import signal
from pathlib import Path

import engine_fakes as fakes
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gta.config import OptimConfig, TrainConfig, config_to_json
from gta.errors import OptionError, RunFolderError
from gta.models.registry import create_model
from gta.training.augment import mix_batch, rand_augment
from gta.training.averaging import AveragedWeights
from gta.training.display import Display
from gta.training.folder import check_run_folder, check_same_config
from gta.training.launch import create_fabric
from gta.training.memory import checkpoint_activations, set_memory_format
from gta.training.norms import FiniteBuffers, freeze, frozen_norms
from gta.training.signals import Stopper, TrainingInterrupted
from gta.viz.run_report import _measures


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 9999), mixup=st.sampled_from([0.0, 0.3, 2.0]), cutmix=st.sampled_from([0.0, 1.0]))
def test_targets_are_mixed_in_the_proportion_of_the_pixels(seed: int, mixup: float, cutmix: float) -> None:
    torch.manual_seed(seed)
    labels = torch.arange(4)
    clip = labels.view(4, 1, 1, 1, 1).expand(4, 3, 2, 8, 6).float().clone()  # every pixel says its clip's class
    mixed, target = mix_batch(clip, labels, num_classes=4, mixup=mixup, cutmix=cutmix)
    if mixup == cutmix == 0:
        target = nn.functional.one_hot(target, 4).float()
    assert mixed.shape == clip.shape
    torch.testing.assert_close(target.sum(dim=1), torch.ones(4))
    torch.testing.assert_close(mixed.mean(dim=(1, 2, 3, 4)), target @ labels.float(), atol=1e-4, rtol=1e-4)


def test_rand_augment_treats_all_frames_of_a_clip_alike_and_follows_the_seed() -> None:
    clip = torch.randint(0, 256, (3, 3, 1, 16, 16), dtype=torch.uint8).expand(3, 3, 4, 16, 16)
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        results.append(rand_augment(clip, num_ops=2, magnitude=9))
    assert results[0].shape == clip.shape
    assert results[0].dtype == torch.uint8
    assert all(torch.equal(frame, results[0][:, :, 0]) for frame in results[0].unbind(2))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_no_alpha_is_no_change() -> None:
    clip, label = torch.randn(2, 3, 4, 8, 8), torch.tensor([0, 1])
    same = mix_batch(clip, label, num_classes=3, mixup=0.0, cutmix=0.0)
    assert same[0] is clip
    assert same[1] is label


def test_cutmix_moves_the_same_rectangle_in_every_frame() -> None:
    torch.manual_seed(3)
    clip = torch.arange(2.0).view(2, 1, 1, 1, 1).expand(2, 3, 4, 8, 8).clone()
    mixed, _ = mix_batch(clip, torch.tensor([0, 1]), num_classes=2, mixup=0.0, cutmix=1.0)
    assert torch.equal(mixed, mixed[:, :1, :1].expand_as(mixed))


def test_partial_freezing_spares_the_first_norm_and_those_that_start_at_zero() -> None:
    model = create_model("tiny_gta", num_classes=4)
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    zero = [m for m in norms if not m.weight.any()]
    assert zero, "attention blocks start as the identity"
    chosen = frozen_norms(model, "partial")
    assert norms[0] not in chosen
    assert not set(zero) & set(chosen)
    assert chosen
    freeze(chosen)
    assert all(not m.training and not m.weight.requires_grad for m in chosen)
    assert all(m.training and m.weight.requires_grad for m in zero)
    assert frozen_norms(model, "train") == []


def test_statistics_of_a_bad_step_are_undone_bit_for_bit() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm1d(2))
    statistics = FiniteBuffers(model)
    model[0](torch.randn(2, 3, 4, 4))
    statistics.keep()
    good = {name: value.clone() for name, value in model.named_buffers()}
    model[0](torch.full((2, 3, 4, 4), torch.inf))
    model[1](torch.randn(4, 2))
    statistics.restore()
    assert {value.dtype for value in good.values()} == {torch.float32, torch.int64}
    assert all(torch.equal(value, good[name]) for name, value in model.named_buffers())


def test_averaged_weights_follow_the_formula_and_swap_in_and_out() -> None:
    model = fakes.model()
    averaged = AveragedWeights(model, 0.5)
    start = model.head.weight.detach().clone()
    with torch.no_grad():
        model.head.weight += 1
    averaged.update()  # the first decay is min(0.5, 1 / 10)
    expected = 0.1 * start + 0.9 * (start + 1)
    torch.testing.assert_close(averaged.state_dict()["head.weight"], expected)
    with averaged.swapped_in():
        torch.testing.assert_close(model.head.weight.detach(), expected)
    torch.testing.assert_close(model.head.weight.detach(), start + 1)


@pytest.mark.parametrize("name", ["tiny_gta", "tiny_slowfast_gta"])
def test_activation_checkpointing_changes_neither_gradients_nor_statistics(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, num_classes=4, dropout=0.0).train()
    frames = model.num_frames
    twin = copy.deepcopy(model)
    assert checkpoint_activations(twin) >= 4
    clip = torch.randn(2, 3, frames, 32, 32)
    for network in (model, twin):
        network(clip).square().sum().backward()
    for (key, one), two in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert one.grad is not None, key
        torch.testing.assert_close(one.grad, two.grad, msg=key)
    for (key, one), two in zip(model.named_buffers(), twin.buffers(), strict=True):
        assert torch.equal(one, two), key


def test_activation_checkpointing_spares_norms_that_were_exchanged_later() -> None:
    model = create_model("tiny", num_classes=4, dropout=0.0).train()
    checkpoint_activations(model)
    norms = {name: part for name, part in model.named_modules() if isinstance(part, nn.BatchNorm2d)}
    for name in norms:  # as the conversion to SyncBatchNorm does
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, nn.BatchNorm2d(norms[name].num_features))
    model(torch.randn(2, 3, model.num_frames, 32, 32)).sum().backward()
    counts = {int(part.num_batches_tracked) for part in model.modules() if isinstance(part, nn.BatchNorm2d)}
    assert counts == {1}


def test_only_ctrl_c_pressed_again_stops_at_once(monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr("gta.training.signals.time.monotonic", lambda: now[0])
    stopper = Stopper()
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):  # a launcher and its group
        stopper._remember(number, None)
    assert stopper.number == signal.SIGTERM
    now[0] += 5
    stopper._remember(signal.SIGTERM, None)
    with pytest.raises(TrainingInterrupted, match="at once"):
        stopper._remember(signal.SIGINT, None)


def test_a_folder_with_leftovers_only_is_no_run(tmp_path) -> None:
    (tmp_path / ".config.json-x.part").touch()
    check_run_folder(tmp_path, resume=True)
    check_run_folder(tmp_path, resume=False)
    (tmp_path / "versions.json").touch()
    with pytest.raises(RunFolderError, match=r"no config\.json"):
        check_run_folder(tmp_path, resume=True)


@pytest.mark.parametrize(
    ("devices", "nodes", "right"), [("auto", 1, False), ("auto", 2, True), (2, 2, True), (2, 1, False), (4, 1, True)]
)
def test_the_launcher_and_the_options_must_agree(monkeypatch, devices, nodes, right) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    for name in ("RANK", "LOCAL_RANK", "GROUP_RANK"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setattr("torch.distributed.is_torchelastic_launched", lambda: True)
    run = fakes.run(Path("nowhere"), devices=devices, num_nodes=nodes)
    if right:
        assert create_fabric(run, fakes.optim()).world_size == 4
    else:
        with pytest.raises(OptionError, match="torchrun has started 4 process"):
            create_fabric(run, fakes.optim())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("step_factor", -1.0),
        ("step_factor", float("nan")),
        ("final_factor", 5.0),
        ("lr", float("inf")),
        ("weight_decay", float("inf")),
        ("mixup", float("inf")),
        ("step_epochs", (-3,)),
    ],
)
def test_numbers_that_make_no_sense_are_refused(field, value) -> None:
    with pytest.raises(OptionError, match=rf"^optim\.{field} is"):
        OptimConfig(**{field: value})


def test_a_model_without_blocks_cannot_be_checkpointed() -> None:
    with pytest.raises(ValueError, match="no residual blocks"):
        checkpoint_activations(fakes.model())


def test_channels_last_keeps_the_numbers() -> None:
    model = fakes.model().eval()
    clip = torch.randn(1, 3, 4, 8, 8)
    before = model(clip)
    for channels_last in (True, False):
        set_memory_format(model, channels_last=channels_last)
        assert model.conv.weight.is_contiguous(memory_format=torch.channels_last_3d) is channels_last
        torch.testing.assert_close(before, model(clip))


def test_another_configuration_cannot_be_resumed() -> None:
    stored = {"optim": {"lr": 0.1}, "run": {"folder": "a", "max_epochs": 3}}
    check_same_config(stored, {"optim": {"lr": 0.1}, "run": {"folder": "b", "max_epochs": 9}})
    newer = config_to_json(TrainConfig(optim=OptimConfig(lr=0.1)))
    check_same_config(stored, newer)  # begun before the other options existed
    with pytest.raises(OptionError, match=r"data\.batch_size is 7.*started with 32"):
        check_same_config(stored, {**newer, "data": {**newer["data"], "batch_size": 7}})
    with pytest.raises(OptionError, match=r"optim\.lr is 0\.2.*started with 0\.1"):
        check_same_config(stored, {"optim": {"lr": 0.2}, "run": stored["run"]})


def test_top5_of_five_classes_is_not_shown(capsys) -> None:
    row = dict.fromkeys(("train_loss", "train_top1", "val_loss", "val_top1", "val_top5"), 1.0)
    measured = dict.fromkeys(("top1", "top5", "mean_class_accuracy", "loss", "num_videos"), 1)
    for count in (5, 6):
        Display(max_epochs=3, num_classes=count, live=False).end_epoch({**row, "epoch": 1, "bad_steps": 0}, {})
        per_class = {str(number): {} for number in range(count)}
        shown = capsys.readouterr().err, _measures({**measured, "per_class": per_class}, "Validation")
        assert [text.count("top-5") for text in shown] == ([1, 1] if count > 5 else [0, 0])
