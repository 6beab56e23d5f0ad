"""BatchNorm policies: training, partially or wholly frozen, synchronised over devices."""

import torch
from torch import nn

from gta.config import BatchNormPolicy

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm


def frozen_norms(model: nn.Module, policy: BatchNormPolicy) -> list[nn.Module]:
    """Choose the BatchNorm layers that `policy` freezes: none, all but the first ("partial", as TSN), or all.

    A layer whose gamma is all 0 is never chosen: it makes a freshly inserted block the identity, and frozen it would
    stay so for ever. Layers of attention blocks are recognised by that, or by "attention" in their name.
    """
    if policy not in ("partial", "frozen"):
        return []
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, BATCH_NORMS)]
    candidates = layers[1:] if policy == "partial" else layers
    return [module for name, module in candidates if "attention" not in name and not _starts_at_zero(module)]


def _starts_at_zero(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, torch.Tensor) and not bool(weight.detach().any())


def freeze(modules: list[nn.Module]) -> None:
    """Fix statistics, scale and shift of these BatchNorm layers (again after every call of `train()`)."""
    for module in modules:
        module.eval()
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)


class FiniteBuffers:
    """Keeps the last good buffers (BatchNorm's statistics and counters), to undo a step that was not finite."""

    def __init__(self, model: nn.Module) -> None:
        by_type: dict[torch.dtype, list[torch.Tensor]] = {}
        for buffer in model.buffers():
            by_type.setdefault(buffer.dtype, []).append(buffer)
        self._live = list(by_type.values())
        self._good = [torch.cat([buffer.flatten() for buffer in buffers]) for buffers in self._live]

    def keep(self) -> None:
        """Remember the present values as good (one operation per type, as every step does it)."""
        for good, buffers in zip(self._good, self._live, strict=True):
            torch.cat([buffer.flatten() for buffer in buffers], out=good)

    def restore(self) -> None:
        """Put the last good values back."""
        for good, buffers in zip(self._good, self._live, strict=True):
            for buffer, values in zip(buffers, good.split([buffer.numel() for buffer in buffers]), strict=True):
                buffer.copy_(values.view_as(buffer))
