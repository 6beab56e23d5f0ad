"""Separate convolutions over space and over time, in networks of any width, of torchvision's parts: R(2+1)D, S3D-G."""

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gta.backbones.base import BackboneBase
from gta.backbones.stages import STAGES, child_names
from gta.blocks.initialise import initialise_weights

_INCEPTION = (
    (64, 96, 128, 16, 32, 32),
    (128, 128, 192, 32, 96, 64),
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
    (256, 160, 320, 32, 128, 128),
    (384, 192, 384, 48, 128, 128),
)
"""S3D's Inception blocks 3b to 5c: widths of the 1x1 branch, of two branches before and after, of the pooled one."""
_HALVED = {2: partial(nn.MaxPool3d, 3, stride=2, padding=1), 7: partial(nn.MaxPool3d, 2, stride=2)}
"""Before 4b and 5b height, width and frames are halved."""
S3D_STAGES: dict[str, tuple[int, ...]] = {"res2": (3,), "res3": (5, 6), "res4": (8, 9, 10, 11, 12), "res5": (14, 15)}
"""Its blocks stand in one row with its pools: numbers of those between two pools, which are a stage."""
_LEAST = 5


class R2Plus1DBackbone(BackboneBase):
    """R(2+1)D (Tran et al. 2018) of basic blocks: each 3x3x3 convolution is a 1x3x3, then a 3x1x1.

    The width between the two makes as many parameters as the 3x3x3 convolution has; in the first block of a stage,
    torchvision's second pair has the first one's width, which is narrower. The last three stages halve the number of
    frames, too.

    Args:
        num_frames: T, frames per clip.
        depths: residual blocks of each stage: (2, 2, 2, 2) is torchvision's 18-layer network, (3, 4, 6, 3) R(2+1)D-34.
        width: channels of the stem and the first stage; each further one has twice as many.
    """

    def __init__(self, num_frames: int, *, depths: Sequence[int] = (3, 4, 6, 3), width: int = 64) -> None:
        from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D  # here: importing torchvision takes seconds

        super().__init__()
        narrow = max(1, 45 * width // 64)  # torchvision's, and the authors'
        self.stem = nn.Sequential(
            nn.Conv3d(3, narrow, (1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False),
            nn.BatchNorm3d(narrow),
            nn.ReLU(inplace=True),
            nn.Conv3d(narrow, width, (3, 1, 1), padding=(1, 0, 0), bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(inplace=True),
        )
        before = width
        for index, depth in enumerate(depths):
            out, stride = width * 2**index, 1 if index == 0 else 2
            shortcut = None
            if stride > 1:
                shortcut = nn.Sequential(nn.Conv3d(before, out, 1, stride=stride, bias=False), nn.BatchNorm3d(out))
            blocks = [BasicBlock(before, out, Conv2Plus1D, stride, shortcut)]
            blocks += [BasicBlock(out, out, Conv2Plus1D) for _ in range(1, depth)]
            self.add_module(f"layer{index + 1}", nn.Sequential(*blocks))
            before = out
        self.num_features = before
        self.resize(num_frames)
        initialise_weights(self)

    def forward(self, clip: Float[Tensor, "B 3 T H W"]) -> Float[Tensor, "B C t h w"]:
        """Features of the last stage, a sixteenth of the clip's height and width."""
        features = self.stem(clip.contiguous(memory_format=torch.channels_last_3d))
        for index in range(1, 5):
            features = self.get_submodule(f"layer{index}")(features)
        return features

    def stages(self) -> dict[str, list[str]]:
        """Dotted names of the residual blocks of res2..res5."""
        return {stage: child_names(self, f"layer{index}") for index, stage in enumerate(STAGES, start=1)}

    def attention_frames(self, num_frames: int) -> dict[str, int]:
        """T after each residual block, by its dotted name, for clips of `num_frames`."""
        frames = {stage: -(-num_frames // 2**index) for index, stage in enumerate(STAGES)}
        return {name: frames[stage] for stage, names in self.stages().items() for name in names}


class SelfGate(nn.Module):
    """`X * sigmoid(W mean(X))`, the mean over frames and positions (S3D-G, Xie et al. 2018, Sec. 4.5).

    Args:
        channels: number of channels (C).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels, bias=False)

    def forward(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """Weigh the channels."""
        return features * torch.sigmoid(self.linear(features.mean(dim=(2, 3, 4))))[:, :, None, None, None]


def _branches(widths: Sequence[int]) -> tuple[int, int, int, int]:
    """Channels of the four branches of an Inception block with widths as in `_INCEPTION`."""
    one, _, first, _, second, pooled = widths
    return one, first, second, pooled


class S3DGBackbone(BackboneBase):
    """S3D-G (Xie et al. 2018): torchvision's S3D with gates.

    As in the authors' code, gates stand after the stem's last convolution and at the end of all four branches of each
    Inception block, have no bias and start near one half.

    Args:
        num_frames: T, frames per clip, 5 or more: the network makes one of eight.
        width: channels of the stem, of 64.
        gates: False: S3D itself.

    Raises:
        ValueError: there are too few frames.
    """

    def __init__(self, num_frames: int, *, width: int = 64, gates: bool = True) -> None:
        from torchvision.models.video.s3d import SepInceptionBlock3D, TemporalSeparableConv
        from torchvision.ops.misc import Conv3dNormActivation

        def scaled(channels: int) -> int:
            return max(1, channels * width // 64)

        def gated(part: nn.Module, channels: int) -> nn.Module:
            return nn.Sequential(part, SelfGate(channels)) if gates else part

        def block_of(channels: int, widths: Sequence[int]) -> nn.Module:
            one, before_a, after_a, before_b, after_b, pooled = widths
            block = SepInceptionBlock3D(channels, one, before_a, after_a, before_b, after_b, pooled, norm)
            for branch, out in enumerate(_branches(widths)):
                name = f"branch{branch}"
                setattr(block, name, gated(block.get_submodule(name), out))
            return block

        super().__init__()
        # Not torchvision's momentum of 0.001, made for a million steps: after the thousand of a small data set, the
        # statistics of evaluation would still be those of the start.
        norm = partial(nn.BatchNorm3d, eps=0.001)
        stem, channels = scaled(64), scaled(192)
        parts: list[nn.Module] = [
            TemporalSeparableConv(3, stem, 7, 2, 3, norm),
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
            Conv3dNormActivation(stem, stem, kernel_size=1, stride=1, norm_layer=norm),
            gated(TemporalSeparableConv(stem, channels, 3, 1, 1, norm), channels),
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
        ]
        for number, widths in enumerate(_INCEPTION):
            if number in _HALVED:
                parts.append(_HALVED[number]())
            widths = tuple(map(scaled, widths))
            parts.append(block_of(channels, widths))
            channels = sum(_branches(widths))
        self.features = nn.Sequential(*parts)
        self.num_features = channels
        self.resize(num_frames)
        initialise_weights(self)
        for gate in self.modules():
            if isinstance(gate, SelfGate):
                nn.init.trunc_normal_(gate.linear.weight, std=0.01)

    def forward(self, clip: Float[Tensor, "B 3 T H W"]) -> Float[Tensor, "B C t h w"]:
        """Features of the last block, a thirty-second of the clip's height and width, an eighth of its frames."""
        return self.features(clip.contiguous(memory_format=torch.channels_last_3d))

    def stages(self) -> dict[str, list[str]]:
        """Dotted names of the stem's last convolution as res2, and of the Inception blocks between two pools."""
        return {stage: [f"features.{number}" for number in S3D_STAGES[stage]] for stage in STAGES}

    def attention_frames(self, num_frames: int) -> dict[str, int]:
        """T after each block, by its dotted name, for clips of `num_frames`."""
        first = -(-num_frames // 2)
        second = -(-first // 2)
        frames = {"res2": first, "res3": first, "res4": second, "res5": second // 2}
        return {name: frames[stage] for stage, names in self.stages().items() for name in names}

    def resize(self, num_frames: int) -> list[str]:
        """Change the number of frames; nothing that is learned depends on it."""
        if num_frames < _LEAST:
            raise ValueError(f"num_frames is {num_frames}: S3D reduces eight frames to one and needs at least {_LEAST}")
        return super().resize(num_frames)
