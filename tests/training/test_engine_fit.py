import importlib.util
import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import engine_fakes as fakes
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gta.checkpoint import load_file, read_checkpoint
from gta.errors import CheckpointError, DataError, OptionError, RunFolderError
from gta.evaluation.scores import Scores, evaluate, measure
from gta.training.fit import TrainResult, fit
from gta.training.loop import RunState
from gta.training.signals import TrainingInterrupted
from gta.training.step import DivergedError, step_seed


def train(
    folder: Any, *, model: nn.Module | None = None, prepare: nn.Module | None = None, **options: Any
) -> TrainResult:
    names = ("optim", "resume", "class_weights", "live", "bad", "count", "batch_size", "validate", "workers")
    names += ("videos", "val_videos", "val_count", "classes")
    chosen = {name: options.pop(name) for name in names if name in options}
    videos = chosen.get("videos") or fakes.FakeVideos(chosen.get("count", 22), bad=chosen.get("bad", ()))
    val_videos = chosen.get("val_videos") or fakes.FakeVideos(chosen.get("val_count", 11), seed=1)
    val_loader = fakes.loader(val_videos) if chosen.get("validate", True) else None
    return fit(
        model or fakes.model(),
        fakes.loader(videos, shuffle=True, batch_size=chosen.get("batch_size", 4), workers=chosen.get("workers", 0)),
        val_loader,
        prepare=prepare or fakes.Scale(),
        optim=fakes.optim(**chosen.get("optim", {})),
        run=fakes.run(folder, **options),
        description={**fakes.description(), "classes": list(chosen.get("classes", fakes.CLASSES))},
        class_weights=chosen.get("class_weights"),
        resume=chosen.get("resume", False),
        live=chosen.get("live", False),
    )


def test_no_worker_outlives_its_run(tmp_path) -> None:
    before = set(multiprocessing.active_children())
    train(tmp_path / "run", max_epochs=1, workers=1)
    assert set(multiprocessing.active_children()) <= before


def test_a_run_learns_and_leaves_everything_behind(tmp_path, capfd) -> None:
    folder = tmp_path / "run"
    result = train(folder, max_epochs=6, bad=(3,))
    assert result.best["top1"] >= 0.8
    assert [row["epoch"] for row in result.rows] == [1, 2, 3, 4, 5, 6]
    assert result.steps == 36
    names = {path.name for path in folder.iterdir()}
    expected = {"config.json", "versions.json", "metrics.csv", "timing.csv", "best.ckpt", "last.ckpt", "skipped.csv"}
    assert expected | {"results.json"} <= names
    if importlib.util.find_spec("tensorboard"):
        assert any(name.startswith("events.out.tfevents") for name in names)
    assert (folder / "skipped.csv").read_text() == "path,reason\n3.mp4,truncated\n"
    results = json.loads((folder / "results.json").read_text())
    assert results["best"]["top1"] == max(row["val_top1"] for row in result.rows)
    assert results["classes"] == list(fakes.CLASSES)
    out, err = capfd.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if not line.startswith("TensorBoard is not installed")]
    assert "learning rate 0.1 (0.1 x 4/4)" in lines[0]
    assert [line.split()[1] for line in lines if line.startswith("epoch")] == [f"{n}/6" for n in range(1, 7)]
    assert len(lines) == 8, err  # nothing of Lightning's: arithmetic, one unreadable video, six epochs


def test_same_seed_gives_identical_metrics_and_weights_and_another_seed_does_not(tmp_path) -> None:
    options: dict[str, Any] = {"max_epochs": 2, "optim": {"mixup": 0.4, "cutmix": 0.4, "rand_augment": 1}}
    train(tmp_path / "a", **options)
    train(tmp_path / "b", **options, workers=2)
    train(tmp_path / "c", **options, seed=1)
    a, b, c = (read_checkpoint(tmp_path / name / "last.ckpt").state_dict for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)
    assert (tmp_path / "a/metrics.csv").read_bytes() == (tmp_path / "b/metrics.csv").read_bytes()


