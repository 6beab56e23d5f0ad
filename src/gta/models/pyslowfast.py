"""The training configuration that PySlowFast keeps in its `.pyth` files: what its network computes from the weights.

Weights alone do not tell strides, pooling, frame rates or how similarities become weights. Each key here either becomes
an argument of `create_model` or must have the only value that this package has; whatever else it says is refused by
the key's name. PySlowFast writes all keys; where some are absent nevertheless, they have its defaults, but an absent
section tells nothing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gta.config import ClipConfig
from gta.errors import CheckpointError, OptionError
from gta.stored import shown

_LONGEST = 1 << 20  # characters; real ones have 10,000
_Stages = Annotated[list[list[int]], Field(min_length=4, max_length=4)]
_Side = Annotated[int, Field(ge=32, le=16_384)]
_Channels = Annotated[list[float], Field(min_length=3, max_length=3)]
_TRAINED_ON_PICTURES = ("ssv2", "charades")  # which PySlowFast reads as blue, green, red

ARCHITECTURES = {
    "slowfast": "slowfast",
    "c2d": "c2d",
    "2d": "c2d",
    "c2d_nopool": "c2d",
    "slow_c2d": "c2d",
    "i3d": "c2d",
    "i3d_nopool": "c2d",
    "slow_i3d": "c2d",
    "slow": "c2d",
}
"""MODEL.ARCH -> kind of backbone (`c2d`: one pathway), for those that this package has."""
FAMILIES = {"i3d": "i3d", "i3d_nopool": "i3d", "slow_i3d": "i3d", "slow": "slow"}
"""MODEL.ARCH -> its temporal kernels, where it has one pathway: I3D's, Slow's, otherwise C2D's, which are none."""
POOLED = ("c2d", "i3d")
"""MODEL.ARCH that halve the number of frames after res2."""

_NAMES = {
    "x3d": "X3D",
    "mvit": "MViT",
    "csn": "CSN",
    "2plus1d": "R(2+1)D",
    "r2plus1d": "R(2+1)D",
    "vit": "a vision transformer",
}


class _Section(BaseModel):
    model_config = ConfigDict(alias_generator=str.upper, extra="ignore", frozen=True)


class _Batchnorm(_Section):
    norm_type: str = "batchnorm"


class _Data(_Section):
    num_frames: Annotated[int, Field(ge=1, le=4096)] = 8
    sampling_rate: Annotated[int, Field(ge=1, le=1024)] = 8
    mean: _Channels = [0.45, 0.45, 0.45]
    std: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)] = [0.225, 0.225, 0.225]
    train_jitter_scales: Annotated[list[_Side], Field(min_length=2, max_length=2)] = [256, 320]
    train_crop_size: _Side = 224
    test_crop_size: _Side = 256
    reverse_input_channel: bool = False
    random_flip: bool = True


class _Detection(_Section):
    enable: bool = False


class _Model(_Section):
    arch: str = "slowfast"
    dropout_rate: Annotated[float, Field(ge=0, lt=1)] = 0.5
    head_act: str = "softmax"


class _Multigrid(_Section):
    short_cycle: bool = False


class _Nonlocal(_Section):
    location: Annotated[list[list[list[int]]], Field(min_length=4, max_length=4)] = [[[]], [[]], [[]], [[]]]
    group: _Stages = [[1], [1], [1], [1]]
    instantiation: str = "dot_product"
    pool: Annotated[list[list[list[int]]], Field(min_length=4, max_length=4)] = [[[1, 2, 2], [1, 2, 2]]] * 4


class _Resnet(_Section):
    depth: int = 50
    num_block_temp_kernel: _Stages = [[3], [4], [6], [3]]
    num_groups: int = 1
    spatial_dilations: _Stages = [[1], [1], [1], [1]]
    spatial_strides: _Stages = [[1], [2], [2], [2]]
    stride_1x1: bool = False
    trans_func: str = "bottleneck_transform"
    width_per_group: int = 64


class _Slowfast(_Section):
    alpha: Annotated[int, Field(ge=1, le=256)] = 8
    beta_inv: Annotated[int, Field(ge=1, le=64)] = 8
    fusion_conv_channel_ratio: int = 2
    fusion_kernel_sz: Annotated[int, Field(ge=1, le=63)] = 5


class _Test(_Section):
    num_ensemble_views: Annotated[int, Field(ge=1, le=1000)] = 10
    num_spatial_crops: Literal[1, 3] = 3


class _Train(_Section):
    dataset: str = "kinetics"


