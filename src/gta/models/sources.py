"""Which network a file of weights comes from: what its keys, shapes and configuration tell, and what they do not."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from gta.config import ClipConfig
from gta.errors import CheckpointError
from gta.model_card import ModelCard
from gta.models.catalog import BACKBONES, own_options
from gta.models.conversion import canonical, rename
from gta.models.keymaps import KeyMap
from gta.models.pyslowfast import (
    FAMILIES,
    POOLED,
    PySlowFastConfig,
    clip_of,
    nonlocal_arguments,
    read_config,
    reads_bgr,
    require_known,
    require_temporal_kernels,
)
from gta.models.weight_files import WeightFile

_RES4 = {
    "framewise": r"backbone\.network\.layer3",
    "c2d": r"backbone\.pathway\.res4",
    "slowfast": r"backbone\.slow\.res4",
}

# Arguments that change what is computed, not which weights there are: where they differ, nothing else would tell.
_UNSEEN = (
    "scaled",
    "instantiation",
    "pool",
    "temporal_pool",
    "stride_1x1",
    "alpha",
    "shift_div",
    "head_window",
    "head_average",
    "causal",
    "gate",
    "differences",
)
_OF_ATTENTION = ("scaled", "instantiation", "pool")  # which say nothing where either side has no attention


@dataclass(frozen=True)
class SourceNetwork:
    """The network that weights come from.

    Args:
        arguments: those of `create_model` for the same network; without "name" when its depth is none that is known.
        assumed: names of the arguments that the file does not tell: they have their usual values.
        clip: how the network wants its videos, where the file tells.
        reads_bgr: the first input channel is blue.
        notes: what else should be known about it.
    """

    arguments: dict[str, Any]
    assumed: tuple[str, ...] = ()
    clip: ClipConfig | None = None
    reads_bgr: bool = False
    notes: tuple[str, ...] = field(default=())


def describe_source(source: WeightFile, key_map: KeyMap, *, named: bool = False) -> SourceNetwork:
    """The network that a file's weights come from.

    Args:
        source: the file, with a known layout.
        key_map: the layout.
        named: the user has named a model, so that other depths and widths than those of the named models may come.

    Raises:
        CheckpointError: the file's configuration describes a network that this package does not have.
    """
    renamed = {
        canonical(key): tensor for key, tensor in rename(source.tensors, key_map, source=str(source.path)).items()
    }
    arguments: dict[str, Any] = {}
    if "head.weight" in renamed and renamed["head.weight"].ndim:
        arguments["num_classes"] = int(renamed["head.weight"].shape[0])
    places = _places(renamed)
    if places:
        arguments["at"] = places
    if key_map.target == "framewise":
        network = _framewise(arguments, source.tensors, renamed, key_map)
    elif key_map.target == "torchvision":
        return SourceNetwork(arguments)
    elif key_map.name == "ImageNet ResNet":  # as C2D; it knows no time
        network = SourceNetwork({**arguments, "stride_1x1": False})
    else:
        config = read_config(None if key_map.name.startswith("Caffe2") else source.config, source.path)
        network = _three_dimensional(arguments, renamed, key_map, source, config, named)
    return _with_name(network, renamed, key_map)


def list_assumptions(network: SourceNetwork, *, given: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """What is taken for granted of a source's network, "name value" each; what the user has given is not."""
    return tuple(f"{name} {network.arguments[name]}" for name in network.assumed if name not in (given or {}))


def find_differences(
    arguments: Mapping[str, Any], network: SourceNetwork, *, given: Mapping[str, Any] | None = None
) -> tuple[str, ...]:
    """What a model with these arguments computes otherwise than the source's network, although the weights fit.

    Where the file does not tell, what the user has given is believed.
    """
    skipped = {name for name in network.assumed if name in (given or {})}
    if not (arguments.get("at") and network.arguments.get("at")):
        skipped.update(_OF_ATTENTION)
    here, there = arguments, network.arguments
    compared = here.keys() & there.keys() | {"shift_div"}  # TSM's convolutions are those of the network without shifts
    return tuple(
        f"{name} is {here.get(name)}, there {there.get(name)}"
        for name in _UNSEEN
        if name in compared - skipped and here.get(name) != there.get(name)
    )


def describe_card(card: ModelCard) -> SourceNetwork:
    """The network of a file of ours; what older versions did not write has its backbone's own value."""
    return SourceNetwork({**own_options(str(card.model["name"])), "instantiation": "softmax", **card.model})


