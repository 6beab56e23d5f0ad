"""Attention blocks for inference: the same numbers as the blocks' equations, in less time and a fraction of the memory.

`fuse` puts them into a network, one way. Each is built from a block and holds its weights rearranged: the norm is
folded into the last projection, the residual is the accumulator of that product, and only a few frames' values are in
memory at a time, but for those of the pixels, which have to wait for all frames of their clip. Regions are pooled
before their projection and projected before they are spread, which is the same by associativity and saves a fifth of
the multiply-adds.
"""

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gta.blocks.attention import Pool, SpatialAttention, project_positions
from gta.blocks.expected import ExpectedShape, check_features
from gta.blocks.factory import Composition
from gta.blocks.frame_mixing import Level, mixing_matrices
from gta.blocks.gta import GlobalTemporalAttention
from gta.blocks.projection import OutputProjection
from gta.ops.attention import softmax_attention
from gta.ops.layout import from_tokens, to_tokens
from gta.ops.mixing import mix_columns, mix_frames, pool_with_shares

# Positions that are worked on at a time: enough for full speed, few enough to need little memory.
_POSITIONS_AT_A_TIME = {"cpu": 2048, "cuda": 16384}


def fuse(model: nn.Module) -> nn.Module:
    """Return the network with its attention blocks rearranged for inference; `model` itself is not changed.

    The result shares all other layers with `model`. The weights of the blocks are copied: weights that are loaded or
    trained afterwards do not reach the copies, and hooks on layers inside a block are not called. Blocks that cannot be
    rearranged (layer norm, layers replaced by adapters) are left as they are.

    Args:
        model: any network, or one block, in evaluation mode.

    Returns:
        A network for evaluation without gradients, or `model` itself if there is nothing to rearrange.

    Raises:
        ValueError: the network is in training mode.
        RuntimeError: raised by the result when it runs with gradients enabled.

    >>> import torch
    >>> model = gta.create_model("tiny_gta", num_classes=5, num_frames=4).eval()
    >>> clip = torch.rand(1, 3, 4, 64, 64)
    >>> with torch.no_grad():
    ...     torch.allclose(gta.fuse(model)(clip), model(clip), atol=1e-5)
    True
    """
    if model.training:
        raise ValueError("the network is in training mode: call eval() on it before fuse()")
    fused: dict[int, nn.Module] = {}
    for module in model.modules():
        if isinstance(module, Composition):
            fused.update(_fuse_parts(module))
        elif id(module) not in fused and (found := _fuse_block(module)) is not None:
            fused[id(module)] = found
    if not fused:
        return model
    # A copy of the modules around the blocks only: the memo names what stands for each of the others.
    memo: dict[int, object] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    for module in model.modules():
        if not any(id(part) in fused for part in module.modules()):
            memo[id(module)] = module
    return copy.deepcopy(model, memo | fused)


def _fuse_parts(blocks: Composition) -> dict[int, nn.Module]:
    """The parts of a composition; what one part made for the next is nobody else's, and may be overwritten."""
    fused: dict[int, nn.Module] = {}
    fresh = False
    for part in blocks.children():
        found = _fuse_block(part, in_place=fresh)
        if found is not None:
            fused[id(part)] = found
        fresh = found is not None
    return fused


def _fuse_block(module: nn.Module, *, in_place: bool = False) -> nn.Module | None:
    """What stands for a block, or for the end of one; None if its layers do more than their weights say."""
    if isinstance(module, GlobalTemporalAttention):
        plain = _folds(module.output) and type(module.values) is nn.Linear and module.mixing_options.linear
        return FusedGlobalTemporalAttention(module, in_place=in_place) if plain else None
    if isinstance(module, SpatialAttention):
        return FusedSpatialAttention(module) if _folds(module.output) and type(module.qkv) is nn.Linear else None
    return FusedOutputProjection(module) if isinstance(module, OutputProjection) and _folds(module) else None


def _folds(output: OutputProjection) -> bool:
    # The exact types: an adapter or a parametrisation is another one.
    return type(output) is OutputProjection and type(output.linear) is nn.Linear and type(output.norm) is nn.BatchNorm1d


