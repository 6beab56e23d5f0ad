"""Global temporal attention: a learned linear map over (group, frame) pairs (the paper's Eqs. 5-8)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def mixing_matrix(weight: Float[Tensor, "*clips G N_h T T"]) -> Float[Tensor, "*clips rows columns"]:
    """Arrange M as one matrix: row `t * N_h + k`, column `u * G + g` holds `M[g, k, t, u]`.

    Eqs. 6-7 sum over groups g and input frames u for every head k and output frame t; with this arrangement that is
    one product of a `(T*N_h, T*G)` matrix with the `(T*G, C/G)` values of a position.

    Args:
        weight: M, of all clips or of each: groups, heads, output frames, input frames.
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
    weight: Float[Tensor, "*clips G N_h T T"], columns: Float[Tensor, "B rows positions"]
) -> Float[Tensor, "B heads positions"]:
    """Multiply M, as one `(T*N_h, T*G)` matrix or one for each clip, with its columns `(B, T*G, S*C/G)`.

    A batched product, since `matmul` decides by the number of clips whether to copy the columns and make one product of
    all: that is slower on CPUs, and no program exported for one number fits another.
    """
    return torch.bmm(mixing_matrix(weight).expand(columns.shape[0], -1, -1), columns)


def mix_frames(value: Float[Tensor, "B T S C"], weight: Float[Tensor, "*clips G N_h T T"]) -> Float[Tensor, "B T S D"]:
    """`global_temporal_attention` for values with frames before positions; each clip may have an M of its own.

    One large matrix product for each clip instead of a small one for each position: the columns are all positions.

    Args:
        value: values of each frame, positions before channels.
        weight: M of all clips, or one for each of the B clips.

    Returns:
        Mixed values, `D = N_h * C / G` channels.

    Raises:
        ValueError: the channels do not divide into G groups, or the numbers of frames differ.
    """
    batch, frames, positions, channels = value.shape
    _check(channels, frames, weight)
    groups, heads = weight.shape[-4:-2]
    width = channels // groups
    columns = value.unflatten(3, (groups, width)).transpose(2, 3).reshape(batch, frames * groups, positions * width)
    mixed = mix_columns(weight, columns)
    return mixed.view(batch, frames, heads, positions, width).transpose(2, 3).flatten(3)


def toeplitz_matrices(lags: Float[Tensor, "G N_h lags"], num_frames: int) -> Float[Tensor, "G N_h T T"]:
    """Matrices whose entry for output frame t and input frame u is the number of the lag `t - u`.

    Args:
        lags: `2U - 1` numbers, those of the lags `-(U - 1)` to `U - 1`.
        num_frames: T, any number; lags that have no number count as 0.
    """
    lags = resize_lags(lags, num_frames)
    frame = torch.arange(num_frames, device=lags.device)
    return lags[..., frame[:, None] - frame[None, :] + num_frames - 1]


def resize_lags(lags: Float[Tensor, "G N_h lags"], num_frames: int) -> Float[Tensor, "G N_h more"]:
    """The numbers of the lags between T frames: those that are there stay as they are, others are 0.

    Args:
        lags: `2U - 1` numbers, those of the lags `-(U - 1)` to `U - 1`.
        num_frames: T; the result has `2T - 1`.
    """
    more = num_frames - (lags.shape[-1] + 1) // 2  # on either side; negative: fewer
    return F.pad(lags, (more, more)) if more else lags.clone()


def low_rank_mixing(left: Float[Tensor, "B T N_h r"], right: Float[Tensor, "B T G r"]) -> Float[Tensor, "B G N_h T T"]:
    """A matrix of rank r for each clip, group and head: the mean over r of `left[t, k, r] right[u, g, r]`.

    Args:
        left: what each output frame t asks, for each head k.
        right: what each input frame u offers, for each group g.
    """
    return torch.einsum("btkr,bugr->bgktu", left, right) / left.shape[-1]


def frame_differences(value: Float[Tensor, "B T S C"], groups: int) -> Float[Tensor, "B T S C"]:
    """The values with the change since the frame before in the second half of the groups; 0 for the first frame.

    Args:
        value: values of each frame, positions before channels.
        groups: G, equal slices of the channels, of which the last `G // 2` hold changes.
    """
    half = value.shape[3] // groups * (groups // 2)
    kept, changing = value[..., :half], value[..., half:]
    change = changing - torch.cat([changing[:, :1], changing[:, :-1]], dim=1)
    return torch.cat([kept, change], dim=3)


