"""Starting weights of a model, from ImageNet, a checkpoint of ours or other people's files; and writing them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from gta.checkpoint import write_safetensors
from gta.errors import CheckpointError
from gta.model_card import FORMAT, ModelCard
from gta.models.catalog import BackboneSpec
from gta.models.classifier import VideoClassifier
from gta.models.conversion import LoadReport, backbone_kind, copy_weights, find_key_map, rename
from gta.models.foreign import refuse_foreign
from gta.models.sources import describe_card, describe_source, find_differences, list_assumptions
from gta.models.weight_files import WeightFile, read_weights

_SUFFIXES = (".safetensors", ".pth", ".pyth", ".pt", ".ckpt", ".pkl", ".bin")
_OWN = ("backbone.network.", "backbone.pathway.", "backbone.slow.")  # keys of our models, stored without a card


def is_file_name(pretrained: str) -> bool:
    """Whether `pretrained` means a file, not an ImageNet tag."""
    return "/" in pretrained or pretrained.endswith(_SUFFIXES) or Path(pretrained).is_file()


def image_weights(pretrained: str | None, name: str, spec: BackboneSpec) -> str | None:
    """The tag of weights to build a backbone with, or None when `pretrained` is a file or nothing.

    Raises:
        ValueError: the backbone has no weights that a tag could name.
    """
    if pretrained is None or is_file_name(pretrained):
        return None
    if not spec.has_weights:
        raise ValueError(f"the backbone {name!r} has no {pretrained!r} weights: give the path of a file")
    return pretrained


def load_pretrained(model: VideoClassifier, pretrained: str | None) -> LoadReport | None:
    """Load a file of weights into `model`, in place; nothing to do for ImageNet tags (`image_weights` took them).

    Raises:
        CheckpointError: the file is missing, damaged, of an unknown layout, or does not fit the model.
    """
    if pretrained is None or not is_file_name(pretrained):
        return None
    return load_weight_file(model, read_weights(pretrained))


def load_weight_file(
    model: VideoClassifier, source: WeightFile, *, given: Mapping[str, Any] | None = None
) -> LoadReport:
    """Load weights that were read from a file, whatever layout they have.

    Args:
        model: where to, in place.
        source: the file's content.
        given: arguments of the model that the user has given, so that nothing needs to be assumed about them.

    Raises:
        CheckpointError: the layout is unknown, the weights do not fit, or they are of a network that gta does not have.
    """
    if source.card or any(key.startswith(_OWN) for key in source.tensors):
        kind = " (averaged weights, which were the ones validated)" if source.averaged else ""
        tensors = source.tensors if source.card is None else _whole(source.card, source)
        report = copy_weights(model, tensors, source=f"{source.path}{kind}")
        if source.card is None:
            return report
        return replace(report, differing=find_differences(model.arguments, describe_card(source.card), given=given))
    key_map = find_key_map(source.tensors, backbone_kind(model.get_submodule("backbone")))
    refuse_foreign(source.tensors, str(source.path), but=key_map.known_as if key_map else ())
    if key_map is None:
        other = find_key_map(source.tensors)
        what = f"{other.name} weights, which do not fit" if other else "weights of an unknown layout for"
        raise CheckpointError(f"{source.path}: it holds {what} the model {model.arguments['name']!r}")
    network = describe_source(source, key_map, named=True)
    timeless = not network.arguments.keys() & {"num_frames"}  # ImageNet networks, which state nothing of video
    weights = rename(source.tensors, key_map, source=str(source.path))
    if network.reads_bgr:
        stems = [key for key in weights if key.endswith(".stem.conv.weight") and ".laterals." not in key]
        weights |= {key: weights[key].flip(1) for key in stems}
    report = copy_weights(model, weights, source=f"{source.path} ({key_map.name})")
    return replace(
        report,
        differing=() if timeless else find_differences(model.arguments, network, given=given),
        assumed=list_assumptions(network, given=given),
        notes=network.notes,
    )


def _whole(card: ModelCard, source: WeightFile) -> dict[str, Tensor]:
    """The weights of a file of ours, with those of its backbone where it leaves them out."""
    from gta.models.frozen import KEY, complete_weights
    from gta.models.restore import check_description  # both of which build models, and so load weights through here

    if KEY not in card.notes:
        return source.tensors
    arguments = check_description(card, source.tensors, source.path)
    return complete_weights(card, source.tensors, source.path, arguments)


def save_weights(model: VideoClassifier, path: str | Path, *, extra: Mapping[str, Any] | None = None) -> None:
    """Write a model's weights and arguments as safetensors, atomically.

    Args:
        model: the classifier.
        path: file to write.
        extra: further plain values for the description in the metadata.
    """
    write_safetensors(path, model.state_dict(), {"format": FORMAT, "model": model.arguments, **(extra or {})})
