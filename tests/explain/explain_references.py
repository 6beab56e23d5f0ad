"""Plain float64 references: attention with the whole matrix written out, loops in place of tricks."""

import numpy as np
import torch

from gta.blocks.attention import NonLocal, SpatialAttention, TemporalAttention


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def softmax(matrix: np.ndarray) -> np.ndarray:
    exponentials = np.exp(matrix - matrix.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def pooled_cells(height: int, width: int) -> list[list[int]]:
    """The positions that each 2x2-pooled key covers; sides of length 1 are not pooled, an odd rest is left out."""
    rows, columns = min(2, height), min(2, width)
    return [
        [(y + dy) * width + x + dx for dy in range(rows) for dx in range(columns)]
        for y in range(0, height - rows + 1, rows)
        for x in range(0, width - columns + 1, columns)
    ]


def attention_matrix(block: NonLocal | SpatialAttention | TemporalAttention, features: torch.Tensor) -> np.ndarray:
    """All rows: (t, h, w, t, h, w) of NL, (t, h, w, h, w) of SA, (t, h, w, t) of TA, keys at their positions."""
    _, channels, frames, height, width = features.shape
    positions = height * width
    tokens = array(features)[0].reshape(channels, frames, positions).transpose(1, 2, 0)  # (t, S, C)
    weight, bias, inner = array(block.qkv.weight), array(block.qkv.bias), block.inner_channels
    scale = inner**-0.5 if block.scaled else 1.0
    if isinstance(block, TemporalAttention):
        if block.encoding:
            tokens = tokens + encoding(frames, channels)[:, None]
        query, key = (tokens @ weight[i * inner : (i + 1) * inner].T for i in (0, 1))
        query, key = query + bias[:inner], key + bias[inner : 2 * inner]
        rows = softmax(np.einsum("tsd,usd->stu", query, key) * scale)  # (S, t, t)
        return rows.transpose(1, 0, 2).reshape(frames, height, width, frames)
    query = tokens @ weight[:inner].T + bias[:inner]
    cells = pooled_cells(height, width) if block.pool != "none" else [[position] for position in range(positions)]
    if block.pool == "before":
        tokens = np.stack([tokens[:, cell].max(axis=1) for cell in cells], axis=1)
    key = tokens @ weight[inner : 2 * inner].T + bias[inner : 2 * inner]
    if block.pool == "after":
        key = np.stack([key[:, cell].max(axis=1) for cell in cells], axis=1)
    back = np.zeros((len(cells), positions))
    for index, cell in enumerate(cells):
        back[index, cell] = 1 / len(cell)
    if isinstance(block, SpatialAttention):
        rows = softmax(np.einsum("tsd,tpd->tsp", query, key) * scale) @ back
        return rows.reshape(frames, height, width, height, width)
    similarity = query.reshape(-1, inner) @ key.reshape(-1, inner).T
    rows = softmax(similarity * scale) if block.instantiation == "softmax" else similarity / similarity.shape[1]
    rows = rows.reshape(frames * positions, frames, len(cells)) @ back
    return rows.reshape(frames, height, width, frames, height, width)


def encoding(frames: int, channels: int) -> np.ndarray:
    """Vaswani et al. 2017, Sec. 3.5, number by number."""
    return np.array(
        [
            [(np.sin if c % 2 == 0 else np.cos)(t / 10_000 ** ((c - c % 2) / channels)) for c in range(channels)]
            for t in range(frames)
        ]
    )


def randomise(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Random weights and statistics everywhere, so that no block is the identity; in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if value.is_floating_point():
                spread = torch.rand(value.shape, generator=generator)
                value.copy_(0.5 + spread if value.ndim == 1 and "bias" not in name else (spread - 0.5))
    return module.eval()
