"""ECO (Zolfaghari et al. 2018): a 2D network of single frames, then a 3D network over all of them."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gta.backbones.base import BackboneBase
from gta.backbones.inception import InceptionBlock, conv_norm
from gta.blocks.initialise import initialise_weights
from gta.ops.layout import fold_frames, unfold_frames

# BN-Inception: widths of each block's branches (1x1; 3x3; double 3x3; pooling), stride, max-pooling.
_FIRST = ((64, (64, 64), (64, 96), 32), (64, (64, 96), (64, 96), 64))  # 3a, 3b
_SPLIT = (0, (128, 160), (64, 96), 0)  # 3c, whose first part of the double branch the 3D network reads
_LAST = (
    ((224, (64, 96), (96, 128), 128), False),
    ((192, (96, 128), (96, 128), 128), False),
    ((160, (128, 160), (128, 160), 128), False),
    ((96, (128, 192), (160, 192), 128), False),
    ((0, (128, 192), (192, 256), 0), True),
    ((352, (192, 320), (160, 224), 128), False),
    ((352, (192, 320), (192, 224), 128), False),
)  # 4a to 5b, whether halved
_WIDTHS_3D = (128, 256, 512)
_FRAMES_A_FEATURE = 4


class PreActivation3d(nn.Module):
    """Residual block of two 3x3x3 convolutions, with norms and ReLUs before them, as in ECO's 3D ResNet-18.

    Args:
        channels: width of the input.
        out_channels: width of the output.
        stride: of all three axes; where it is not 1, the shortcut is a 3x3x3 convolution of the normed input.
    """

    def __init__(self, channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.norm = nn.BatchNorm3d(channels)
        self.conv_a = nn.Conv3d(channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm_a = nn.BatchNorm3d(out_channels)
        self.conv_b = nn.Conv3d(out_channels, out_channels, 3, padding=1, bias=False)
        self.shortcut = None
        if stride != 1 or channels != out_channels:
            self.shortcut = nn.Conv3d(channels, out_channels, 3, stride=stride, padding=1, bias=False)

    def forward(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B D t h w"]:
        """Add the residual branch to the input, or to its projection."""
        normed = F.relu(self.norm(features))
        residual = self.conv_b(F.relu(self.norm_a(self.conv_a(normed))))
        return residual + (features if self.shortcut is None else self.shortcut(normed))


class ECOBackbone(BackboneBase):
    """BN-Inception's first blocks on each frame, then a 3D ResNet-18 on 96 of their channels; full ECO goes on in 2D.

    The features of both networks, where both are there, are joined as channels; those of the 2D network are averaged
    over the four frames that the 3D network makes one of, so that the average over all is the paper's consensus.

    Args:
        num_frames: T; for full ECO a multiple of 4.
        lite: only the 3D network's features.
        width: channels of the stem, of 64.

    Raises:
        ValueError: full ECO cannot read so many frames.
    """

    def __init__(self, num_frames: int, *, lite: bool = False, width: int = 64) -> None:
        super().__init__()
        self.lite = lite
        self.resize(num_frames)

        def scaled(channels: int) -> int:
            return channels * width // 64

        def block(channels: int, widths: tuple[int, tuple[int, int], tuple[int, int], int], stride: int = 1,
                  largest: bool = False) -> InceptionBlock:  # fmt: skip
            single, triple, double, pooled = widths
            return InceptionBlock(
                channels,
                scaled(single),
                [*map(scaled, triple)],
                [*map(scaled, double)],
                scaled(pooled),
                stride=stride,
                largest=largest,
            )

        self.stem = conv_norm(3, scaled(64), 7, stride=2)
        self.stem_last = nn.Sequential(conv_norm(scaled(64), scaled(64), 1), conv_norm(scaled(64), scaled(192), 3))
        channels = scaled(192)
        self.first = nn.Sequential()
        for widths in _FIRST:
            self.first.append(made := block(channels, widths))
            channels = made.out_channels
        self.split = block(channels, _SPLIT, stride=2)
        joined = scaled(_SPLIT[2][1])
        if lite:  # nothing after the part that the 3D network reads
            self.split = self.split.double_first
        else:
            channels = self.split.out_channels
            self.last = nn.Sequential()
            for number, (widths, halved) in enumerate(_LAST):
                made = block(channels, widths, stride=2 if halved else 1, largest=number == len(_LAST) - 1)
                self.last.append(made)
                channels = made.out_channels
        middle, late, latest = map(scaled, _WIDTHS_3D)
        self.join = nn.Conv3d(joined, middle, 3, padding=1, bias=False)
        self.res3 = nn.Sequential(PreActivation3d(middle, middle))
        self.res4 = nn.Sequential(PreActivation3d(middle, late, stride=2), PreActivation3d(late, late))
        self.res5 = nn.Sequential(PreActivation3d(late, latest, stride=2), PreActivation3d(latest, latest))
        self.norm = nn.BatchNorm3d(latest)
        self.num_features = latest if lite else latest + channels
        initialise_weights(self)

    def forward(self, clip: Float[Tensor, "B 3 T H W"]) -> Float[Tensor, "B C t h w"]:
        """Features, an eighth of the clip's height and width before the 3D network, four frames each after it."""
        frames = clip.shape[2]
        images = fold_frames(clip).contiguous(memory_format=torch.channels_last)
        images = F.max_pool2d(self.stem(images), 3, stride=2, padding=1)
        images = self.first(F.max_pool2d(self.stem_last(images), 3, stride=2, padding=1))
        read = self.split(images) if self.lite else self.split.double_first(images)  # type: ignore[operator]
        volume = self.res5(self.res4(self.res3(self.join(unfold_frames(read, frames)))))
        volume = F.relu(self.norm(volume))
        if self.lite:
            return volume
        images = self.last(self.split(images, double=read))
        single = unfold_frames(images, frames).unflatten(2, (-1, _FRAMES_A_FEATURE)).mean(dim=3)
        return torch.cat([volume, single], dim=1)

    def stages(self) -> dict[str, list[str]]:
        """Dotted names of the 3D network's residual blocks; res2 has none."""
        return {
            stage: [f"{stage}.{name}" for name, _ in self.get_submodule(stage).named_children()]
            for stage in ("res3", "res4", "res5")
        }

    def attention_frames(self, num_frames: int) -> dict[str, int]:
        """T after each residual block, by its dotted name, for clips of `num_frames`."""
        halved = -(-num_frames // 2)
        frames = {"res3": num_frames, "res4": halved, "res5": -(-halved // 2)}
        return {name: frames[stage] for stage, names in self.stages().items() for name in names}

    def resize(self, num_frames: int) -> list[str]:
        """Change the number of frames; nothing that is learned depends on it."""
        if not self.lite and num_frames % _FRAMES_A_FEATURE:
            raise ValueError(
                f"num_frames is {num_frames}: ECO merges four frames into one and needs a multiple of 4; "
                "ECO Lite does not"
            )
        return super().resize(num_frames)
