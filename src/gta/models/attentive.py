"""The attentive probe: a learned query that looks at all frames and positions at once, instead of averaging them."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gta.ops.encoding import sinusoidal_encoding


class AttentiveHead(nn.Module):
    """Pool features by attention from one learned query (timm's `AttentionPoolLatent`), then classify.

    Frames are a set to it: as any attention, it cannot tell their order, unless an encoding of time is added to its
    keys and values - the static temporal encoding of STEP (Order Matters, arXiv 2503.24298), here sinusoidal, so that
    it fits any number of frames.

    Args:
        channels: C of the features.
        num_classes: number of classes (K).
        dropout: probability of dropping a pooled feature, in [0, 1).
        temporal: add the encoding of time.
    """

    def __init__(self, channels: int, num_classes: int, *, dropout: float, temporal: bool) -> None:
        from timm.layers.attention_pool import AttentionPoolLatent  # here, since importing timm takes seconds

        super().__init__()
        self.temporal = temporal
        self.norm = nn.LayerNorm(channels)
        self.pool = AttentionPoolLatent(channels, num_heads=_num_heads(channels), norm_layer=nn.LayerNorm)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(channels, num_classes)
        nn.init.trunc_normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B K"]:
        """Logits of the backbone's features."""
        tokens = self.norm(features.flatten(3).permute(0, 2, 3, 1))  # (B, T, S, C)
        if self.temporal:
            frames, channels = tokens.shape[1], tokens.shape[3]
            encoding = sinusoidal_encoding(frames, channels, device=tokens.device, dtype=torch.float32)
            tokens = tokens + encoding.to(tokens.dtype)[:, None]
        return self.linear(self.dropout(self.pool(tokens.flatten(1, 2))))


def _num_heads(channels: int) -> int:
    """Heads of 32 channels or more each, 16 at most."""
    return next((heads for heads in (16, 12, 8, 6, 4, 3, 2) if channels % heads == 0 and channels // heads >= 32), 1)