class PySlowFastConfig(_Section):
    """The sections that matter here, with PySlowFast's defaults; field names are its keys in lower case."""

    bn: _Batchnorm = _Batchnorm()
    data: _Data = _Data()
    detection: _Detection = _Detection()
    model: _Model = _Model()
    multigrid: _Multigrid = _Multigrid()
    nonlocal_: Annotated[_Nonlocal, Field(alias="NONLOCAL")] = _Nonlocal()
    resnet: _Resnet = _Resnet()
    slowfast: _Slowfast = _Slowfast()
    test: _Test = _Test()
    train: _Train = _Train()

    def tells(self, section: str) -> bool:
        """Whether the file has a section."""
        return section in self.model_fields_set

    def states(self, section: str, key: str) -> bool:
        """Whether the file itself gives a key, rather than a default."""
        return key in getattr(self, section).model_fields_set

    @property
    def kind(self) -> str | None:
        """Kind of backbone, as far as the file gives a MODEL.ARCH that this package has."""
        return ARCHITECTURES.get(self.model.arch.lower()) if self.states("model", "arch") else None


def read_config(stored: object, path: Path) -> PySlowFastConfig:
    """Parse what a file has under `cfg`: YAML text, as PySlowFast writes it, or a mapping; nothing tells nothing.

    Raises:
        CheckpointError: it is no such configuration, or a value is of the wrong type or out of range.
    """
    if stored is None or stored == "":
        return PySlowFastConfig()
    try:
        if isinstance(stored, str):
            if len(stored) > _LONGEST:
                raise CheckpointError(f"{path}: its configuration (cfg) has {len(stored)} characters: too long")
            stored = yaml.safe_load(stored)
        if not isinstance(stored, Mapping):
            raise CheckpointError(f"{path}: its configuration (cfg) is {shown(stored)}, not sections of keys")
        sections = {key: value for key, value in stored.items() if value is not None}
        return PySlowFastConfig.model_validate(sections)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            problem = f"{where} is {shown(first['input'])}: {first['msg']}"
        else:
            problem = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path}: its configuration (cfg) cannot be read: {problem}") from None


def require_known(config: PySlowFastConfig, kind: str, path: Path, *, named: bool) -> None:
    """Refuse, by the key's name, whatever changes the network into one that this package does not have.

    Args:
        config: the configuration.
        kind: `c2d` or `slowfast`, as the keys of the weights say.
        path: the file, for errors.
        named: the user has named a model, which may be of another width.

    Raises:
        CheckpointError: some key has a value that is not supported.
    """

    def need(key: str, value: object, allowed: bool, what: str) -> None:
        if not allowed:
            raise CheckpointError(
                f"{path}: its configuration says {key} {shown(value)}, which gta does not support: {what}"
            )

    arch, resnet, slowfast = config.model.arch.lower(), config.resnet, config.slowfast
    if arch not in ARCHITECTURES:
        name = _NAMES.get(arch, arch)
        raise CheckpointError(
            f"{path}: these are weights of {name} (MODEL.ARCH {shown(arch)}), which gta does not support"
        )
    need("DETECTION.ENABLE", True, not config.detection.enable, "only classifiers of whole clips")
    norms = ("batchnorm", "sync_batchnorm", "sync_batchnorm_apex")
    need("BN.NORM_TYPE", config.bn.norm_type, config.bn.norm_type in norms, "only batch norms")
    need(
        "RESNET.TRANS_FUNC", resnet.trans_func, resnet.trans_func == "bottleneck_transform", "only bottleneck_transform"
    )
    need("RESNET.NUM_GROUPS", resnet.num_groups, resnet.num_groups == 1, "only 1")
    need("RESNET.WIDTH_PER_GROUP", resnet.width_per_group, named or resnet.width_per_group == 64, "only 64")
    strides = [set(stage) for stage in resnet.spatial_strides] == [{1}, {2}, {2}, {2}]
    need("RESNET.SPATIAL_STRIDES", resnet.spatial_strides, strides, "only 1, 2, 2, 2")
    dilations = all(set(stage) == {1} for stage in resnet.spatial_dilations)
    need("RESNET.SPATIAL_DILATIONS", resnet.spatial_dilations, dilations, "only 1")
    if kind == "slowfast":
        ratio = slowfast.fusion_conv_channel_ratio
        need("SLOWFAST.FUSION_CONV_CHANNEL_RATIO", ratio, ratio == 2, "only 2")
        need("RESNET.STRIDE_1X1", True, not resnet.stride_1x1, "in SlowFast, strides are in the 3x3 convolutions")
        frames, told = config.data.num_frames, config.tells("data") and config.tells("slowfast")
        need(
            "DATA.NUM_FRAMES",
            frames,
            not told or frames % slowfast.alpha == 0,
            f"a multiple of SLOWFAST.ALPHA, {slowfast.alpha}",
        )


