"""`gta.explain`: everything about one clip in one record."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gta.backbones.insertion import AttendedBlock
from gta.explain.blocks import explain_blocks
from gta.explain.class_maps import Layer, candidate_layers, choose_layer, class_maps
from gta.explain.clips import Clip, given_clip, read_clip
from gta.explain.importance import frame_importance
from gta.explain.network import InputKind, Network, guess_layout
from gta.explain.records import BlockExplanation, CamMethod, ClassMaps, Explanation, Grid
from gta.explain.swap import swap_projections, swappable_pairs
from gta.modes import evaluating

if TYPE_CHECKING:
    from gta.predictor import Predictor


def explain(
    model: "nn.Module | Predictor",
    clip: Tensor | str | Path,
    *,
    query: Grid | None = None,
    target: int | str | None = None,
    classes: Sequence[str] | None = None,
    num_class_maps: int = 3,
    layer: str | None = None,
    method: CamMethod | None = None,
    swap: bool = False,
    importance: bool = True,
    table_side: int | None = None,
    layout: InputKind | None = None,
) -> Explanation:
    """Explain the prediction for one clip: attention, class maps and importance of frames, as arrays.

    The model is unchanged afterwards: its parameters, modes and outputs stay the same. Attention is computed for the
    given query only, from the inputs of the blocks, while the model runs.

    Args:
        model: a `Predictor`, or a classifier of clips: (1, 3, T, H, W) -> (1, K); or a timm or
            torchvision network with inserted attention, which reads frames (T, 3, H, W).
        clip: path of a video (with a `Predictor`; its middle clip is read), uint8 frames (T, 3, H, W) or
            (1, 3, T, H, W), or a normalised clip (1, 3, T, H, W).
        query: frame of the clip, row and column in pixels, from 0; by default, the point with the most evidence for
            the class.
        target: index or name of the class to explain; by default, the most probable one.
        classes: K names, for a model that is not a `Predictor`.
        num_class_maps: number of class maps: for the explained class, then for the most probable others.
        layer: dotted name of the module for the class maps; by default, the last one with at least 4 x 4 positions.
        method: how class maps are made, `grad_cam` or `layer_cam`; by default, the one that suits the layer.
        swap: also explain the model with the projections of its spatial and temporal attention exchanged (Fig. 5).
        importance: measure the importance of frames, which runs the model twice per frame.
        table_side: also compute the maps for every query of a grid with this many rows and columns (see
            `gta.explain.records`).
        layout: whether the model reads `clips` or `frames`; detected by default.

    Returns:
        The explanation; `Explanation.notes` says what does not apply to the model.

    Raises:
        ValueError: an argument does not fit the model or the clip.
        VideoError: the video cannot be read.

    >>> predictor = gta.Predictor.from_checkpoint("runs/mine/best.ckpt")
    >>> record = gta.explain(predictor, "clip.mp4", query=(3, 16, 16))
    >>> [block.kind for block in record.blocks]
    ['sa', 'gta', 'sa', 'gta']
    """
    if num_class_maps < 1:
        raise ValueError(f"num_class_maps is {num_class_maps}: it must be at least 1")
    if table_side is not None and table_side < 1:
        raise ValueError(f"table_side is {table_side}: it must be at least 1")
    module, names, given = _open(model, clip, classes)
    network = Network(module, layout or guess_layout(module), given.normalised.shape[2])
    wishes = _Wishes(query, target, num_class_maps, layer, method, swap, importance, table_side)
    with torch.inference_mode(mode=False), evaluating(module):
        return _explain(network, given, names, wishes)


class _Wishes(NamedTuple):
    """What was asked for; as the arguments of `explain`."""

    query: Grid | None
    target: int | str | None
    num_class_maps: int
    layer: str | None
    method: CamMethod | None
    swap: bool
    importance: bool
    table_side: int | None


def _open(
    model: "nn.Module | Predictor", clip: Tensor | str | Path, classes: Sequence[str] | None
) -> tuple[nn.Module, tuple[str, ...] | None, Clip]:
    if isinstance(model, nn.Module):
        if not isinstance(clip, Tensor):
            raise ValueError(f"{clip}: the model's preprocessing is not known: give a Predictor, or the clip's frames")
        module, given = model, given_clip(clip, None)
    else:
        module = model.model
        given = given_clip(clip, model.clip) if isinstance(clip, Tensor) else read_clip(clip, model.clip)
        classes = model.classes if classes is None else classes
    like = next(module.parameters(), None)
    normalised = given.normalised if like is None else given.normalised.to(device=like.device, dtype=like.dtype)
    return module, None if classes is None else tuple(classes), given._replace(normalised=normalised.clone())


def _explain(network: Network, given: Clip, names: tuple[str, ...] | None, wishes: _Wishes) -> Explanation:
    clip, notes = given.normalised, []
    layers, logits = candidate_layers(network, clip)
    with torch.no_grad():
        backward = network.logits(clip.flip(2))
    classes = _class_names(names, logits.shape[1])
    class_index = _class_index(wishes.target, classes, logits)
    maps = _maps(network, clip, layers, class_index, logits, wishes)
    if not maps:
        notes.append("No layer has spatial features, so there are no class maps.")
    asked = _query(wishes.query, given, maps)
    blocks, _ = explain_blocks(network, clip, asked, table_side=wishes.table_side)
    if not blocks:
        notes.append(_no_blocks(network.model))
    swapped = None
    if wishes.swap:
        blocks, swapped = _swapped(network, clip, asked, blocks, wishes.table_side)
        if swapped is None:
            notes.append("There is no pair of spatial and temporal attention, so there is nothing to swap.")
    measure = wishes.importance and clip.shape[2] > 1
    if wishes.importance and not measure:
        notes.append("The clip is a single frame, so the importance of frames cannot be measured.")
    importance = None
    if measure:
        importance = frame_importance(network, clip, class_index, logits=logits, backward=backward)
    return Explanation(
        source=given.source,
        model=_name(network.model),
        classes=classes,
        frames=given.frames,
        seconds=given.seconds,
        forward=_probabilities(logits),
        backward=_probabilities(backward),
        class_index=class_index,
        query=asked,
        blocks=tuple(blocks),
        class_maps=tuple(maps),
        importance=importance,
        swapped=None if swapped is None else _probabilities(swapped),
        notes=tuple(notes),
    )


def _no_blocks(model: nn.Module) -> str:
    inserted = sorted({type(part.attention).__name__ for part in model.modules() if isinstance(part, AttendedBlock)})
    if inserted:
        return f"The model's temporal blocks ({', '.join(inserted)}) have no maps of attention or mixing to show."
    return "The model has no attention blocks."


def _class_names(names: tuple[str, ...] | None, count: int) -> tuple[str, ...]:
    if names is None:
        return tuple(f"class {index}" for index in range(count))
    if len(names) != count:
        raise ValueError(f"{len(names)} class names for a model of {count} classes")
    return names


def _class_index(target: int | str | None, classes: tuple[str, ...], logits: Tensor) -> int:
    if target is None:
        return int(logits[0].argmax())
    if isinstance(target, str):
        if target not in classes:
            raise ValueError(f"{target!r} is not one of the model's {len(classes)} classes")
        return classes.index(target)
    if not 0 <= target < len(classes):
        raise ValueError(f"class {target} is not one of the model's {len(classes)} classes")
    return target


def _maps(
    network: Network, clip: Tensor, layers: list[Layer], class_index: int, logits: Tensor, wishes: _Wishes
) -> list[ClassMaps]:
    """Class maps of the explained class and of the most probable others; none if no layer has features over space."""
    known = {candidate.name for candidate in layers}
    if wishes.layer is not None and wishes.layer not in known:
        raise ValueError(f"{wishes.layer!r} has no spatial features; these modules have: {', '.join(sorted(known))}")
    name, method = wishes.layer, wishes.method
    if name is None:
        chosen = choose_layer(network, clip, layers)
        if chosen is None:
            return []
        name, method = chosen[0].name, method or chosen[1]
    others = [index for index in logits[0].argsort(descending=True).tolist() if index != class_index]
    indices = [class_index, *others[: wishes.num_class_maps - 1]]
    return class_maps(network, clip, name, indices, method=method or "grad_cam")


def _query(query: Grid | None, given: Clip, maps: list[ClassMaps]) -> Grid:
    """The point to ask about: the given one, or the middle of the cell with most evidence."""
    frames, height, width = given.frames.shape[:3]
    if query is not None:
        for name, number, limit in zip(("frame", "row", "column"), query, (frames, height, width), strict=True):
            if not 0 <= number < limit:
                raise ValueError(
                    f"the query's {name} is {number}: the clip has {frames} frames of {height} x {width} pixels, "
                    f"so it must be from 0 to {limit - 1}"
                )
        return query
    if not maps or not maps[0].maps.any():
        return frames // 2, height // 2, width // 2
    cells = maps[0].maps
    frame, row, column = (int(index) for index in np.unravel_index(cells.argmax(), cells.shape))
    middle = ((2 * row + 1) * height // (2 * cells.shape[1]), (2 * column + 1) * width // (2 * cells.shape[2]))
    return maps[0].frame_numbers[frame], *middle


def _swapped(
    network: Network, clip: Tensor, query: Grid, blocks: list[BlockExplanation], table_side: int | None
) -> tuple[list[BlockExplanation], Tensor | None]:
    """The blocks with their swapped maps, and the logits of the swapped model; None if there is nothing to swap."""
    pairs = swappable_pairs(network.model)
    if not pairs:
        return blocks, None
    parameters = swap_projections(dict(network.model.named_parameters()), pairs)
    partner = {name: other for pair in pairs for name, other in (pair, pair[::-1])}
    found, logits = explain_blocks(
        network, clip, query, names=list(partner), table_side=table_side, parameters=parameters
    )
    maps = {block.name: block.attention for block in found}
    return [
        replace(block, swapped=maps[block.name], partner=partner[block.name]) if block.name in partner else block
        for block in blocks
    ], logits


def _probabilities(logits: Tensor) -> NDArray[np.float32]:
    return logits[0].double().softmax(dim=0).float().cpu().numpy()


def _name(model: nn.Module) -> str:
    arguments = getattr(model, "arguments", None)
    name = arguments.get("name") if isinstance(arguments, dict) else None
    return name if isinstance(name, str) else type(model).__name__
