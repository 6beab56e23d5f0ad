"""The paper's attention modules, (B, C, T, H, W) to the same shape."""

from gta.blocks.attention import NonLocal, SpatialAttention, TemporalAttention
from gta.blocks.factory import Composition, create_block, list_blocks, list_motion_blocks
from gta.blocks.gta import GlobalTemporalAttention
from gta.blocks.initialise import initialise_weights
from gta.blocks.mixing_options import MixingOptions
from gta.blocks.spec import AttentionSpec

__all__ = [
    "AttentionSpec",
    "Composition",
    "GlobalTemporalAttention",
    "MixingOptions",
    "NonLocal",
    "SpatialAttention",
    "TemporalAttention",
    "create_block",
    "initialise_weights",
    "list_blocks",
    "list_motion_blocks",
]