def test_the_stored_model_scores_as_in_training(tmp_path) -> None:
    result = train(tmp_path / "run", max_epochs=3, optim={"ema_decay": 0.8})
    checkpoint = read_checkpoint(result.best_checkpoint)
    model = fakes.model(seed=9)
    model.load_state_dict(checkpoint.state_dict)
    loader = fakes.loader(fakes.FakeVideos(11, seed=1))
    again = evaluate(model, loader, prepare=fakes.Scale(), classes=checkpoint.classes, reversals=checkpoint.reversals)
    assert again.loss == pytest.approx(result.best["loss"], rel=1e-5)
    assert again.to_json()["confusion"] == result.best["confusion"]
    assert again.direction_accuracy == result.best["direction_accuracy"]
    assert checkpoint.epoch == result.best_epoch


def test_averaged_weights_are_evaluated_and_the_training_ones_kept(tmp_path) -> None:
    train(tmp_path / "run", max_epochs=2, optim={"ema_decay": 0.9})
    stored = load_file(tmp_path / "run/last.ckpt")
    own = stored["state_dict"]["model.head.weight"]
    averaged = stored["averaged"]["head.weight"]
    assert not torch.equal(own, averaged)
    assert torch.equal(read_checkpoint(tmp_path / "run/last.ckpt").state_dict["head.weight"], averaged)


def test_an_existing_run_folder_is_refused_unless_resuming(tmp_path) -> None:
    folder = tmp_path / "run"
    train(folder, max_epochs=1)
    with pytest.raises(RunFolderError, match="continue it with `resume`"):
        train(folder, max_epochs=1)
    resumed = train(folder, max_epochs=3, resume=True)
    assert [row["epoch"] for row in resumed.rows] == [1, 2, 3]
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    with pytest.raises(RunFolderError, match=r"no config\.json"):
        train(tmp_path / "other", resume=True)
    with pytest.raises(RunFolderError, match="there is a file with the name of the run folder"):
        train(tmp_path / "other/file")


def test_resuming_a_finished_run_changes_nothing(tmp_path) -> None:
    folder = tmp_path / "run"
    train(folder, max_epochs=2)
    before = (folder / "metrics.csv").read_bytes(), read_checkpoint(folder / "last.ckpt").state_dict["head.weight"]
    train(folder, max_epochs=2, resume=True)
    after = (folder / "metrics.csv").read_bytes(), read_checkpoint(folder / "last.ckpt").state_dict["head.weight"]
    assert before[0] == after[0]
    assert torch.equal(before[1], after[1])


def test_max_steps_ends_a_run_with_a_validation(tmp_path) -> None:
    result = train(tmp_path / "run", max_epochs=5, max_steps=8)
    assert result.steps == 8
    assert result.rows[-1]["val_top1"] is not None


def test_early_stopping(tmp_path) -> None:
    result = train(tmp_path / "run", max_epochs=30, patience=2, optim={"lr": 1e-9})
    assert result.stopped_early
    assert len(result.rows) == 3  # the first is the best, the two after it bring no gain


def test_of_equal_top1_the_lower_loss_is_the_best_and_brings_no_gain() -> None:
    state = RunState()
    labels = np.array([0, 1], dtype=np.int64)
    judged = []
    for sure in (0.6, 0.7, 0.65, 0.8):
        state.epochs_done += 1
        scores = np.array([[sure, 1 - sure], [1 - sure, sure]], dtype=np.float32)
        result = measure(Scores(index=labels, labels=labels, scores=scores, skipped=()), classes=("left", "right"))
        judged.append(state.judge(result))
    assert judged == [True, True, False, True]
    assert state.best_epoch == 4
    assert state.validations_without_gain == 3  # without a better top-1, that is


def test_validation_every_other_epoch_and_always_at_the_end(tmp_path) -> None:
    result = train(tmp_path / "run", max_epochs=3, validate_every=2)
    assert [row.get("val_top1") is not None for row in result.rows] == [False, True, True]


def test_a_run_without_validation_still_leaves_a_best_checkpoint(tmp_path) -> None:
    result = train(tmp_path / "run", max_epochs=1, validate=False)
    assert result.best == {}
    assert read_checkpoint(result.best_checkpoint).step == 6


