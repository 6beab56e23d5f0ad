"""How every block ends: a linear projection, a norm whose gamma starts at 0, and the residual addition."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Norm = Literal["batch", "layer"]

# Positions that are worked on at a time without gradients: enough for full speed, few enough to need little memory.
_POSITIONS_AT_A_TIME = {"cpu": 2048, "cuda": 16384}


def frames_at_a_time(frames: Tensor) -> int:
    """How many of the frames (N, S, C) to work on at a time without gradients."""
    return max(1, _POSITIONS_AT_A_TIME[frames.device.type] // frames.shape[1])


def is_watched(module: nn.Module) -> bool:
    """Whether a hook sees the module's calls, its own or one of all modules."""
    hooks = torch.nn.modules.module
    everywhere = hooks._global_forward_hooks or hooks._global_forward_pre_hooks
    return bool(module._forward_hooks or module._forward_pre_hooks or everywhere)


def is_plain(layer: nn.Module) -> bool:
    """Whether a layer does nothing but what its weights say: unwatched, and not replaced (by an adapter, say)."""
    return type(layer) in (nn.Linear, nn.BatchNorm1d, OutputProjection) and not is_watched(layer)


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

    def folds(self, features: Tensor) -> bool:
        """Whether the norm can be folded into the projection, and results written in place: no gradients, no tracing.

        Autocast is left alone, since it does not reach operations that write into given memory; so are layers that
        somebody watches or has replaced, since only their weights would be read.
        """
        kind = features.device.type
        return (
            not torch.compiler.is_compiling()
            and not torch.is_grad_enabled()
            and not self.norm.training
            and all(map(is_plain, (self, self.linear, self.norm)))
            and kind in _POSITIONS_AT_A_TIME
            and not torch.is_autocast_enabled(kind)
        )

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight (D, C) and bias (C,) of projection and norm together, with the norm's running statistics."""
        norm = self.norm
        assert isinstance(norm, nn.BatchNorm1d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        bias = (self.linear.bias - norm.running_mean) * factor + norm.bias
        return (self.linear.weight * factor[:, None]).t(), bias

    def forward(self, inner: Float[Tensor, "B T S D"], tokens: Float[Tensor, "B T S C"]) -> Float[Tensor, "B T S C"]:
        """Project `inner` and add it to `tokens`."""
        if self.folds(tokens):
            weight, bias = self.folded()
            out = torch.add(tokens, bias, out=torch.empty_like(tokens, memory_format=torch.contiguous_format))
            add_product(out, inner, weight)
            return out
        projected = self.linear(inner)
        if isinstance(self.norm, nn.LayerNorm):
            return tokens + self.norm(projected)
        # As rows of channels, not as images: on CPUs, batch norm's backward pass is wrong for channels-last images of
        # height 1 when their gradient has another memory format (PyTorch 2.15).
        return tokens + self.norm(projected.flatten(0, 2)).view(tokens.shape)


def add_product(rows: Tensor, inner: Tensor, weight: Tensor) -> None:
    """Add `inner @ weight` to `rows` in place; `rows` are contiguous, all axes but the last count rows."""
    flat = rows.view(-1, rows.shape[-1])
    torch.addmm(flat, inner.flatten(0, -2), weight, out=flat)
