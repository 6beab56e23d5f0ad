"""The named models: what each name means, and building it."""

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from gta.backbones.framewise import FramewiseBackbone, timm_network, tiny_network
from gta.backbones.insertion import insert_attention
from gta.backbones.stages import find_stages
from gta.blocks.attention import Pool
from gta.blocks.factory import list_blocks
from gta.models.classifier import VideoClassifier

# Suffix of a model name -> name for `create_block`. The composed ones are those of the paper's Table 3.
BLOCK_SUFFIXES: dict[str, str] = {
    **{name: name for name in list_blocks()},
    "sa_ta": "sa+ta",
    "sa_tape": "sa+tape",
    "sa_pixel_gta": "sa+pixel_gta",
    "sa_region_gta": "sa+region_gta",
}


@dataclass(frozen=True)
class BackboneSpec:
    """How a named backbone is built and where and how attention goes into it."""

    build: Callable[[int], nn.Module]
    """Builds it for a number of frames."""
    num_frames: int = 8
    """Frames per clip unless the user says otherwise."""
    at: Mapping[str, int] | None = None
    """Attention blocks per stage; None: up to 2 in res3 and 3 in res4."""
    first: int = 0
    """Index of the first block in a stage that "every other block" counts from."""
    pool: Pool = "after"
    """Keys and values are pooled after or before their projection."""


_PAPER_PLACES = {"res3": 2, "res4": 3}

BACKBONES: dict[str, BackboneSpec] = {
    "tiny": BackboneSpec(lambda frames: FramewiseBackbone(tiny_network(), frames), at={"res3": 1, "res4": 1}),
    "r2d50": BackboneSpec(lambda frames: FramewiseBackbone(timm_network("resnet50"), frames), at=_PAPER_PLACES),
}


def list_models(pattern: str = "*") -> list[str]:
    """Names of the models, sorted; `pattern` may contain `*` and `?`.

    Besides these, any timm CNN with stages of strides 4 to 32 works by its name, alone or with a block as suffix.
    """
    names = [name if not suffix else f"{name}_{suffix}" for name in BACKBONES for suffix in ("", *BLOCK_SUFFIXES)]
    return sorted(fnmatch.filter(names, pattern))


def split_name(name: str) -> tuple[str, str | None]:
    """Split a model name into backbone and block (None: no attention); the longest suffix wins."""
    if name in BACKBONES:
        return name, None
    for suffix in sorted(BLOCK_SUFFIXES, key=len, reverse=True):
        if name.endswith(f"_{suffix}"):
            return name.removesuffix(f"_{suffix}"), BLOCK_SUFFIXES[suffix]
    return name, None


def create_model(
    name: str,
    *,
    num_classes: int = 174,
    num_frames: int | None = None,
    pretrained: str | None = None,
    dropout: float = 0.5,
    at: Mapping[str, int | Sequence[int]] | None = None,
    num_groups: int = 8,
    num_heads: int | None = None,
    num_regions: int = 8,
) -> VideoClassifier:
    """Build a model by name.

    Args:
        name: `<backbone>` or `<backbone>_<block>`; see `list_models()`. The backbone may be any timm CNN.
        num_classes: K.
        num_frames: T; the backbone's own if not given (8; SlowFast: 64 or 32).
        pretrained: a path or an ImageNet tag.
        dropout: probability of dropping a feature before the head, in [0, 1).
        at: attention blocks per stage, or their indices in it; the paper's places if not given.
        num_groups: G of global temporal attention.
        num_heads: N_h of global temporal attention; G if not given.
        num_regions: R of region-level global temporal attention.

    Returns:
        The classifier in training mode; `.arguments` holds plain values that build the same architecture again.

    Raises:
        ValueError: the name is unknown or the arguments do not fit it.
    """
    backbone_name, block = split_name(name)
    spec = BACKBONES.get(backbone_name)
    if spec is None:
        spec = BackboneSpec(lambda frames: FramewiseBackbone(timm_network(backbone_name), frames))
    frames = spec.num_frames if num_frames is None else num_frames
    if pretrained is not None:
        raise NotImplementedError("pretrained weights are not wired yet")
    if frames < 1:
        raise ValueError(f"num_frames is {frames}: at least one frame is needed")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}: it must lie in [0, 1)")
    backbone = spec.build(frames)
    places = None
    if block is not None:
        places = dict(at if at is not None else spec.at or _default_places(backbone))
        insert_attention(
            backbone,
            block=block,
            at=places,
            first=spec.first,
            num_frames=backbone.attention_frames(frames),  # type: ignore[operator]
            num_groups=num_groups,
            num_heads=num_heads,
            num_regions=num_regions,
            pool=spec.pool,
        )
    elif at:
        raise ValueError(f"'at' says where attention goes, but {name!r} has none: name a block, e.g. {name}_gta")
    arguments: dict[str, Any] = {
        "name": name,
        "num_classes": num_classes,
        "num_frames": frames,
        "dropout": dropout,
        "at": places and {stage: n if isinstance(n, int) else list(n) for stage, n in places.items()},
        "num_groups": num_groups,
        "num_heads": num_heads,
        "num_regions": num_regions,
    }
    model = VideoClassifier(backbone, num_classes=num_classes, num_frames=frames, dropout=dropout, arguments=arguments)
    return _channels_last(model)


def _default_places(backbone: nn.Module) -> dict[str, int]:
    """The paper's places, "every other block" of res3 and res4, as far as the stages go."""
    stages = find_stages(backbone)
    return {
        stage: min(most, (len(stages[stage]) + 1) // 2) for stage, most in _PAPER_PLACES.items() if stages.get(stage)
    }


def _channels_last(model: VideoClassifier) -> VideoClassifier:
    """Keep convolution weights in channels-last memory, like the features, so that no pass has to convert them."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
        elif isinstance(module, nn.Conv3d):
            module.to(memory_format=torch.channels_last_3d)
    return model
