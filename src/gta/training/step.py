"""One training step: forward, backward, clipping, optimiser, and what it may leave behind.

    step = TrainStep(fabric, model, prepare=prepare, optim=optim, ...)
    for number, batch in enumerate(batches):
        loss = step(batch, parts=accumulate, last=(number + 1) % accumulate == 0)

Every random draw of a step (dropout, mixup) is a function of (seed, process, batch number), so a run that is killed
and resumed repeats them exactly. A step whose loss or gradient is not finite changes nothing and is counted.
"""

import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from gta.config import OptimConfig
from gta.errors import GtaError
from gta.training.augment import mix_batch, rand_augment
from gta.training.averaging import AveragedWeights
from gta.training.launch import all_reduce
from gta.training.norms import FiniteBuffers, freeze, frozen_norms
from gta.training.optim import create_optimizer, gradient_norm, learning_rate_factor


class DivergedError(GtaError):
    """Loss or gradients were not finite for too many steps in a row; the last good checkpoint is kept."""


@dataclass(frozen=True)
class Totals:
    """Sums over the clips of an epoch so far."""

    loss: float = 0.0
    """Sum of the losses."""
    correct: float = 0.0
    """Number of clips that were classified correctly."""
    count: float = 0.0
    """Number of clips."""

    @property
    def mean_loss(self) -> float:
        """Mean loss per clip; NaN before the first clip."""
        return self.loss / self.count if self.count else float("nan")

    @property
    def top1(self) -> float:
        """Share of the clips that were classified correctly, in [0, 1]; NaN before the first clip."""
        return self.correct / self.count if self.count else float("nan")


@dataclass(frozen=True)
class Plan:
    """How a run's clips are divided into steps, which determines its learning rates.

    Args:
        batch_size: clips of a batch in one process.
        world_size: number of processes.
        accumulate: batches of each process per optimiser step.
        steps_per_epoch: optimiser steps of an epoch.
        total_epochs: the epoch at which the schedule ends.
    """

    batch_size: int
    world_size: int = 1
    accumulate: int = 1
    steps_per_epoch: int = 1
    total_epochs: float = 1.0

    @property
    def global_batch(self) -> int:
        """Clips of an optimiser step, over all processes."""
        return self.batch_size * self.world_size * self.accumulate


