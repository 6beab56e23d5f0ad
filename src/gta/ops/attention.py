"""Softmax attention and the pooling of its keys and values."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def softmax_attention(
    query: Float[Tensor, "*batch L D"],
    key: Float[Tensor, "*batch M D"],
    value: Float[Tensor, "*batch M E"],
    *,
    scaled: bool = True,
) -> Float[Tensor, "*batch L E"]:
    """Attend: `softmax(query key^T * scale) value` (the paper's Eqs. 1-4), one head.

    Args:
        query: queries, of any floating dtype.
        key: keys, which the queries are compared with.
        value: values, which are averaged.
        scaled: multiply the similarities by `1 / sqrt(D)`; False: do not, as in the non-local block of the public TSM
            code.

    Returns:
        The weighted average of the values for each query.
    """
    scale = None if scaled else 1.0
    if query.ndim == 3:  # the fused kernels want (batch, heads, length, width)
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        return F.scaled_dot_product_attention(query, key, value, scale=scale).squeeze(1)
    return F.scaled_dot_product_attention(query, key, value, scale=scale)


def dot_product_attention(
    query: Float[Tensor, "*batch L D"], key: Float[Tensor, "*batch M D"], value: Float[Tensor, "*batch M E"]
) -> Float[Tensor, "*batch L E"]:
    """Attend without softmax: `query key^T value / M` (Wang et al. 2018, Sec. 3.2, "dot product").

    Computed as `query (key^T / M value)`, which is the same and takes time and memory linear in L and M.

    Args:
        query: queries, of any floating dtype.
        key: keys, which the queries are compared with.
        value: values, which are added up.

    Returns:
        The weighted sum of the values for each query; weights may be negative and do not sum to 1.
    """
    return query @ ((key / key.shape[-2]).transpose(-1, -2) @ value)


def pool_positions(frames: Float[Tensor, "N S C"], height: int, width: int) -> Float[Tensor, "N P C"]:
    """Max-pool the positions of each frame 2x2; as in the public code, an odd last row or column is left out.

    A side of length 1 is not pooled, so that at least one position remains.

    Args:
        frames: positions of each frame, row by row, `S = height * width`.
        height: number of rows of a frame.
        width: number of columns of a frame.

    Returns:
        The pooled positions of each frame, row by row.
    """
    kernel = [min(2, height), min(2, width)]
    if not torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return _largest_of_four(frames.unflatten(1, (height, width)), *kernel).flatten(1, 2)
    images = frames.unflatten(1, (height, width)).permute(0, 3, 1, 2)  # a view in channels-last memory
    return F.max_pool2d(images, kernel).permute(0, 2, 3, 1).flatten(1, 2)


def _largest_of_four(images: Float[Tensor, "N H W C"], rows: int, columns: int) -> Float[Tensor, "N h w C"]:
    """Max-pooling without the indices that a backward pass needs; reads slices of a wider tensor without a copy."""
    height, width = images.shape[1] // rows, images.shape[2] // columns
    if rows == 2:
        images = torch.maximum(images[:, 0 : 2 * height : 2], images[:, 1 : 2 * height : 2])
    if columns == 2:
        images = torch.maximum(images[:, :, 0 : 2 * width : 2], images[:, :, 1 : 2 * width : 2])
    return images


def attention_weights(
    query: Float[Tensor, "*batch L D"], key: Float[Tensor, "*batch M D"], *, scaled: bool = True, softmax: bool = True
) -> Float[Tensor, "*batch L M"]:
    """The weights of `softmax_attention`, or of `dot_product_attention`, written out to look at: L x M memory."""
    if not softmax:
        return query @ key.transpose(-1, -2) / key.shape[-2]
    scale = query.shape[-1] ** -0.5 if scaled else 1.0
    return torch.softmax(query @ key.transpose(-1, -2) * scale, dim=-1)
