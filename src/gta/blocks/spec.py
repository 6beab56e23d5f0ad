"""The options of attention blocks as one value, which goes from a model to its blocks unchanged."""

from dataclasses import dataclass, field, fields
from typing import Any, Unpack

from gta.blocks.attention import Instantiation, Pool
from gta.blocks.gta import Regions
from gta.blocks.mixing_options import MixingArguments, MixingOptions
from gta.blocks.projection import Norm


class AttentionArguments(MixingArguments, total=False):
    """The keywords with which `create_model`, `insert_attention` and `create_block` take an `AttentionSpec`."""

    num_groups: int
    num_heads: int | None
    num_regions: int
    inner_channels: int | None
    pool: Pool | None
    scaled: bool
    norm: Norm
    zero_init: bool
    regions: Regions
    region_size: tuple[int, int] | None
    instantiation: Instantiation


@dataclass(frozen=True)
class AttentionSpec:
    """Options of attention blocks, apart from their width, number of frames and position.

    Args:
        num_groups: G of global temporal attention.
        num_heads: N_h of global temporal attention; G by default.
        num_regions: R of region-level global temporal attention, and of the region graph `gcn`.
        inner_channels: D; by default the paper's C/2 (NL) or C/4 (all others), in transformers C/2.
        pool: whether keys and values of NL and SA are max-pooled 2x2 `after` their projection (the paper's 2D models),
            `before` it (its 3D models), or not at all (`none`). By default, `create_model` chooses by the backbone;
            elsewhere it is `after`.
        scaled: divide the similarities of the softmax blocks by sqrt(D).
        norm: `batch` or `layer`, the norm of the residual branch.
        zero_init: start that norm's gamma at 0, so that a new block is the identity.
        regions: `predicted` from the input or a learned `constant`.
        region_size: (H, W) of the features, for constant regions.
        instantiation: how NL turns similarities into weights: `softmax`, or `dot_product` (divided by the number of
            keys).
        mixing: how global temporal attention mixes frames.
    """

    num_groups: int = 8
    num_heads: int | None = None
    num_regions: int = 8
    inner_channels: int | None = None
    pool: Pool | None = None
    scaled: bool = True
    norm: Norm = "batch"
    zero_init: bool = True
    regions: Regions = "predicted"
    region_size: tuple[int, int] | None = None
    instantiation: Instantiation = "softmax"
    mixing: MixingOptions = field(default_factory=MixingOptions)

    @classmethod
    def of(cls, **given: Unpack[AttentionArguments]) -> "AttentionSpec":
        """Make a spec from flat keywords: its own fields, and those of `MixingOptions`.

        Raises:
            TypeError: a keyword is unknown.
            ValueError: a value is out of range.
        """
        values: dict[str, Any] = dict(given)
        mixing = {name: values.pop(name) for name in tuple(values) if name in MixingArguments.__annotations__}
        unknown = [name for name in values if name not in AttentionArguments.__annotations__]
        if unknown:
            raise TypeError(f"{unknown[0]!r} is not an option of attention blocks")
        return cls(**values, mixing=MixingOptions(**mixing))

    def arguments(self) -> dict[str, Any]:
        """All keywords from which `of` makes the same spec."""
        own = {part.name: getattr(self, part.name) for part in fields(self) if part.name != "mixing"}
        return {**own, **vars(self.mixing)}


def one_spec(spec: AttentionSpec | None, options: AttentionArguments) -> AttentionSpec:
    """The spec that is given as one value or as keywords.

    Raises:
        TypeError: both are given, or a keyword is unknown.
        ValueError: a value is out of range.
    """
    if spec is None:
        return AttentionSpec.of(**options)
    if options:
        raise TypeError(f"{next(iter(options))!r} cannot be combined with spec, which already contains it")
    return spec
