"""Swapped attention (the paper's Fig. 5): spatial and temporal blocks with each other's projections."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from gta.blocks.attention import SpatialAttention, TemporalAttention

_PROJECTION = ("qkv.weight", "qkv.bias")

Pair = tuple[str, str]
"""Names of a spatial block and of the temporal block that goes with it."""


def swappable_pairs(model: nn.Module) -> list[Pair]:
    """Spatial and temporal blocks side by side, as in DNL: the first with the first, if their projections fit."""
    pairs: list[Pair] = []
    for parent, module in model.named_modules():
        prefix = f"{parent}." if parent else ""
        children = list(module.named_children())
        spatial = [(prefix + name, child) for name, child in children if isinstance(child, SpatialAttention)]
        temporal = [(prefix + name, child) for name, child in children if isinstance(child, TemporalAttention)]
        for (first, sa), (second, ta) in zip(spatial, temporal, strict=False):
            if sa.qkv.weight.shape == ta.qkv.weight.shape:
                pairs.append((first, second))
    return pairs


def swap_projections(parameters: Mapping[str, Tensor], pairs: Sequence[Pair]) -> dict[str, Tensor]:
    """The parameters with query, key and value projections of each pair exchanged; what was given stays as it is.

    Swapping twice gives the parameters back.

    Args:
        parameters: by name, such as `dict(model.named_parameters())`.
        pairs: names of the blocks.
    """
    swapped = dict(parameters)
    for spatial, temporal in pairs:
        for end in _PROJECTION:
            first, second = f"{spatial}.{end}", f"{temporal}.{end}"
            swapped[first], swapped[second] = parameters[second], parameters[first]
    return swapped
