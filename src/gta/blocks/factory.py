"""Blocks by name, alone or composed with "+" as in the paper's Table 3."""

from collections.abc import Collection
from typing import Unpack

from jaxtyping import Float
from torch import Tensor, nn

from gta.blocks.attention import NonLocal, SpatialAttention, TemporalAttention
from gta.blocks.contract import AttentionBlock
from gta.blocks.gta import GlobalTemporalAttention
from gta.blocks.motion import MOTION_BLOCKS, create_motion_block
from gta.blocks.spec import AttentionArguments, AttentionSpec, one_spec

REUSE = "aim"
"""The block that has no attention of its own: `gta.blocks.adapters.TemporalReuse`."""

# What each name stands for: one after another, the modules that `_create_part` builds.
COMPOSITIONS: dict[str, tuple[str, ...]] = {
    "nl": ("nl",),
    "sa": ("sa",),
    "ta": ("ta",),
    "tape": ("tape",),
    "pixel_gta": ("pixel_gta",),
    "region_gta": ("region_gta",),
    "dnl": ("sa", "ta"),
    "gta": ("sa", "pixel_region_gta"),
}


class Composition(nn.Module):
    """Several blocks, applied one after the other, each with its own residual.

    Args:
        parts: the blocks in order, by the names with which their weights begin.

    Raises:
        TypeError: a part is not an `AttentionBlock`.
    """

    def __init__(self, parts: dict[str, nn.Module]) -> None:
        super().__init__()
        for name, part in parts.items():
            if not isinstance(part, AttentionBlock):
                raise TypeError(
                    f"{name} ({type(part).__name__}) has no resize(num_frames): it is not an attention block"
                )
            self.add_module(name, part)

    def forward(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """Apply the parts in order to features (B, C, T, H, W); the result has the same shape."""
        for part in self.children():
            features = part(features)
        return features

    def resize(self, num_frames: int) -> list[str]:
        """Resize every part; returns the names of the parameters that were resized."""
        blocks = ((name, part) for name, part in self.named_children() if isinstance(part, AttentionBlock))
        return [f"{name}.{key}" for name, block in blocks for key in block.resize(num_frames)]


def list_blocks() -> list[str]:
    """List the names of the attention blocks; they can be joined with "+", e.g. "sa+tape".

    >>> gta.list_blocks()[:4]
    ['nl', 'sa', 'ta', 'tape']
    """
    return list(COMPOSITIONS)


def list_motion_blocks() -> list[str]:
    """List the names of the temporal modules of other papers; they can be joined in the same way.

    TEA, STM, bLVNet's TAM, CorrNet's correlation, MotionSqueeze, graphs of regions, and ST-Adapter.
    """
    return list(MOTION_BLOCKS)


def create_block(
    name: str,
    *,
    channels: int,
    num_frames: int = 8,
    spec: AttentionSpec | None = None,
    **options: Unpack[AttentionArguments],
) -> nn.Module:
    """Build an attention block `(B, C, T, H, W) -> (B, C, T, H, W)`.

    Args:
        name: one of `list_blocks()` or `list_motion_blocks()`, or several joined with "+", applied in that order.
        channels: number of channels (C).
        num_frames: number of frames (T).
        spec: options of the block, as one value.
        options: the same as keywords: the fields of `AttentionSpec` (`num_groups`, `num_heads`, `num_regions`,
            `inner_channels`, `pool`, `scaled`, `norm`, `zero_init`, `regions`, `region_size`, `instantiation`) and of
            `MixingOptions` (`share_mixing`, `mixing_init`, `toeplitz`, `causal`, `dynamic_rank`, `gate`,
            `differences`).

    Raises:
        ValueError: the name is unknown, the channels do not divide into the groups, or an option does not apply.
        TypeError: a keyword is unknown, or is given together with spec.

    >>> block = gta.blocks.create_block("gta", channels=32, num_frames=4, num_regions=4)
    >>> block.gta.mixing.shape
    torch.Size([8, 8, 4, 4])
    """
    if name == REUSE:
        raise ValueError(f"{REUSE!r} uses the attention of a transformer's block: gta.insert_attention puts it there")
    spec = one_spec(spec, options)
    known = COMPOSITIONS | {name: (name,) for name in MOTION_BLOCKS}
    unknown = [word for word in name.split("+") if word not in known]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not a block: choose from {', '.join(known)}, joined with '+'")
    names = [part for word in name.split("+") for part in known[word]]
    check_options(name, names, spec)
    parts: dict[str, nn.Module] = {}
    for part in names:
        key = "gta" if part.endswith("gta") else part
        parts[key if key not in parts else f"{key}{len(parts)}"] = _create_part(part, channels, num_frames, spec)
    return next(iter(parts.values())) if len(parts) == 1 else Composition(parts)


def check_options(name: str, parts: Collection[str], spec: AttentionSpec) -> None:
    """Refuse options that the block `name`, made of `parts`, would ignore: of NL, and of how GTA mixes frames.

    Raises:
        ValueError: there is one.
    """
    if spec.instantiation != "softmax" and "nl" not in parts:
        raise ValueError(
            f"instantiation is {spec.instantiation!r}, an option of the block 'nl': {name!r} has no such option"
        )
    changed = spec.mixing.changed()
    if changed and not any(part.endswith("gta") for part in parts):
        option, value = next(iter(changed.items()))
        raise ValueError(f"{option} is {value!r}, an option of global temporal attention: {name!r} has none")


def _create_part(name: str, channels: int, num_frames: int, spec: AttentionSpec) -> nn.Module:
    """One block with those options that it knows."""
    common = {"inner_channels": spec.inner_channels, "norm": spec.norm, "zero_init": spec.zero_init}
    pooled = {"pool": spec.pool or "after", "scaled": spec.scaled, **common}
    if name == "nl":
        return NonLocal(channels, instantiation=spec.instantiation, **pooled)
    if name == "sa":
        return SpatialAttention(channels, **pooled)
    if name in ("ta", "tape"):
        return TemporalAttention(channels, num_frames=num_frames, encoding=name == "tape", scaled=spec.scaled, **common)
    if name in MOTION_BLOCKS:
        return create_motion_block(name, channels, num_regions=spec.num_regions, **common)
    return GlobalTemporalAttention(
        channels,
        num_frames,
        pixel="pixel" in name,
        region="region" in name,
        num_groups=spec.num_groups,
        num_heads=spec.num_heads,
        num_regions=spec.num_regions,
        regions=spec.regions,
        region_size=spec.region_size,
        **common,
        **vars(spec.mixing),
    )