def _framewise(
    arguments: dict[str, Any], tensors: Mapping[str, Tensor], renamed: Mapping[str, Tensor], key_map: KeyMap
) -> SourceNetwork:
    if key_map.name != "TSM":
        return SourceNetwork(arguments)
    assumed = ["num_frames"]
    arguments["num_frames"] = 8
    if any(".conv1.net." in key for key in tensors):
        arguments["shift_div"] = 8
        assumed.append("shift_div")
    if "at" in arguments:
        arguments["scaled"] = False  # that code does not divide the similarities by sqrt(D)
        pooled = any(re.search(r"\.nl\.phi\.0\.", key) for key in tensors)  # behind the projection, in one module
        arguments["pool"] = "after" if pooled else "none"
    return SourceNetwork(arguments, tuple(assumed))


def _three_dimensional(
    arguments: dict[str, Any],
    renamed: Mapping[str, Tensor],
    key_map: KeyMap,
    source: WeightFile,
    config: PySlowFastConfig,
    named: bool,
) -> SourceNetwork:
    """C2D, I3D, Slow and SlowFast of PySlowFast or pytorchvideo."""
    pytorchvideo = key_map.name.startswith("pytorchvideo")
    require_known(config, key_map.target, source.path, named=named)
    told = {"stride_1x1": config.tells("resnet")}  # argument -> whether the file tells it
    if key_map.target == "slowfast":
        arguments |= _slowfast_arguments(renamed, config, source)
        told["alpha"] = config.tells("slowfast")
        if not pytorchvideo:  # whose own networks do not look at that key
            depths = tuple(len(_indices(renamed, rf"\.slow\.res{stage}\.(\d+)\.conv_a\.")) for stage in range(2, 6))
            require_temporal_kernels(config, source.path, depths=depths, found=arguments["temporal_blocks"])
    else:
        arguments["stride_1x1"] = config.resnet.stride_1x1
        told["temporal_pool"] = pytorchvideo or config.kind == "c2d"
        if pytorchvideo:  # the numbers of its blocks tell
            told["stride_1x1"] = True
            arguments["temporal_pool"] = "without temporal pool" not in key_map.name
        else:
            usual = _family(renamed) != "slow"
            arguments["temporal_pool"] = config.model.arch.lower() in POOLED if config.kind == "c2d" else usual
    if config.tells("nonlocal_") and not pytorchvideo:
        arguments |= nonlocal_arguments(config, arguments.get("at", {}), source.path)
    elif "at" in arguments:
        arguments |= {"pool": "before", "instantiation": "softmax"}
        told |= {"pool": False, "instantiation": False}
    told["num_frames"] = told["head_window"] = config.tells("data")
    default = 32 if key_map.target == "slowfast" else 8
    arguments["num_frames"] = config.data.num_frames if config.tells("data") else default
    # Both code bases classify every window (7 x 7, trained at 224 pixels) of larger clips in evaluation; pytorchvideo's
    # own models average the logits.
    arguments["head_window"] = None if config.multigrid.short_cycle else config.data.train_crop_size // 32
    told["head_average"] = config.tells("model")
    arguments["head_average"] = "logits" if pytorchvideo and not config.tells("model") else "probabilities"
    if config.tells("model"):
        arguments["dropout"] = config.model.dropout_rate
    assumed = tuple(name for name, known in told.items() if not known and name in arguments)
    clip = clip_of(config, source.path) if config.tells("data") else None
    return SourceNetwork(arguments, assumed, clip, reads_bgr(config), _notes(config, key_map, renamed))


def _family(renamed: Mapping[str, Tensor]) -> str:
    """What the temporal kernels of one pathway say: `i3d` (the stem has one), `slow` (some blocks have), `c2d`."""

    def long(pattern: str) -> bool:
        return any(re.search(pattern, key) and value.ndim == 5 and value.shape[2] > 1 for key, value in renamed.items())

    if long(r"^backbone\.pathway\.stem\.conv\.weight$"):
        return "i3d"
    return "slow" if long(r"^backbone\.pathway\.res\d\.\d+\.conv_a\.weight$") else "c2d"


