"""What each backbone name means: how it is built, and where and how attention goes into it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from gta.backbones.blvnet import BLVNetBackbone
from gta.backbones.eco import ECOBackbone
from gta.backbones.framewise import FramewiseBackbone, timm_network, tiny_network, tiny_transformer
from gta.backbones.resnet3d import I3D_KERNELS, SLOW_KERNELS, PathwayBackbone
from gta.backbones.separable import R2Plus1DBackbone, S3DGBackbone
from gta.backbones.slowfast import SlowFastBackbone
from gta.backbones.torchvision_video import NETWORKS, PREFIX, TorchvisionBackbone, torchvision_network
from gta.backbones.tsm import insert_shift
from gta.backbones.two_stream import DifferenceBackbone
from gta.blocks.attention import Pool
from gta.blocks.factory import REUSE, list_blocks, list_motion_blocks
from gta.models.classifier import Head, HeadAverage

# Suffix of a model name -> name for `create_block`. The composed ones are those of the paper's Table 3.
BLOCK_SUFFIXES: dict[str, str] = {
    **{name: name for name in (*list_blocks(), *list_motion_blocks(), REUSE)},
    "sa_ta": "sa+ta",
    "sa_tape": "sa+tape",
    "sa_pixel_gta": "sa+pixel_gta",
    "sa_region_gta": "sa+region_gta",
}

PAPER_PLACES: Mapping[str, int] = {"res3": 2, "res4": 3}
TRANSFORMER_BLOCKS = 3  # of a transformer without stages; in one of twelve blocks they add 8 % of the multiply-adds
_ECO_PLACES: Mapping[str, int] = {"res3": 1, "res4": 1}
_S3D_PLACES: Mapping[str, int] = {"res3": 1, "res4": 3}
_TINY_PLACES: Mapping[str, int] = {"res3": 1, "res4": 1}
_DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
_TINY_DEPTHS = (1, 1, 1, 1)
_TINY: Mapping[str, Callable[[], nn.Module]] = {"tiny": tiny_network, "tiny_vit": tiny_transformer}


@dataclass(frozen=True)
class BackboneOptions:
    """What a user may change about a backbone, so that weights trained elsewhere fit; None: the name's own."""

    temporal_pool: bool | None = None
    """C2D, I3D, Slow: halve the number of frames after res2."""
    fusion_kernel: int | None = None
    """SlowFast: temporal kernel of the lateral connections."""
    temporal_blocks: int | None = None
    """SlowFast: how many first blocks of res4 have a temporal kernel."""
    alpha: int | None = None
    """SlowFast: frame-rate ratio of the pathways."""
    beta_inverse: int | None = None
    """SlowFast: channel ratio of the pathways."""
    stride_1x1: bool | None = None
    """C2D, I3D, Slow: residual blocks have their spatial stride in the first convolution."""
    shift_div: int | None = None
    """TSM: 1 / shift_div of the channels are shifted in each direction."""
    flow_length: int | None = None
    """Networks of optical flow: L, flows in a row at each frame."""
    head_window: int | None = None
    """3D: in evaluation, classify every window of so many positions (height and width); None: all positions at once."""
    head_average: HeadAverage | None = None
    """3D: what is averaged over these windows."""
    image_size: int | None = None
    """timm's transformers: height and width, in pixels, that the network is built for."""
    global_pool: str | None = None
    """timm's networks: how positions become one vector (`token`, `avg`, `map`, ...)."""

    def given(self) -> dict[str, bool | int | str]:
        """The options that are set."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone of the catalogue."""

    build: Callable[[int, BackboneOptions, str | None], nn.Module]
    """Builds it for a number of frames, with options, with an ImageNet tag or None for random weights."""
    options: Mapping[str, bool | int | str | None] = field(default_factory=dict)
    """The options that it knows, with its own values."""
    num_frames: int = 8
    """Frames per clip unless the user says otherwise."""
    at: Mapping[str, int] | None = None
    """Attention blocks per stage; None: the paper's places as far as the stages go."""
    first: int = 0
    """Index of the first block in a stage that "every other block" counts from."""
    pool: Pool = "after"
    """Keys and values are pooled after or before their projection."""
    has_weights: bool = False
    """timm or torchvision have pretrained weights for it, which a tag names."""
    head: Head = "average"
    """What joins the frames in the place of `average`."""


