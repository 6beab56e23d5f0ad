"""Blocks by name, alone or composed with "+" as in the paper's Table 3."""

from typing import Unpack

from jaxtyping import Float
from torch import Tensor, nn

from gta.blocks.attention import Instantiation, NonLocal, Pool, SpatialAttention, TemporalAttention
from gta.blocks.gta import GlobalTemporalAttention, Regions
from gta.blocks.mixing_options import MixingArguments, MixingOptions
from gta.blocks.motion import MOTION_BLOCKS, create_motion_block
from gta.blocks.projection import Norm

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
    """Blocks one after another, each with its own residual."""

    def __init__(self, parts: dict[str, nn.Module]) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """Apply the parts in order."""
        for part in self.children():
            features = part(features)
        return features

    def resize(self, num_frames: int) -> list[str]:
        """Resize every part; returns the names of the parameters that were resized."""
        parts = self.named_children()
        return [f"{name}.{key}" for name, part in parts for key in part.resize(num_frames)]  # type: ignore[operator]


def list_blocks() -> list[str]:
    """The block names; they can be joined with "+", e.g. "sa+tape"."""
    return list(COMPOSITIONS)


def list_motion_blocks() -> list[str]:
    """The temporal modules of other papers; they can be joined likewise.

    TEA, STM, bLVNet's TAM, CorrNet's correlation, MotionSqueeze, graphs of regions, and ST-Adapter.
    """
    return list(MOTION_BLOCKS)


def create_block(
    name: str,
    *,
    channels: int,
    num_frames: int = 8,
    num_groups: int = 8,
    num_heads: int | None = None,
    num_regions: int = 8,
    inner_channels: int | None = None,
    pool: Pool = "after",
    scaled: bool = True,
    norm: Norm = "batch",
    zero_init: bool = True,
    regions: Regions = "predicted",
    region_size: tuple[int, int] | None = None,
    instantiation: Instantiation = "softmax",
    **mixing: Unpack[MixingArguments],
) -> nn.Module:
    """Build an attention block `(B, C, T, H, W) -> (B, C, T, H, W)`.

    Args:
        name: one of `list_blocks()` or `list_motion_blocks()`, or several joined with "+", applied in that order.
        channels: C.
        num_frames: T.
        num_groups: G of global temporal attention.
        num_heads: N_h of global temporal attention; G if not given.
        num_regions: R of region-level global temporal attention, and of the region graph `gcn`.
        inner_channels: D; the paper's C/2 (NL) or C/4 (all others) if not given.
        pool: whether keys and values of NL and SA are max-pooled 2x2 `after` their projection (the paper's 2D models),
            `before` it (its 3D models), or not at all (`none`).
        scaled: divide the similarities of the softmax blocks by sqrt(D).
        norm: `batch` or `layer`, the norm of the residual branch.
        zero_init: let that norm's gamma start at 0, so that the fresh block is the identity.
        regions: `predicted` from the input or a learned `constant`.
        region_size: (H, W) of the features, for constant regions.
        instantiation: what NL makes of its similarities: `softmax`, or `dot_product` (divided by the number of keys).
        mixing: how global temporal attention mixes frames: the fields of `MixingOptions`.

    Raises:
        ValueError: the name is unknown, the channels do not divide into the groups, or an option is another block's.
    """
    if name == REUSE:
        raise ValueError(f"{REUSE!r} uses the attention of a transformer's block: gta.insert_attention puts it there")
    known = COMPOSITIONS | {name: (name,) for name in MOTION_BLOCKS}
    unknown = [word for word in name.split("+") if word not in known]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not a block: choose from {', '.join(known)}, joined with '+'")
    names = [part for word in name.split("+") for part in known[word]]
    if instantiation != "softmax" and "nl" not in names:
        raise ValueError(
            f"instantiation is {instantiation!r}, an option of the block 'nl': {name!r} has no such option"
        )
    changed = MixingOptions(**mixing).changed()
    changed.pop("share_mixing", None)  # says nothing where there is one level or none
    if changed and not any(part.endswith("gta") for part in names):
        option, value = next(iter(changed.items()))
        raise ValueError(f"{option} is {value!r}, an option of global temporal attention: {name!r} has none")
    common = {"inner_channels": inner_channels, "norm": norm, "zero_init": zero_init}
    parts: dict[str, nn.Module] = {}
    for part in names:
        if part == "nl":
            block = NonLocal(channels, pool=pool, scaled=scaled, instantiation=instantiation, **common)
        elif part == "sa":
            block = SpatialAttention(channels, pool=pool, scaled=scaled, **common)
        elif part in ("ta", "tape"):
            encoding = part == "tape"
            block = TemporalAttention(channels, num_frames=num_frames, encoding=encoding, scaled=scaled, **common)
        elif part in MOTION_BLOCKS:
            block = create_motion_block(part, channels, num_regions=num_regions, **common)
        else:
            block = GlobalTemporalAttention(
                channels,
                num_frames,
                pixel="pixel" in part,
                region="region" in part,
                num_groups=num_groups,
                num_heads=num_heads,
                num_regions=num_regions,
                regions=regions,
                region_size=region_size,
                **common,
                **mixing,
            )
        key = "gta" if part.endswith("gta") else part
        parts[key if key not in parts else f"{key}{len(parts)}"] = block
    return next(iter(parts.values())) if len(parts) == 1 else Composition(parts)
