"""Global temporal attention: a learned linear map over (group, frame) pairs (the paper's Eqs. 5-8)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def mixing_matrix(weight: Float[Tensor, "G N_h T T"]) -> Float[Tensor, "rows columns"]:
    """Arrange M as one matrix: row `t * N_h + k`, column `u * G + g` holds `M[g, k, t, u]`.

    Eqs. 6-7 sum over groups g and input frames u for every head k and output frame t; with this arrangement that is
    one product of a `(T*N_h, T*G)` matrix with the `(T*G, C/G)` values of a position.
    """
    groups, heads, frames, _ = weight.shape
    return weight.permute(2, 1, 3, 0).reshape(frames * heads, frames * groups)


def _check(channels: int, frames: int, weight: Tensor) -> None:
    if channels % weight.shape[0]:
        raise ValueError(f"{channels} channels do not divide into {weight.shape[0]} groups")
    if weight.shape[-1] != frames or weight.shape[-2] != frames:
        raise ValueError(
            f"values of {frames} frames do not fit matrices of {weight.shape[-2]} x {weight.shape[-1]} frames"
        )


def global_temporal_attention(
    value: Float[Tensor, "B S T C"], weight: Float[Tensor, "G N_h T T"]
) -> Float[Tensor, "B S T D"]:
    """Mix the frames of every position with learned matrices that do not depend on the input (Eqs. 6-7).

    `out_k = sum_g weight[g, k] value_g`, where `value_g` is the g-th of G equal slices of the channels, and the N_h
    results are concatenated.

    Args:
        value: values of each position, frames before channels, any floating dtype.
        weight: M; first T output frames, last T input frames; no softmax is applied.

    Returns:
        Mixed values, `D = N_h * C / G` channels.

    Raises:
        ValueError: the channels do not divide into G groups, or the numbers of frames differ.
    """
    batch, positions, frames, channels = value.shape
    _check(channels, frames, weight)
    groups, heads = weight.shape[:2]
    columns = value.reshape(batch, positions, frames * groups, channels // groups)
    return torch.matmul(mixing_matrix(weight), columns).reshape(batch, positions, frames, heads * (channels // groups))


def mix_columns(
    weight: Float[Tensor, "G N_h T T"], columns: Float[Tensor, "B rows positions"]
) -> Float[Tensor, "B heads positions"]:
    """Multiply M, as one `(T*N_h, T*G)` matrix, with the columns `(B, T*G, S*C/G)` of every clip.

    A batched product, since `matmul` decides by the number of clips whether to copy the columns and make one product of
    all: that is slower on CPUs, and no program exported for one number fits another.
    """
    return torch.bmm(mixing_matrix(weight).expand(columns.shape[0], -1, -1), columns)


def mix_frames(value: Float[Tensor, "B T S C"], weight: Float[Tensor, "G N_h T T"]) -> Float[Tensor, "B T S D"]:
    """The same map as `global_temporal_attention` for values with frames before positions.

    One large matrix product for each clip instead of a small one for each position: the columns are all positions.
    """
    batch, frames, positions, channels = value.shape
    _check(channels, frames, weight)
    groups, heads = weight.shape[:2]
    width = channels // groups
    columns = value.unflatten(3, (groups, width)).transpose(2, 3).reshape(batch, frames * groups, positions * width)
    mixed = mix_columns(weight, columns)
    return mixed.view(batch, frames, heads, positions, width).transpose(2, 3).flatten(3)


def pool_regions(value: Float[Tensor, "B T S C"], assignment: Float[Tensor, "B T S R"]) -> Float[Tensor, "B T R C"]:
    """Average the positions into regions, weighted by the assignment; each region's total weight is divided out."""
    total = assignment.sum(dim=2).unsqueeze(-1)  # (B, T, R, 1)
    return torch.matmul(assignment.transpose(2, 3), value) / total.clamp_min(torch.finfo(total.dtype).tiny)


def spread_regions(regions: Float[Tensor, "B T R C"], assignment: Float[Tensor, "B T S R"]) -> Float[Tensor, "B T S C"]:
    """Bring region values back to the positions: the transpose of the assignment (Eq. 8)."""
    return torch.matmul(assignment, regions)


def _spread(short: int, long: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Matrices `(long, short)` that interpolates linearly and `(short, long)` that averages; all rows sum to 1."""
    identity = torch.eye(short, dtype=torch.float64, device=device)
    interpolate = F.interpolate(identity[None], size=long, mode="linear", align_corners=False)[0].T
    average = interpolate.T / interpolate.T.sum(dim=1, keepdim=True)
    return interpolate, average


def resize_assignment(assignment: Float[Tensor, "T S R"], num_frames: int) -> Float[Tensor, "U S R"]:
    """Interpolate constant regions (before their softmax) linearly to another number of frames."""
    frames_last = assignment.permute(1, 2, 0)  # (S, R, T)
    longer = F.interpolate(frames_last, size=num_frames, mode="linear", align_corners=False)
    return longer.permute(2, 0, 1).contiguous()


def resize_mixing(weight: Float[Tensor, "G N_h T T"], num_frames: int) -> Float[Tensor, "G N_h U U"]:
    """Interpolate the T x T matrices to another number of frames, keeping each row's sum.

    Rows (output frames) are interpolated linearly. A column's (input frame's) weight is shared out among the new
    frames that lie near it in time, so that nothing is gained or lost: a new row's sum is the interpolated sum of the
    old rows, and a clip that does not change over time is mixed as before.
    """
    frames = weight.shape[-1]
    if frames == num_frames:
        return weight.clone()
    interpolate, average = _spread(min(frames, num_frames), max(frames, num_frames), weight.device)
    rows, columns = (interpolate, average) if num_frames > frames else (average, interpolate)
    return (rows @ weight.double() @ columns).to(weight.dtype)
