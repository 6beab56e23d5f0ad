"""Pure tensor functions without parameters (floor 1)."""

from gta.ops.attention import pool_positions, softmax_attention
from gta.ops.encoding import sinusoidal_encoding
from gta.ops.layout import fold_frames, from_tokens, to_tokens, unfold_frames
from gta.ops.mixing import (
    global_temporal_attention,
    mix_frames,
    mixing_matrix,
    pool_regions,
    resize_assignment,
    resize_mixing,
    spread_regions,
)
from gta.ops.shift import temporal_shift

__all__ = [
    "fold_frames",
    "from_tokens",
    "global_temporal_attention",
    "mix_frames",
    "mixing_matrix",
    "pool_positions",
    "pool_regions",
    "resize_assignment",
    "resize_mixing",
    "sinusoidal_encoding",
    "softmax_attention",
    "spread_regions",
    "temporal_shift",
    "to_tokens",
    "unfold_frames",
]
