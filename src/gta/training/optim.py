"""Optimiser, parameter groups and learning-rate schedule: all arithmetic, no training loop."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from gta.config import OptimConfig
from gta.errors import OptionError
from gta.modes import spared_from_decay
from gta.training.layers import layer_scales
from gta.training.norms import BATCH_NORMS

MIXING = "mixing"
"""Name of the T x T parameters of global temporal attention (Eqs. 6-7), wherever they sit in a model."""

_NORMS = (*BATCH_NORMS, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def parameter_groups(model: nn.Module, optim: OptimConfig) -> list[dict[str, Any]]:
    """Divide the trainable parameters into the optimiser's groups: each is in exactly one.

    `weights` are decayed; `norms_and_biases`, with what a module's `no_weight_decay()` names (timm's contract), and
    `mixing` (the T x T matrices) are not, unless `optim` asks for it. Empty groups are left out. With `layer_decay`
    each is divided further by the depth of its parameters (see `layer_scales`), those at the full rate first.

    Returns:
        Groups with "name", "params", "weight_decay" and "lr" (unscaled, with the group's own factor).

    Raises:
        OptionError: `layer_decay` is below 1 and the network does not say what its layers are.
    """
    try:
        scales = layer_scales(model, optim.layer_decay)
    except ValueError as error:
        raise OptionError(str(error)) from error
    norm_parameters = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, _NORMS)
        for parameter in module.parameters(recurse=False)
    }
    spared = spared_from_decay(model)
    kinds = ("weights", "norms_and_biases", MIXING)
    depths = sorted({*scales.values(), 1.0}, reverse=True)
    members: dict[tuple[str, float], list[nn.Parameter]] = {(kind, scale): [] for scale in depths for kind in kinds}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        last = name.rsplit(".", 1)[-1]
        if last in (MIXING, "region_mixing"):
            members[MIXING, scales[name]].append(parameter)
        elif id(parameter) in norm_parameters or name in spared or last == "bias" or parameter.ndim <= 1:
            members["norms_and_biases", scales[name]].append(parameter)
        else:
            members["weights", scales[name]].append(parameter)
    decay = {
        "weights": optim.weight_decay,
        "norms_and_biases": optim.weight_decay if optim.decay_norms_and_biases else 0.0,
        MIXING: optim.weight_decay if optim.decay_mixing else 0.0,
    }
    factor = {MIXING: optim.mixing_lr_factor}
    return [
        {
            "name": kind if scale == 1.0 else f"{kind} x {scale:.4g}",
            "params": params,
            "weight_decay": decay[kind],
            "lr": optim.lr * factor.get(kind, 1.0) * scale,
        }
        for (kind, scale), params in members.items()
        if params
    ]


def scaled_learning_rate(optim: OptimConfig, global_batch: int) -> float:
    """Peak learning rate at `global_batch` clips per step: linear scaling (Goyal et al., 2017), unless switched off."""
    return optim.lr * global_batch / optim.lr_batch_size if optim.scale_lr else optim.lr


def create_optimizer(model: nn.Module, optim: OptimConfig, *, global_batch: int) -> Optimizer:
    """Build the optimiser with its groups, at the peak learning rate that `global_batch` asks for."""
    groups = parameter_groups(model, optim)
    scale = scaled_learning_rate(optim, global_batch) / optim.lr
    for group in groups:
        group["lr"] *= scale
    if optim.optimizer == "sgd":
        return SGD(groups, lr=optim.lr * scale, momentum=optim.momentum, nesterov=optim.nesterov)
    return AdamW(groups, lr=optim.lr * scale, betas=optim.betas)


def learning_rate_factor(optim: OptimConfig, *, steps_per_epoch: int, total_epochs: float) -> Callable[[int], float]:
    """Make the function from optimiser step (0, 1, ...) to the factor on the peak learning rate.

    Linear warm-up from `warmup_start_factor`, then steps, cosine or constant. Epochs are fractional
    (step / steps_per_epoch) unless `schedule_interval` is "epoch".

    Args:
        optim: the schedule's options.
        steps_per_epoch: optimiser steps in an epoch, 1 or more.
        total_epochs: length of the run, the end of the cosine.
    """

    def factor(step: int) -> float:
        epoch = step / steps_per_epoch
        if epoch < optim.warmup_epochs:
            return optim.warmup_start_factor + (1 - optim.warmup_start_factor) * epoch / optim.warmup_epochs
        if optim.schedule_interval == "epoch":
            epoch = float(step // steps_per_epoch)
        if optim.schedule == "constant":
            return 1.0
        if optim.schedule == "steps":
            return optim.step_factor ** sum(epoch >= boundary for boundary in optim.step_epochs)
        length = max(total_epochs - optim.warmup_epochs, 1e-9)
        progress = min(max(epoch - optim.warmup_epochs, 0.0) / length, 1.0)
        return optim.final_factor + (1 - optim.final_factor) * 0.5 * (1 + math.cos(math.pi * progress))

    return factor


def gradient_norm(parameters: list[nn.Parameter]) -> torch.Tensor:
    """Euclidean norm of all gradients together, 0-dim on their device; not finite if any of them is not."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)