def _framewise(name: str, *, shift: bool = False) -> Callable[[int, BackboneOptions, str | None], nn.Module]:
    def build(num_frames: int, options: BackboneOptions, weights: str | None) -> nn.Module:
        network = (
            _TINY[name]()
            if name in _TINY
            else timm_network(name, weights=weights, image_size=options.image_size, global_pool=options.global_pool)
        )
        if shift:
            insert_shift(network, num_frames, fraction=options.shift_div or _SHIFT["shift_div"])
        return FramewiseBackbone(network, num_frames)

    return build


def _pathway(
    depths: tuple[int, ...], width: int, *, stem: int = 1, kernels: Sequence[int | Sequence[int]] = (1, 1, 1, 1)
) -> Callable[[int, BackboneOptions, str | None], nn.Module]:
    def build(num_frames: int, options: BackboneOptions, weights: str | None) -> nn.Module:
        return PathwayBackbone(
            num_frames,
            depths=depths,
            width=width,
            stem_kernel=stem,
            kernels=kernels,
            temporal_pool=bool(options.temporal_pool),
            stride_1x1=bool(options.stride_1x1),
        )

    return build


def _slowfast(depths: tuple[int, ...], width: int) -> Callable[[int, BackboneOptions, str | None], nn.Module]:
    def build(num_frames: int, options: BackboneOptions, weights: str | None) -> nn.Module:
        return SlowFastBackbone(
            num_frames,
            depths=depths,
            width=width,
            temporal_blocks=options.temporal_blocks,
            **{name: value for name in _RATIOS if isinstance(value := getattr(options, name), int)},
        )

    return build


def _flow(name: str) -> Callable[[int, BackboneOptions, str | None], nn.Module]:
    def build(num_frames: int, options: BackboneOptions, weights: str | None) -> nn.Module:
        channels = 2 * (options.flow_length or _FLOW["flow_length"])
        if channels < 2:
            raise ValueError(f"flow_length is {options.flow_length}: it must be at least 1")
        if name == "tiny":
            return FramewiseBackbone(tiny_network(channels), num_frames, in_channels=channels)
        network = timm_network(name, weights=weights, in_channels=channels)
        return FramewiseBackbone(network, num_frames, in_channels=channels)

    return build


def _difference(name: str) -> Callable[[int, BackboneOptions, str | None], nn.Module]:
    def build(num_frames: int, options: BackboneOptions, weights: str | None) -> nn.Module:
        network = tiny_network() if name == "tiny" else timm_network(name, weights=weights)
        return DifferenceBackbone(network, num_frames)

    return build


def _blvnet(depths: tuple[int, ...], width: int) -> Callable[[int, BackboneOptions, str | None], nn.Module]:
    def build(num_frames: int, options: BackboneOptions, weights: str | None) -> nn.Module:
        return BLVNetBackbone(num_frames, depths=depths, width=width)

    return build


def _eco(width: int, *, lite: bool) -> Callable[[int, BackboneOptions, str | None], nn.Module]:
    def build(num_frames: int, options: BackboneOptions, weights: str | None) -> nn.Module:
        return ECOBackbone(num_frames, lite=lite, width=width)

    return build


def _torchvision(name: str) -> Callable[[int, BackboneOptions, str | None], nn.Module]:
    def build(num_frames: int, options: BackboneOptions, weights: str | None) -> nn.Module:
        network = torchvision_network(name, num_frames, weights=weights)
        return TorchvisionBackbone(network, num_frames)

    return build


def _r2plus1d(depths: tuple[int, ...], width: int) -> Callable[[int, BackboneOptions, str | None], nn.Module]:
    def build(num_frames: int, options: BackboneOptions, weights: str | None) -> nn.Module:
        return R2Plus1DBackbone(num_frames, depths=depths, width=width)

    return build


