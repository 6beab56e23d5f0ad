"""How global temporal attention mixes frames: the paper's way, and variants of it."""

from dataclasses import dataclass
from typing import Literal, TypedDict

MixingInit = Literal["normal", "identity"]


class MixingArguments(TypedDict, total=False):
    """The keywords with which `create_model`, `insert_attention` and `create_block` take `MixingOptions`."""

    share_mixing: bool
    mixing_init: MixingInit
    toeplitz: bool
    causal: bool
    dynamic_rank: int
    gate: bool
    differences: bool


@dataclass(frozen=True)
class MixingOptions:
    """How frames are mixed; the defaults are the paper's (Sec. 3.3 and 3.4).

    Args:
        share_mixing: pixels and regions share one M. By default each has its own (Fig. 2(c)).
        mixing_init: `normal`: M starts with the paper's Kaiming values; `identity`: with these plus 1 where head k
            reads group k in its own frame.
        toeplitz: `M[t, u]` depends only on the lag `t - u`: 2T - 1 values for each group and head instead of T * T.
            Such a block takes clips of any length; lags without a value count as 0.
        causal: output frame t reads only the frames `u <= t`.
        dynamic_rank: rank r of a residual on M that depends on the clip, `1/r sum_r L[t, k, r] R[u, g, r]`, where L and
            R are projections of each frame's mean feature; 0: none. L starts at 0.
        gate: the mixed values, plus 1, multiply the values: `V_k (1 + sum_g M V_g)` (needs N_h = G).
        differences: the second half of the groups contains differences from the previous frame, `V[t] - V[t - 1]` (0
            for the first frame), instead of the values (needs an even G).

    Raises:
        ValueError: the rank is negative, or `mixing_init` is unknown.
    """

    share_mixing: bool = False
    mixing_init: MixingInit = "normal"
    toeplitz: bool = False
    causal: bool = False
    dynamic_rank: int = 0
    gate: bool = False
    differences: bool = False

    def __post_init__(self) -> None:
        if self.dynamic_rank < 0:
            raise ValueError(f"dynamic_rank is {self.dynamic_rank}: it must be 0 (no residual) or more")
        if self.mixing_init not in ("normal", "identity"):
            raise ValueError(f"mixing_init is {self.mixing_init!r}: it must be 'normal' or 'identity'")

    def changed(self) -> dict[str, object]:
        """The options that differ from their defaults, which a block without mixing would ignore.

        Without `share_mixing`, which says nothing where there is one level or none.
        """
        default = MixingOptions(share_mixing=self.share_mixing)
        return {name: value for name, value in vars(self).items() if value != getattr(default, name)}

    @property
    def linear(self) -> bool:
        """Whether the mixing is one constant linear map, M, and inference may reorder it with its neighbours."""
        return not (self.dynamic_rank or self.gate or self.differences)
