"""What the tests of blocks and models share."""

import torch
from torch import nn

torch.set_num_threads(1)


@torch.no_grad()
def randomise(module):
    """Give every parameter and statistic a generic value, so that nothing is zero or one by construction."""
    for name, parameter in module.named_parameters():
        if parameter.ndim == 1:
            parameter.uniform_(0.5, 1.5) if name.endswith("weight") else parameter.uniform_(-0.2, 0.2)
        elif not parameter.any() or "mixing" in name or "assignment" in name or name.endswith("weights.weight"):
            parameter.normal_(std=0.5)
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.running_mean.uniform_(-0.3, 0.3)
            layer.running_var.uniform_(0.5, 1.5)
    return module


def clip_of(frames=8, size=32, batch=1):
    """Normalised clips, (batch, 3, frames, size, size), the same in every call."""
    return torch.randn(batch, 3, frames, size, size, generator=torch.Generator().manual_seed(7))
