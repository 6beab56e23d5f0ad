"""Building the network that a stored file describes: checked against its own weights before anything is allocated."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from gta.blocks.factory import COMPOSITIONS
from gta.blocks.spec import AttentionArguments
from gta.checkpoint import Checkpoint, load_weights
from gta.errors import CheckpointError
from gta.model_card import ModelCard
from gta.models.classifier import VideoClassifier
from gta.models.frozen import complete_weights, left_out
from gta.models.registry import create_model, split_name
from gta.stored import StoredError, shown


def build_stored_model(checkpoint: Checkpoint) -> VideoClassifier:
    """Build the network of a checkpoint, with its weights, in evaluation mode on the CPU.

    Raises:
        CheckpointError: this version cannot build such a model, the weights do not fit it, or the backbone that the
            file leaves out is not to be had.
    """
    arguments = check_description(checkpoint.card, checkpoint.state_dict, checkpoint.path)
    weights = complete_weights(checkpoint.card, checkpoint.state_dict, checkpoint.path, arguments)
    model = create_model(**arguments)
    load_weights(model, replace(checkpoint, state_dict=weights))
    return model.eval()


def check_description(card: ModelCard, weights: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """The arguments of `create_model` that a card describes, once it is sure that they give exactly these weights.

    No memory is taken for the model, whatever sizes the file claims.

    Args:
        card: the card.
        weights: the file's weights, by the model's names.
        path: the file, for errors.

    Raises:
        CheckpointError: the arguments are unknown, do not fit `create_model` or each other, or not the weights.
    """
    arguments = {"share_mixing": True, **card.model}  # which cards state since there is a choice
    if "share_mixing" not in card.model and _mixes_both_levels(card.model.get("name")):
        warnings.warn(f"{path}: saved when pixels and regions shared one M: the model keeps a shared M", stacklevel=2)
    if card.num_classes is not None:
        arguments["num_classes"] = card.num_classes
    checked = _checked(arguments, path)
    try:
        with torch.device("meta"):  # shapes only
            outline = create_model(**checked)
    except Exception as error:  # arguments of the right types may still contradict each other in any layer
        raise CheckpointError(f"{path}: the model it describes cannot be built: {_line(error)}") from error
    try:
        absent = left_out(card, outline)
    except StoredError as error:
        raise CheckpointError(f"{path}: {error}") from error
    _compare({name: like for name, like in outline.state_dict().items() if name not in absent}, weights, path)
    return checked


def _checked(arguments: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The arguments with JSON's lists as tuples where `create_model` wants tuples, their types checked."""
    types = _argument_types()
    checked: dict[str, Any] = {}
    for name, value in arguments.items():
        if name not in types:
            raise CheckpointError(
                f"{path}: the model it describes cannot be built: {shown(name)} is not an argument of "
                "this version: update gta"
            )
        try:
            checked[name] = types[name].validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]["msg"]
            raise CheckpointError(
                f"{path}: the model it describes cannot be built: {name} is {shown(value)}: {problem}"
            ) from error
    return checked


@cache
def _argument_types() -> dict[str, Any]:  # of TypeAdapter, a generic type that beartype does not know
    """What checks each argument of `create_model`, from its annotation."""
    options = get_type_hints(AttentionArguments)
    hints = get_type_hints(create_model)
    names = [name for name in signature(create_model).parameters if name not in ("pretrained", "attention")]
    return {name: TypeAdapter(hint) for name, hint in ({name: hints[name] for name in names} | options).items()}


def _mixes_both_levels(name: object) -> bool:
    """Whether the model of this name has blocks with pixel and region GTA."""
    block = split_name(str(name))[1] or ""
    return "pixel_region_gta" in [part for word in block.split("+") for part in COMPOSITIONS.get(word, ())]


def _compare(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor], path: Path) -> None:
    for name, like in expected.items():
        found = weights.get(name)
        if found is None:
            raise CheckpointError(f"{path}: the weights do not fit the model: {name} is missing")
        if found.shape != like.shape or found.is_floating_point() != like.is_floating_point():
            raise CheckpointError(
                f"{path}: the weights do not fit the model: {name} has shape {tuple(found.shape)}, "
                f"the model's has {tuple(like.shape)}"
            )
    strange = next((name for name in weights if name not in expected), None)
    if strange is not None:
        raise CheckpointError(f"{path}: the weights do not fit the model, which has no {strange}")


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:300] + " ..."
