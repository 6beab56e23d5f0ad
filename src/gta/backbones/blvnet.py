"""bLVNet-TAM (Fan et al. 2019): pairs of frames, one seen large by few channels, one small by many, mixed over time."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gta.backbones.base import BackboneBase
from gta.backbones.inception import conv_norm
from gta.blocks.initialise import initialise_weights
from gta.blocks.motion import TemporalAggregation
from gta.ops.layout import fold_frames, unfold_frames

_ALPHA = 2
"""The little branch has so many times fewer channels."""
_BETA = 4
"""And its blocks are so many times fewer."""


class AggregatedFrames(nn.Module):
    """TAM with its ReLU, on the frames of clips: each channel of the frame before, this and the next has a weight.

    Args:
        channels: number of channels (C).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = TemporalAggregation(channels)

    def forward(self, frames: Float[Tensor, "N C H W"], num_frames: int) -> Float[Tensor, "N C H W"]:
        """Mix neighbouring frames of each clip of `num_frames`."""
        return F.relu(fold_frames(self.mix(unfold_frames(frames, num_frames))))


class LeanBottleneck(nn.Module):
    """A ResNet bottleneck of a quarter of its output's width, whose shortcut averages where it has a stride.

    Args:
        channels: width of the input.
        out_channels: width of the output.
        stride: of its 3x3 convolution.
        relu: end with a ReLU.
    """

    def __init__(self, channels: int, out_channels: int, *, stride: int = 1, relu: bool = True) -> None:
        super().__init__()
        inner = out_channels // 4
        self.residual = nn.Sequential(
            conv_norm(channels, inner), conv_norm(inner, inner, 3, stride), conv_norm(inner, out_channels, relu=False)
        )
        shortcut: list[nn.Module] = [nn.AvgPool2d(3, stride=stride, padding=1)] if stride > 1 else []
        if channels != out_channels:
            shortcut.append(conv_norm(channels, out_channels, relu=False))
        self.shortcut = nn.Sequential(*shortcut)
        self.relu = relu

    def forward(self, frames: Float[Tensor, "N C H W"], given: Tensor | None = None) -> Float[Tensor, "N D h w"]:
        """Add the residual branch of `frames` to `given`, the frames before they were mixed, if it has no shortcut."""
        kept = frames if given is None or len(self.shortcut) else given
        out = self.residual(frames) + self.shortcut(kept)
        return F.relu(out) if self.relu else out


def pairs(frames: Float[Tensor, "N C H W"]) -> tuple[Tensor, Tensor]:
    """The second and the first frame of each pair of neighbours: what the big and the little branch read."""
    return frames[1::2], frames[::2]


class BigLittle(nn.Module):
    """Both branches over pairs of frames: the big one at half the size, the little one of half the width; then fused.

    Args:
        channels: width of the input.
        out_channels: width of the output.
        depth: blocks of the ResNet's stage that it stands for.
        stride: of the block that fuses.
    """

    def __init__(self, channels: int, out_channels: int, depth: int, *, stride: int) -> None:
        super().__init__()
        narrow = out_channels // _ALPHA
        self.mix = AggregatedFrames(channels)
        big = [LeanBottleneck(channels, out_channels, stride=2)]
        big += [LeanBottleneck(out_channels, out_channels, relu=n < depth - 2) for n in range(1, depth - 1)]
        little = [LeanBottleneck(channels, narrow)]
        little += [LeanBottleneck(narrow, narrow) for _ in range(1, max(1, depth // _BETA - 1))]
        self.big, self.little = nn.Sequential(*big), nn.Sequential(*little)
        self.widen = conv_norm(narrow, out_channels, relu=False)
        self.fuse = LeanBottleneck(out_channels, out_channels, stride=stride)

    def forward(self, frames: Float[Tensor, "N C H W"], num_frames: int) -> Float[Tensor, "N D h w"]:
        """What is found of each pair, for both of its frames."""
        large, small = pairs(self.mix(frames, num_frames))
        little = self.widen(self.little(small))
        big = F.interpolate(self.big(large), little.shape[2:])
        return self.fuse(F.relu(big + little)).repeat_interleave(2, dim=0)


class BLVNetBackbone(BackboneBase):
    """bLVNet-TAM with ResNet's stages: alpha 2, beta 4, TAM before every stage and in every block of the last one.

    Args:
        num_frames: T, frames per clip, even: "8 x 2" in the paper are 16.
        depths: blocks of the stages.
        width: channels of the stem.

    Raises:
        ValueError: T is odd.
    """

    def __init__(self, num_frames: int, *, depths: Sequence[int] = (3, 4, 6, 3), width: int = 64) -> None:
        super().__init__()
        self.resize(num_frames)
        narrow = width // _ALPHA
        self.stem = conv_norm(3, width, 7, 2)
        self.stem_mix = AggregatedFrames(width)
        self.stem_big = conv_norm(width, width, 3, 2, relu=False)
        self.stem_little = nn.Sequential(
            conv_norm(width, narrow, 3), conv_norm(narrow, narrow, 3, 2), conv_norm(narrow, width, relu=False)
        )
        self.stem_fuse = conv_norm(width, width)
        before = width
        for index, depth in enumerate(depths[:3]):
            out = 4 * width * 2**index
            self.add_module(f"res{index + 2}", BigLittle(before, out, depth, stride=1 if index == 2 else 2))
            before = out
        out = 2 * before
        self.mixes = nn.ModuleList(AggregatedFrames(before if n == 0 else out) for n in range(depths[3]))
        self.res5 = nn.ModuleList(
            LeanBottleneck(before if n == 0 else out, out, stride=2 if n == 0 else 1) for n in range(depths[3])
        )
        self.num_features = out
        initialise_weights(self)
        for module in self.modules():
            if isinstance(module, TemporalAggregation):
                module.start_as_identity()

    def forward(self, clip: Float[Tensor, "B 3 T H W"]) -> Float[Tensor, "B C t h w"]:
        """Features of every pair of frames."""
        num_frames = clip.shape[2]
        frames = self.stem(fold_frames(clip).contiguous(memory_format=torch.channels_last))
        large, small = pairs(self.stem_mix(frames, num_frames))
        frames = self.stem_fuse(F.relu(self.stem_big(large) + self.stem_little(small))).repeat_interleave(2, dim=0)
        for stage in ("res2", "res3", "res4"):
            frames = self.get_submodule(stage)(frames, num_frames)
        frames = pairs(frames)[0]
        for mix, block in zip(self.mixes, self.res5, strict=True):
            frames = block(mix(frames, num_frames // 2), frames)
        return unfold_frames(frames, num_frames // 2)

    def pool(self, features: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B C"]:
        """Average over pairs of frames and positions."""
        return features.mean(dim=(2, 3, 4))

    def stages(self) -> dict[str, list[str]]:
        """Dotted names of the modules of res2..res4; both frames of a pair have the same features."""
        return {stage: [stage] for stage in ("res2", "res3", "res4")}

    def resize(self, num_frames: int) -> list[str]:
        """Change the number of frames; nothing that is learned depends on it."""
        if num_frames % 2:
            raise ValueError(f"num_frames is {num_frames}: bLVNet reads pairs of frames and needs an even number")
        return super().resize(num_frames)
