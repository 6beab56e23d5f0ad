"""Which of a feature tensor's axes are channels, frames and positions: the one place where that is decided."""

from dataclasses import dataclass

from torch import Tensor, nn

EXPECTED = "attention goes after blocks that return (B*T, C, H, W) or (B, C, T, H, W)"


class UnfitFeaturesError(ValueError):
    """Attention cannot be put after a block; the text names the block and the shape of what it returns."""


@dataclass(frozen=True)
class FeatureShape:
    """What an attention block has to know of the features at its place.

    Args:
        channels: C.
        num_frames: T there, which a network with temporal strides makes smaller than the clip's.
    """

    channels: int
    num_frames: int


@dataclass(frozen=True)
class InputShape:
    """What a network was given.

    Args:
        clips: B.
        num_frames: T, frames of each clip.
        size: height and width in pixels.
    """

    clips: int
    num_frames: int
    size: tuple[int, int]


def recognise(output: object, given: InputShape, host: nn.Module, name: str) -> FeatureShape:
    """Read C and T from what a block returns.

    Args:
        output: what the block returned.
        given: the input from which the network came to it.
        host: the block, whose layers decide where the shape alone does not.
        name: its dotted name, for errors.

    Raises:
        UnfitFeaturesError: it is nothing that attention blocks can read.
    """
    kind = type(host).__name__
    if not isinstance(output, Tensor):
        raise UnfitFeaturesError(f"{name} ({kind}) returns a {type(output).__name__}, not one tensor: {EXPECTED}")
    why = _why_unfit(output, given, host)
    if why is not None:
        raise UnfitFeaturesError(f"{name} ({kind}) returns features of shape {tuple(output.shape)}, {why}: {EXPECTED}")
    if output.ndim == 5:
        return FeatureShape(output.shape[1], output.shape[2])
    return FeatureShape(output.shape[1], output.shape[0] // given.clips)


def _why_unfit(features: Tensor, given: InputShape, host: nn.Module) -> str | None:
    shape = tuple(features.shape)
    clips, frames = given.clips, given.num_frames
    if not features.is_floating_point():
        return f"which hold {features.dtype}"
    if len(shape) == 3:
        return "a sequence of tokens without height and width"
    if len(shape) not in (4, 5):
        return f"with {len(shape)} axes"
    if _channels_last(shape, given.size, host):
        return "with the channels last"
    if len(shape) == 5:
        if shape[0] != clips:
            return f"whose first axis does not count the clips (there were {clips})"
        if shape[2] > frames:
            return f"whose third axis does not count frames (there were {frames})"
    elif shape[0] % clips or shape[0] // clips > frames:
        return f"whose first axis does not count frames (there were {clips} x {frames})"
    return None


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
