"""The second stream of a two-stream network: what changes from frame to frame, or optical flow that was computed."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gta.backbones.base import BackboneBase
from gta.backbones.framewise import FramewiseBackbone


class DifferenceBackbone(BackboneBase):
    """A 2D network that sees each frame's change to the next one (TSN's RGB difference, Wang et al. 2016).

    The built-in stand-in for optical flow: nothing has to be computed beforehand, and it needs the frames of the clip
    only. The last frame has the change of the one before; a clip of one frame does not change. Clips are normalised, so
    the difference of two frames has no mean; it is multiplied by 2, since it is smaller than a frame.

    Args:
        network: a timm CNN without classifier (`num_classes=0`).
        num_frames: T, frames per clip.
    """

    scale = 2.0

    def __init__(self, network: nn.Module, num_frames: int) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.frames = FramewiseBackbone(network, num_frames)
        self.minimum_size = self.frames.minimum_size
        self.num_features = self.frames.num_features

    def forward(self, clip: Float[Tensor, "B 3 T H W"]) -> Float[Tensor, "B C T h w"]:
        """Features of every change, channels-last in memory."""
        return self.frames(self.scale * differences(clip))

    def pool(self, features: Float[Tensor, "B C T h w"]) -> Float[Tensor, "B C"]:
        """As of `FramewiseBackbone`."""
        return self.frames.pool(features)

    def stages(self) -> dict[str, list[str]]:
        """Dotted names of the residual blocks of res2..res5."""
        return {stage: [f"frames.{name}" for name in names] for stage, names in self.frames.stages().items()}

    def resize(self, num_frames: int) -> list[str]:
        """Change the number of frames; nothing that is learned depends on it."""
        self.frames.resize(num_frames)
        return super().resize(num_frames)


def differences(clip: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
    """The next frame minus this one; the last frame's is that of the one before."""
    steps = clip.diff(dim=2)
    if steps.shape[2] == 0:
        return torch.zeros_like(clip)
    return torch.cat([steps, steps[:, :, -1:]], dim=2)
