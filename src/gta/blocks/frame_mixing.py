"""The learned mixing of frames that pixel and region GTA have, each its own: parameters, and what they do to values."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gta.blocks.mixing_options import MixingOptions
from gta.ops.mixing import frame_differences, low_rank_mixing, mix_frames, resize_lags, resize_mixing, toeplitz_matrices

Level = Literal["pixel", "region"]


def mixing_matrices(mixing: Tensor, options: MixingOptions, num_frames: int) -> Float[Tensor, "G N_h T T"]:
    """M as it is applied, of the parameter that it is made of.

    Args:
        mixing: (G, N_h, T, T), or (G, N_h, 2T - 1) with `toeplitz`.
        options: `toeplitz` and `causal` count.
        num_frames: T of a Toeplitz M.
    """
    weight = toeplitz_matrices(mixing, num_frames) if options.toeplitz else mixing
    return weight.tril() if options.causal else weight


class FrameMixing(nn.Module):
    """What a block needs to mix the frames of its pixels and regions (Eqs. 5-8).

    Each level has a parameter M of shape (G, N_h, T, T), row = output frame, or (G, N_h, 2T - 1) with `toeplitz`:
    `mixing`, and `region_mixing` for the regions of a block that has both levels and does not share. With
    `dynamic_rank`, `dynamic_left` and `dynamic_right` project the clip onto its residual, for each M.
    """

    def __init__(
        self,
        channels: int,
        num_frames: int,
        *,
        pixel: bool,
        region: bool,
        num_groups: int,
        num_heads: int,
        options: MixingOptions,
    ) -> None:
        super().__init__()
        if options.gate and num_heads != num_groups:
            raise ValueError(f"gate needs as many heads as groups, but there are {num_heads} and {num_groups}")
        if options.differences and num_groups % 2:
            raise ValueError(f"differences need an even number of groups, but there are {num_groups}")
        self.num_frames = num_frames
        self.num_groups = num_groups
        self.num_heads = num_heads
        self.mixing_options = options
        self.mixing_init = options.mixing_init
        self.own_regions = pixel and region and not options.share_mixing
        shape = (num_groups, num_heads, *((2 * num_frames - 1,) if options.toeplitz else (num_frames, num_frames)))
        self.mixing = nn.Parameter(torch.empty(shape))
        self.region_mixing = nn.Parameter(torch.empty(shape)) if self.own_regions else None
        if options.dynamic_rank:
            number, rank = 1 + self.own_regions, options.dynamic_rank
            self.dynamic_left = nn.Parameter(torch.empty(number, num_heads * rank, channels))
            self.dynamic_right = nn.Parameter(torch.empty(number, num_groups * rank, channels))

    def matrices(self, level: Level, num_frames: int | None = None) -> Float[Tensor, "G N_h T T"]:
        """The M of a level as it is applied, without the residual that depends on the clip.

        Args:
            level: `pixel` or `region`; the same for a block that has one level or shares.
            num_frames: T, for a Toeplitz M; that of the block if not given.
        """
        return mixing_matrices(self.mixing_of(level), self.mixing_options, num_frames or self.num_frames)

    def mixing_of(self, level: Level) -> Tensor:
        """The parameter that the M of a level is made of (or what stands for it while a network is run on shapes)."""
        return self.region_mixing if level == "region" and self.region_mixing is not None else self.mixing

    def mix(
        self, level: Level, value: Float[Tensor, "B T P D"], tokens: Float[Tensor, "B T S C"]
    ) -> Float[Tensor, "B T P E"]:
        """Mix values over time, `E = N_h * D / G`.

        Args:
            level: whose M.
            value: values of the positions or of the regions.
            tokens: the block's input, which a residual on M depends on.
        """
        options = self.mixing_options
        weight = self.matrices(level, value.shape[1])
        if options.dynamic_rank:
            weight = weight + self._residual(level, tokens)
        mixed = mix_frames(frame_differences(value, self.num_groups) if options.differences else value, weight)
        return value * (1 + mixed) if options.gate else mixed

    def _residual(self, level: Level, tokens: Tensor) -> Float[Tensor, "B G N_h T T"]:
        """The low-rank part of M that depends on the clip."""
        index = int(level == "region" and self.own_regions)
        frames = tokens.mean(dim=2)  # (B, T, C)
        left = nn.functional.linear(frames, self.dynamic_left[index]).unflatten(2, (self.num_heads, -1))
        right = nn.functional.linear(frames, self.dynamic_right[index]).unflatten(2, (self.num_groups, -1))
        residual = low_rank_mixing(left, right)
        return residual.tril() if self.mixing_options.causal else residual

    def no_weight_decay(self) -> set[str]:
        """The names of every M: decay would pull the block towards forgetting all frames alike."""
        return {"mixing"} if self.region_mixing is None else {"mixing", "region_mixing"}

    def resize_matrices(self, num_frames: int) -> list[str]:
        """Fit every M to another number of frames; returns the names of the parameters."""
        fit = resize_lags if self.mixing_options.toeplitz else resize_mixing
        resized = ["mixing"] if self.region_mixing is None else ["mixing", "region_mixing"]
        for name in resized:
            old = getattr(self, name)
            setattr(self, name, nn.Parameter(fit(old.detach(), num_frames), old.requires_grad))
        return resized
