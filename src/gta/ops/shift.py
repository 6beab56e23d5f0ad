"""Temporal shift (Lin et al. 2019, TSM)."""

import torch
from jaxtyping import Float
from torch import Tensor

from gta.ops.layout import fold_frames, unfold_frames


def temporal_shift(
    frames: Float[Tensor, "N C H W"], num_frames: int, fraction: int = 8, *, causal: bool = False
) -> Float[Tensor, "N C H W"]:
    """Shift channels between neighbouring frames (Lin et al. 2019); frames beyond the ends of the clip count as zeros.

    The first `C // fraction` channels come from the next frame, the same number after them from the previous frame,
    and the rest stay. With `causal` (TSM's uni-directional online model), the first `C // fraction` channels come from
    the previous frame, and the rest stay.

    Args:
        frames: frames of all clips, one clip after the other, `N = B * T`.
        num_frames: T, the number of frames per clip.
        fraction: `1 / fraction` of the channels is shifted in each direction.
        causal: shift from earlier frames only.

    Raises:
        ValueError: N is not a multiple of `num_frames`.
    """
    clips = unfold_frames(frames, num_frames)
    width = frames.shape[1] // fraction
    if causal:
        behind, still = clips.split([width, frames.shape[1] - width], dim=1)
        behind = torch.cat([torch.zeros_like(behind[:, :, :1]), behind[:, :, :-1]], dim=2)
        return fold_frames(torch.cat([behind, still], dim=1))
    ahead, behind, still = clips.split([width, width, frames.shape[1] - 2 * width], dim=1)
    zero_ahead, zero_behind = torch.zeros_like(ahead[:, :, :1]), torch.zeros_like(behind[:, :, :1])
    ahead = torch.cat([ahead[:, :, 1:], zero_ahead], dim=2)
    behind = torch.cat([zero_behind, behind[:, :, :-1]], dim=2)
    return fold_frames(torch.cat([ahead, behind, still], dim=1))
