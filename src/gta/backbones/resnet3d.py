"""3D residual networks of bottlenecks: C2D, I3D, Slow, and SlowFast's pathways (Feichtenhofer et al. 2019, Table 1)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gta.backbones.base import BackboneBase
from gta.backbones.stages import STAGES
from gta.blocks.initialise import initialise_weights


class Bottleneck3d(nn.Module):
    """Residual block `t x 1 x 1`, `1 x 3 x 3`, `1 x 1 x 1`; the spatial stride is in the middle convolution by default.

    Args:
        in_channels: width of the input.
        inner_channels: width of the first two convolutions.
        out_channels: width of the output.
        temporal_kernel: t, odd.
        stride: spatial stride.
        stride_1x1: let the first convolution have the stride, as the original ResNet does.
    """

    def __init__(
        self,
        in_channels: int,
        inner_channels: int,
        out_channels: int,
        *,
        temporal_kernel: int,
        stride: int,
        stride_1x1: bool = False,
    ) -> None:
        super().__init__()
        first, middle = (stride, 1) if stride_1x1 else (1, stride)
        self.conv_a = nn.Conv3d(
            in_channels,
            inner_channels,
            (temporal_kernel, 1, 1),
            stride=(1, first, first),
            padding=(temporal_kernel // 2, 0, 0),
            bias=False,
        )
        self.norm_a = nn.BatchNorm3d(inner_channels)
        self.conv_b = nn.Conv3d(
            inner_channels, inner_channels, (1, 3, 3), stride=(1, middle, middle), padding=(0, 1, 1), bias=False
        )
        self.norm_b = nn.BatchNorm3d(inner_channels)
        self.conv_c = nn.Conv3d(inner_channels, out_channels, 1, bias=False)
        self.norm_c = nn.BatchNorm3d(out_channels)
        self.shortcut: nn.ModuleDict | None = None
        if in_channels != out_channels or stride != 1:
            conv = nn.Conv3d(in_channels, out_channels, 1, stride=(1, stride, stride), bias=False)
            self.shortcut = nn.ModuleDict({"conv": conv, "norm": nn.BatchNorm3d(out_channels)})
        self.out_channels = out_channels
        self.zero_init = True

    @property
    def last_norm(self) -> nn.BatchNorm3d:
        """The norm whose gamma starts at 0, so that a fresh block passes its input on."""
        return self.norm_c

    def forward(self, features: Tensor) -> Tensor:
        """Add the residual branch to the (projected) input."""
        residual = F.relu(self.norm_a(self.conv_a(features)), inplace=True)
        residual = F.relu(self.norm_b(self.conv_b(residual)), inplace=True)
        residual = self.norm_c(self.conv_c(residual))
        if self.shortcut is not None:
            features = self.shortcut["norm"](self.shortcut["conv"](features))
        return F.relu(features + residual)


class Stem3d(nn.Module):
    """Convolution `t x 7 x 7` and max-pooling, each with spatial stride 2."""

    def __init__(self, out_channels: int, *, temporal_kernel: int) -> None:
        super().__init__()
        kernel, padding = (temporal_kernel, 7, 7), (temporal_kernel // 2, 3, 3)
        self.conv = nn.Conv3d(3, out_channels, kernel, stride=(1, 2, 2), padding=padding, bias=False)
        self.norm = nn.BatchNorm3d(out_channels)

    def forward(self, clip: Tensor) -> Tensor:
        """Features a quarter of the clip's height and width."""
        features = F.relu(self.norm(self.conv(clip)), inplace=True)
        return F.max_pool3d(features, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))


