"""Temporal shift modules in a frame-wise network (Lin et al. 2019)."""

from jaxtyping import Float
from torch import Tensor, nn

from gta.backbones.stages import find_stages
from gta.ops.shift import temporal_shift


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

    Networks whose res4 has 23 or more blocks (ResNet-101) get one in every second block, as the public code has it.

    Args:
        network: a ResNet-like network whose blocks begin with `conv1`.
        num_frames: T, frames per clip.
        fraction: 1 / fraction of the channels are shifted in each direction.

    Raises:
        ValueError: a block has no `conv1`.
    """
    if fraction < 2:
        raise ValueError(f"one channel in {fraction} cannot be shifted each way: it must be at least 2")
    stages = find_stages(network)
    step = 2 if len(stages.get("res4", ())) >= 23 else 1
    for names in stages.values():
        for name in names[::step]:
            block = network.get_submodule(name)
            conv = getattr(block, "conv1", None)
            if not isinstance(conv, nn.Module):
                raise ValueError(f"{name} ({type(block).__name__}) has no conv1 that a temporal shift could precede")
            block.conv1 = ShiftedConv(conv, num_frames, fraction)
    return network


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
