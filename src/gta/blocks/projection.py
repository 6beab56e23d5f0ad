"""How every block ends: a linear projection, a norm whose gamma starts at 0, and the residual addition."""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Norm = Literal["batch", "layer"]


class OutputProjection(nn.Module):
    """`x + norm(inner W + b)`: with gamma 0 a fresh block is the identity.

    Args:
        inner_channels: width of what the block computed.
        channels: width of its input and output.
        norm: `batch` (over clips, frames and positions) or `layer` (over the channels of a position).
        zero_init: let gamma start at 0.
    """

    def __init__(self, inner_channels: int, channels: int, *, norm: Norm, zero_init: bool) -> None:
        super().__init__()
        if norm not in ("batch", "layer"):
            raise ValueError(f"norm is {norm!r}: it must be 'batch' or 'layer'")
        self.linear = nn.Linear(inner_channels, channels)
        self.norm = nn.BatchNorm1d(channels) if norm == "batch" else nn.LayerNorm(channels)
        self.zero_init = zero_init

    @property
    def last_norm(self) -> nn.BatchNorm1d | nn.LayerNorm:
        """The norm whose gamma decides whether the block adds anything."""
        return self.norm

    def forward(self, inner: Float[Tensor, "B T S D"], tokens: Float[Tensor, "B T S C"]) -> Float[Tensor, "B T S C"]:
        """Project `inner` and add it to `tokens`."""
        projected = self.linear(inner)
        if isinstance(self.norm, nn.LayerNorm):
            return _ContiguousGradient.apply(tokens + self.norm(projected))
        # As rows of channels, not as images: on CPUs, batch norm's backward pass is wrong for channels-last images of
        # height 1 when their gradient has another memory format (PyTorch 2.15).
        return _ContiguousGradient.apply(tokens + self.norm(projected.flatten(0, 2)).view(tokens.shape))


class _ContiguousGradient(torch.autograd.Function):
    """The identity, whose gradient is contiguous.

    The gradient of a network in channels-first memory arrives with its axes swapped. Batch norm's backward pass and the
    matrix products read it several times, each time at a multiple of the cost (on a CPU eightfold) of copying it once.
    """

    @staticmethod
    def forward(ctx: Any, tokens: Tensor) -> Tensor:
        return tokens.view_as(tokens)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].contiguous()
