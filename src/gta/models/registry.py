"""The named models: listing and building them."""

import fnmatch
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from inspect import signature
from typing import Any, Unpack

import torch
from torch import nn

from gta.backbones.arrangement import Prefix
from gta.backbones.contract import VideoBackbone
from gta.backbones.insertion import Side, Where, check_places, insert_attention
from gta.backbones.stages import BLOCKS, find_stages
from gta.backbones.torchvision_video import PREFIX
from gta.backbones.tsm import make_shift_causal
from gta.blocks.factory import REUSE
from gta.blocks.spec import AttentionArguments, AttentionSpec
from gta.models.catalog import (
    BACKBONES,
    BLOCK_SUFFIXES,
    PAPER_PLACES,
    SHIFTED,
    TRANSFORMER_BLOCKS,
    BackboneOptions,
    BackboneSpec,
    framewise_spec,
)
from gta.models.classifier import Head, HeadAverage, VideoClassifier
from gta.models.pretrained import image_weights, is_file_name, load_pretrained
from gta.models.relation import MOST_FRAMES
from gta.models.weight_files import read_weights


def list_models(pattern: str = "*") -> list[str]:
    """Names of the models, sorted; `pattern` may contain `*` and `?`.

    Besides these, any timm CNN with stages of strides 4 to 32 and any timm transformer can be used by its name, with or
    without a block as suffix; so can torchvision's networks, which are listed without suffixes.

    >>> gta.list_models("tiny_tsm_*nl")
    ['tiny_tsm_dnl', 'tiny_tsm_nl']
    """
    suffixes = [suffix for suffix in BLOCK_SUFFIXES if suffix != REUSE]  # none of these is an image transformer
    own = [name for name in BACKBONES if not name.startswith(PREFIX)]
    names = [*BACKBONES, *(f"{name}_{suffix}" for name in own for suffix in suffixes)]
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
    name: str | None = None,
    *,
    num_classes: int = 174,
    num_frames: int | None = None,
    pretrained: str | None = None,
    dropout: float = 0.5,
    at: Mapping[str, Where] | None = None,
    temporal_pool: bool | None = None,
    fusion_kernel: int | None = None,
    temporal_blocks: int | None = None,
    alpha: int | None = None,
    beta_inverse: int | None = None,
    stride_1x1: bool | None = None,
    shift_div: int | None = None,
    flow_length: int | None = None,
    head_window: int | None = None,
    head_average: HeadAverage | None = None,
    head: Head = "average",
    relation_frames: int | None = None,
    side: Side | None = None,
    prefix: Prefix = "keep",
    image_size: int | None = None,
    global_pool: str | None = None,
    **attention: Unpack[AttentionArguments],
) -> VideoClassifier:
    """Build a model by name.

    Args:
        name: `<backbone>` or `<backbone>_<block>`; see `list_models()`. The backbone may be any timm CNN, or any timm
            transformer whose features are tokens or images. By default, the network that the file `pretrained`
            describes, changed by the other arguments.
        num_classes: number of classes (K).
        num_frames: T; by default, the backbone's own (8; SlowFast: 64 or 32).
        pretrained: starting weights: the path of a checkpoint of this package (the number of frames and
            classes may differ), `hf://owner/name` on a hub, or a file that `gta convert` reads; `imagenet` or a timm
            tag for a frame-wise backbone. The model's `loaded` attribute says what was loaded, resized and left out.
        dropout: probability of dropping a feature before the head, in [0, 1).
        at: attention blocks per stage, their indices in it, or `all`; by default, the paper's places, and in a
            transformer without stages three of its `blocks`, evenly spread.
        temporal_pool: C2D, I3D and Slow only: halve the number of frames after res2, as public C2D and I3D weights were
            trained (I3D's own choice).
        fusion_kernel: SlowFast only: temporal kernel of the lateral connections.
        temporal_blocks: SlowFast only: how many first blocks of res4 have a temporal kernel (R101: 6; public
            pytorchvideo weights: 23).
        alpha, beta_inverse: SlowFast only: frame-rate and channel ratio of the pathways (4 and 8; 4x16: 8 and 8).
        stride_1x1: C2D, I3D and Slow only: the spatial stride is in the first convolution of the residual blocks.
        shift_div: TSM only: 1 / shift_div of the channels are shifted in each direction (default 8).
        flow_length: optical-flow networks only: L, consecutive flow fields per frame (default 5); clips have 2L
            channels.
        head_window, head_average: 3D models only: in evaluation, classify every window of head_window x head_window
            positions (7 for networks trained on 224 pixels) and average the `probabilities` (PySlowFast) or `logits`
            (pytorchvideo); by default, all positions at once.
        head: `average` over frames and positions; `attentive`: an attentive probe, a learned query over all of them;
            `step`: the same with a fixed encoding of time; `relation`: ordered tuples of frames (TRN), which
            `trn50` and `tiny_trn` use instead of `average`.
        relation_frames: head `relation` only: frames of the largest relation; by default, all frames, but
            at most 8.
        side, prefix: transformers only: as in `gta.insert_attention`.
        image_size: timm's transformers only: input height and width in pixels.
        global_pool: timm's networks only: how positions become one vector: `token`, `avg`, `map`, ...
        attention: options of the attention blocks, as in `gta.blocks.create_block`: `num_groups`,
            `num_heads`, `num_regions`, `inner_channels`, `scaled`, `norm`, `zero_init`, `regions`, `region_size`,
            `instantiation`, `pool` (by default, `after` in 2D and `before` in 3D models), and how
            frames are mixed: `share_mixing`, `mixing_init`, `toeplitz`, `causal`, `dynamic_rank`, `gate`,
            `differences`. `causal` also makes temporal shifts uni-directional.

    Returns:
        The classifier in training mode; `.arguments` contains plain values that build the same architecture again.

    Raises:
        ValueError: the name is unknown or the arguments do not fit it.
        TypeError: there is no such argument.
        gta.errors.CheckpointError: the weights are missing, damaged or do not fit.

    >>> model = gta.create_model("tiny_gta", num_classes=10, num_frames=8)
    >>> model(torch.randn(2, 3, 8, 64, 64)).shape
    torch.Size([2, 10])
    """
    if name is None:
        return create_model(**_described(pretrained, locals()))
    backbone_name, block = split_name(name)
    spec = BACKBONES.get(backbone_name) or framewise_spec(backbone_name)
    _check_names(name, backbone_name, attention)
    frames = spec.num_frames if num_frames is None else num_frames
    _check_numbers(frames, num_classes, dropout)
    if at is not None:
        check_places(at, by_name=False)
    if at and block is None:
        raise ValueError(f"'at' says where attention goes, but {name!r} has none: name a block, e.g. {name}_gta")
    asked = BackboneOptions(
        temporal_pool=temporal_pool,
        fusion_kernel=fusion_kernel,
        temporal_blocks=temporal_blocks,
        alpha=alpha,
        beta_inverse=beta_inverse,
        stride_1x1=stride_1x1,
        shift_div=shift_div,
        flow_length=flow_length,
        head_window=head_window,
        head_average=head_average,
        image_size=image_size,
        global_pool=global_pool,
    )
    options = _options(backbone_name, spec, asked)
    backbone = spec.build(frames, options, image_weights(pretrained, backbone_name, spec))
    assert isinstance(backbone, VideoBackbone)
    head = spec.head if head == "average" else head
    relation_frames = _largest_relation(relation_frames, head, backbone, frames)
    blocks = _attention_spec(spec, attention)
    _check_attention(blocks, name, block, causal_elsewhere=blocks.mixing.causal and make_shift_causal(backbone) > 0)
    places: dict[str, Where] | None = None
    if block is not None:
        places = dict(at if at is not None else spec.at or _default_places(backbone))
        insert_attention(
            backbone,
            block=block,
            at=places,
            first=spec.first,
            num_frames=frames,
            side=side,
            prefix=prefix,
            spec=blocks,
        )
    arguments: dict[str, Any] = {
        "name": name,
        "num_classes": num_classes,
        "num_frames": frames,
        "dropout": dropout,
        "at": places and {stage: n if isinstance(n, int | str) else list(n) for stage, n in places.items()},
        **blocks.arguments(),
        "region_size": blocks.region_size and list(blocks.region_size),
        "side": side,
        "prefix": prefix,
        **options.given(),
        **({} if head == "average" else {"head": head}),
        **({} if relation_frames is None else {"relation_frames": relation_frames}),
    }
    model = _channels_last(
        VideoClassifier(
            backbone,
            num_classes=num_classes,
            num_frames=frames,
            dropout=dropout,
            arguments=arguments,
            head_window=options.head_window,
            head_average=options.head_average or "probabilities",
            head=head,
            relation_frames=relation_frames or MOST_FRAMES,
        )
    )
    model.loaded = load_pretrained(model, pretrained)
    return model


