"""Temporal modules of other papers as blocks: here TEA, STM, TAM and correlation. All see the order of frames.

TEA and STM replace the 3x3 convolution of every bottleneck of their networks. Here the whole bottleneck (1x1 down to
D = C/4, the method, 1x1 up) is a block of its own after a network's block, so that it starts as the identity.
CorrNet's correlation stands in such a block of its own in its paper, too.

Where the papers' words leave it open, norms, ReLUs and the start of the filters over time are those of the authors'
code.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gta.blocks.adapters import SpatioTemporalAdapter
from gta.blocks.expected import ExpectedShape, check_features
from gta.blocks.initialise import initialise_weights
from gta.blocks.motion_squeeze import MotionSqueeze
from gta.blocks.projection import Norm, OutputProjection
from gta.blocks.region_graph import RegionGraph
from gta.ops.layout import from_tokens, to_tokens

_REDUCTION = 16
"""Channels for one of motion excitation (TEA) and of the channel-wise motion module (STM), as in their papers."""
_CORRELATION_GROUPS = 32
_CORRELATION_SIZE = 7
_FRAGMENTS = 4


def _motion(squeezed: Float[Tensor, "B R T H W"], transform: nn.Conv3d) -> Float[Tensor, "B R T H W"]:
    """The transformed next frame minus this one; 0 for the last frame."""
    steps = transform(squeezed[:, :, 1:]) - squeezed[:, :, :-1]
    return F.pad(steps, (0, 0, 0, 0, 0, 1))


def _temporal(channels: int) -> nn.Conv3d:
    """A filter over three frames for each channel."""
    return nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0), groups=channels, bias=False)


@torch.no_grad()
def _start_as_shift(temporal: nn.Conv3d, *, share: float) -> None:
    """Let a share of the channels read the frame before, as many the next one, and the others this one."""
    channels = temporal.out_channels
    moved = int(channels * share)
    temporal.weight.zero_()
    temporal.weight[:moved, :, 0] = 1
    temporal.weight[moved : channels - moved, :, 1] = 1
    temporal.weight[channels - moved :, :, 2] = 1


def _spatial(channels: int, *, channelwise: bool = False) -> nn.Conv3d:
    """A 3x3 convolution of each frame."""
    groups = channels if channelwise else 1
    return nn.Conv3d(channels, channels, (1, 3, 3), padding=(0, 1, 1), groups=groups, bias=False)


class MotionExcitation(nn.Module):
    """Excite the channels that move (ME of TEA; Li et al. 2020).

    Args:
        channels: number of channels (D).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(1, channels // _REDUCTION)
        self.squeeze = nn.Conv3d(channels, squeezed, 1, bias=False)
        self.squeeze_norm = nn.BatchNorm3d(squeezed)
        self.transform = _spatial(squeezed, channelwise=True)
        self.expand = nn.Conv3d(squeezed, channels, 1, bias=False)
        self.expand_norm = nn.BatchNorm3d(channels)

    def forward(self, features: Float[Tensor, "B D T H W"]) -> Float[Tensor, "B D T H W"]:
        """`X + X * (2 sigmoid(expanded pooled motion) - 1)`, as the paper has it (its authors' code: sigmoid - 0.5)."""
        motion = _motion(self.squeeze_norm(self.squeeze(features)), self.transform)
        pooled = motion.mean(dim=(3, 4), keepdim=True)
        attention = 2 * torch.sigmoid(self.expand_norm(self.expand(pooled))) - 1
        return features + features * attention


class MultipleTemporalAggregation(nn.Module):
    """Temporal and spatial convolutions of fragments, each fed by the one before (MTA of TEA).

    Args:
        channels: D, a multiple of 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % _FRAGMENTS:
            raise ValueError(f"tea: {channels} inner channels do not divide into {_FRAGMENTS} fragments")
        width = channels // _FRAGMENTS
        self.temporal = nn.ModuleList(_temporal(width) for _ in range(_FRAGMENTS - 1))
        self.spatial = nn.ModuleList(_spatial(width) for _ in range(_FRAGMENTS - 1))
        self.norms = nn.ModuleList(nn.BatchNorm3d(width) for _ in range(_FRAGMENTS - 1))

    def start(self) -> None:
        """Start the filters over time: as the identity, the last fragment's as a shift, half of it each way."""
        for number, temporal in enumerate(self.temporal, start=1):
            assert isinstance(temporal, nn.Conv3d)
            _start_as_shift(temporal, share=0.5 if number == len(self.temporal) else 0.0)

    def forward(self, features: Float[Tensor, "B D T H W"]) -> Float[Tensor, "B D T H W"]:
        """The first fragment as it is, the second convolved, the others convolved with the result before added."""
        first, *others = features.chunk(_FRAGMENTS, dim=1)
        results = [first]
        layers = zip(others, self.temporal, self.spatial, self.norms, strict=True)
        for number, (fragment, temporal, spatial, norm) in enumerate(layers):
            given = fragment if number == 0 else fragment + results[-1]
            results.append(F.relu(norm(spatial(temporal(given)))))
        return torch.cat(results, dim=1)


class SpatioTemporalMotion(nn.Module):
    """The sum of CSTM and CMM (STM; Jiang et al. 2019).

    CSTM is a filter over three frames for each channel, then a 3x3 convolution with norm and ReLU. CMM is the motion
    between neighbouring frames in few channels.

    Args:
        channels: number of channels (D).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(1, channels // _REDUCTION)
        self.temporal = _temporal(channels)
        self.spatial = _spatial(channels)
        self.norm = nn.BatchNorm3d(channels)
        self.squeeze = nn.Conv3d(channels, squeezed, 1, bias=False)
        self.squeeze_norm = nn.BatchNorm3d(squeezed)
        self.transform = _spatial(squeezed, channelwise=True)
        self.restore = nn.Conv3d(squeezed, channels, 1, bias=False)

    def start(self) -> None:
        """Start the filters over time as a shift of a quarter of the channels each way."""
        _start_as_shift(self.temporal, share=0.25)

    def forward(self, features: Float[Tensor, "B D T H W"]) -> Float[Tensor, "B D T H W"]:
        """CSTM plus CMM."""
        cstm = F.relu(self.norm(self.spatial(self.temporal(features))))
        return cstm + self.restore(_motion(self.squeeze_norm(self.squeeze(features)), self.transform))


class Correlation(nn.Module):
    """How well each position fits those around it in the frame before (CorrNet; Wang et al. 2020).

    A learned filter weighs channels and offsets; channels are summed within each of G groups. The first frame is
    compared with itself. Offsets beyond the border count as 0.

    Args:
        channels: D, a multiple of `groups`.
        groups: number of groups (G).
        size: K, odd; offsets reach K // 2 positions each way.
    """

    def __init__(self, channels: int, *, groups: int, size: int = _CORRELATION_SIZE) -> None:
        super().__init__()
        if channels % groups or size % 2 == 0:
            raise ValueError(f"{channels} channels do not divide into {groups} groups, or size {size} is not odd")
        self.groups, self.size = groups, size
        self.out_channels = groups * size**2
        self.filter = nn.Parameter(torch.ones(channels, size**2))

    def forward(self, features: Float[Tensor, "B D T H W"]) -> Float[Tensor, "B N T H W"]:
        """N = G K K correlations of each position, group by group, offsets row by row."""
        clips, channels, frames, height, width = features.shape
        before = torch.cat([features[:, :, :1], features[:, :, :-1]], dim=2)
        padding = self.size // 2
        around = F.unfold(before.transpose(1, 2).flatten(0, 1), self.size, padding=padding)
        around = around.view(clips * frames, self.groups, channels // self.groups, self.size**2, height * width)
        around = around * self.filter.view(1, self.groups, channels // self.groups, self.size**2, 1)
        here = features.transpose(1, 2).reshape(clips * frames, self.groups, channels // self.groups, height * width)
        out = torch.einsum("nglp,nglkp->ngkp", here, around) * (self.groups / channels)
        return out.reshape(clips, frames, self.out_channels, height, width).transpose(1, 2)


class MotionBlock(nn.Module):
    """One of the methods in its bottleneck: 1x1 down, norm and ReLU, the method, 1x1 up and norm, added to the input.

    Args:
        name: `tea`, `stm` or `corr` (in 32 groups where D is a multiple of 32, as in its paper, else in one).
        channels: number of channels (C).
        inner_channels: D; C/4 if not given, for `tea` rounded up to a multiple of 4.
        norm: norm of the residual branch.
        zero_init: let the block start as the identity.
    """

    def __init__(
        self,
        name: str,
        channels: int,
        *,
        inner_channels: int | None = None,
        norm: Norm = "batch",
        zero_init: bool = True,
    ) -> None:
        super().__init__()
        inner = inner_channels or max(1, channels // 4)
        if name == "tea" and inner_channels is None:
            inner = -(-inner // _FRAGMENTS) * _FRAGMENTS
        self.channels = channels
        self.reduce = nn.Conv3d(channels, inner, 1, bias=False)
        self.reduce_norm = nn.BatchNorm3d(inner)
        width = inner
        if name == "tea":
            self.method: nn.Module = nn.Sequential(MotionExcitation(inner), MultipleTemporalAggregation(inner))
        elif name == "stm":
            self.method = SpatioTemporalMotion(inner)
        elif name == "corr":
            groups = _CORRELATION_GROUPS if inner % _CORRELATION_GROUPS == 0 else 1
            self.method = correlation = Correlation(inner, groups=groups)
            width = correlation.out_channels
        else:
            raise ValueError(f"{name!r} is not one of tea, stm and corr")
        self.output = OutputProjection(width, channels, norm=norm, zero_init=zero_init)
        initialise_weights(self)
        for module in self.modules():
            if isinstance(module, MultipleTemporalAggregation | SpatioTemporalMotion):
                module.start()

    def forward(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """Add what the method finds."""
        check_features(features, ExpectedShape(self.channels))
        inner = F.relu(self.reduce_norm(self.reduce(features)))
        tokens = to_tokens(features).contiguous()
        out = self.output(to_tokens(self.method(inner)), tokens)
        return from_tokens(out, *features.shape[3:])

    def resize(self, num_frames: int) -> list[str]:
        """Any number of frames fits; nothing has to change."""
        return []


class TemporalAggregation(nn.Module):
    """A learned weight for each channel of the frame before, this and the next (bLVNet-TAM; Fan et al. 2019).

    It is no residual block, but starts as the identity: 1 for this frame, 0 for the others. Without the ReLU after it,
    which changes nothing for a ResNet's features, but would for a network whose blocks end linearly.

    Args:
        channels: number of channels (C).
        zero_init: start as the identity; otherwise from random weights.
    """

    def __init__(self, channels: int, *, zero_init: bool = True) -> None:
        super().__init__()
        self.channels = channels
        self.weights = _temporal(channels)
        initialise_weights(self)
        if zero_init:
            self.start_as_identity()

    def start_as_identity(self) -> None:
        """Let each frame be itself alone."""
        _start_as_shift(self.weights, share=0.0)

    def forward(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """Mix neighbouring frames; those beyond the ends count as 0."""
        check_features(features, ExpectedShape(self.channels))
        return self.weights(features)

    def resize(self, num_frames: int) -> list[str]:
        """Any number of frames fits; nothing has to change."""
        return []


MOTION_BLOCKS: tuple[str, ...] = ("tea", "stm", "tam", "corr", "ms", "gcn", "st_adapter")
"""Names of the blocks of other papers."""


def create_motion_block(
    name: str, channels: int, *, inner_channels: int | None, num_regions: int, norm: Norm, zero_init: bool
) -> nn.Module:
    """Build one of `MOTION_BLOCKS`; arguments as of `create_block`."""
    if name == "tam":
        return TemporalAggregation(channels, zero_init=zero_init)
    if name == "ms":
        return MotionSqueeze(channels, inner_channels=inner_channels, norm=norm, zero_init=zero_init)
    if name == "gcn":
        return RegionGraph(
            channels, inner_channels=inner_channels, num_regions=num_regions, norm=norm, zero_init=zero_init
        )
    if name == "st_adapter":
        return SpatioTemporalAdapter(channels, inner_channels=inner_channels, zero_init=zero_init)
    return MotionBlock(name, channels, inner_channels=inner_channels, norm=norm, zero_init=zero_init)