class Poison(nn.Module):
    """Turns chosen batches into NaN: the call numbers in `bad`."""

    def __init__(self, bad: range | tuple[int, ...]) -> None:
        super().__init__()
        self.bad, self.calls = bad, 0

    def forward(self, clip: Tensor) -> Tensor:
        images = clip.float() / 128 - 1
        if torch.is_grad_enabled():
            self.calls += 1
            if self.calls in self.bad:
                images = images * float("nan")
        return images


def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(tmp_path) -> None:
    result = train(tmp_path / "run", max_epochs=2, prepare=Poison((2, 7)), optim={"ema_decay": 0.9})
    assert result.bad_steps == 2
    assert [row["bad_steps"] for row in result.rows] == [1, 2]
    assert all(torch.isfinite(value).all() for value in read_checkpoint(result.last_checkpoint).state_dict.values())
    assert result.rows[-1]["train_loss"] < 3


def test_a_bad_step_leaves_weights_momentum_and_statistics_as_they_were(tmp_path) -> None:
    options: dict[str, Any] = {"count": 8, "max_epochs": 1, "optim": {"schedule": "constant", "warmup_epochs": 0.0}}
    train(tmp_path / "one", max_steps=1, **options)
    train(tmp_path / "two", prepare=Poison((2,)), **options)
    one, two = (load_file(tmp_path / name / "last.ckpt") for name in ("one", "two"))
    assert all(torch.equal(one["state_dict"][name], two["state_dict"][name]) for name in one["state_dict"])
    momenta = [stored["optimizer_states"][0]["state"][0]["momentum_buffer"] for stored in (one, two)]
    assert torch.equal(*momenta)


def test_repeated_bad_steps_stop_the_run_and_keep_the_last_good_checkpoint(tmp_path) -> None:
    with pytest.raises(DivergedError, match=r"4 steps in a row.*optim\.lr"):
        train(tmp_path / "run", max_epochs=3, max_bad_steps=4, prepare=Poison(range(9, 99)), checkpoint_steps=4)
    stored = read_checkpoint(tmp_path / "run/last.ckpt")
    assert stored.step == 8
    assert all(torch.isfinite(value).all() for value in stored.state_dict.values())


def test_gradient_accumulation_equals_the_larger_batch(tmp_path) -> None:
    def model() -> nn.Module:
        return fakes.model(dropout=0.0, norm=False)

    shared: dict[str, Any] = {"count": 24, "max_epochs": 2}
    train(tmp_path / "whole", model=model(), batch_size=8, **shared)
    train(tmp_path / "parts", model=model(), batch_size=4, optim={"accumulate": 2}, **shared)
    whole, parts = (read_checkpoint(tmp_path / name / "last.ckpt") for name in ("whole", "parts"))
    assert whole.step == parts.step == 6
    for name, value in whole.state_dict.items():
        torch.testing.assert_close(value, parts.state_dict[name], atol=1e-5, rtol=1e-4)


def test_the_last_step_of_an_epoch_is_the_mean_of_what_is_left(tmp_path) -> None:
    def model() -> nn.Module:
        return fakes.model(dropout=0.0, norm=False)

    shared: dict[str, Any] = {"count": 20, "max_epochs": 2}
    train(tmp_path / "whole", model=model(), batch_size=16, **shared)  # steps of 16 and 4 clips
    train(tmp_path / "parts", model=model(), batch_size=4, optim={"accumulate": 4}, **shared)
    whole, parts = (read_checkpoint(tmp_path / name / "last.ckpt") for name in ("whole", "parts"))
    assert whole.step == parts.step == 4
    for name, value in whole.state_dict.items():
        torch.testing.assert_close(value, parts.state_dict[name], atol=1e-5, rtol=1e-4)


class Killed(BaseException):
    """Stands for a kill in the middle of a validation."""