def _check_names(name: str, backbone: str, attention: Mapping[str, Any]) -> None:
    """Refuse a model and an argument that do not exist, with the one that may be meant."""
    if backbone not in BACKBONES and not backbone.startswith(PREFIX):
        import timm  # here, since it takes seconds and not every backbone of our own needs it

        if not timm.is_model(backbone.removesuffix(SHIFTED)):
            close = get_close_matches(name, [*list_models(), *timm.list_models()], n=1)
            hint = f"did you mean {close[0]!r}?" if close else "see gta.list_models() and timm.list_models()"
            raise ValueError(f"{name!r} is neither one of this package's backbones nor a timm model: {hint}")
    options = AttentionArguments.__annotations__
    for argument in attention:
        if argument not in options:
            close = get_close_matches(argument, [*signature(create_model).parameters, *options], n=1)
            hint = f": did you mean {close[0]}?" if close else ""
            raise TypeError(f"create_model has no argument {argument!r}{hint}")


def _check_numbers(num_frames: int, num_classes: int, dropout: float) -> None:
    if num_frames < 1:
        raise ValueError(f"num_frames is {num_frames}: at least one frame is needed")
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}: at least one class is needed")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}: it must lie in [0, 1)")


def _largest_relation(asked: int | None, head: Head, backbone: VideoBackbone, num_frames: int) -> int | None:
    """Frames of the largest relation: as asked, or all that the features have left, up to a limit; None elsewhere."""
    if head != "relation":
        if asked is not None:
            raise ValueError(f"relation_frames is {asked}, an option of the head 'relation', not of {head!r}")
        return None
    if asked is not None:
        return asked
    inner = backbone.attention_frames(num_frames)
    return min(MOST_FRAMES, inner if isinstance(inner, int) else min(inner.values(), default=num_frames))


