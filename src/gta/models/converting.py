"""Converting a file of weights of another code base, or of ours, to safetensors."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gta.config import config_to_json
from gta.errors import CheckpointError, OptionError

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
class Converted:
    """What `convert` wrote.

    Args:
        path: the file.
        model: name of the model.
        num_classes: number of classes of the model.
        summary: what was used, resized, left out or assumed, one line each.
    """

    path: Path
    model: str
    num_classes: int
    summary: str


def convert(
    source: str | Path, dest: str | Path, *, model: str | None = None, overwrite: bool = False, **stated: Any
) -> Converted:
    """Convert weights of timm, torchvision, TSM, PySlowFast (.pyth, Caffe2 .pkl) or pytorchvideo to safetensors.

    The architecture is inferred from the weights; what they do not determine can be given. No code in the file is run.

    Args:
        source: file of weights to read.
        dest: file to write, .safetensors; it can then be given as `pretrained`.
        model: model to convert to, e.g. `r2d50`; by default, recognised from the weights.
        overwrite: replace `dest` if it exists.
        stated: arguments of `gta.create_model` that the weights do not determine, e.g. `num_frames`, `shift_div`.

    Raises:
        CheckpointError: the source is missing, damaged or has an unknown layout.
        OptionError: `dest` exists or has another suffix, or the arguments do not fit the model.

    >>> import timm
    >>> torch.save(timm.create_model("resnet50").state_dict(), "resnet50.pth")
    >>> converted = gta.convert("resnet50.pth", "r2d50.safetensors", model="r2d50")
    >>> model = gta.create_model("r2d50_gta", pretrained="r2d50.safetensors")
    """
    source, dest = Path(source), Path(dest)
    if dest.suffix != ".safetensors":
        raise OptionError(f"{dest}: DEST must end in .safetensors")
    if dest.exists() and not overwrite:
        raise OptionError(f"{dest}: already exists; give `overwrite` to replace it")
    return _convert(source, dest, model, stated)


def _convert(source_path: Path, dest: Path, name: str | None, given: dict[str, Any]) -> Converted:
    from gta.models.conversion import find_key_map
    from gta.models.foreign import refuse_foreign
    from gta.models.pretrained import load_weight_file, save_weights
    from gta.models.registry import create_model
    from gta.models.restore import check_description
    from gta.models.weight_files import read_weights

    source = read_weights(source_path)
    key_map = find_key_map(source.tensors)
    given = given if name is None else {"name": name, **given}
    clip = None
    if source.card:
        arguments: dict[str, Any] = check_description(source.card, source.tensors, source_path)
        clip = source.card.clip
    else:
        refuse_foreign(source.tensors, str(source_path), but=key_map.known_as if name and key_map else ())
        if key_map is None:
            raise CheckpointError(f"{source_path}: its keys match no known layout, e.g. {min(source.tensors)}")
        arguments, clip, stated = _describe(source, key_map, name)
        given = {**stated, **given}
    arguments |= given
    try:
        model = create_model(**{name: value for name, value in arguments.items() if value is not None})
    except ValueError as error:
        raise OptionError(str(error)) from None
    report = load_weight_file(model, source, given=given)
    lists = {part: list(getattr(report, part)) for part in ("missing", "unexpected", "assumed", "notes")}
    save_weights(
        model,
        dest,
        extra={
            "source": {"file": source_path.name, "layout": key_map.name if key_map else "gta"},
            "report": lists,
            **({"clip": config_to_json(replace(clip, num_frames=model.num_frames))} if clip else {}),
            **(_kept(source.card, model) if source.card else {}),
        },
    )
    return Converted(dest, arguments["name"], model.num_classes, report.summary())


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
                f"{source.path} ({key_map.name}): only ResNet-50 and -101 are recognised; name the model with `model`"
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
