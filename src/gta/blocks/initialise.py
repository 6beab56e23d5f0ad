"""The one place where weights get their starting values (but for the frame-wise backbones, which timm initialises)."""

from typing import Protocol, runtime_checkable

import torch
from torch import nn


@runtime_checkable
class StartsAtZero(Protocol):
    """A module whose `last_norm` starts with gamma 0 when `zero_init` is set, so that its residual branch adds 0."""

    zero_init: bool
    last_norm: nn.BatchNorm1d | nn.BatchNorm3d | nn.LayerNorm


@torch.no_grad()
def initialise_weights(root: nn.Module) -> None:
    """Initialise every parameter below `root`, by the kind of module that holds it.

    | parameter | start |
    | --- | --- |
    | convolutions | Kaiming normal for ReLU, fan-out within their groups |
    | linear layers | Kaiming uniform with fan-in (PyTorch's own scale), bias 0 |
    | classifier (`head`) | normal with deviation 0.01, bias 0 |
    | `mixing`, `region_mixing` (M) | normal with deviation `1 / sqrt(G * T)`: the sum over G and T keeps the variance |
    | the same with `mixing_init` "identity" | plus 1 where head k reads group k in its own frame |
    | `dynamic_left`, `dynamic_right` | 0, and normal with deviation `1 / sqrt(C)`: no residual on M |
    | `assignment` (constant regions) | normal with deviation 0.02 before the softmax |
    | norms | gamma 1, beta 0; gamma 0 for the last norm of a branch with `zero_init` |
    """
    for name, module in root.named_modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.groups > 1:  # PyTorch's fan-out takes no notice of groups
                module.weight.mul_(module.groups**0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            if name.rpartition(".")[2] == "head":
                nn.init.normal_(module.weight, std=0.01)
            else:
                bound = module.in_features**-0.5
                nn.init.uniform_(module.weight, -bound, bound)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm | nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        for key, parameter in module.named_parameters(recurse=False):
            if key in ("mixing", "region_mixing"):
                _start_mixing(parameter, identity=getattr(module, "mixing_init", "normal") == "identity")
            elif key == "dynamic_left":
                nn.init.zeros_(parameter)
            elif key == "dynamic_right":
                nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
            elif key == "assignment":
                nn.init.normal_(parameter, std=0.02)
    for module in root.modules():
        if isinstance(module, StartsAtZero) and module.zero_init:
            nn.init.zeros_(module.last_norm.weight)


def _start_mixing(mixing: nn.Parameter, *, identity: bool) -> None:
    """Start M, of shape (G, N_h, T, T), or (G, N_h, 2T - 1) where it is stored by lags."""
    groups, heads = mixing.shape[:2]
    by_lags = mixing.ndim == 3
    frames = (mixing.shape[-1] + 1) // 2 if by_lags else mixing.shape[-1]
    nn.init.normal_(mixing, std=(groups * frames) ** -0.5)
    if identity:
        for head in range(min(groups, heads)):
            (mixing[head, head, frames - 1] if by_lags else mixing[head, head].diagonal()).add_(1)
