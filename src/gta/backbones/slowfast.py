"""SlowFast (Feichtenhofer et al. 2019): a slow pathway with many channels, a fast one with many frames."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gta.backbones.base import BackboneBase
from gta.backbones.resnet3d import Pathway
from gta.backbones.stages import STAGES
from gta.blocks.initialise import initialise_weights

_FUSED = ("stem", "res2", "res3", "res4")  # where the fast pathway's features join the slow one


class Lateral(nn.Module):
    """Bring the fast pathway's features to the slow pathway's frame rate, with twice the channels."""

    def __init__(self, channels: int, *, kernel: int, alpha: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(
            channels, 2 * channels, (kernel, 1, 1), stride=(alpha, 1, 1), padding=(kernel // 2, 0, 0), bias=False
        )
        self.norm = nn.BatchNorm3d(2 * channels)

    def forward(self, slow: Tensor, fast: Tensor) -> Tensor:
        """The slow features with the fast ones joined as further channels."""
        return torch.cat([slow, F.relu(self.norm(self.conv(fast)), inplace=True)], dim=1)


class SlowFastBackbone(BackboneBase):
    """Both pathways from one clip tensor: the fast one reads every frame, the slow one every alpha-th.

    Stage names, and so attention, refer to the slow pathway.

    Args:
        num_frames: T of the clip, a multiple of alpha.
        depths: residual blocks of each stage, in both pathways.
        alpha: frame-rate ratio.
        beta_inverse: channel ratio.
        fusion_kernel: temporal kernel of the lateral connections.
        width: channels of the slow pathway's stem.
        temporal_blocks: in res4, how many first blocks of either pathway have a temporal kernel; None: all.

    Raises:
        ValueError: `num_frames` is no multiple of alpha, or a ratio or the kernel is impossible.
    """

    def __init__(
        self,
        num_frames: int,
        *,
        depths: Sequence[int] = (3, 4, 6, 3),
        alpha: int = 4,
        beta_inverse: int = 8,
        fusion_kernel: int = 7,
        width: int = 64,
        temporal_blocks: int | None = None,
    ) -> None:
        super().__init__()
        if alpha < 1:
            raise ValueError(f"alpha is {alpha}: it must be at least 1")
        if not 1 <= beta_inverse <= width or width % beta_inverse:
            raise ValueError(f"beta_inverse is {beta_inverse}: it must divide the slow stem's {width} channels")
        if fusion_kernel < 1 or fusion_kernel % 2 == 0:
            raise ValueError(f"fusion_kernel is {fusion_kernel}: it must be an odd number of frames")
        self.alpha, self.num_frames = alpha, num_frames
        self.register_buffer("slow_frames", self._slow_frames(num_frames), persistent=False)
        narrow = width // beta_inverse
        temporal = None if temporal_blocks is None else (depths[0], depths[1], temporal_blocks, depths[3])
        joined = [2 * narrow * factor for factor in (1, 4, 8, 16)]
        self.slow = Pathway(
            depths, width=width, stem_kernel=1, kernels=(1, 1, 3, 3), temporal_blocks=temporal, extra=joined
        )
        self.fast = Pathway(depths, width=narrow, stem_kernel=5, kernels=(3, 3, 3, 3), temporal_blocks=temporal)
        self.laterals = nn.ModuleDict(
            {
                place: Lateral(channels // 2, kernel=fusion_kernel, alpha=alpha)
                for place, channels in zip(_FUSED, joined, strict=True)
            }
        )
        self.num_features = self.slow.num_features + self.fast.num_features
        initialise_weights(self)

    def _slow_frames(self, num_frames: int) -> Tensor:
        """Indices of the slow pathway's frames: evenly spaced from the first to the last, rounded down."""
        if num_frames % self.alpha:
            raise ValueError(f"num_frames is {num_frames}: it must be a multiple of alpha, {self.alpha}")
        return torch.linspace(0, num_frames - 1, num_frames // self.alpha).long()

    def forward(self, clip: Float[Tensor, "B 3 T H W"]) -> Float[Tensor, "B C t h w"]:
        """Features of both pathways as channels; the fast ones are averaged down to the slow frame rate."""
        clip = clip.contiguous(memory_format=torch.channels_last_3d)
        slow_clip = clip.index_select(2, self.slow_frames).contiguous(memory_format=torch.channels_last_3d)
        slow, fast = self.slow.stem(slow_clip), self.fast.stem(clip)
        slow = self.laterals["stem"](slow, fast)
        for stage in STAGES:
            slow = self.slow.get_submodule(stage)(slow)
            fast = self.fast.get_submodule(stage)(fast)
            if stage in _FUSED:
                slow = self.laterals[stage](slow, fast)
        return torch.cat([slow, fast.unflatten(2, (-1, self.alpha)).mean(dim=3)], dim=1)

    def stages(self) -> dict[str, list[str]]:
        """Dotted names of the slow pathway's residual blocks of res2..res5."""
        return self.slow.stage_names("slow")

    def attention_frames(self, num_frames: int) -> int:
        """T at the places where attention goes, for clips of `num_frames`."""
        return num_frames // self.alpha

    def resize(self, num_frames: int) -> list[str]:
        """Change the number of frames; nothing that is learned depends on it."""
        self.slow_frames = self._slow_frames(num_frames).to(self.slow_frames.device)
        return super().resize(num_frames)
