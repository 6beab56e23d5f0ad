"""What every attention block of a model makes of one clip."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gta.blocks.attention import NonLocal, SpatialAttention, TemporalAttention
from gta.blocks.gta import GlobalTemporalAttention
from gta.explain.attention import attention_maps
from gta.explain.mixing import explain_mixing
from gta.explain.network import Network, hooked, watch_inputs
from gta.explain.records import AttentionMaps, BlockExplanation, Grid, Kind, nearest

ATTENTION = (NonLocal, SpatialAttention, TemporalAttention, GlobalTemporalAttention)


def attention_blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The attention blocks by their dotted names, however they came into the model."""
    return {name: module for name, module in model.named_modules() if isinstance(module, ATTENTION)}


def kind_of(block: nn.Module) -> Kind:
    """Which of the paper's blocks a module is."""
    if isinstance(block, NonLocal):
        return "nl"
    if isinstance(block, SpatialAttention):
        return "sa"
    if isinstance(block, TemporalAttention):
        return "tape" if block.encoding else "ta"
    return "gta"


def grid_position(grid: Grid, frame_numbers: tuple[int, ...], size: tuple[int, int], query: Grid) -> Grid:
    """Where a point of the clip (frame, row and column in pixels of `size`) lies on a block's grid."""
    return nearest(frame_numbers, query[0]), query[1] * grid[1] // size[0], query[2] * grid[2] // size[1]


def explain_blocks(
    network: Network,
    clip: Tensor,
    query: Grid,
    *,
    names: list[str] | None = None,
    table_side: int | None = None,
    parameters: Mapping[str, Tensor] | None = None,
) -> tuple[list[BlockExplanation], Tensor]:
    """Run the model once and explain its blocks while it runs, so that no block's input has to be kept.

    Args:
        network: the model.
        clip: normalised (1, 3, T, H, W).
        query: frame of the clip, row and column in pixels.
        names: which blocks; all if not given.
        table_side: as of `attention_maps`.
        parameters: to run the model with instead of its own.

    Returns:
        The blocks in the order in which they were applied, and the logits (1, K).

    Raises:
        ValueError: a block was built for clips of another length.
    """
    found: list[BlockExplanation] = []

    def see(name: str, block: nn.Module, features: Tensor) -> None:
        if features.shape[0] != 1:
            raise ValueError(
                f"{name} sees the clip's {clip.shape[2]} frames as {features.shape[0]} clips of {features.shape[2]}: "
                "give a clip of the length for which the blocks were inserted"
            )
        found.append(_explain_block(network, name, block, features, query, tuple(clip.shape[3:]), table_side))

    blocks = attention_blocks(network.model)
    chosen = blocks if names is None else {name: blocks[name] for name in names}
    with torch.no_grad(), hooked(watch_inputs(chosen, see)):
        logits = network.logits(clip, parameters)
    return found, logits


def _explain_block(
    network: Network,
    name: str,
    block: nn.Module,
    features: Tensor,
    query: Grid,
    size: tuple[int, ...],
    table_side: int | None,
) -> BlockExplanation:
    frames, height, width = features.shape[2:]
    numbers = network.frame_numbers(frames)
    grid = (frames, height, width)
    position = grid_position(grid, numbers, (size[0], size[1]), query)
    attention: AttentionMaps | None = None
    mixing = regions = None
    if isinstance(block, GlobalTemporalAttention):
        mixing = explain_mixing(block, features)
        regions = block.regions(features)[0].float().cpu().numpy() if block.region else None
    elif isinstance(block, NonLocal | SpatialAttention | TemporalAttention):
        attention = attention_maps(block, features, position, table_side=table_side)
    return BlockExplanation(
        name=name,
        kind=kind_of(block),
        grid=grid,
        frame_numbers=numbers,
        query=position,
        attention=attention,
        mixing=mixing,
        regions=regions,
    )