def _check_attention(spec: AttentionSpec, name: str, block: str | None, *, causal_elsewhere: bool) -> None:
    """Refuse options of attention that a model without it would ignore; `causal` may be for its temporal shifts."""
    if block is not None:
        return
    if spec.instantiation != "softmax":
        raise ValueError(
            f"instantiation is {spec.instantiation!r}, but {name!r} has no non-local blocks: name {name}_nl"
        )
    for option in spec.mixing.changed():
        if not (option == "causal" and causal_elsewhere):
            raise ValueError(f"{option} is an option of global temporal attention: name {name}_gta")


def _attention_spec(backbone: BackboneSpec, given: AttentionArguments) -> AttentionSpec:
    """What the blocks are like, with the backbone's own pooling where none is asked for."""
    spec = AttentionSpec.of(**given)
    size = spec.region_size and (int(spec.region_size[0]), int(spec.region_size[1]))
    return replace(spec, pool=spec.pool or backbone.pool, region_size=size)


def _described(pretrained: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the network that a file of ours describes, with those that are not the defaults in their place.

    Raises:
        ValueError: no file, or one that does not say what it holds.
    """
    if pretrained is None or not is_file_name(pretrained):
        raise ValueError("create_model needs the name of a model, or a checkpoint of this package as pretrained")
    card = read_weights(pretrained).card
    if card is None:
        raise ValueError(f"{pretrained} does not say which network it contains: give the model's name as well")
    defaults = {name: parameter.default for name, parameter in signature(create_model).parameters.items()}
    plain = {name: value for name, value in given.items() if name != "attention"}
    changed = {name: value for name, value in plain.items() if name in defaults and value != defaults[name]}
    stored = {name: tuple(value) if name == "region_size" and value else value for name, value in card.model.items()}
    stored = {"share_mixing": True, **stored}  # as models were before cards said so
    return {**stored, "num_classes": card.num_classes or defaults["num_classes"], **changed, **given["attention"]}


def _options(name: str, spec: BackboneSpec, asked: BackboneOptions) -> BackboneOptions:
    """The backbone's own options with the user's in their place."""
    unknown = [option for option in asked.given() if option not in spec.options]
    if unknown:
        known = f"it knows {', '.join(spec.options)}" if spec.options else "it has no such options"
        raise ValueError(f"{unknown[0]} does not apply to the backbone {name!r}: {known}")
    return replace(BackboneOptions(**dict(spec.options)), **asked.given())  # type: ignore[arg-type]


def _default_places(backbone: nn.Module) -> dict[str, int]:
    """The paper's places, "every other block" of res3 and res4, as far as the stages go; else three blocks."""
    stages = find_stages(backbone)
    if BLOCKS in stages and "res3" not in stages:
        return {BLOCKS: min(TRANSFORMER_BLOCKS, len(stages[BLOCKS]))}
    return {
        stage: min(most, (len(stages[stage]) + 1) // 2) for stage, most in PAPER_PLACES.items() if stages.get(stage)
    }


def _channels_last(model: VideoClassifier) -> VideoClassifier:
    """Keep convolution weights in channels-last memory, like the features, so that no pass has to convert them."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
        elif isinstance(module, nn.Conv3d):
            module.to(memory_format=torch.channels_last_3d)
    return model
