"""Global temporal attention: a learned linear map over (group, frame) pairs (the paper's Eqs. 5-8)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def mixing_matrix(weight: Float[Tensor, "*clips G N_h T T"]) -> Float[Tensor, "*clips rows columns"]:
    """Arrange M as one matrix, with `M[g, k, t, u]` in row `t * N_h + k` and column `u * G + g`.

    Eqs. 6-7 sum over groups g and input frames u for every head k and output frame t. In this arrangement, the sum is
    one product of a `(T*N_h, T*G)` matrix with the `(T*G, C/G)` values of a position.

    Args:
        weight: M, shared by all clips or one per clip: groups, heads, output frames, input frames.
    """
    arranged = weight.permute(2, 1, 3, 0) if weight.ndim == 4 else weight.permute(0, 3, 2, 4, 1)
    return arranged.flatten(-2).flatten(-3, -2)


def _check(channels: int, frames: int, weight: Tensor) -> None:
    if channels % weight.shape[-4]:
        raise ValueError(f"{channels} channels do not divide into {weight.shape[-4]} groups")
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
        value: values of each position, frames before channels, of any floating dtype.
        weight: M: groups, heads, output frames, input frames. No softmax is applied to it.

    Returns:
        Mixed values with `D = N_h * C / G` channels.

    Raises:
        ValueError: the channels cannot be divided into G groups, or the numbers of frames differ.
    """
    batch, positions, frames, channels = value.shape
    _check(channels, frames, weight)
    groups, heads = weight.shape[:2]
    columns = value.reshape(batch, positions, frames * groups, channels // groups)
    return torch.matmul(mixing_matrix(weight), columns).reshape(batch, positions, frames, heads * (channels // groups))


def mix_columns(
    weight: Float[Tensor, "*clips G N_h T T"], columns: Float[Tensor, "B rows positions"]
) -> Float[Tensor, "B heads positions"]:
    """Multiply M, as one `(T*N_h, T*G)` matrix or one for each clip, with its columns `(B, T*G, S*C/G)`.

    A batched product, since `matmul` decides by the number of clips whether to copy the columns and make one product of
    all: that is slower on CPUs, and no program exported for one number fits another.
    """
    return torch.bmm(mixing_matrix(weight).expand(columns.shape[0], -1, -1), columns)


def mix_frames(value: Float[Tensor, "B T S C"], weight: Float[Tensor, "*clips G N_h T T"]) -> Float[Tensor, "B T S D"]:
    """Compute `global_temporal_attention` for values with frames before positions; each clip may have its own M.

    This is one large matrix product per clip instead of a small one per position.

    Args:
        value: values of each frame, positions before channels, of any floating dtype.
        weight: M, shared by all clips or one for each of the B clips: groups, heads, output frames, input frames.

    Returns:
        Mixed values with `D = N_h * C / G` channels.

    Raises:
        ValueError: the channels cannot be divided into G groups, or the numbers of frames differ.
    """
    batch, frames, positions, channels = value.shape
    _check(channels, frames, weight)
    groups, heads = weight.shape[-4:-2]
    width = channels // groups
    columns = value.unflatten(3, (groups, width)).transpose(2, 3).reshape(batch, frames * groups, positions * width)
    mixed = mix_columns(weight, columns)
    return mixed.view(batch, frames, heads, positions, width).transpose(2, 3).flatten(3)


def toeplitz_matrices(lags: Float[Tensor, "G N_h lags"], num_frames: int) -> Float[Tensor, "G N_h T T"]:
    """Build matrices whose entries depend only on the lag `t - u` between output frame t and input frame u.

    Args:
        lags: values of the lags `-(U - 1)` to `U - 1`, `2U - 1` per group and head.
        num_frames: T, 1 or more; lags without a value count as 0.

    Returns:
        M: groups, heads, output frames, input frames.
    """
    lags = resize_lags(lags, num_frames)
    frame = torch.arange(num_frames, device=lags.device)
    return lags[..., frame[:, None] - frame[None, :] + num_frames - 1]


def resize_lags(lags: Float[Tensor, "G N_h lags"], num_frames: int) -> Float[Tensor, "G N_h more"]:
    """Change the number of frames of Toeplitz matrices: lags keep their values, and new lags are 0.

    Args:
        lags: values of the lags `-(U - 1)` to `U - 1`, `2U - 1` per group and head.
        num_frames: T, 1 or more.

    Returns:
        Values of the lags `-(T - 1)` to `T - 1`, `2T - 1` per group and head.
    """
    more = num_frames - (lags.shape[-1] + 1) // 2  # on either side; negative: fewer
    return F.pad(lags, (more, more)) if more else lags.clone()


def low_rank_mixing(left: Float[Tensor, "B T N_h r"], right: Float[Tensor, "B T G r"]) -> Float[Tensor, "B G N_h T T"]:
    """Build a matrix of rank r for each clip, group and head: the mean over r of `left[t, k, r] right[u, g, r]`.

    Args:
        left: r values for each output frame t and head k.
        right: r values for each input frame u and group g.

    Returns:
        One M per clip: groups, heads, output frames, input frames.
    """
    return torch.einsum("btkr,bugr->bgktu", left, right) / left.shape[-1]


def frame_differences(value: Float[Tensor, "B T S C"], groups: int) -> Float[Tensor, "B T S C"]:
    """Replace the second half of the channel groups by differences from the previous frame, 0 for the first frame.

    Args:
        value: values of each frame, positions before channels.
        groups: G, the number of equal slices of the channels, of which the last `G // 2` are replaced; even.

    Returns:
        Values of the same shape.
    """
    half = value.shape[3] // groups * (groups // 2)
    kept, changing = value[..., :half], value[..., half:]
    change = changing - torch.cat([changing[:, :1], changing[:, :-1]], dim=1)
    return torch.cat([kept, change], dim=3)


def pool_regions(value: Float[Tensor, "B T S C"], assignment: Float[Tensor, "B T S R"]) -> Float[Tensor, "B T R C"]:
    """Average the positions of each region, weighted by the assignment (Eq. 8).

    Args:
        value: values of each frame, positions before channels.
        assignment: how much each position belongs to each of the R regions, 0 or more.

    Returns:
        One vector per region and frame; zeros for a region that no position belongs to.
    """
    return pool_with_shares(value, assignment)[0]


def pool_with_shares(
    value: Float[Tensor, "... S C"], assignment: Float[Tensor, "... S R"]
) -> tuple[Float[Tensor, "... R C"], Float[Tensor, "... R"]]:
    """Compute `pool_regions`, and also its result for a constant 1, which is 1, or 0 for a region without positions.

    A region without positions (softmax of the large features of a transformer) has the value 0 / floor = 0. The
    gradient divides by the total twice: with a smaller floor it would be 0 * inf.
    """
    total = assignment.sum(dim=-2)
    floored = total.clamp_min(max(torch.finfo(total.dtype).tiny, 1e-18))
    return torch.matmul(assignment.transpose(-2, -1), value) / floored.unsqueeze(-1), total / floored


def spread_regions(regions: Float[Tensor, "B T R C"], assignment: Float[Tensor, "B T S R"]) -> Float[Tensor, "B T S C"]:
    """Distribute the values of regions to the positions, weighted by the assignment (Eq. 8).

    Args:
        regions: one vector per region and frame.
        assignment: how much each position belongs to each of the R regions, as given to `pool_regions`.

    Returns:
        Values of each frame, positions before channels.
    """
    return torch.matmul(assignment, regions)


def _spread(short: int, long: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Matrices `(long, short)` that interpolates linearly and `(short, long)` that averages; all rows sum to 1."""
    identity = torch.eye(short, dtype=torch.float64, device=device)
    interpolate = F.interpolate(identity[None], size=long, mode="linear", align_corners=False)[0].T
    average = interpolate.T / interpolate.T.sum(dim=1, keepdim=True)
    return interpolate, average


def resize_assignment(assignment: Float[Tensor, "T S R"], num_frames: int) -> Float[Tensor, "U S R"]:
    """Interpolate the scores of constant regions (before their softmax) linearly to another number of frames.

    Args:
        assignment: scores of the R regions for each frame and position.
        num_frames: U, the new number of frames, 1 or more.
    """
    frames_last = assignment.permute(1, 2, 0)  # (S, R, T)
    longer = F.interpolate(frames_last, size=num_frames, mode="linear", align_corners=False)
    return longer.permute(2, 0, 1).contiguous()


def resize_rows(encoding: Float[Tensor, "T C"], num_frames: int) -> Float[Tensor, "U C"]:
    """Interpolate a learned encoding of time linearly to another number of frames.

    Args:
        encoding: one vector per frame.
        num_frames: U, the new number of frames, 1 or more.
    """
    return F.interpolate(encoding.T[None], size=num_frames, mode="linear", align_corners=False)[0].T.contiguous()


def resize_mixing(weight: Float[Tensor, "G N_h T T"], num_frames: int) -> Float[Tensor, "G N_h U U"]:
    """Interpolate the T x T matrices to another number of frames, keeping each row's sum.

    Rows (output frames) are interpolated linearly. The weight of a column (input frame) is divided among the new frames
    near it in time, so that the total stays the same: a new row's sum is the interpolated sum of the old rows, and a
    clip that does not change over time is mixed as before.

    Args:
        weight: M: groups, heads, output frames, input frames.
        num_frames: U, the new number of frames, 1 or more.
    """
    frames = weight.shape[-1]
    if frames == num_frames:
        return weight.clone()
    interpolate, average = _spread(min(frames, num_frames), max(frames, num_frames), weight.device)
    rows, columns = (interpolate, average) if num_frames > frames else (average, interpolate)
    return (rows @ weight.double() @ columns).to(weight.dtype)
