"""`gta convert`: weights of other code bases to ours."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from gta.commands.arguments import parse_arguments
from gta.config import config_to_json
from gta.errors import CheckpointError, OptionError

if TYPE_CHECKING:
    from gta.model_card import ModelCard
    from gta.models.keymaps import KeyMap
    from gta.models.weight_files import WeightFile


@dataclass(frozen=True)
class ConvertArguments:
    """Convert weights of timm, torchvision, TSM, PySlowFast (.pyth, Caffe2 .pkl) or pytorchvideo to safetensors.

    The architecture is read from the weights; what they cannot tell can be given as options.
    """

    source: tyro.conf.Positional[Path]
    """File of weights to read; nothing in it is run."""
    dest: tyro.conf.Positional[Path]
    """File to write, .safetensors; it can then be given as `pretrained`."""
    model: str | None = None
    """Model to convert to, e.g. r2d50; recognised from the weights if not given."""
    num_frames: int | None = None
    """Frames per clip that the model shall read; the model's own if not given."""
    num_classes: int | None = None
    """Classes; as many as the source has if not given. Another number leaves the classifier out."""
    temporal_pool: bool | None = None
    """C2D: whether the source halves the number of frames after res2."""
    overwrite: bool = False
    """Replace DEST if it exists."""


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta convert`."""
    options = parse_arguments(ConvertArguments, arguments, command="gta convert")
    if options.dest.suffix != ".safetensors":
        raise OptionError(f"{options.dest}: DEST must end in .safetensors")
    if options.dest.exists() and not options.overwrite:
        raise OptionError(f"{options.dest}: it exists already; give --overwrite to replace it")
    print(convert(options))


def convert(options: ConvertArguments) -> str:
    """Convert; returns the report."""
    from gta.models.conversion import find_key_map
    from gta.models.foreign import refuse_foreign
    from gta.models.pretrained import load_file, save_weights
    from gta.models.registry import create_model
    from gta.models.restore import check_description
    from gta.models.weight_files import read_weights

    source = read_weights(options.source)
    if source.card is None:
        refuse_foreign(source.tensors, str(options.source))
    key_map = find_key_map(source.tensors)
    if source.card:
        arguments: dict[str, Any] = check_description(source.card, source.tensors, options.source)
    elif key_map is not None:
        arguments = _describe(source, key_map, options.model)
        arguments.setdefault("num_classes", _count_classes(source.tensors))
    else:
        raise CheckpointError(f"{options.source}: its keys are of no known layout, e.g. {min(source.tensors)}")
    asked = {
        "name": options.model,
        "num_frames": options.num_frames,
        "num_classes": options.num_classes,
        "temporal_pool": options.temporal_pool,
    }
    arguments |= {name: value for name, value in asked.items() if value is not None}
    try:
        model = create_model(**{name: value for name, value in arguments.items() if value is not None})
    except ValueError as error:
        raise OptionError(str(error)) from None
    report = load_file(model, source)
    save_weights(
        model,
        options.dest,
        extra={
            "source": {"file": options.source.name, "layout": key_map.name if key_map else "gta"},
            "report": {"missing": list(report.missing), "unexpected": list(report.unexpected)},
            **(_kept(source.card, model) if source.card else {}),
        },
    )
    return f"{report.summary()}\n{options.dest}: {arguments['name']}, {model.num_classes} classes"


def _kept(card: "ModelCard", model: Any) -> dict[str, Any]:
    """What a card of ours says besides the architecture, as far as it is true of the converted model."""
    kept: dict[str, Any] = {}
    if card.clip is not None:
        kept["clip"] = config_to_json(replace(card.clip, num_frames=model.num_frames))
    if len(card.classes) == model.num_classes:
        kept |= {"classes": list(card.classes), "reversals": dict(card.reversals)}
    return kept


def _describe(source: "WeightFile", key_map: "KeyMap", model: str | None) -> dict[str, Any]:
    """Arguments of the source's network; with the user's model in place of the recognised one."""
    from gta.models.catalog import BACKBONES
    from gta.models.conversion import describe_source
    from gta.models.registry import split_name

    try:
        arguments = describe_source(source.tensors, key_map, source.config)
    except CheckpointError:
        if model is None:
            raise
        return {}
    if model is not None:
        backbone, block = split_name(model)
        known = BACKBONES[backbone].options if backbone in BACKBONES else {}
        foreign = {"temporal_pool", "fusion_kernel", "temporal_blocks"}.difference(known)
        for name in foreign | (set() if block else {"at", "scaled"}):
            arguments.pop(name, None)
    return arguments


def _count_classes(tensors: dict[str, Any]) -> int | None:
    """Classes of a classifier under any of its usual names."""
    for name in ("fc.weight", "classifier.weight", "head.fc.weight", "head.weight"):
        if name in tensors:
            return int(tensors[name].shape[0])
    return None
