"""Which tokens of a transformer are patches: those before them belong to no position."""

from dataclasses import dataclass

from torch import nn

_MOST_PREFIX_TOKENS = 16


@dataclass(frozen=True)
class TokenFacts:
    """What a network says about its tokens.

    Args:
        prefix: how many class, distillation and register tokens come first; None: it does not say.
        scattered: the patches are not in rows (Hiera orders them by its pooling windows).
    """

    prefix: int | None = None
    scattered: bool = False


def token_facts(network: nn.Module, name: str) -> TokenFacts:
    """What the innermost network around a module says: timm's `num_prefix_tokens`, torchvision's `class_token`."""
    parents = name.split(".")[:-1]
    for depth in range(len(parents), -1, -1):
        owner = network.get_submodule(".".join(parents[:depth]))
        scattered = callable(getattr(owner, "unroll", None)) and hasattr(owner, "tokens_spatial_shape")
        count = getattr(owner, "num_prefix_tokens", None)
        if isinstance(count, int):
            return TokenFacts(count, scattered)
        if scattered:
            return TokenFacts(0, scattered)
        if isinstance(getattr(owner, "class_token", None), nn.Parameter):
            return TokenFacts(1)
    return TokenFacts()


def split_tokens(length: int, size: tuple[int, int], facts: TokenFacts) -> tuple[int, tuple[int, int]] | None:
    """Number of prefix tokens and (H, W) of the patches among `length` tokens of an image; None: they form none.

    Args:
        length: number of tokens.
        size: height and width of the image in pixels, whose proportions the patches have.
        facts: what the network says; where it does not fit (the class token may join later), the fewest prefix tokens.
    """
    said = [] if facts.prefix is None else [facts.prefix]
    for prefix in [*said, *range(_MOST_PREFIX_TOKENS + 1)]:
        grid = _grid(length - prefix, size)
        if grid is not None:
            return prefix, grid
    return None


def _grid(positions: int, size: tuple[int, int]) -> tuple[int, int] | None:
    """(H, W) with `H * W = positions` in the proportions of an image, up to one position of rounding."""
    if positions < 1:
        return None
    height, width = size
    for rows in range(1, positions + 1):
        columns = positions // rows
        if rows * columns == positions and (
            rows == columns if height == width else abs(rows * width - columns * height) < max(size)
        ):
            return rows, columns
    return None


def drops_patches(network: nn.Module) -> bool:
    """Whether other patches are left out in every frame in training: positions would then not stay the same."""
    rates = [getattr(module, "patch_drop_rate", 0.0) for module in network.modules()]
    rates += [getattr(module, "prob", 0.0) for module in network.modules() if "PatchDropout" in type(module).__name__]
    return any(isinstance(rate, int | float) and rate > 0 for rate in rates)
