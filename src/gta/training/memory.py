"""How a network lies in memory and runs: channels-last weights, activation checkpointing, compilation."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from gta.config import RunConfig
from gta.training.norms import BATCH_NORMS, BatchNorm


def arrange_model(model: nn.Module, run: RunConfig) -> None:
    """Order a model's memory, checkpoint its activations and compile it, as the run's options say; in place."""
    set_memory_format(model, channels_last=run.channels_last)
    if run.activation_checkpointing:
        checkpoint_activations(model)
    if run.compile:
        model.compile()


def set_memory_format(model: nn.Module, *, channels_last: bool) -> nn.Module:
    """Keep the weights of 2D and 3D convolutions in channels-last or in plain order, in place; returns the model."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            order = torch.channels_last if isinstance(module, nn.Conv2d) else torch.channels_last_3d
            chosen = order if channels_last else torch.contiguous_format
            module.weight.data = module.weight.data.contiguous(memory_format=chosen)
    return model


def checkpoint_activations(model: nn.Module) -> int:
    """Recompute the activations inside each residual block in the backward pass instead of keeping them.

    The units are the outermost members of `nn.Sequential`s that hold two or more convolutions: the blocks of ResNets
    and SlowFast, with the attention that sits behind them. Results are the same; BatchNorm counts each batch once.

    Returns:
        How many units there are.

    Raises:
        ValueError: the model has no such blocks.
    """
    units: list[nn.Module] = []
    _collect_units(model, units)
    if not units:
        raise ValueError("the model has no residual blocks to checkpoint: set run.activation_checkpointing to False")
    for unit in units:
        unit.forward = _checkpointed(unit, unit.forward)
    return len(units)


def _collect_units(module: nn.Module, units: list[nn.Module]) -> None:
    for child in module.children():
        convolutions = sum(isinstance(part, nn.Conv2d | nn.Conv3d) for part in child.modules())
        if isinstance(module, nn.Sequential) and not isinstance(child, nn.Sequential) and convolutions >= 2:
            units.append(child)
        else:
            _collect_units(child, units)


def _checkpointed(unit: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(*inputs: Any) -> Any:
        if not (unit.training and torch.is_grad_enabled()):
            return forward(*inputs)
        # Looked up in every call: SyncBatchNorm layers take the place of those that were there when this was built.
        norms = [part for part in unit.modules() if isinstance(part, BATCH_NORMS)]
        return checkpoint(
            forward,
            *inputs,
            use_reentrant=False,
            context_fn=lambda: (contextlib.nullcontext(), _statistics_kept(norms)),
        )

    return run


@contextlib.contextmanager
def _statistics_kept(norms: list[BatchNorm]) -> Iterator[None]:
    """Let BatchNorm layers compute as in training but leave their running statistics as they are."""
    kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm, _, counter in kept:
        norm.momentum = 0.0
        norm.num_batches_tracked = None if counter is None else counter.clone()
    try:
        yield
    finally:
        for norm, momentum, counter in kept:
            norm.momentum = momentum
            norm.num_batches_tracked = counter