def _s3dg(width: int) -> Callable[[int, BackboneOptions, str | None], nn.Module]:
    def build(num_frames: int, options: BackboneOptions, weights: str | None) -> nn.Module:
        return S3DGBackbone(num_frames, width=width)

    return build


def own_options(name: str) -> dict[str, bool | int | str | None]:
    """The options of a model's backbone, with its own values; empty for backbones that the catalogue does not name."""
    fitting = [key for key in BACKBONES if name == key or name.startswith(f"{key}_")]
    return dict(BACKBONES[max(fitting, key=len)].options) if fitting else {}


def framewise_spec(name: str) -> BackboneSpec:
    """The entry of a network that the catalogue does not name: timm's, also with shifts, or torchvision's."""
    if name.startswith(PREFIX):
        return BackboneSpec(_torchvision(name.removeprefix(PREFIX)))  # which says that there is none
    if name.endswith(SHIFTED):
        build = _framewise(name.removesuffix(SHIFTED), shift=True)
        return BackboneSpec(build, has_weights=True, options={**_TIMM, **_SHIFT})
    return BackboneSpec(_framewise(name), has_weights=True, options=_TIMM)


_TIMM = {"image_size": None, "global_pool": None}
_SHIFT = {"shift_div": 8}
SHIFTED = "_tsm"  # after the name of any network of timm's
_FLOW = {"flow_length": 5}
_HEAD = {"head_window": None, "head_average": "probabilities"}
_C2D = {"temporal_pool": False, "stride_1x1": False, **_HEAD}
_I3D = {**_C2D, "temporal_pool": True}
_RATIOS = ("alpha", "beta_inverse", "fusion_kernel")
_SLOWFAST_50 = {"fusion_kernel": 7, "temporal_blocks": 6, "alpha": 4, "beta_inverse": 8, **_HEAD}
_SLOWFAST_50_4X16 = {**_SLOWFAST_50, "fusion_kernel": 5, "alpha": 8}
# The 106-GFLOPs variant that the paper builds on: temporal kernels in 6 of the 23 blocks, fusion kernel 5.
_SLOWFAST_101 = {**_SLOWFAST_50, "fusion_kernel": 5}

