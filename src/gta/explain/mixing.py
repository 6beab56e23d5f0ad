"""What a global temporal attention does to a clip: its matrices M, and how much each frame changes each other."""

import torch
from jaxtyping import Float
from torch import Tensor

from gta.blocks.gta import GlobalTemporalAttention
from gta.explain.records import Mixing
from gta.ops.layout import to_tokens
from gta.ops.mixing import pool_regions, spread_regions


@torch.no_grad()
def explain_mixing(block: GlobalTemporalAttention, features: Float[Tensor, "1 C t h w"]) -> Mixing:
    """The block's matrices, their strengths, and the influence of each frame on each other in this clip."""
    frames = features.shape[2]
    matrices = block.matrices("pixel", frames).float()
    return Mixing(
        matrices=matrices.cpu().numpy().copy(),
        region_matrices=block.matrices("region", frames).float().cpu().numpy().copy() if block.own_regions else None,
        strength=matrices.abs().mean(dim=(2, 3)).cpu().numpy(),
        influence=influence(block, features).float().cpu().numpy(),
    )


@torch.no_grad()
def influence(block: GlobalTemporalAttention, features: Float[Tensor, "1 C t h w"]) -> Float[Tensor, "t t"]:
    """How much the values of each input frame (column) contribute to each output frame (row).

    M alone does not tell: it is signed, there is one for each pair of group and head, and the projection after it mixes
    their channels, so contributions can cancel. Measured is what the block adds to frame t with all frames, minus what
    it adds without the values of frame u (its regions stay): root mean square over positions and channels, in
    proportion to that of the features of frame t.
    """
    tokens = to_tokens(features)
    parts = list(block.values(tokens).split(block.widths, dim=3))
    pixels = parts.pop(0) if block.pixel else None
    pooled = assignment = None
    if block.region:
        assignment = block.regions(features).flatten(3).transpose(2, 3)  # (1, t, S, R)
        pooled = pool_regions(parts.pop(0), assignment)
    zero = torch.zeros_like(tokens)  # without the residual, next to which small contributions would drown in rounding

    def added(without: int | None) -> Tensor:
        inner = [] if pixels is None else [block.mix("pixel", _without(pixels, without), tokens)]
        if pooled is not None and assignment is not None:
            inner.append(spread_regions(block.mix("region", _without(pooled, without), tokens), assignment))
        return block.output(torch.cat(inner, dim=3), zero)

    everything = added(None)
    columns = [_rms(everything - added(frame)) for frame in range(tokens.shape[1])]
    size = _rms(tokens)
    return torch.stack(columns, dim=1) / size.clamp_min(torch.finfo(size.dtype).tiny)[:, None]


def _without(value: Float[Tensor, "1 t P D"], frame: int | None) -> Float[Tensor, "1 t P D"]:
    """The values with those of one frame as 0: of Eqs. 6-7's sum over input frames, its term is then gone."""
    if frame is None:
        return value
    value = value.clone()
    value[:, frame] = 0
    return value


def _rms(tokens: Float[Tensor, "1 t S C"]) -> Float[Tensor, " t"]:
    return tokens[0].double().square().mean(dim=(1, 2)).sqrt()