def require_temporal_kernels(config: PySlowFastConfig, path: Path, *, depths: tuple[int, ...], found: int) -> None:
    """Refuse a RESNET.NUM_BLOCK_TEMP_KERNEL of SlowFast that `temporal_blocks` cannot say or the weights contradict."""
    if not config.states("resnet", "num_block_temp_kernel"):
        return
    stages = config.resnet.num_block_temp_kernel
    slow, fast = [stage[0] if stage else -1 for stage in stages], [stage[-1] if stage else -1 for stage in stages]
    whole = slow[3] == depths[3] and all(fast[index] == depths[index] for index in (0, 1, 3))
    if not whole or slow[2] != fast[2]:
        raise CheckpointError(
            f"{path}: its configuration says RESNET.NUM_BLOCK_TEMP_KERNEL {stages}, which gta does not support: only "
            "res4 may have fewer temporal kernels than blocks, as many in both pathways"
        )
    if slow[2] != found:
        raise CheckpointError(
            f"{path}: RESNET.NUM_BLOCK_TEMP_KERNEL says {slow[2]} temporal kernels in res4, its weights have {found}"
        )


def nonlocal_arguments(config: PySlowFastConfig, places: Mapping[str, list[int]], path: Path) -> dict[str, Any]:
    """`pool` and `instantiation` of the non-local blocks at `places` (stage -> indices, as the weights have them).

    Raises:
        CheckpointError: a group, pool or instantiation is not supported, or the places are others.
    """
    nonlocal_ = config.nonlocal_
    stages = [int(stage.removeprefix("res")) - 2 for stage in places]
    if config.states("nonlocal_", "location"):
        told = {
            f"res{index + 2}": sorted(stage[0]) for index, stage in enumerate(nonlocal_.location) if stage and stage[0]
        }
        if told != dict(places) or any(pathway for stage in nonlocal_.location for pathway in stage[1:]):
            raise CheckpointError(
                f"{path}: NONLOCAL.LOCATION is {nonlocal_.location}, its weights have non-local blocks at "
                f"{dict(places)}: gta has them in the slow or only pathway, where their weights are"
            )
    if not places:
        return {}
    groups = {(nonlocal_.group[index] or [0])[0] for index in stages}
    if groups != {1}:
        raise CheckpointError(f"{path}: NONLOCAL.GROUP is {nonlocal_.group}, gta supports only 1, all frames together")
    pools = {tuple((nonlocal_.pool[index] or [[]])[0]) for index in stages}
    pool = {((1, 2, 2),): "before", ((1, 1, 1),): "none", ((),): "none"}.get(tuple(pools))
    if pool is None:
        raise CheckpointError(
            f"{path}: NONLOCAL.POOL is {nonlocal_.pool}, gta supports [1, 2, 2] or none ([1, 1, 1]), the same "
            "in all blocks"
        )
    if nonlocal_.instantiation not in ("softmax", "dot_product"):
        raise CheckpointError(
            f"{path}: NONLOCAL.INSTANTIATION is {shown(nonlocal_.instantiation)}, gta supports softmax and dot_product"
        )
    return {"pool": pool, "instantiation": nonlocal_.instantiation}


def reads_bgr(config: PySlowFastConfig) -> bool:
    """Whether the network's first input channel is blue.

    Videos are decoded as red, green, blue; the data sets of single pictures are read the other way round, and
    DATA.REVERSE_INPUT_CHANNEL reverses what the network gets.
    """
    return (config.train.dataset.lower() in _TRAINED_ON_PICTURES) != config.data.reverse_input_channel


def clip_of(config: PySlowFastConfig, path: Path) -> ClipConfig:
    """How the network wants its videos: sizes, sampling, normalisation (of red, green, blue), views.

    Raises:
        CheckpointError: the configuration gives no possible clip.
    """
    data, dataset = config.data, config.train.dataset.lower()
    order = slice(None, None, -1) if dataset in _TRAINED_ON_PICTURES else slice(None)
    mean, std, crops = data.mean[order], data.std[order], config.test.num_spatial_crops
    scales = data.train_jitter_scales
    try:
        return ClipConfig(
            preset="pyslowfast",
            num_frames=data.num_frames,
            sampling="segments" if dataset == "ssv2" else "dense",
            frame_stride=1 if dataset == "ssv2" else data.sampling_rate,
            resize=scales[0],
            train_short_side=(scales[0], scales[1]),
            crop="random",
            crop_size=data.train_crop_size,
            flip="random" if data.random_flip else "none",
            mean=(mean[0], mean[1], mean[2]),
            std=(std[0], std[1], std[2]),
            test_resize=data.test_crop_size if crops == 3 or dataset == "ssv2" else scales[0],
            test_crop_size=data.test_crop_size,
            test_clips=config.test.num_ensemble_views,
            test_crops=crops,
        )
    except (OptionError, ValueError) as error:
        raise CheckpointError(f"{path}: its configuration (cfg) gives no possible clip: {error}") from None
