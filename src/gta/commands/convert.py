"""`gta convert`: weights of other code bases to ours."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from gta.commands.arguments import DestinationPath, SourcePath, parse_arguments
from gta.config import config_to_json
from gta.errors import CheckpointError, OptionError
from gta.terminal import print_line

if TYPE_CHECKING:
    from gta.config import ClipConfig
    from gta.model_card import ModelCard
    from gta.models.keymaps import KeyMap
    from gta.models.weight_files import WeightFile

_NON_LOCAL_OPTIONS = ("scaled", "instantiation", "pool")
_BACKBONE_OPTIONS = (
    "temporal_pool",
    "stride_1x1",
    "fusion_kernel",
    "temporal_blocks",
    "alpha",
    "beta_inverse",
    "shift_div",
    "head_window",
    "head_average",
)


@dataclass(frozen=True)
class ConvertArguments:
    """Convert weights of timm, torchvision, TSM, PySlowFast (.pyth, Caffe2 .pkl) or pytorchvideo to safetensors.

    The architecture is read from the weights; what they cannot tell can be given as options.
    """

    source: SourcePath
    """File of weights to read; nothing in it is run."""
    dest: DestinationPath
    """File to write, .safetensors; it can then be given as `pretrained`."""
    model: str | None = None
    """Model to convert to, e.g. r2d50; recognised from the weights if not given."""
    num_frames: int | None = None
    """Frames per clip that the model reads; the model's own if not given."""
    num_classes: int | None = None
    """Classes; as many as the source has if not given. Another number leaves the classifier out."""
    temporal_pool: bool | None = None
    """C2D: whether the source halves the number of frames after res2."""
    stride_1x1: bool | None = None
    """C2D: whether the spatial stride is in the first convolution of the residual blocks."""
    alpha: int | None = None
    """SlowFast: how many times as many frames the fast pathway reads."""
    shift_div: int | None = None
    """TSM: one channel in so many is shifted each way."""
    instantiation: Literal["softmax", "dot_product"] | None = None
    """Non-local blocks: softmax of the similarities, or division by their number."""
    pool: Literal["after", "before", "none"] | None = None
    """Non-local blocks: where the keys and values are pooled, if at all."""
    head_window: int | None = None
    """3D: windows of so many positions are classified and averaged (training crop / 32); 0: all positions at once."""
    head_average: Literal["probabilities", "logits"] | None = None
    """3D: what is averaged over these windows."""
    overwrite: bool = False
    """Replace DEST if it exists."""


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta convert`."""
    options = parse_arguments(ConvertArguments, arguments, command="gta convert")
    if options.dest.suffix != ".safetensors":
        raise OptionError(f"{options.dest}: DEST must end in .safetensors")
    if options.dest.exists() and not options.overwrite:
        raise OptionError(f"{options.dest}: already exists; give --overwrite to replace it")
    for line in convert(options).splitlines():
        print_line(line)


def convert(options: ConvertArguments) -> str:
    """Convert; returns the report."""
    from gta.models.conversion import find_key_map
    from gta.models.foreign import refuse_foreign
    from gta.models.pretrained import load_file, save_weights
    from gta.models.registry import create_model
    from gta.models.restore import check_description
    from gta.models.weight_files import read_weights

    source = read_weights(options.source)
    key_map = find_key_map(source.tensors)
    given, clip = _given(options), None
    if source.card:
        arguments: dict[str, Any] = check_description(source.card, source.tensors, options.source)
        clip = source.card.clip
    else:
        refuse_foreign(source.tensors, str(options.source))
        if key_map is None:
            raise CheckpointError(f"{options.source}: its keys match no known layout, e.g. {min(source.tensors)}")
        arguments, clip, stated = _describe(source, key_map, options.model)
        given = {**stated, **given}
    arguments |= given
    try:
        model = create_model(**{name: value for name, value in arguments.items() if value is not None})
    except ValueError as error:
        raise OptionError(str(error)) from None
    report = load_file(model, source, given=given)
    lists = {name: list(getattr(report, name)) for name in ("missing", "unexpected", "assumed", "notes")}
    save_weights(
        model,
        options.dest,
        extra={
            "source": {"file": options.source.name, "layout": key_map.name if key_map else "gta"},
            "report": lists,
            **({"clip": config_to_json(replace(clip, num_frames=model.num_frames))} if clip else {}),
            **(_kept(source.card, model) if source.card else {}),
        },
    )
    return f"{report.summary()}\n{options.dest}: {arguments['name']}, {model.num_classes} classes"


def _given(options: ConvertArguments) -> dict[str, Any]:
    """The arguments of `create_model` that the user has given."""
    asked = {"name": options.model} | {
        name: getattr(options, name)
        for name in (
            "num_frames",
            "num_classes",
            "temporal_pool",
            "stride_1x1",
            "alpha",
            "shift_div",
            "instantiation",
            "pool",
            "head_window",
            "head_average",
        )
    }
    given = {name: value for name, value in asked.items() if value is not None}
    return given if given.get("head_window") != 0 else {**given, "head_window": None}


def _kept(card: "ModelCard", model: Any) -> dict[str, Any]:
    """The classes that a card of ours names, as far as they are those of the converted model."""
    if len(card.classes) != model.num_classes:
        return {}
    return {"classes": list(card.classes), "reversals": dict(card.reversals)}


def _describe(
    source: "WeightFile", key_map: "KeyMap", model: str | None
) -> tuple[dict[str, Any], "ClipConfig | None", dict[str, Any]]:
    """Arguments of the source's network, its clips, and what the name of the user's model states of it."""
    from gta.models.catalog import BACKBONES
    from gta.models.registry import split_name
    from gta.models.sources import describe_source

    network = describe_source(source, key_map, named=model is not None)
    arguments = {"num_classes": _count_classes(source.tensors)} | network.arguments
    if model is None:
        if "name" not in arguments:
            raise CheckpointError(
                f"{source.path} ({key_map.name}): only ResNet-50 and -101 are recognised; name the model with --model"
            )
        return arguments, network.clip, {}
    backbone, block = split_name(model)
    spec = BACKBONES.get(backbone)
    known = spec.options if spec else {}
    for name in set(_BACKBONE_OPTIONS).difference(known) | (set() if block else {"at", *_NON_LOCAL_OPTIONS}):
        arguments.pop(name, None)
    stated = {}
    if spec and backbone.startswith("slowfast"):  # whose names say how many frames each pathway reads
        own = {"num_frames": spec.num_frames, "alpha": known["alpha"]}
        stated = {name: value for name, value in own.items() if name in network.assumed}
    return arguments, network.clip, stated


def _count_classes(tensors: dict[str, Any]) -> int | None:
    """Classes of a classifier under any of its usual names."""
    for name in ("fc.weight", "classifier.weight", "head.fc.weight", "head.weight"):
        if name in tensors and tensors[name].ndim:
            return int(tensors[name].shape[0])
    return None