def pool_regions(value: Float[Tensor, "B T S C"], assignment: Float[Tensor, "B T S R"]) -> Float[Tensor, "B T R C"]:
    """Average the positions into regions, weighted by the assignment; each region's total weight is divided out.

    Args:
        value: values of each frame, positions before channels.
        assignment: how much each position belongs to each of the R regions, not negative.

    Returns:
        One vector for each region; 0 for a region that no position belongs to.
    """
    return pool_with_shares(value, assignment)[0]


def pool_with_shares(
    value: Float[Tensor, "... S C"], assignment: Float[Tensor, "... S R"]
) -> tuple[Float[Tensor, "... R C"], Float[Tensor, "... R"]]:
    """`pool_regions` of any number of frames, and what it makes of a constant 1: 1, but 0 for a region nobody chooses.

    A region that no position chooses (softmax of the large features of a transformer) has the value 0 / floor = 0. The
    gradient divides by the total twice: a smaller floor would make it 0 * inf.
    """
    total = assignment.sum(dim=-2)
    floored = total.clamp_min(max(torch.finfo(total.dtype).tiny, 1e-18))
    return torch.matmul(assignment.transpose(-2, -1), value) / floored.unsqueeze(-1), total / floored


def spread_regions(regions: Float[Tensor, "B T R C"], assignment: Float[Tensor, "B T S R"]) -> Float[Tensor, "B T S C"]:
    """Bring region values back to the positions: the transpose of the assignment (Eq. 8).

    Args:
        regions: one vector for each region of each frame.
        assignment: how much each position belongs to each of the R regions, as `pool_regions` took it.
    """
    return torch.matmul(assignment, regions)


def _spread(short: int, long: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Matrices `(long, short)` that interpolates linearly and `(short, long)` that averages; all rows sum to 1."""
    identity = torch.eye(short, dtype=torch.float64, device=device)
    interpolate = F.interpolate(identity[None], size=long, mode="linear", align_corners=False)[0].T
    average = interpolate.T / interpolate.T.sum(dim=1, keepdim=True)
    return interpolate, average


def resize_assignment(assignment: Float[Tensor, "T S R"], num_frames: int) -> Float[Tensor, "U S R"]:
    """Interpolate constant regions (before their softmax) linearly to another number of frames.

    Args:
        assignment: scores of the R regions at each frame and position.
        num_frames: U, how many frames the result has.
    """
    frames_last = assignment.permute(1, 2, 0)  # (S, R, T)
    longer = F.interpolate(frames_last, size=num_frames, mode="linear", align_corners=False)
    return longer.permute(2, 0, 1).contiguous()


def resize_rows(encoding: Float[Tensor, "T C"], num_frames: int) -> Float[Tensor, "U C"]:
    """Interpolate a learned encoding of time linearly to another number of frames.

    Args:
        encoding: one vector for each frame.
        num_frames: U, how many the result has.
    """
    return F.interpolate(encoding.T[None], size=num_frames, mode="linear", align_corners=False)[0].T.contiguous()


def resize_mixing(weight: Float[Tensor, "G N_h T T"], num_frames: int) -> Float[Tensor, "G N_h U U"]:
    """Interpolate the T x T matrices to another number of frames, keeping each row's sum.

    Rows (output frames) are interpolated linearly. A column's (input frame's) weight is shared out among the new
    frames that lie near it in time, so that nothing is gained or lost: a new row's sum is the interpolated sum of the
    old rows, and a clip that does not change over time is mixed as before.

    Args:
        weight: M: groups, heads, output frames, input frames.
        num_frames: U, how many frames the result mixes.
    """
    frames = weight.shape[-1]
    if frames == num_frames:
        return weight.clone()
    interpolate, average = _spread(min(frames, num_frames), max(frames, num_frames), weight.device)
    rows, columns = (interpolate, average) if num_frames > frames else (average, interpolate)
    return (rows @ weight.double() @ columns).to(weight.dtype)
