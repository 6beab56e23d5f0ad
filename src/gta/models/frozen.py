"""Checkpoints of networks whose backbone was frozen: they hold what trained, and name the backbone they belong to.

The model card of such a file has the entry "frozen":

    "backbone"     the model's name, for people
    "pretrained"   where the backbone's weights come from: a timm tag, or a file
    "digest"       SHA-256 of the weights that were left out, by which they are recognised
    "train_norms"  whether scales and shifts of the backbone's norms trained, and so are in the file
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gta.checkpoint import read_checkpoint
from gta.errors import CheckpointError
from gta.model_card import ModelCard
from gta.models.classifier import VideoClassifier
from gta.models.pretrained import is_file_name
from gta.stored import StoredError, entry, mapping, text

KEY = "frozen"
_COUNTER = "num_batches_tracked"  # of BatchNorm: says nothing about what a frozen layer computes


@dataclass(frozen=True)
class FrozenBackbone:
    """The "frozen" entry of a model card."""

    backbone: str
    pretrained: str
    digest: str
    train_norms: bool = False

    @classmethod
    def of(cls, card: ModelCard) -> "FrozenBackbone | None":
        """The entry of a card, checked; None where the file holds the whole network.

        Raises:
            StoredError: a part of it is missing or of another type.
        """
        if KEY not in card.notes:
            return None
        found = mapping(card.notes[KEY], KEY)
        names = ("backbone", "pretrained", "digest")
        values = {name: text(entry(found, name, KEY), f"{KEY}.{name}", 4096) for name in names}
        train_norms = found.get("train_norms", False)
        if not isinstance(train_norms, bool):
            raise StoredError(f"{KEY}.train_norms is {train_norms!r}, not true or false")
        return cls(**values, train_norms=train_norms)

    def to_plain(self) -> dict[str, Any]:
        """The entry as plain values."""
        return dict(vars(self))


def weights_digest(weights: Mapping[str, Tensor], names: Collection[str]) -> str:
    """SHA-256 over names, types, shapes and numbers of some weights, 64 hexadecimal digits.

    BatchNorm's counters of batches do not count.
    """
    total = hashlib.sha256()
    for name in sorted(names):
        if name.endswith(_COUNTER):
            continue
        value = weights[name].detach().cpu().contiguous()
        total.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        total.update(value.flatten().view(torch.uint8).numpy().data)  # a view: no copy
    return total.hexdigest()


def describe_frozen(model: VideoClassifier, pretrained: str | None) -> FrozenBackbone | None:
    """How checkpoints of a model with a frozen backbone name what they leave out.

    Args:
        model: after `freeze_backbone`, with its starting weights.
        pretrained: where those came from, as given to `create_model`.

    Returns:
        None if the backbone is not frozen, or its weights could not be had again: it started at random, or from a
        frozen run's file whose own source no longer holds them, as its norms trained.
    """
    names = model.frozen_weights()
    if pretrained is None or not names:
        return None
    source = str(Path(pretrained).absolute()) if is_file_name(pretrained) else pretrained
    digest = weights_digest(model.state_dict(), names)
    if is_file_name(pretrained) and pretrained.endswith(".ckpt"):
        try:
            before = FrozenBackbone.of(read_checkpoint(pretrained).card)
        except StoredError as error:
            raise CheckpointError(f"{pretrained}: {error}") from error
        if before is not None:  # that file has no backbone of its own
            source = before.pretrained
            if digest != _digest_at(_find(source, Path(pretrained)), model):
                return None
    return FrozenBackbone(
        backbone=str(model.arguments["name"]),
        pretrained=source,
        digest=digest,
        train_norms=model.trains_norms,
    )


def _digest_at(source: str, like: VideoClassifier) -> str | None:
    """The digest of what a model leaves out as `source` gives it; None where that does not fit the model."""
    try:
        with torch.random.fork_rng(devices=[]):  # the run draws what it would have drawn without this look
            names, whole = _weights_at(source, like.arguments, train_norms=like.trains_norms)
    except (ValueError, CheckpointError):
        return None
    return weights_digest(whole, names)


def _weights_at(
    source: str, arguments: Mapping[str, Any], *, train_norms: bool
) -> tuple[tuple[str, ...], dict[str, Tensor]]:
    """Names of the weights that a file leaves out, and all those of the network that starts from `source`."""
    from gta.models.registry import create_model  # which loads weights through this module

    model = create_model(**arguments, pretrained=source)
    model.freeze_backbone(train_norms=train_norms)
    return model.frozen_weights(), model.state_dict()


def left_out(card: ModelCard, outline: nn.Module) -> frozenset[str]:
    """Names of the weights that a file leaves out; `outline` is the network that its card describes.

    Raises:
        StoredError: the card's entry is damaged.
    """
    frozen = FrozenBackbone.of(card)
    if frozen is None:
        return frozenset()
    assert isinstance(outline, VideoClassifier)
    outline.freeze_backbone(train_norms=frozen.train_norms)
    return frozenset(outline.frozen_weights())


def complete_weights(
    card: ModelCard, weights: Mapping[str, Tensor], path: Path, arguments: Mapping[str, Any]
) -> dict[str, Tensor]:
    """The weights of the whole network: those of a file, and of its backbone those that the file leaves out.

    The backbone's file is looked for where it was when the network trained, then beside the checkpoint.

    Args:
        card: the file's card.
        weights: the file's weights.
        path: the file.
        arguments: those of `create_model` that the card describes, checked.

    Raises:
        CheckpointError: the backbone's weights cannot be found, or are other ones than those it was trained on.
    """
    try:
        frozen = FrozenBackbone.of(card)
    except StoredError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if frozen is None:
        return dict(weights)
    source = _find(frozen.pretrained, path)
    try:
        names, whole = _weights_at(source, arguments, train_norms=frozen.train_norms)
    except ValueError as error:
        raise CheckpointError(f"{path}: it contains only what was trained, without the backbone: {error}") from error
    digest = weights_digest(whole, names)
    if digest != frozen.digest:
        raise CheckpointError(
            f"{path}: it was trained with other backbone weights than those in {source} "
            f"(digest {frozen.digest[:12]}, here {digest[:12]}): give it the same weights, or train again with "
            "run.full_checkpoints"
        )
    return {**{name: whole[name] for name in names}, **weights}


def _find(pretrained: str, path: Path) -> str:
    """Where a checkpoint's backbone is: a tag as it is, a file where it was or beside the checkpoint."""
    if not is_file_name(pretrained):
        return pretrained
    places = (Path(pretrained), path.parent / Path(pretrained).name)
    found = next((place for place in places if place.is_file() and place.resolve() != path.resolve()), None)
    if found is None:
        raise CheckpointError(
            f"{path}: it contains only what was trained, without the backbone, whose file is not there: put "
            f"{Path(pretrained).name} next to it (or where it was: {pretrained})"
        )
    return str(found)
