"""Temporal adapters of other papers for frozen image transformers: ST-Adapter and AIM's temporal adaptation."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gta.blocks.expected import ExpectedShape, check_features
from gta.blocks.initialise import initialise_weights
from gta.ops.layout import from_tokens, to_tokens
from gta.ops.mixing import resize_rows


class SpatioTemporalAdapter(nn.Module):
    """A depthwise 3x3x3 convolution between two linear maps, added to the input (ST-Adapter; Pan et al. 2022).

    Args:
        channels: number of channels (C).
        inner_channels: D; C/2 if not given, as in its paper.
        zero_init: let the convolution start at 0, so that the block starts as the identity.
    """

    def __init__(self, channels: int, *, inner_channels: int | None = None, zero_init: bool = True) -> None:
        super().__init__()
        self.channels = channels
        inner = inner_channels or channels // 2
        self.reduce = nn.Linear(channels, inner)
        self.conv = nn.Conv3d(inner, inner, 3, padding=1, groups=inner)
        self.expand = nn.Linear(inner, channels)
        initialise_weights(self)
        if zero_init:
            nn.init.zeros_(self.conv.weight)

    def forward(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """Add what the convolution finds in fewer channels."""
        check_features(features, ExpectedShape(self.channels))
        size = features.shape[3:]
        inner = from_tokens(self.reduce(to_tokens(features)), *size)
        return features + from_tokens(self.expand(to_tokens(self.conv(inner))), *size)

    def resize(self, num_frames: int) -> list[str]:
        """Any number of frames fits; nothing has to change."""
        return []


class TemporalReuse(nn.Module):
    """A transformer block's own attention, used once more among the frames of each position (AIM; Yang et al. 2023).

    `X + up(gelu(down(attention(norm(X + e)))))` over time, with the norm and attention of the block, whose weights stay
    the block's, and a learned encoding e of the frame's number. AIM adds that encoding once, after the patches'
    embedding; here each block has its own. Its adapters after the spatial attention and beside the MLP see single
    frames and are left out.

    Args:
        host: a block with `norm1` and `attn`, which maps `(N, L, C)` to the same shape.
        channels: number of channels (C).
        num_frames: number of frames (T).
        inner_channels: D of the adapter; C/4 if not given, as in its paper.
        zero_init: let the adapter's last layer start at 0, so that the block starts as the identity.

    Raises:
        ValueError: the host has no such attention.
    """

    def __init__(
        self,
        host: nn.Module,
        channels: int,
        num_frames: int,
        *,
        inner_channels: int | None = None,
        zero_init: bool = True,
    ) -> None:
        super().__init__()
        _check_host(host, channels)
        self._host = (host,)  # in a tuple: its weights are the network's, not this module's too
        self.channels = channels
        self.num_frames = num_frames
        inner = inner_channels or channels // 4
        self.encoding = nn.Parameter(torch.zeros(num_frames, channels))
        self.reduce = nn.Linear(channels, inner)
        self.expand = nn.Linear(inner, channels)
        initialise_weights(self)
        if zero_init:
            nn.init.zeros_(self.expand.weight)

    def forward(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """Let every position look at itself in all frames, as the block lets patches look at each other."""
        check_features(features, ExpectedShape(self.channels, self.num_frames))
        host: Any = self._host[0]
        tokens = to_tokens(features)  # (B, T, S, C)
        rows = (tokens + self.encoding[:, None]).transpose(1, 2)
        inner = host.attn(host.norm1(rows.flatten(0, 1))).unflatten(0, rows.shape[:2]).transpose(1, 2)
        return from_tokens(tokens + self.expand(F.gelu(self.reduce(inner))), *features.shape[3:])

    def resize(self, num_frames: int) -> list[str]:
        """Interpolate the encoding of time; returns its name if it changed."""
        if num_frames == self.num_frames:
            return []
        self.num_frames = num_frames
        self.encoding = nn.Parameter(resize_rows(self.encoding.detach(), num_frames))
        return ["encoding"]


@torch.no_grad()
def _check_host(host: nn.Module, channels: int) -> None:
    norm, attention = getattr(host, "norm1", None), getattr(host, "attn", None)
    if isinstance(norm, nn.Module) and isinstance(attention, nn.Module):
        like = next(host.parameters())
        try:
            if attention(norm(like.new_zeros(1, 3, channels))).shape == (1, 3, channels):
                return
        except (RuntimeError, TypeError, ValueError, AssertionError, AttributeError, IndexError):
            pass  # an attention over windows, or with biases for a fixed number of positions
    raise ValueError(
        f"{type(host).__name__} has no attention over any number of tokens (norm1, attn) that 'aim' could use over time"
    )