class Deadly(fakes.FakeVideos):
    """Kills the run in the validation number `deadly`."""

    def __init__(self, deadly: int) -> None:
        super().__init__(11, seed=1)
        self.left = 11 * (deadly - 1) + 5

    def __getitem__(self, key: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise Killed
        return super().__getitem__(key)


def test_a_run_that_ends_inside_an_epoch_and_is_killed_in_its_last_validation_redoes_it(tmp_path) -> None:
    options: dict[str, Any] = {"max_epochs": 5, "max_steps": 8, "checkpoint_steps": 4}  # six steps an epoch
    train(tmp_path / "plain", **options)
    with pytest.raises(Killed):
        train(tmp_path / "killed", val_videos=Deadly(2), **options)
    assert len((tmp_path / "killed/metrics.csv").read_text().splitlines()) == 2
    train(tmp_path / "killed", resume=True, **options)
    assert (tmp_path / "killed/metrics.csv").read_bytes() == (tmp_path / "plain/metrics.csv").read_bytes()
    for name in ("best.ckpt", "last.ckpt"):
        plain, killed = (load_file(tmp_path / run / name)["state_dict"] for run in ("plain", "killed"))
        assert all(torch.equal(plain[key], killed[key]) for key in plain)


def test_resuming_a_run_that_stopped_early_trains_no_more_unless_patience_grows(tmp_path) -> None:
    options: dict[str, Any] = {"max_epochs": 30, "optim": {"lr": 1e-9}}
    train(tmp_path / "run", patience=2, **options)
    again = train(tmp_path / "run", patience=2, resume=True, **options)
    assert (len(again.rows), again.stopped_early) == (3, True)
    longer = train(tmp_path / "run", patience=3, resume=True, **options)
    assert (len(longer.rows), longer.stopped_early) == (4, True)


def test_what_cannot_be_resumed_is_one_clear_error(tmp_path) -> None:
    folder = tmp_path / "run"
    train(folder, max_epochs=3)
    with pytest.raises(OptionError, match=r"run\.max_epochs is 2: the run to resume has trained 3 epochs"):
        train(folder, max_epochs=2, resume=True)
    with pytest.raises(DataError, match=r"other classes.*'sideways'"):
        train(folder, resume=True, classes=(*fakes.CLASSES[:-1], "sideways"))
    with pytest.raises(
        OptionError, match=r"6 steps of 4 clips per epoch, now there are 3 of 8: resume it with as many"
    ):
        train(folder, max_epochs=4, resume=True, batch_size=8)
    (folder / "last.ckpt").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(CheckpointError, match=r"last\.ckpt: damaged.*copy .*best\.ckpt over it"):
        train(folder, resume=True)


def test_a_warm_up_that_does_not_end_is_told(tmp_path, capfd) -> None:
    train(tmp_path / "run", max_epochs=1, optim={"warmup_epochs": 4.0})
    assert "warning: the warm-up of 4 epochs does not end" in capfd.readouterr().err


class Signalling(fakes.FakeVideos):
    """Sends this process SIGTERM when the first clip is read."""

    def __getitem__(self, key: Any) -> Any:
        if not self.sent:
            self.sent = True
            os.kill(os.getpid(), signal.SIGTERM)
        return super().__getitem__(key)

    sent = False


def test_a_signal_before_the_first_step_stops_after_it(tmp_path) -> None:
    with pytest.raises(TrainingInterrupted, match=r"SIGTERM.*after epoch 0, step 1"):
        train(tmp_path / "run", videos=Signalling(22), optim={"accumulate": 2})
    assert load_file(tmp_path / "run/last.ckpt")["batches_done"] == 2


def test_no_worker_outlives_a_run_that_fails(tmp_path) -> None:
    before = set(multiprocessing.active_children())
    with pytest.raises(DivergedError) as caught:
        train(tmp_path / "run", workers=1, prepare=Poison(range(99)), max_bad_steps=2)
    assert caught.tb is not None  # it keeps the run's frames alive, but not the workers
    assert set(multiprocessing.active_children()) <= before


def test_a_run_of_the_time_of_lightnings_trainer_resumes_bit_for_bit(tmp_path) -> None:
    """Stopped after 6 of 12 steps by the code of that time; `uninterrupted.pt` is how the run ended there."""
    data = Path(__file__).parents[1] / "data" / "files" / "trainer_run"
    shutil.copytree(data, tmp_path / "run")
    (tmp_path / "run/last.pt").rename(tmp_path / "run/last.ckpt")
    optim = {"ema_decay": 0.9, "label_smoothing": 0.1, "accumulate": 2}
    train(tmp_path / "run", model=fakes.model(seed=5), count=30, val_count=12, optim=optim, resume=True)
    ended, expected = load_file(tmp_path / "run/last.ckpt"), torch.load(data / "uninterrupted.pt", weights_only=True)
    for part in ("state_dict", "averaged"):
        for name, value in expected[part].items():  # the same bits on the processor that wrote it
            torch.testing.assert_close(ended[part][name], value, rtol=1e-5, atol=1e-6, msg=name)
    metrics = [line.split(",") for line in (data / "uninterrupted.csv").read_text().splitlines()]
    now = [line.split(",") for line in (tmp_path / "run/metrics.csv").read_text().splitlines()]
    assert now[0] == metrics[0]
    for row, other in zip(now[1:], metrics[1:], strict=True):
        assert [float(text) for text in row] == pytest.approx([float(text) for text in other], rel=1e-4)


def test_class_weights_change_what_is_learned(tmp_path) -> None:
    train(tmp_path / "a", max_epochs=1)
    train(tmp_path / "b", max_epochs=1, class_weights=torch.tensor([5.0, 0.1, 0.1, 0.1, 0.1]))
    a, b = (read_checkpoint(tmp_path / name / "last.ckpt").state_dict["head.bias"] for name in "ab")
    assert b[0] > a[0]


@pytest.mark.parametrize("policy", ["frozen", "partial"])
def test_frozen_batch_norm_keeps_its_statistics(tmp_path, policy) -> None:
    model = nn.Sequential(fakes.model(), nn.Identity())
    before = model[0].norm.running_mean.clone()
    train(tmp_path / "run", model=model, max_epochs=1, optim={"batch_norm": policy})
    same = torch.equal(before, model[0].norm.running_mean)
    assert same == (policy == "frozen")  # "partial" leaves the first layer free


def test_options_that_need_a_gpu_say_so(tmp_path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(OptionError, match="fp16"):
        train(tmp_path / "run", precision="fp16")
    with pytest.raises(OptionError, match="sync"):
        train(tmp_path / "run", optim={"batch_norm": "sync"})
    with pytest.raises(OptionError, match="no GPU"):
        train(tmp_path / "run", accelerator="gpu")


def test_bf16_a_live_bar_and_plain_memory_order_run(tmp_path) -> None:
    result = train(tmp_path / "run", max_epochs=1, precision="bf16", live=True, channels_last=False)
    assert result.steps == 6


def test_a_compiled_model_trains_alike(tmp_path) -> None:
    plain, compiled = (
        train(tmp_path / name, max_epochs=1, compile=name == "compiled", model=fakes.model(dropout=0.0))
        for name in ("plain", "compiled")
    )
    assert compiled.rows[0]["train_loss"] == pytest.approx(plain.rows[0]["train_loss"], rel=1e-4)
    assert load_file(tmp_path / "plain/last.ckpt")["state_dict"].keys() == (
        load_file(tmp_path / "compiled/last.ckpt")["state_dict"].keys()
    )
    with pytest.raises(OptionError, match=r"run\.activation_checkpointing.*run\.compile"):
        fakes.run(tmp_path, compile=True, activation_checkpointing=True)


def test_no_training_batch_is_a_clear_error(tmp_path) -> None:
    with pytest.raises(DataError, match="no training batch"):
        train(tmp_path / "run", count=0)


def test_step_seeds_do_not_repeat() -> None:
    seeds = {step_seed(seed, rank, batch) for seed in range(3) for rank in range(3) for batch in range(200)}
    assert len(seeds) == 3 * 3 * 200
    assert all(0 <= seed < 2**63 for seed in seeds)
