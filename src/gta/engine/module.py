"""The Lightning module: one training step of a video classifier, and everything about a step that a run must know."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from gta.config import OptimConfig
from gta.engine.augment import mix_batch, rand_augment, soft_targets
from gta.engine.averaging import AveragedWeights
from gta.engine.norms import FiniteBuffers, freeze, frozen_norms
from gta.engine.optim import create_optimizer, gradient_norm, learning_rate_factor
from gta.errors import GtaError


class DivergedError(GtaError):
    """Loss or gradients were not finite for too many steps in a row; the last good checkpoint is kept."""


@dataclass(frozen=True)
class Totals:
    """Sums over the clips of an epoch so far (all processes): loss, clips classified rightly, clips."""

    loss: float = 0.0
    correct: float = 0.0
    count: float = 0.0

    @property
    def mean_loss(self) -> float:
        """Mean loss per clip; NaN before the first clip."""
        return self.loss / self.count if self.count else float("nan")

    @property
    def top1(self) -> float:
        """Share of clips classified rightly; NaN before the first clip."""
        return self.correct / self.count if self.count else float("nan")


class ClassifierModule(pl.LightningModule):
    """Trains a video classifier.

    Every random draw of a step (dropout, mixup) is a function of (seed, process, batch number), so a run that is
    killed and resumed repeats them exactly. A step whose loss or gradient is not finite changes nothing and is counted.

    Args:
        model: (B, 3, T, H, W) float32 -> logits (B, K).
        prepare: uint8 clips -> normalised float32 clips, applied on the device.
        optim: loss, optimiser and schedule.
        description: the "gta" entry of checkpoints (`gta.engine.checkpoint.describe`).
        global_batch: clips per optimiser step over all processes, for the linear scaling of the learning rate.
        steps_per_epoch: optimiser steps per epoch.
        total_epochs: length of the run in epochs, for the schedule.
        seed: seed of the draws inside the steps.
        class_weights: (K,) weight of each class in the loss, mean 1 over the training clips; all 1 if not given.
        max_bad_steps: raise after this many steps in a row that were not finite.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        model: nn.Module,
        *,
        prepare: nn.Module,
        optim: OptimConfig,
        description: dict[str, Any],
        global_batch: int,
        steps_per_epoch: int,
        total_epochs: float,
        seed: int = 0,
        class_weights: Tensor | None = None,
        max_bad_steps: int = 10,
    ) -> None:
        super().__init__()
        self.model = model
        self.prepare = prepare
        self.optim = optim
        self.description = description
        self.num_classes = len(description["classes"])
        self.global_batch = global_batch
        self.steps_per_epoch = steps_per_epoch
        self.total_epochs = total_epochs
        self.seed = seed
        self.max_bad_steps = max_bad_steps
        self.register_buffer("class_weights", class_weights, persistent=False)
        self._frozen = frozen_norms(model, optim.batch_norm)
        freeze(self._frozen)
        self.num_batches = 0
        self.num_steps = 0
        self.bad_steps = 0
        self._bad_in_a_row = 0
        self._step_was_good = True
        self._sums = torch.zeros(3, dtype=torch.float64)
        self._pending: list[Tensor] = []
        self.averaged: AveragedWeights | None = None
        self._buffers_before: FiniteBuffers | None = None
        self._average_to_load: tuple[dict[str, Tensor], int] | None = None

    # ---- one step -------------------------------------------------------------------------------------------------

    def forward(self, clip: Tensor) -> Tensor:
        """Logits (B, K) of uint8 clips (B, 3, T, H, W)."""
        return self.model(self.prepare(clip).contiguous(memory_format=torch.channels_last_3d))

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """Loss of one batch {"clip": uint8 (B, 3, T, H, W), "label": int64 (B,)}, the mean over its clips."""
        label, clip = batch["label"], batch["clip"]
        if self.optim.rand_augment:
            clip = rand_augment(clip, num_ops=self.optim.rand_augment, magnitude=self.optim.rand_augment_magnitude)
        images = self.prepare(clip)
        target = label
        if self.optim.mixup > 0 or self.optim.cutmix > 0:
            soft = soft_targets(label, self.num_classes)
            images, target = mix_batch(images, soft, mixup=self.optim.mixup, cutmix=self.optim.cutmix)
        logits = self.model(images.contiguous(memory_format=torch.channels_last_3d)).float()
        # A sum divided by the number of clips, so that the parts of several processes average to the whole.
        total = F.cross_entropy(
            logits, target, weight=self.class_weights, label_smoothing=self.optim.label_smoothing, reduction="sum"
        )
        with torch.no_grad():
            correct = (logits.argmax(dim=1) == label).sum()
            size = total.new_full((), len(label), dtype=torch.float64)
            self._pending.append(torch.stack([total.detach().double(), correct.double(), size]))
        return total / len(label)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the draws of this batch."""
        torch.manual_seed(step_seed(self.seed, self.global_rank, self.num_batches))
        self.num_batches += 1

    def on_train_epoch_start(self) -> None:
        """Begin the sums of an epoch."""
        self._sums = torch.zeros(3, dtype=torch.float64, device=self.device)
        self._pending = []

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Scale large gradients down, and drop all of them if one is not finite: such a step changes nothing.

        With several processes the gradients are averaged already and the losses are added up, so all decide alike.
        """
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if 0 < len(self._pending) < self.optim.accumulate:  # an epoch's last step: Lightning divides by `accumulate`
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            torch._foreach_mul_(gradients, self.optim.accumulate / len(self._pending))  # pyright: ignore[reportPrivateImportUsage]
        norm = gradient_norm(parameters)
        losses = torch.stack([part[0] for part in self._pending]).sum() if self._pending else norm.double()
        if self.trainer.world_size > 1:
            losses = self.trainer.strategy.reduce(losses.clone(), reduce_op="sum")
        self._step_was_good = all(torch.stack([norm.double(), losses.to(norm.device)]).isfinite().tolist())
        if self._step_was_good:
            if self.optim.clip_grad_norm is not None:
                torch.nn.utils.clip_grads_with_norm_(parameters, self.optim.clip_grad_norm, norm)
            return
        for parameter in parameters:
            parameter.grad = None  # the optimiser passes over parameters without gradient: no decay, no momentum

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Step, then keep or undo what else the step changed (sums, statistics of BatchNorm, averaged weights)."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.num_steps += 1
        pending, self._pending = self._pending, []
        if self._step_was_good:
            self._bad_in_a_row = 0
            for part in pending:
                self._sums = self._sums.to(part.device) + part
            if self._buffers_before:
                self._buffers_before.keep()
            if self.averaged:
                self.averaged.update()
            return
        if self._buffers_before:
            self._buffers_before.restore()
        if self._loss_scale_is_falling():
            return
        self.bad_steps += 1
        self._bad_in_a_row += 1
        if self._bad_in_a_row >= self.max_bad_steps:
            raise DivergedError(
                f"the loss or its gradient was not finite for {self._bad_in_a_row} steps in a row "
                f"(step {self.trainer.global_step}); the last good checkpoint is kept: start a new --run.folder with a "
                "smaller --optim.lr, a longer --optim.warmup-epochs or --run.precision 32"
            )

    def _loss_scale_is_falling(self) -> bool:
        """With fp16, steps are skipped until the loss scale fits; that is no fault while the scale is above 1."""
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        return scaler is not None and float(scaler.get_scale()) > 1.0

    # ---- optimiser and state --------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """The optimiser, and its schedule changed at every optimiser step."""
        optimizer = create_optimizer(self.model, self.optim, global_batch=self.global_batch)
        factor = learning_rate_factor(self.optim, steps_per_epoch=self.steps_per_epoch, total_epochs=self.total_epochs)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}}

    def train(self, mode: bool = True) -> "ClassifierModule":
        """Set the mode; frozen BatchNorm layers stay frozen."""
        super().train(mode)
        freeze(self._frozen)
        return self

    def on_fit_start(self) -> None:
        """Make the copies that live beside the weights, now that the model is on its device."""
        self._buffers_before = FiniteBuffers(self.model)
        if self.optim.ema_decay is not None:
            self.averaged = AveragedWeights(self.model, self.optim.ema_decay)
            if self._average_to_load is not None:
                self.averaged.load_state_dict(*self._average_to_load)
                self._average_to_load = None

    def totals(self) -> Totals:
        """Sums of this process since the epoch began; waits for the device."""
        return Totals(*self._sums.tolist())

    def global_totals(self) -> Totals:
        """Sums of all processes since the epoch began; every process must call it."""
        if self.trainer.world_size == 1:
            return self.totals()
        sums = self._sums.to(self.device, copy=True)  # the reduction is in place, and this process's sums go on
        return Totals(*self.trainer.strategy.reduce(sums, reduce_op="sum").tolist())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the description, the averaged weights and the counters; every process must call it."""
        totals = self.global_totals()
        checkpoint["gta"] = self.description
        checkpoint["training"] = {
            "totals": [totals.loss, totals.correct, totals.count],
            "global_batch": self.global_batch,
            "steps_per_epoch": self.steps_per_epoch,
            "num_batches": self.num_batches,
            "num_steps": self.num_steps,
            "bad_steps": self.bad_steps,
            "bad_in_a_row": self._bad_in_a_row,
            "average_updates": self.averaged.num_updates if self.averaged else 0,
        }
        if self.averaged:
            checkpoint["averaged"] = self.averaged.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue the counters; the sums of all processes go to the first one."""
        stored = checkpoint["training"]
        totals = stored["totals"] if self.global_rank == 0 else [0.0, 0.0, 0.0]
        self._sums = torch.tensor(totals, dtype=torch.float64)
        self.num_batches = stored["num_batches"]
        self.num_steps = stored["num_steps"]
        self.bad_steps = stored["bad_steps"]
        self._bad_in_a_row = stored["bad_in_a_row"]
        if checkpoint.get("averaged"):
            self._average_to_load = (checkpoint["averaged"], stored["average_updates"])


def step_seed(seed: int, rank: int, batch: int) -> int:
    """A 63-bit seed for the draws of one batch in one process, well mixed so that neighbours do not correlate."""
    return int(np.random.SeedSequence([seed, rank, batch]).generate_state(1, np.uint64)[0] >> np.uint64(1))
