"""BatchNorm policies: training, partially or wholly frozen, synchronised over devices."""

from typing import Literal

import torch
from torch import nn

BatchNormPolicy = Literal["train", "partial", "frozen", "sync"]

_BATCH_NORMS = nn.modules.batchnorm._BatchNorm


def frozen_norms(model: nn.Module, policy: BatchNormPolicy) -> list[nn.Module]:
    """Choose the BatchNorm layers that `policy` freezes: none, all but the first ("partial", as TSN), or all.

    A layer whose gamma is all 0 is never chosen: it makes a freshly inserted block the identity, and frozen it would
    stay so for ever. Layers of attention blocks are recognised by that, or by "attention" in their name.
    """
    if policy not in ("partial", "frozen"):
        return []
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, _BATCH_NORMS)]
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
        self._good = [[buffer.detach().clone() for buffer in buffers] for buffers in self._live]

    def keep(self) -> None:
        """Remember the present values as good."""
        self._copy(self._good, self._live)

    def restore(self) -> None:
        """Put the last good values back."""
        self._copy(self._live, self._good)

    @staticmethod
    def _copy(to: list[list[torch.Tensor]], source: list[list[torch.Tensor]]) -> None:
        for targets, values in zip(to, source, strict=True):
            torch._foreach_copy_(targets, values)  # pyright: ignore[reportPrivateImportUsage]
