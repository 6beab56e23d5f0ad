"""Global temporal attention without gradients: the same numbers as the block's definition, in a fraction of the memory.

The norm is folded into the last projection, the residual is the accumulator of that product, and only a few frames'
values are in memory at a time, but for those of the pixels, which have to wait for all frames of their clip.
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gta.blocks.projection import add_product, frames_at_a_time
from gta.ops.mixing import mix_frames, mixing_matrix, pool_regions

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
    step = frames_at_a_time(tokens[0])
    clips = max(1, step // tokens.shape[1])
    for some, result in zip(tokens.split(clips), out.split(clips), strict=True):
        _infer_clips(block, some, constant, result, step)
    return out


def _infer_clips(
    block: "GlobalTemporalAttention", tokens: Tensor, constant: Tensor | None, out: Tensor, step: int
) -> None:
    clips, num_frames, positions, _ = tokens.shape
    groups, heads = block.mixing.shape[:2]
    width = block.inner_channels // groups
    frames, rows = tokens.flatten(0, 1), out.flatten(0, 1)  # (N, S, C), N = clips * T
    columns = tokens.new_empty(clips * num_frames, groups, positions, width) if block.pixel else None
    fixed = None if constant is None else constant.repeat(clips, 1, 1)
    assignments: list[Tensor] = []
    pooled: list[Tensor] = []
    for start in range(0, len(frames), step):
        chunk = slice(start, start + step)
        parts = list(block.values(frames[chunk]).split(block.widths, dim=2))
        if columns is not None:
            columns[chunk].copy_(parts.pop(0).unflatten(2, (groups, width)).transpose(1, 2))
        if block.region:
            assignment = F.softmax(parts[1], dim=2) if fixed is None else fixed[chunk]
            assignments.append(assignment)
            pooled.append(pool_regions(parts[0][None], assignment[None])[0])
    mixed = None
    if columns is not None:
        mixed = torch.matmul(mixing_matrix(block.mixing), columns.view(clips, num_frames * groups, positions * width))
        mixed = mixed.view(clips * num_frames, heads, positions, width).transpose(1, 2)  # (N, S, N_h, w)
        columns = None  # its memory is free for the rest
    regions = None
    if pooled:
        regions = mix_frames(torch.cat(pooled).unflatten(0, (clips, num_frames)), block.mixing).flatten(0, 1)
    weight, bias = block.output.folded()
    for index, start in enumerate(range(0, len(frames), step)):
        chunk = slice(start, start + step)
        inner = tokens.new_empty(len(frames[chunk]), positions, weight.shape[0])
        if mixed is not None:
            inner[..., : heads * width].unflatten(2, (heads, width)).copy_(mixed[chunk])
        if regions is not None:
            inner[..., -heads * width :] = torch.bmm(assignments[index], regions[chunk])
        torch.add(frames[chunk], bias, out=rows[chunk])
        add_product(rows[chunk], inner, weight)
