"""Pure tensor functions without parameters.

In shapes, B is the number of clips, T of frames, S = H * W of positions of a frame, C of channels, D of output
channels, G of groups, N_h of heads, and R of regions; N = B * T is the number of frames of all clips.
"""

from gta.ops.attention import pool_positions, softmax_attention
from gta.ops.encoding import sinusoidal_encoding
from gta.ops.layout import fold_frames, from_tokens, to_tokens, unfold_frames
from gta.ops.mixing import (
    frame_differences,
    global_temporal_attention,
    low_rank_mixing,
    mix_frames,
    mixing_matrix,
    pool_regions,
    resize_assignment,
    resize_lags,
    resize_mixing,
    spread_regions,
    toeplitz_matrices,
)
from gta.ops.shift import temporal_shift

__all__ = [
    "fold_frames",
    "frame_differences",
    "from_tokens",
    "global_temporal_attention",
    "low_rank_mixing",
    "mix_frames",
    "mixing_matrix",
    "pool_positions",
    "pool_regions",
    "resize_assignment",
    "resize_lags",
    "resize_mixing",
    "sinusoidal_encoding",
    "softmax_attention",
    "spread_regions",
    "temporal_shift",
    "to_tokens",
    "toeplitz_matrices",
    "unfold_frames",
]
