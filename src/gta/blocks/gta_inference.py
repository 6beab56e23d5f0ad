"""Global temporal attention without gradients: the same numbers as the block's definition, in a fraction of the memory.

The norm is folded into the last projection, the residual is the accumulator of that product, and only a few frames'
values are in memory at a time, but for those of the pixels, which have to wait for all frames of their clip. Regions
are pooled before their projection and projected before they are spread, which is the same by associativity and saves a
fifth of the multiply-adds.
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gta.blocks.projection import add_product, frames_at_a_time
from gta.ops.mixing import mix_columns, mix_frames, pool_regions, region_shares

if TYPE_CHECKING:
    from gta.blocks.gta import GlobalTemporalAttention


def infer(
    block: "GlobalTemporalAttention",
    tokens: Float[Tensor, "B T S C"],
    constant: Float[Tensor, "T S R"] | None,
    out: Float[Tensor, "B T S C"],
) -> Float[Tensor, "B T S C"]:
    """Write the block's result into `out`, which may be `tokens` themselves.

    Args:
        block: the block; its norm must be a batch norm in evaluation.
        tokens: its input.
        constant: the region assignment if it is a learned constant.
        out: contiguous memory for the result.
    """
    step = frames_at_a_time(tokens.flatten(0, 1))
    clips = max(1, step // tokens.shape[1])
    for some, result in zip(tokens.split(clips), out.split(clips), strict=True):
        _infer_clips(block, some, constant, result, step)
    return out


def _infer_clips(
    block: "GlobalTemporalAttention", tokens: Tensor, constant: Tensor | None, out: Tensor, step: int
) -> None:
    num_frames = tokens.shape[1]
    frames, rows = tokens.flatten(0, 1), out.flatten(0, 1)  # (N, S, C), N = clips * T
    reader = _Reader(block)
    fixed = None if constant is None else constant.repeat(tokens.shape[0], 1, 1)
    columns = reader.empty_columns(frames) if block.pixel else None
    assignments: list[Tensor] = []
    pooled: list[Tensor] = []
    shares: list[Tensor] = []
    for start in range(0, len(frames), step):
        chunk = slice(start, start + step)
        value, assignment = reader.read(frames[chunk], None if fixed is None else fixed[chunk])
        if columns is not None and value is not None:
            columns[chunk].copy_(value.unflatten(2, columns.shape[1:4:2]).transpose(1, 2))
        if assignment is not None:
            assignments.append(assignment)
            pooled.append(pool_regions(frames[chunk][None], assignment[None])[0])
            shares.append(region_shares(assignment[None])[0])
    mixed = None if columns is None else _mix_columns(columns, block.matrices("pixel", num_frames), num_frames)
    columns = None  # its memory is free for the rest
    weight, bias = block.output.folded()
    added = None
    if pooled:
        values = reader.regions(torch.cat(pooled), torch.cat(shares)).unflatten(0, (-1, num_frames))
        regions = mix_frames(values, block.matrices("region", num_frames)).flatten(0, 1)  # (N, R, D)
        # A position's assignments sum to 1, so that the bias, given to each region, comes out once.
        added = torch.matmul(regions, weight[-regions.shape[2] :]) + bias  # (N, R, C)
    for index, start in enumerate(range(0, len(frames), step)):
        chunk = slice(start, start + step)
        pixels = None if mixed is None else mixed[chunk]
        if added is None:
            assert pixels is not None
            torch.add(frames[chunk], bias, out=rows[chunk])
            add_product(rows[chunk], pixels.flatten(2), weight)
        else:
            _add_levels(frames[chunk], pixels, assignments[index], weight, added[chunk], rows[chunk])


class _Reader:
    """The rows of the block's value matrix that inference needs, and those that only few rows are multiplied with."""

    def __init__(self, block: "GlobalTemporalAttention") -> None:
        width = block.inner_channels
        weight, bias = block.values.weight, block.values.bias
        self.groups = block.num_groups
        self.width = width
        self.pixel = block.pixel
        start = width if block.pixel else 0
        self.region = (weight[start : start + width], bias[start : start + width]) if block.region else None
        read = [slice(0, start)] if block.pixel else []
        if block.region:
            read.append(slice(start + width, None))  # the logits, none if the assignment is constant
        self.weight = torch.cat([weight[rows] for rows in read])
        self.bias = torch.cat([bias[rows] for rows in read])

    def empty_columns(self, frames: Tensor) -> Tensor:
        """Memory for the values of all frames, groups before positions: the columns of Eq. 7's matrix product."""
        return frames.new_empty(frames.shape[0], self.groups, frames.shape[1], self.width // self.groups)

    def read(self, frames: Tensor, fixed: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Pixel values (N, S, D) and assignments (N, S, R) of a few frames, where the block has such."""
        if not len(self.weight):
            return None, fixed
        read = F.linear(frames, self.weight, self.bias)
        value = read[..., : self.width] if self.pixel else None
        if self.region is None or fixed is not None:
            return value, fixed
        return value, F.softmax(read[..., self.width if self.pixel else 0 :], dim=2)

    def regions(self, pooled: Tensor, shares: Tensor) -> Tensor:
        """Values of the regions: the input is pooled before it is projected, R rows instead of S."""
        assert self.region is not None
        weight, bias = self.region
        return torch.addcmul(F.linear(pooled, weight), shares.unsqueeze(-1), bias)  # a region nobody chooses has none


def _mix_columns(columns: Tensor, mixing: Tensor, num_frames: int) -> Tensor:
    """Eq. 7 for all positions of each clip: (N, G, S, w) to (N, S, N_h, w)."""
    _, groups, positions, width = columns.shape
    matrices = columns.view(-1, num_frames * groups, positions * width)
    mixed = mix_columns(mixing, matrices)
    return mixed.view(-1, mixing.shape[1], positions, width).transpose(1, 2)


def _add_levels(
    frames: Tensor, pixels: Tensor | None, assignment: Tensor, weight: Tensor, added: Tensor, out: Tensor
) -> None:
    """`out = frames + [pixels, assignment] [weight; added]`, one product for both levels."""
    if pixels is None:
        torch.baddbmm(frames, assignment, added, out=out)
        return
    width = pixels.shape[2] * pixels.shape[3]
    inner = frames.new_empty(*frames.shape[:2], width + assignment.shape[2])
    inner[..., :width].unflatten(2, pixels.shape[2:]).copy_(pixels)
    inner[..., width:] = assignment
    both = torch.cat([weight[:width].expand(len(frames), -1, -1), added], dim=1)  # (N, D + R, C)
    torch.baddbmm(frames, inner, both, out=out)
