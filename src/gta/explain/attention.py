"""Rows of attention: what chosen queries of a softmax block look at, without the matrix of all queries."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from gta.blocks.attention import NonLocal, SpatialAttention, TemporalAttention
from gta.explain.records import AttentionMaps, Grid

SoftmaxBlock = NonLocal | SpatialAttention | TemporalAttention

_QUERIES_AT_A_TIME = 128


@torch.no_grad()
def attention_maps(
    block: SoftmaxBlock, features: Float[Tensor, "1 C t h w"], query: Grid, *, table_side: int | None = None
) -> AttentionMaps:
    """The map of one query and, if asked for, those of all queries of a coarser grid.

    Args:
        block: the block, with the projections to use.
        features: its input, of one clip.
        query: frame, row and column of the block's grid.
        table_side: rows and columns of that coarser grid, at most; None for no table.
    """
    weights = attention_rows(block, features, torch.tensor([query]))[0]
    table = None if table_side is None else _table(block, features, table_side)
    softmax = not isinstance(block, NonLocal) or block.instantiation == "softmax"
    return AttentionMaps(weights.float().cpu().numpy(), table, softmax=softmax)


def attention_rows(
    block: SoftmaxBlock, features: Float[Tensor, "1 C t h w"], queries: Int[Tensor, "N 3"]
) -> Float[Tensor, " N *map"]:
    """Attention weights of N queries (frame, row, column): float64 (N, t, h, w) of NL, (N, h, w) of SA, (N, t) of TA.

    Queries and keys are projected in the block's own precision; similarities and softmax are computed in float64. The
    weight of a pooled key is shared out equally among the positions that it covers.
    """
    height, width = features.shape[3:]
    frames, positions = queries[:, 0].to(features.device), (queries[:, 1] * width + queries[:, 2]).to(features.device)
    query, key, _ = block.project(features)
    query, key = query[0].double(), key[0].double()
    scale = query.shape[-1] ** -0.5 if block.scaled else 1.0
    if isinstance(block, TemporalAttention):  # (S, t, D)
        similarity = torch.einsum("nd,nud->nu", query[positions, frames], key[positions])
        return torch.softmax(similarity * scale, dim=1)
    asked = query[frames, positions]
    if isinstance(block, SpatialAttention):
        weights = torch.empty(len(asked), key.shape[1], dtype=key.dtype, device=key.device)
        for frame in frames.unique():
            own = frames == frame
            weights[own] = torch.softmax(asked[own] @ key[frame].T * scale, dim=1)
        return unpool(weights, height, width)
    similarity = asked @ key.flatten(0, 1).T
    softmax = block.instantiation == "softmax"
    weights = torch.softmax(similarity * scale, dim=1) if softmax else similarity / similarity.shape[1]
    return unpool(weights.unflatten(1, key.shape[:2]), height, width)


def unpool(weights: Float[Tensor, "*batch P"], height: int, width: int) -> Float[Tensor, "*batch H W"]:
    """Bring the weights of keys back to positions: each 2x2-pooled key's in equal shares to those that it covers.

    The inverse of `gta.ops.pool_positions` as far as there is one: sums stay, and an odd last row or column, which was
    left out, gets 0.
    """
    if weights.shape[-1] == height * width:
        return weights.unflatten(-1, (height, width))
    rows, columns = min(2, height), min(2, width)
    cells = weights.unflatten(-1, (height // rows, width // columns)) / (rows * columns)
    cells = cells.repeat_interleave(rows, dim=-2).repeat_interleave(columns, dim=-1)
    return torch.nn.functional.pad(cells, (0, width - cells.shape[-1], 0, height - cells.shape[-2]))


def cell_starts(length: int, side: int) -> NDArray[np.int64]:
    """First position of each of `min(length, side)` cells that divide `length` positions as evenly as possible."""
    cells = min(length, side)
    return -(-np.arange(cells) * length // cells)


def _middles(length: int, side: int) -> list[int]:
    starts = cell_starts(length, side)
    return [int(middle) for middle in (starts + np.append(starts[1:], length) - 1) // 2]


def _table(block: SoftmaxBlock, features: Tensor, side: int) -> NDArray[np.float32]:
    """The rows of the queries in the middle of each cell, their keys added up over the cells."""
    if side < 1:
        raise ValueError(f"table_side is {side}: it must be at least 1")
    frames, height, width = features.shape[2:]
    rows, columns = _middles(height, side), _middles(width, side)
    queries = torch.cartesian_prod(torch.arange(frames), torch.tensor(rows), torch.tensor(columns))
    parts = [_summed(attention_rows(block, features, some), block, side) for some in queries.split(_QUERIES_AT_A_TIME)]
    table = np.concatenate(parts)
    return table.reshape(frames, len(rows), len(columns), *table.shape[1:])


def _summed(weights: Tensor, block: SoftmaxBlock, side: int) -> NDArray[np.float32]:
    found = weights.cpu().numpy()
    if not isinstance(block, TemporalAttention):
        starts: Sequence[NDArray[np.int64]] = [cell_starts(length, side) for length in found.shape[-2:]]
        found = np.add.reduceat(np.add.reduceat(found, starts[0], axis=-2), starts[1], axis=-1)
    return found.astype(np.float32)