class Objective(nn.Module):
    """What training minimises: cross-entropy of the logits, with the augmentations that run on the device.

    Args:
        prepare: uint8 clips -> normalised float32 clips.
        optim: RandAugment, mixup, cutmix and label smoothing.
        num_classes: number of classes (K).
        class_weights: (K,) weight of each class, mean 1 over the training clips; all 1 if not given.
    """

    class_weights: Tensor | None

    def __init__(
        self, prepare: nn.Module, optim: OptimConfig, *, num_classes: int, class_weights: Tensor | None = None
    ) -> None:
        super().__init__()
        self.prepare = prepare
        self.optim = optim
        self.num_classes = num_classes
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, network: Callable[[Tensor], Tensor], batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Loss of one batch {"clip": uint8 (B, 3, T, H, W), "label": int64 (B,)}.

        Args:
            network: (B, 3, T, H, W) float32 -> logits (B, K).
            batch: on the network's device.

        Returns:
            The loss summed over the clips (0-dim, differentiable) and how many clips are classified rightly (0-dim).
        """
        optim, label, clip = self.optim, batch["label"], batch["clip"]
        if optim.rand_augment:
            clip = rand_augment(clip, num_ops=optim.rand_augment, magnitude=optim.rand_augment_magnitude)
        images, target = mix_batch(
            self.prepare(clip), label, num_classes=self.num_classes, mixup=optim.mixup, cutmix=optim.cutmix
        )
        logits = network(images.contiguous(memory_format=torch.channels_last_3d)).float()
        loss = F.cross_entropy(
            logits, target, weight=self.class_weights, label_smoothing=optim.label_smoothing, reduction="sum"
        )
        return loss, (logits.detach().argmax(dim=1) == label).sum()


class TrainStep:
    """The training step of a model on one of Fabric's devices.

    The network, the objective and the copies beside the weights (averages, last good statistics) are on the device from
    here on; with several processes the gradients are averaged over them.

    Args:
        fabric: launched.
        model: (B, 3, T, H, W) float32 -> logits (B, K); its weights are trained in place.
        objective: the loss.
        optim: optimiser, schedule, clipping, averaging, BatchNorm.
        plan: batch size and length of the run, which the learning rate follows from.
        seed: seed of the draws inside the steps.
        max_bad_steps: raise after this many steps in a row that were not finite.
        left_out: names of frozen weights that are no part of `state_dict`.
    """

    def __init__(
        self,
        fabric: Fabric,
        model: nn.Module,
        objective: Objective,
        *,
        optim: OptimConfig,
        plan: Plan,
        seed: int = 0,
        max_bad_steps: int = 10,
        left_out: Collection[str] = (),
    ) -> None:
        self.fabric = fabric
        self.optim = optim
        self.plan = plan
        self.seed = seed
        self.max_bad_steps = max_bad_steps
        self.left_out = frozenset(left_out)
        frozen = frozen_norms(model, optim.batch_norm)
        freeze(frozen)
        if optim.batch_norm == "sync" and fabric.world_size > 1:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        optimizer = create_optimizer(model, optim, global_batch=plan.global_batch)
        self.model = model
        self.network, self.optimizer = fabric.setup(model, optimizer)
        self.network.train()
        freeze(frozen)
        self.objective = objective
        fabric.to_device(objective)
        self.averaged = (
            None if optim.ema_decay is None else AveragedWeights(model, optim.ema_decay, left_out=self.left_out)
        )
        self._statistics = FiniteBuffers(model)
        self._parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self._peak_rates = [group["lr"] for group in optimizer.param_groups]
        self._factor = learning_rate_factor(optim, steps_per_epoch=plan.steps_per_epoch, total_epochs=plan.total_epochs)
        self.num_batches = 0
        self.num_steps = 0
        self.bad_steps = 0
        self._bad_in_a_row = 0
        self._sums = torch.zeros(3, dtype=torch.float64, device=fabric.device)
        self._pending: list[Tensor] = []  # of the step's batches so far; their sums count if the step is finite
        self._set_learning_rate()

    def __call__(self, batch: Mapping[str, Any], *, parts: int = 1, last: bool = True) -> Tensor:
        """Add one batch's gradient to the step, and finish the step with its last batch.

        Args:
            batch: {"clip": uint8 (B, 3, T, H, W), "label": int64 (B,)} on the device.
            parts: batches of this step; the step's gradient is the mean of theirs.
            last: whether this is the last of them.

        Returns:
            The batch's mean loss per clip, detached, 0-dim on the device.

        Raises:
            DivergedError: too many steps in a row were not finite.
        """
        torch.manual_seed(step_seed(self.seed, self.fabric.global_rank, self.num_batches))
        self.num_batches += 1
        with self.fabric.no_backward_sync(self.network, enabled=not last):
            total, correct = self.objective(self.network, batch)
            # A sum divided by the number of clips, so that the parts of several processes average to the whole.
            mean = total / len(batch["label"])
            self.fabric.backward(mean / parts)
        size = total.new_full((), len(batch["label"]), dtype=torch.float64)
        self._pending.append(torch.stack([total.detach().double(), correct.double(), size]))
        if last:
            self._finish()
        return mean.detach()

    def _finish(self) -> None:
        """Change the weights, or undo what the forward passes have changed if the step is not finite."""
        precision = self.fabric.strategy.precision
        precision.unscale_gradients(self.optimizer.optimizer)
        norm = gradient_norm(self._parameters)
        pending, self._pending = self._pending, []
        # The gradients are averaged over the processes already, and with the sum of the losses all decide alike.
        losses = all_reduce(self.fabric, torch.stack([part[0] for part in pending]).sum(), "sum")
        is_good = all(torch.stack([norm.double(), losses.to(norm.device)]).isfinite().tolist())
        if is_good and self.optim.clip_grad_norm is not None:
            nn.utils.clip_grads_with_norm_(self._parameters, self.optim.clip_grad_norm, norm)
        if not is_good:  # the optimiser passes over parameters without gradient: no decay, no momentum
            self.optimizer.zero_grad(set_to_none=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.num_steps += 1
        self._set_learning_rate()
        if is_good:
            self._bad_in_a_row = 0
            for part in pending:
                self._sums += part
            self._statistics.keep()
            if self.averaged:
                self.averaged.update()
            return
        self._statistics.restore()
        # With fp16, steps are skipped until the loss scale fits; that is no fault while the scale is above 1.
        scaler = getattr(precision, "scaler", None)
        if scaler is None or float(scaler.get_scale()) <= 1.0:
            self._count_bad_step()

    def _count_bad_step(self) -> None:
        self.bad_steps += 1
        self._bad_in_a_row += 1
        if self._bad_in_a_row >= self.max_bad_steps:
            raise DivergedError(
                f"the loss or its gradient was not finite for {self._bad_in_a_row} steps in a row "
                f"(step {self.num_steps}); the last good checkpoint is kept: start a new run.folder with a "
                "smaller optim.lr, a longer optim.warmup_epochs or run.precision 32"
            )

    def _set_learning_rate(self) -> None:
        """Set the rate of the coming step."""
        for group, peak in zip(self.optimizer.param_groups, self._peak_rates, strict=True):
            group["lr"] = peak * self._factor(self.num_steps)

    @property
    def learning_rate(self) -> float:
        """The first group's rate in the coming step."""
        return self.optimizer.param_groups[0]["lr"]

    # ---- sums and state -------------------------------------------------------------------------------------------

    def begin_epoch(self) -> None:
        """Begin the sums of an epoch."""
        self._sums.zero_()

    def totals(self) -> Totals:
        """Sums of this process since the epoch began; waits for the device."""
        return Totals(*self._sums.tolist())

    def global_totals(self) -> Totals:
        """Sums of all processes since the epoch began; every process must call it."""
        return Totals(*all_reduce(self.fabric, self._sums.clone(), "sum").tolist())

    def evaluated_weights(self) -> contextlib.AbstractContextManager[None]:
        """Let the model hold the weights to evaluate for a while: the averaged ones, if there are some."""
        return self.averaged.swapped_in() if self.averaged else contextlib.nullcontext()

    def state_dict(self) -> dict[str, Any]:
        """The step's part of a checkpoint; every process must call it.

        Names and layout are those of Lightning's checkpoints, which this package wrote before: see `load_state_dict`.
        """
        totals = self.global_totals()
        state: dict[str, Any] = {
            "state_dict": {
                f"model.{name}": value for name, value in self.model.state_dict().items() if name not in self.left_out
            },
            "optimizer_states": [self.optimizer.state_dict()],
            "global_step": self.num_steps,
            "training": {
                "totals": [totals.loss, totals.correct, totals.count],
                "global_batch": self.plan.global_batch,
                "steps_per_epoch": self.plan.steps_per_epoch,
                "total_epochs": self.plan.total_epochs,
                "num_batches": self.num_batches,
                "bad_steps": self.bad_steps,
                "bad_in_a_row": self._bad_in_a_row,
                "average_updates": self.averaged.num_updates if self.averaged else 0,
            },
        }
        if self.averaged:
            state["averaged"] = self.averaged.state_dict()
        if scale := self.fabric.strategy.precision.state_dict():
            state["MixedPrecision"] = scale
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint, also one of the time when Lightning's Trainer ran the loop.

        Learning rates come from the configuration and the number of steps, not from the checkpoint.
        """
        weights = {
            name.removeprefix("model."): value
            for name, value in state["state_dict"].items()
            if name.startswith("model.")
        }
        self.model.load_state_dict(weights, strict=not self.left_out)  # `check_weights` has looked at the names
        self.optimizer.load_state_dict(state["optimizer_states"][0])
        if "MixedPrecision" in state:
            self.fabric.strategy.precision.load_state_dict(state["MixedPrecision"])
        training = state["training"]
        if self.averaged and state.get("averaged"):
            self.averaged.load_state_dict(state["averaged"], training["average_updates"])
        self._statistics.keep()
        self.num_steps = state["global_step"]
        self.num_batches = training["num_batches"]
        self.bad_steps = training["bad_steps"]
        self._bad_in_a_row = training["bad_in_a_row"]
        if self.fabric.global_rank == 0:  # the stored sums are those of all processes
            self._sums.copy_(torch.tensor(training["totals"], dtype=torch.float64))
        self._set_learning_rate()


def step_seed(seed: int, rank: int, batch: int) -> int:
    """A 63-bit seed for the draws of one batch in one process, well mixed so that neighbours do not correlate."""
    return int(np.random.SeedSequence([seed, rank, batch]).generate_state(1, np.uint64)[0] >> np.uint64(1))
