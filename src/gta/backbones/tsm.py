"""Temporal shift modules in a frame-wise network (Lin et al. 2019)."""

from jaxtyping import Float
from torch import Tensor, nn

from gta.backbones.stages import find_stages
from gta.ops.shift import temporal_shift

FIRST_CONVS = ("conv1", "conv_pw", "conv_exp")
"""Names of convolutions that shifts go before."""


class ShiftedConv(nn.Module):
    """A convolution that reads its input with some channels exchanged between neighbouring frames.

    Args:
        conv: the convolution.
        num_frames: T, frames per clip.
        fraction: 1 / fraction of the channels are shifted in each direction.
        causal: shift from the previous frame only.
    """

    def __init__(self, conv: nn.Module, num_frames: int, fraction: int, *, causal: bool = False) -> None:
        super().__init__()
        self.conv = conv
        self.num_frames = num_frames
        self.fraction = fraction
        self.causal = causal

    def forward(self, frames: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D h w"]:
        """Shift, then convolve."""
        return self.conv(temporal_shift(frames, self.num_frames, self.fraction, causal=self.causal))


def insert_shift(network: nn.Module, num_frames: int, *, fraction: int = 8) -> nn.Module:
    """Put a shift before the first convolution of each residual branch, in place ("residual shift").

    Networks whose res4 has 23 or more blocks (ResNet-101) get one in every second block, as the public code has it; in
    networks of inverted residuals (MobileNet, EfficientNet), the blocks that expand and have a skip connection get one.

    Args:
        network: a network with residual blocks that begin with `conv1` (ResNet, ResNeXt, RegNet) or are timm's inverted
            residuals (`conv_pw` or `conv_exp`, and `has_skip`).
        num_frames: T, frames per clip.
        fraction: 1 / fraction of the channels are shifted in each direction.

    Raises:
        ValueError: a block is of another kind.
    """
    if fraction < 2:
        raise ValueError(f"one channel in {fraction} cannot be shifted each way: it must be at least 2")
    stages = find_stages(network)
    step = 2 if len(stages.get("res4", ())) >= 23 else 1
    for names in stages.values():
        for name in names[::step]:
            block = network.get_submodule(name)
            first = _first_conv(block)
            if first is not None:
                setattr(block, first, ShiftedConv(getattr(block, first), num_frames, fraction))
            elif not hasattr(block, "has_skip"):
                raise ValueError(f"{name} ({type(block).__name__}) has no conv1 that a temporal shift could precede")
    if not any(isinstance(module, ShiftedConv) for module in network.modules()):
        raise ValueError(f"{type(network).__name__} has no residual block that a temporal shift could go into")
    return network


def _first_conv(block: nn.Module) -> str | None:
    """Name of the convolution that a block's residual branch begins with; None if there is no such branch."""
    if isinstance(getattr(block, "conv1", None), nn.Module):
        return "conv1"
    expands = next((name for name in FIRST_CONVS if hasattr(block, name)), None)
    # a depthwise separable block has a conv_pw as well, which ends it
    return expands if hasattr(block, "conv_pwl") and getattr(block, "has_skip", False) else None


def resize_shift(network: nn.Module, num_frames: int) -> None:
    """Change the number of frames of every shift."""
    for module in network.modules():
        if isinstance(module, ShiftedConv):
            module.num_frames = num_frames


def make_shift_causal(network: nn.Module) -> int:
    """Let every shift bring channels from the previous frame only, in place; returns how many there are."""
    shifts = [module for module in network.modules() if isinstance(module, ShiftedConv)]
    for module in shifts:
        module.causal = True
    return len(shifts)
