"""Which of a feature tensor's axes are channels, frames and positions: the one place where that is decided."""

from dataclasses import dataclass, field

from torch import Tensor, nn

from gta.backbones.arrangement import Arrangement
from gta.backbones.token_shape import TokenFacts, split_tokens

EXPECTED = (
    "attention goes to blocks of features (B*T, C, H, W), (B, C, T, H, W), the same with channels last, or of tokens "
    "(B*T, L, C)"
)


class UnfitFeaturesError(ValueError):
    """Attention cannot be put after a block; the text names the block and the shape of what it returns."""


@dataclass(frozen=True)
class FeatureShape:
    """What an attention block has to know of the features at its place.

    Args:
        channels: number of channels (C).
        num_frames: T there, which a network with temporal strides makes smaller than the clip's.
        arrangement: the order of its axes.
    """

    channels: int
    num_frames: int
    arrangement: Arrangement = field(default_factory=Arrangement)


@dataclass(frozen=True)
class InputShape:
    """What a network was given.

    Args:
        clips: number of clips (B).
        num_frames: T, frames of each clip.
        size: height and width in pixels.
    """

    clips: int
    num_frames: int
    size: tuple[int, int]


def recognise(
    output: object,
    given: InputShape,
    host: nn.Module,
    name: str,
    *,
    facts: TokenFacts | None = None,
    verb: str = "returns",
) -> FeatureShape:
    """Read C and T from what a block returns, or is given.

    Args:
        output: what the block returned: a tensor, or one with the (H, W) or (T, H, W) of its tokens beside it.
        given: the input from which the network came to it.
        host: the block, whose layers decide where the shape alone does not.
        name: its dotted name, for errors.
        facts: what the network says about its tokens.
        verb: `returns` or `is given`, for errors.

    Raises:
        UnfitFeaturesError: it is nothing that attention blocks can read.
    """
    kind = type(host).__name__
    features, sizes = split_sizes(output)
    if not isinstance(features, Tensor):
        raise UnfitFeaturesError(f"{name} ({kind}) {verb} a {type(output).__name__}, not one tensor: {EXPECTED}")
    found = _read(features, given, host, facts or TokenFacts(), sizes)
    if isinstance(found, str):
        raise UnfitFeaturesError(
            f"{name} ({kind}) {verb} features of shape {tuple(features.shape)}, {found}: {EXPECTED}"
        )
    return found


def split_sizes(output: object) -> tuple[object, tuple[int, ...] | None]:
    """Tokens and their (H, W) or (T, H, W), as the blocks of MViT return them; None where there are no such sizes."""
    if isinstance(output, tuple | list) and len(output) == 2 and isinstance(output[0], Tensor):
        sizes = output[1]
        if isinstance(sizes, tuple | list) and len(sizes) in (2, 3) and all(isinstance(side, int) for side in sizes):
            return output[0], tuple(sizes)
    return output, None


def _read(
    features: Tensor, given: InputShape, host: nn.Module, facts: TokenFacts, sizes: tuple[int, ...] | None
) -> FeatureShape | str:
    """The shape, or why it is unfit."""
    shape = tuple(features.shape)
    clips, frames = given.clips, given.num_frames
    if not features.is_floating_point():
        return f"which hold {features.dtype}"
    if len(shape) == 3:
        return _read_tokens(shape, given, facts, sizes)
    if sizes is not None or len(shape) not in (4, 5):
        return f"with {len(shape)} axes"
    last = _channels_last(shape, given.size, host)
    arrangement = Arrangement("channels_last" if last else "channels_first")
    channels = shape[-1] if last else shape[1]
    if len(shape) == 5:
        axis = 1 if last else 2
        if shape[0] != clips:
            return f"whose first axis does not count the clips (there were {clips})"
        if shape[axis] > frames:
            return f"whose {'second' if last else 'third'} axis does not count frames (there were {frames})"
        return FeatureShape(channels, shape[axis], arrangement)
    if shape[0] % clips or shape[0] // clips > frames:
        return f"whose first axis does not count frames (there were {clips} x {frames})"
    return FeatureShape(channels, shape[0] // clips, arrangement)


def _read_tokens(
    shape: tuple[int, ...], given: InputShape, facts: TokenFacts, sizes: tuple[int, ...] | None
) -> FeatureShape | str:
    count, length, channels = shape
    if sizes is not None and len(sizes) == 3:
        prefix = length - sizes[0] * sizes[1] * sizes[2]
        if count != given.clips or prefix < 0 or sizes[0] > given.num_frames:
            return f"tokens that are not those of {given.clips} clips of {'x'.join(map(str, sizes))} positions"
        return FeatureShape(channels, sizes[0], Arrangement("tokens", prefix, (sizes[1], sizes[2])))
    if count != given.clips * given.num_frames:
        return f"tokens whose first axis does not count frames (there were {given.clips} x {given.num_frames})"
    if sizes is not None:
        split = length - sizes[0] * sizes[1], (sizes[0], sizes[1])
    else:
        split = split_tokens(length, given.size, facts)
    if split is None or split[0] < 0:
        return (
            "tokens whose patches form no image (a network with tokens before them has to say how many, as "
            "num_prefix_tokens)"
        )
    prefix, grid = split
    return FeatureShape(channels, given.num_frames, Arrangement("tokens", prefix, grid, facts.scattered))


def _channels_last(shape: tuple[int, ...], size: tuple[int, int], host: nn.Module) -> bool:
    """Whether height and width stand before the last axis: they are those two that shrink alike."""
    if not _is_scaled(shape[-3:-1], size):
        return False
    return not _is_scaled(shape[-2:], size) or _knows_last_axis_only(host)


def _is_scaled(sides: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Whether two axes have the proportions of the input, up to one position of rounding."""
    if size[0] == size[1]:
        return sides[0] == sides[1]
    return abs(sides[0] * size[1] - sides[1] * size[0]) <= max(size)


def _knows_last_axis_only(host: nn.Module) -> bool:
    """Whether a block's layers all work on the last axis, which therefore holds the channels."""
    layers = list(host.modules())
    convolves = any(isinstance(layer, nn.modules.conv._ConvNd | nn.modules.batchnorm._NormBase) for layer in layers)
    return not convolves and any(isinstance(layer, nn.Linear | nn.LayerNorm) for layer in layers)