class Pathway(nn.Module):
    """Stem and stages res2..res5 of one 3D network.

    Args:
        depths: residual blocks of each stage.
        width: channels of the stem; the stages have 4, 8, 16 and 32 times as many.
        stem_kernel: temporal kernel of the stem.
        kernels: temporal kernel of the blocks of each stage; several take turns from block to block.
        temporal_blocks: how many first blocks of each stage have that kernel (the others 1); None: all.
        extra: channels that a lateral connection adds to the input of each stage.
        stride_1x1: as of `Bottleneck3d`.
    """

    def __init__(
        self,
        depths: Sequence[int],
        *,
        width: int,
        stem_kernel: int,
        kernels: Sequence[int | Sequence[int]],
        temporal_blocks: Sequence[int] | None = None,
        extra: Sequence[int] = (0, 0, 0, 0),
        stride_1x1: bool = False,
    ) -> None:
        super().__init__()
        self.stem = Stem3d(width, temporal_kernel=stem_kernel)
        before = width
        for index, (stage, depth) in enumerate(zip(STAGES, depths, strict=True)):
            inner, out = width * 2**index, 4 * width * 2**index
            temporal = depth if temporal_blocks is None else temporal_blocks[index]
            turns = kernels[index]
            lengths = [turns] * depth if isinstance(turns, int) else [turns[n % len(turns)] for n in range(depth)]
            if not 0 <= temporal <= depth:
                raise ValueError(f"{temporal} temporal blocks are requested in {stage}, which has {depth} blocks")
            blocks = [
                Bottleneck3d(
                    before + extra[index] if block == 0 else out,
                    inner,
                    out,
                    temporal_kernel=lengths[block] if block < temporal else 1,
                    stride=2 if block == 0 and index > 0 else 1,
                    stride_1x1=stride_1x1,
                )
                for block in range(depth)
            ]
            self.add_module(stage, nn.Sequential(*blocks))
            before = out
        self.num_features = before

    def stage_names(self, prefix: str) -> dict[str, list[str]]:
        """Dotted names of the residual blocks, each with `prefix` before it."""
        return {
            stage: [f"{prefix}.{stage}.{name}" for name, _ in self.get_submodule(stage).named_children()]
            for stage in STAGES
        }


I3D_KERNELS: tuple[int | tuple[int, ...], ...] = (3, (3, 1), (3, 1), (1, 3))
"""Temporal kernels of res2..res5 of the inflated ResNet (Wang et al. 2018, as PySlowFast has it); the stem has 5."""
SLOW_KERNELS = (1, 1, 3, 3)
"""Those of SlowFast's slow pathway alone, whose stem has none."""


class PathwayBackbone(BackboneBase):
    """One pathway of a 3D network: C2D, I3D or Slow.

    Without temporal kernels (C2D) it works on each frame on its own, as `FramewiseBackbone`, in the layout of 3D ones.

    Args:
        num_frames: T, frames per clip.
        depths: residual blocks of each stage.
        width: channels of the stem.
        stem_kernel: temporal kernel of the stem.
        kernels: temporal kernels of the stages, as of `Pathway`.
        temporal_pool: halve the number of frames after res2 by max-pooling, as public C2D and I3D weights were trained.
        stride_1x1: as of `Bottleneck3d`.
    """

    def __init__(
        self,
        num_frames: int,
        *,
        depths: Sequence[int] = (3, 4, 6, 3),
        width: int = 64,
        stem_kernel: int = 1,
        kernels: Sequence[int | Sequence[int]] = (1, 1, 1, 1),
        temporal_pool: bool = False,
        stride_1x1: bool = False,
    ) -> None:
        super().__init__()
        self.temporal_pool = temporal_pool
        self.resize(num_frames)
        self.pathway = Pathway(depths, width=width, stem_kernel=stem_kernel, kernels=kernels, stride_1x1=stride_1x1)
        self.num_features = self.pathway.num_features
        initialise_weights(self)

    def forward(self, clip: Float[Tensor, "B 3 T H W"]) -> Float[Tensor, "B C t h w"]:
        """Features, channels-last in memory."""
        features = self.pathway.stem(clip.contiguous(memory_format=torch.channels_last_3d))
        for stage in STAGES:
            features = self.pathway.get_submodule(stage)(features)
            if stage == "res2" and self.temporal_pool:
                features = F.max_pool3d(features, (2, 1, 1))
        return features

    def stages(self) -> dict[str, list[str]]:
        """Dotted names of the residual blocks of res2..res5."""
        return self.pathway.stage_names("pathway")

    def attention_frames(self, num_frames: int) -> int:
        """T at the places where attention goes, for clips of `num_frames`."""
        return num_frames // 2 if self.temporal_pool else num_frames

    def resize(self, num_frames: int) -> list[str]:
        """Change the number of frames; nothing that is learned depends on it."""
        if self.temporal_pool and num_frames < 2:
            raise ValueError(f"num_frames is {num_frames}: a temporal pool after res2 needs at least 2")
        return super().resize(num_frames)
