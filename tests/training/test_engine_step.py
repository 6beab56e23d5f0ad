"""The training step against a loop in plain PyTorch, with a loss scale, and the module for users of Lightning."""

from typing import Any

import engine_fakes as fakes
import lightning.pytorch as pl
import pytest
import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.precision.amp import MixedPrecision
from torch import nn
from torch.nn import functional as F

from gta.checkpoint import load_weights, read_checkpoint
from gta.training.loop import batches_ahead
from gta.training.module import ClassifierModule
from gta.training.optim import create_optimizer, learning_rate_factor
from gta.training.step import Objective, Plan, TrainStep, step_seed

PLAN = Plan(batch_size=4, accumulate=2, steps_per_epoch=3, total_epochs=2.0)


def batches(count: int) -> list[dict[str, Any]]:
    return list(fakes.loader(fakes.FakeVideos(4 * count)))


def build_step(model: nn.Module, fabric: Fabric | None = None, **optim: Any) -> TrainStep:
    options = fakes.optim(**{"accumulate": 2, "clip_grad_norm": 0.5, **optim})
    objective = Objective(fakes.Scale(), options, num_classes=len(fakes.CLASSES))
    fabric = fabric or Fabric(accelerator="cpu", devices=1)
    return TrainStep(fabric, model, objective, optim=options, plan=PLAN, seed=3)


def test_the_step_is_that_of_a_plain_loop() -> None:
    """Dropout, BatchNorm, momentum, warm-up, accumulation as a mean, and gradients that are clipped."""
    ours, plain = fakes.model(seed=1), fakes.model(seed=1).train()
    step = build_step(ours)
    optim = step.optim
    optimizer = create_optimizer(plain, optim, global_batch=8)
    factor = learning_rate_factor(optim, steps_per_epoch=3, total_epochs=2.0)
    peaks = [group["lr"] for group in optimizer.param_groups]
    clipped = 0
    for number, batch in enumerate(batches(6)):
        loss = step(batch, parts=2, last=number % 2 == 1)
        torch.manual_seed(step_seed(3, 0, number))
        reference = F.cross_entropy(plain(fakes.Scale()(batch["clip"])), batch["label"])
        (reference / 2).backward()
        assert float(loss) == pytest.approx(reference.item(), rel=1e-5)
        if number % 2 == 1:
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor(number // 2)
            clipped += float(nn.utils.clip_grad_norm_(plain.parameters(), 0.5)) > 0.5
            optimizer.step()
            optimizer.zero_grad()
    assert clipped > 0
    assert step.num_steps == 3
    assert step.totals().count == 24
    for (name, value), other in zip(plain.state_dict().items(), ours.state_dict().values(), strict=True):
        torch.testing.assert_close(other, value, rtol=1e-5, atol=1e-6, msg=name)


def test_a_step_that_goes_on_from_its_state_repeats_the_rest_bit_for_bit() -> None:
    whole, part = (build_step(fakes.model(seed=1), ema_decay=0.9, mixup=0.3) for _ in range(2))
    resumed = build_step(fakes.model(seed=2), ema_decay=0.9, mixup=0.3)
    data = batches(6)
    for number in range(6):
        whole(data[number], parts=2, last=number % 2 == 1)
    for number in range(2):
        part(data[number], parts=2, last=number % 2 == 1)
    resumed.load_state_dict(part.state_dict())
    for number in range(2, 6):
        resumed(data[number], parts=2, last=number % 2 == 1)
    assert resumed.learning_rate == whole.learning_rate
    first, second = whole.state_dict(), resumed.state_dict()
    assert first["training"] == second["training"]
    for key in ("state_dict", "averaged"):
        assert all(torch.equal(value, second[key][name]) for name, value in first[key].items())


def half_precision(scale: float) -> Fabric:
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    return Fabric(accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", "cpu", scaler))


def test_steps_that_are_skipped_until_the_loss_scale_fits_change_nothing_and_are_no_bad_steps() -> None:
    model = fakes.model(seed=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    step = build_step(model, half_precision(2.0**60), accumulate=1, schedule="constant")
    batch = batches(1)[0]
    step(batch)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    scale = step.state_dict()["MixedPrecision"]["scale"]
    assert scale == 2.0**59
    resumed = build_step(fakes.model(seed=2), half_precision(1.0), accumulate=1)
    resumed.load_state_dict(step.state_dict())
    assert resumed.state_dict()["MixedPrecision"]["scale"] == scale
    for _ in range(60):
        step(batch)
    assert not torch.equal(model.head.weight, before["head.weight"])
    assert (step.num_steps, step.bad_steps) == (61, 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_batches_that_are_copied_ahead_are_those_of_the_loader() -> None:
    loader = fakes.loader(fakes.FakeVideos(22, bad=(3,)))
    for batch, expected in zip(batches_ahead(loader, torch.device("cuda")), loader, strict=True):
        assert batch["clip"].is_cuda
        assert torch.equal(batch["clip"].cpu(), expected["clip"])
        assert batch["skipped"] == expected["skipped"]


def test_a_lightning_user_trains_with_their_own_trainer_and_predicts_with_the_checkpoint(tmp_path) -> None:
    optim = fakes.optim(label_smoothing=0.1, batch_norm="frozen", warmup_epochs=1.0)
    module = ClassifierModule(
        fakes.model(seed=1), prepare=fakes.Scale(), optim=optim, description=fakes.description(), global_batch=4
    )
    statistics = module.model.norm.running_mean.clone()
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(
        max_epochs=3, accelerator="cpu", devices=1, default_root_dir=tmp_path, barebones=False, **quiet
    )
    trainer.fit(module, fakes.loader(fakes.FakeVideos(20), shuffle=True), fakes.loader(fakes.FakeVideos(10, seed=1)))
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-9)  # the cosine's end
    assert trainer.callback_metrics["val_loss"] < 1.6  # ln 5 is guessing
    assert torch.equal(module.model.norm.running_mean, statistics)
    trainer.save_checkpoint(tmp_path / "mine.ckpt")
    checkpoint = read_checkpoint(tmp_path / "mine.ckpt")
    fresh = fakes.model(seed=2)
    load_weights(fresh, checkpoint)
    assert checkpoint.classes == fakes.CLASSES
    assert torch.equal(fresh.head.weight, module.model.head.weight)