def _slowfast_arguments(renamed: Mapping[str, Tensor], config: PySlowFastConfig, source: WeightFile) -> dict[str, Any]:
    """What the shapes tell of SlowFast, and alpha, which they do not."""
    kernels = _indices(
        renamed, rf"^{_RES4['slowfast']}\.(\d+)\.conv_a\.", lambda tensor: tensor.ndim == 5 and tensor.shape[2] > 1
    )
    stems = [renamed.get(f"backbone.{place}.stem.conv.weight") for place in ("slow", "fast", "laterals")]
    slow, fast, lateral = (list(stem.shape) if stem is not None and stem.ndim == 5 else [] for stem in stems)
    if not all(slow) or not all(fast) or not all(lateral) or not (slow and fast and lateral):
        raise CheckpointError(f"{source.path}: the stems of SlowFast's pathways, or what joins them, are missing")
    arguments = {
        "fusion_kernel": lateral[2],
        "temporal_blocks": len(kernels),
        "beta_inverse": slow[0] // fast[0],
        "alpha": config.slowfast.alpha if config.tells("slowfast") else 4,
    }
    _require_agreement(arguments, config, source)
    return arguments


def _require_agreement(arguments: Mapping[str, Any], config: PySlowFastConfig, source: WeightFile) -> None:
    """What both the weights and the configuration tell must be the same."""
    for key, name in (("fusion_kernel_sz", "fusion_kernel"), ("beta_inv", "beta_inverse")):
        told = getattr(config.slowfast, key)
        if config.states("slowfast", key) and told != arguments[name]:
            raise CheckpointError(
                f"{source.path}: its configuration says SLOWFAST.{key.upper()} {told}, its weights {arguments[name]}"
            )


def _notes(config: PySlowFastConfig, key_map: KeyMap, renamed: Mapping[str, Tensor]) -> tuple[str, ...]:
    notes: list[str] = []
    found = _family(renamed) if key_map.target == "c2d" else key_map.target
    told = FAMILIES.get(config.model.arch.lower(), config.kind)
    if told not in (None, found) and config.kind is not None:
        notes.append(f"its MODEL.ARCH is {config.model.arch}, but its weights are those of {found}: they count")
    if reads_bgr(config):
        notes.append("the source reads blue, green, red: the stem's channels are reversed, so that the model reads RGB")
    if config.model.head_act != "softmax":
        notes.append(
            f"trained with MODEL.HEAD_ACT {config.model.head_act}: its scores are not those of one class out of all"
        )
    return tuple(notes)


def _with_name(network: SourceNetwork, renamed: Mapping[str, Tensor], key_map: KeyMap) -> SourceNetwork:
    """Add the name of the model, if the depth is that of one."""
    arguments, res4 = network.arguments, _RES4[key_map.target]
    depth = {6: 50, 23: 101}.get(len(_indices(renamed, rf"^{res4}\.(\d+)\.conv")))
    if depth is None or not any(re.match(rf"^{res4}\.0\.(conv3|conv_c)\.", key) for key in renamed):
        return network
    if key_map.target == "framewise":
        middle = renamed.get("backbone.network.layer1.0.conv2.weight")
        if middle is None or middle.shape[:2] != (64, 64):
            return network  # ResNeXt, a wide ResNet or the like
        name = f"{'tsm' if 'shift_div' in arguments else 'r2d'}{depth}"
    elif key_map.target == "c2d":
        name = f"{_family(renamed)}{depth}"
        if name not in BACKBONES:
            return network
    else:
        frames, alpha = arguments["num_frames"], arguments["alpha"]
        speed = {(32, 8): "4x16", (64, 4): "16x8"}.get((frames, alpha), "8x8")
        name = f"slowfast{depth}_{speed}" if f"slowfast{depth}_{speed}" in BACKBONES else f"slowfast{depth}_8x8"
    arguments["name"] = f"{name}_nl" if "at" in arguments else name
    return network


def _places(renamed: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """Where the non-local blocks are: stage -> indices."""
    found = {
        f"res{stage}": sorted(_indices(renamed, rf"\.(?:layer{stage - 1}|res{stage})\.(\d+)\.attention\.qkv\.weight$"))
        for stage in range(2, 6)
    }
    return {stage: indices for stage, indices in found.items() if indices}


def _indices(tensors: Mapping[str, Tensor], pattern: str, keep: Callable[[Tensor], bool] | None = None) -> set[int]:
    found = ((re.search(pattern, key), tensor) for key, tensor in tensors.items())
    return {int(match[1]) for match, tensor in found if match and (keep is None or keep(tensor))}