BACKBONES: dict[str, BackboneSpec] = {
    "tiny": BackboneSpec(_framewise("tiny"), at=_TINY_PLACES),
    "tiny_vit": BackboneSpec(_framewise("tiny_vit")),
    "tiny_tsm": BackboneSpec(_framewise("tiny", shift=True), at=_TINY_PLACES, options=_SHIFT),
    "tiny_trn": BackboneSpec(_framewise("tiny"), at=_TINY_PLACES, head="relation"),
    "tiny_flow": BackboneSpec(_flow("tiny"), at=_TINY_PLACES, options=_FLOW),
    "tiny_difference": BackboneSpec(_difference("tiny"), at=_TINY_PLACES),
    "tiny_blvnet": BackboneSpec(_blvnet((2, 2, 2, 1), 16), at={"res3": 1, "res4": 1}),
    "tiny_eco": BackboneSpec(_eco(8, lite=False), at=_TINY_PLACES, pool="before"),
    "tiny_eco_lite": BackboneSpec(_eco(8, lite=True), at=_TINY_PLACES, pool="before"),
    "tiny_r2plus1d": BackboneSpec(_r2plus1d(_TINY_DEPTHS, 8), at=_TINY_PLACES, pool="before"),
    "tiny_s3dg": BackboneSpec(_s3dg(8), at=_TINY_PLACES, pool="before"),
    "tiny_c2d": BackboneSpec(_pathway(_TINY_DEPTHS, 8), at=_TINY_PLACES, options=_C2D, first=1, pool="before"),
    "tiny_i3d": BackboneSpec(
        _pathway(_TINY_DEPTHS, 8, stem=5, kernels=I3D_KERNELS), at=_TINY_PLACES, options=_I3D, first=1, pool="before"
    ),
    "tiny_slow": BackboneSpec(
        _pathway(_TINY_DEPTHS, 8, kernels=SLOW_KERNELS), at=_TINY_PLACES, options=_C2D, first=1, pool="before"
    ),
    "tiny_slowfast": BackboneSpec(
        _slowfast(_TINY_DEPTHS, 8),
        at=_TINY_PLACES,
        options={"fusion_kernel": 7, "temporal_blocks": 1, "alpha": 4, "beta_inverse": 4, **_HEAD},
        num_frames=16,
        first=1,
        pool="before",
    ),
    "r2d50": BackboneSpec(_framewise("resnet50"), at=PAPER_PLACES, has_weights=True),
    "r2d101": BackboneSpec(_framewise("resnet101"), at=PAPER_PLACES, has_weights=True),
    "tsm50": BackboneSpec(_framewise("resnet50", shift=True), at=PAPER_PLACES, options=_SHIFT, has_weights=True),
    "tsm101": BackboneSpec(_framewise("resnet101", shift=True), at=PAPER_PLACES, options=_SHIFT, has_weights=True),
    "trn50": BackboneSpec(_framewise("resnet50"), at=PAPER_PLACES, has_weights=True, head="relation"),
    "flow50": BackboneSpec(_flow("resnet50"), at=PAPER_PLACES, options=_FLOW, has_weights=True),
    "difference50": BackboneSpec(_difference("resnet50"), at=PAPER_PLACES, has_weights=True),
    "blvnet_tam50": BackboneSpec(_blvnet(_DEPTHS[50], 64), at={"res3": 1, "res4": 1}, num_frames=16),
    "eco": BackboneSpec(_eco(64, lite=False), at=_ECO_PLACES, pool="before"),
    "eco_lite": BackboneSpec(_eco(64, lite=True), at=_ECO_PLACES, pool="before"),
    "r2plus1d34": BackboneSpec(_r2plus1d(_DEPTHS[50], 64), at=PAPER_PLACES, num_frames=32, pool="before"),
    "s3dg": BackboneSpec(_s3dg(64), at=_S3D_PLACES, num_frames=64, pool="before"),
    "c2d50": BackboneSpec(_pathway(_DEPTHS[50], 64), at=PAPER_PLACES, options=_C2D, first=1, pool="before"),
    "c2d101": BackboneSpec(_pathway(_DEPTHS[101], 64), at=PAPER_PLACES, options=_C2D, first=1, pool="before"),
    "i3d50": BackboneSpec(
        _pathway(_DEPTHS[50], 64, stem=5, kernels=I3D_KERNELS), at=PAPER_PLACES, options=_I3D, first=1, pool="before"
    ),
    "slow50": BackboneSpec(
        _pathway(_DEPTHS[50], 64, kernels=SLOW_KERNELS), at=PAPER_PLACES, options=_C2D, first=1, pool="before"
    ),
    "slowfast50_16x8": BackboneSpec(
        _slowfast(_DEPTHS[50], 64), at=PAPER_PLACES, options=_SLOWFAST_50, num_frames=64, first=1, pool="before"
    ),
    "slowfast50_8x8": BackboneSpec(
        _slowfast(_DEPTHS[50], 64), at=PAPER_PLACES, options=_SLOWFAST_50, num_frames=32, first=1, pool="before"
    ),
    "slowfast50_4x16": BackboneSpec(
        _slowfast(_DEPTHS[50], 64), at=PAPER_PLACES, options=_SLOWFAST_50_4X16, num_frames=32, first=1, pool="before"
    ),
    "slowfast101_8x8": BackboneSpec(
        _slowfast(_DEPTHS[101], 64), at=PAPER_PLACES, options=_SLOWFAST_101, num_frames=32, first=1, pool="before"
    ),
    **{
        f"{PREFIX}{name}": BackboneSpec(_torchvision(name), num_frames=frames, has_weights=True)
        for name, frames in NETWORKS.items()
    },
}