class FusedOutputProjection(nn.Module):
    """`x + inner W' + b'`: an `OutputProjection` whose batch norm, with its running statistics, is folded in."""

    weight: Tensor
    bias: Tensor

    def __init__(self, output: OutputProjection) -> None:
        super().__init__()
        linear, norm = output.linear, output.norm
        assert isinstance(norm, nn.BatchNorm1d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        bias = (linear.bias - norm.running_mean) * factor + norm.bias
        _keep(self, weight=(linear.weight * factor[:, None]).t(), bias=bias)
        self.eval()

    def forward(self, inner: Float[Tensor, "B T S D"], tokens: Float[Tensor, "B T S C"]) -> Float[Tensor, "B T S C"]:
        """Project `inner` and add it to `tokens`."""
        _refuse_gradients()
        out = _like(tokens)
        self.add(inner, tokens, out)
        return out

    def add(self, inner: Tensor, tokens: Tensor, out: Tensor) -> None:
        """Write the result into contiguous `out`, which may be `tokens` themselves; all axes but the last are rows."""
        if torch.compiler.is_compiling():  # a compiler fuses these itself, and may give `out` another memory format
            out.copy_(tokens + F.linear(inner, self.weight.t(), self.bias))
            return
        torch.add(tokens, self.bias, out=out)
        rows = out.view(-1, out.shape[-1])
        torch.addmm(rows, inner.flatten(0, -2).to(rows.dtype), self.weight.to(rows.dtype), out=rows)


class FusedSpatialAttention(nn.Module):
    """Spatial attention a few frames at a time, so that only their queries, keys and values are in memory."""

    def __init__(self, block: SpatialAttention) -> None:
        super().__init__()
        self.expected = ExpectedShape(block.channels)
        self.pool: Pool = block.pool
        self.scaled = block.scaled
        self.qkv = block.qkv
        self.output = FusedOutputProjection(block.output)
        self.eval()

    def forward(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """Let every position look at all (pooled) positions of its own frame."""
        check_features(features, self.expected)
        _refuse_gradients()
        tokens = to_tokens(features)
        height, width = features.shape[3:]
        out = _like(tokens)
        frames = tokens.flatten(0, 1)
        step = _frames_at_a_time(frames)
        for some, result in zip(frames.split(step), out.flatten(0, 1).split(step), strict=True):
            query, key, value = project_positions(self.qkv, some, height, width, pool=self.pool)
            self.output.add(softmax_attention(query, key, value, scaled=self.scaled), some, result)
        return from_tokens(out, height, width)


class FusedGlobalTemporalAttention(nn.Module):
    """Global temporal attention over pixels, regions or both, with a constant M.

    Args:
        block: the block; its mixing must be linear and its norm a batch norm.
        in_place: the result takes the place of the features where these are contiguous as tokens.
    """

    pixel_mixing: Tensor
    region_mixing: Tensor
    assignment: Tensor | None
    weight: Tensor
    bias: Tensor
    region_weight: Tensor
    region_bias: Tensor

    def __init__(self, block: GlobalTemporalAttention, *, in_place: bool = False) -> None:
        super().__init__()
        self.in_place = in_place
        self.pixel, self.region = block.pixel, block.region
        self.num_groups = block.num_groups
        self.inner_channels = width = block.inner_channels
        self.mixing_options = block.mixing_options
        self.expected = block.expected()
        self.output = FusedOutputProjection(block.output)
        weight, bias = block.values.weight, block.values.bias
        # Every position is multiplied with the rows of the pixels' values and of the region logits; only what is
        # pooled, R rows instead of S, with those of the regions' values.
        start = width if self.pixel else 0
        rows = [slice(0, start), slice(start + width if self.region else start, None)]
        _keep(
            self,
            pixel_mixing=block.mixing_of("pixel"),
            region_mixing=block.mixing_of("region"),
            assignment=block.constant_assignment(),
            weight=torch.cat([weight[some] for some in rows]),
            bias=torch.cat([bias[some] for some in rows]),
            region_weight=weight[start : start + width],
            region_bias=bias[start : start + width],
        )
        self.eval()

    def forward(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """Mix the frames of `features`."""
        check_features(features, self.expected)
        _refuse_gradients()
        tokens = to_tokens(features)
        out = tokens if self.in_place and tokens.is_contiguous() else _like(tokens)
        step = _frames_at_a_time(tokens.flatten(0, 1))
        clips = max(1, step // tokens.shape[1])
        for some, result in zip(tokens.split(clips), out.split(clips), strict=True):
            self._mix(some, result, step)
        return from_tokens(out, *features.shape[3:])

    def _mix(self, tokens: Float[Tensor, "B T S C"], out: Float[Tensor, "B T S C"], step: int) -> None:
        """Write the result for a few clips into `out`, `step` frames at a time."""
        num_frames = tokens.shape[1]
        frames, rows = tokens.flatten(0, 1), out.flatten(0, 1)  # (N, S, C), N = clips * T
        fixed = None if self.assignment is None else self.assignment.repeat(tokens.shape[0], 1, 1)
        columns = self._empty_columns(frames) if self.pixel else None
        assignments: list[Tensor] = []
        pooled: list[tuple[Tensor, Tensor]] = []
        chunks = [slice(start, start + step) for start in range(0, len(frames), step)]
        for chunk in chunks:
            value, assignment = self._read(frames[chunk], None if fixed is None else fixed[chunk])
            if columns is not None and value is not None:
                columns[chunk].copy_(value.unflatten(2, columns.shape[1:4:2]).transpose(1, 2))
            if assignment is not None:
                assignments.append(assignment)
                pooled.append(pool_with_shares(frames[chunk], assignment))
        mixed = None if columns is None else _mix_columns(columns, self._matrices("pixel", num_frames), num_frames)
        columns = None  # its memory is free for the rest
        added = self._added(pooled, num_frames) if pooled else None
        for index, chunk in enumerate(chunks):
            pixels = None if mixed is None else mixed[chunk]
            if added is not None:
                _add_levels(
                    frames[chunk], pixels, assignments[index], self.output.weight, added[chunk], out=rows[chunk]
                )
            elif pixels is not None:
                self.output.add(pixels.flatten(2), frames[chunk], rows[chunk])

    def _matrices(self, level: Level, num_frames: int) -> Tensor:
        weight = self.pixel_mixing if level == "pixel" else self.region_mixing
        return mixing_matrices(weight, self.mixing_options, num_frames)

    def _empty_columns(self, frames: Tensor) -> Tensor:
        """Memory for the values of all frames, groups before positions: the columns of Eq. 7's matrix product."""
        groups = self.num_groups
        return frames.new_empty(frames.shape[0], groups, frames.shape[1], self.inner_channels // groups)

    def _read(self, frames: Tensor, fixed: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Pixel values (N, S, D) and assignments (N, S, R) of a few frames, where the block has such."""
        if not len(self.weight):
            return None, fixed
        read = F.linear(frames, self.weight, self.bias)
        value = read[..., : self.inner_channels] if self.pixel else None
        if not self.region or fixed is not None:
            return value, fixed
        return value, F.softmax(read[..., self.inner_channels if self.pixel else 0 :], dim=2)

    def _added(self, pooled: list[tuple[Tensor, Tensor]], num_frames: int) -> Tensor:
        """What each region adds to the positions that are wholly its own, (N, R, C), with the output's bias."""
        means, shares = (torch.cat(parts) for parts in zip(*pooled, strict=True))
        # A region that nobody chooses has the value 0, without the bias.
        values = torch.addcmul(F.linear(means, self.region_weight), shares.unsqueeze(-1), self.region_bias)
        regions = mix_frames(values.unflatten(0, (-1, num_frames)), self._matrices("region", num_frames)).flatten(0, 1)
        # A position's assignments sum to 1, so that the output's bias, given to each region, comes out once.
        return torch.matmul(regions, self.output.weight[-regions.shape[2] :]) + self.output.bias


def _mix_columns(columns: Tensor, mixing: Tensor, num_frames: int) -> Tensor:
    """Eq. 7 for all positions of each clip: (N, G, S, w) to (N, S, N_h, w)."""
    _, groups, positions, width = columns.shape
    matrices = columns.view(-1, num_frames * groups, positions * width)
    mixed = mix_columns(mixing, matrices)
    return mixed.view(-1, mixing.shape[1], positions, width).transpose(1, 2)


def _add_levels(
    frames: Tensor, pixels: Tensor | None, assignment: Tensor, weight: Tensor, added: Tensor, *, out: Tensor
) -> None:
    """`out = frames + [pixels, assignment] [weight; added]`, one product for both levels."""
    if pixels is None:
        torch.baddbmm(frames, assignment.to(frames.dtype), added.to(frames.dtype), out=out)
        return
    width = pixels.shape[2] * pixels.shape[3]
    inner = frames.new_empty(*frames.shape[:2], width + assignment.shape[2])
    inner[..., :width].unflatten(2, pixels.shape[2:]).copy_(pixels)
    inner[..., width:] = assignment
    both = torch.cat([weight[:width].expand(len(frames), -1, -1), added], dim=1)  # (N, D + R, C)
    torch.baddbmm(frames, inner, both.to(frames.dtype), out=out)


def _keep(module: nn.Module, **values: Tensor | None) -> None:
    for name, value in values.items():
        module.register_buffer(name, None if value is None else value.detach().clone())


def _refuse_gradients() -> None:
    if torch.is_grad_enabled():
        raise RuntimeError("a fused network has no gradients: run it under torch.no_grad() or torch.inference_mode()")


def _like(tokens: Tensor) -> Tensor:
    return torch.empty_like(tokens, memory_format=torch.contiguous_format)


def _frames_at_a_time(frames: Float[Tensor, "N S C"]) -> int:
    return max(1, _POSITIONS_AT_A_TIME.get(frames.device.type, len(frames) * frames.shape[1]) // frames.shape[1])
