"""How a network arranges its features, and how attention blocks are given them as `(B, C, T, H, W)`."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gta.ops.layout import (
    channels_to_back,
    channels_to_front,
    fold_frames,
    fold_tokens,
    from_tokens,
    to_tokens,
    unfold_frames,
    unfold_tokens,
)

FeatureLayout = Literal["channels_first", "channels_last", "tokens"]
Prefix = Literal["keep", "mix"]


@dataclass(frozen=True)
class Arrangement:
    """The axes of a network's features at one place.

    | layout | of single frames | of clips |
    | --- | --- | --- |
    | `channels_first` | `(B*T, C, H, W)` | `(B, C, T, H, W)` |
    | `channels_last` | `(B*T, H, W, C)` | `(B, T, H, W, C)` |
    | `tokens` | `(B*T, P + H*W, C)` | `(B, P + T*H*W, C)`, with `(T, H, W)` beside them |

    Args:
        layout: which of these.
        prefix: P, the tokens before the patches: class, distillation and register tokens.
        grid: (H, W) of the patches when the network was looked at.
        scattered: the patches are not in rows: their neighbourhood cannot be pooled.
    """

    layout: FeatureLayout = "channels_first"
    prefix: int = 0
    grid: tuple[int, int] = (1, 1)
    scattered: bool = False

    def pools(self, prefix: Prefix) -> bool:
        """Whether neighbouring positions can be pooled: not among tokens that form no image."""
        return self.layout != "tokens" or not (self.scattered or (prefix == "mix" and self.prefix))

    def to_clips(
        self,
        features: Tensor,
        num_frames: int,
        *,
        prefix: Prefix = "keep",
        sizes: tuple[int, ...] | None = None,
        image: bool = True,
    ) -> Tensor:
        """Features as `(B, C, T, H, W)`, a view; prefix tokens are left out, or further positions with `mix`.

        Args:
            features: what the network has.
            num_frames: T, by which frame-wise features are split into clips.
            prefix: what becomes of the prefix tokens.
            sizes: (H, W) or (T, H, W) of the patches if the network says so.
            image: height and width are needed; otherwise tokens may come as `L x 1` positions.

        Raises:
            ValueError: the frames do not divide into clips, or the patches do not form an image.
        """
        if self.layout == "channels_last":
            features = channels_to_front(features)
        if self.layout != "tokens":
            return features if features.ndim == 5 else unfold_frames(features, num_frames)
        kept = 0 if prefix == "mix" else self.prefix
        tokens = features[:, kept:]
        if sizes is not None and len(sizes) == 3:
            return from_tokens(tokens.unflatten(1, (sizes[0], -1)), sizes[1], sizes[2])
        if kept != self.prefix:
            return unfold_tokens(tokens, num_frames, tokens.shape[1], 1)
        height, width = sizes or (self._find_grid(tokens.shape[1]) if image else (tokens.shape[1], 1))
        return unfold_tokens(tokens, num_frames, height, width)

    def from_clips(self, clips: Tensor, features: Tensor, *, prefix: Prefix = "keep", whole: bool = False) -> Tensor:
        """The inverse of `to_clips`; `features` gives the prefix tokens that were left out.

        Args:
            clips: `(B, C, T, H, W)`.
            features: what `to_clips` was given.
            prefix: likewise.
            whole: the tokens are those of clips, not of frames.
        """
        if self.layout == "tokens":
            tokens = to_tokens(clips).flatten(1, 2) if whole else fold_tokens(clips)
            kept = 0 if prefix == "mix" else self.prefix
            return torch.cat([features[:, :kept], tokens], dim=1) if kept else tokens
        out = clips if features.ndim == 5 else fold_frames(clips)
        return channels_to_back(out) if self.layout == "channels_last" else out

    def _find_grid(self, positions: int) -> tuple[int, int]:
        """Height and width of an image of so many patches: the one seen before, one of its proportions, or a square."""
        rows, columns = self.grid
        if rows * columns == positions or self.scattered:
            return (rows, columns) if rows * columns == positions else (positions, 1)
        for height in (round(math.sqrt(positions * rows / columns)), math.isqrt(positions)):
            width = positions // max(1, height)
            if height * width == positions and (height == width or height * columns == width * rows):
                return height, width
        raise ValueError(
            f"{positions} patches do not form an image with the proportions {rows}x{columns} for which attention was "
            "inserted: insert it with an example of this size, and turn patch dropout off"
        )
