"""From other code bases' weights to ours: recognising a layout, renaming, joining, matching, reporting."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gta.backbones.resnet3d import PathwayBackbone
from gta.backbones.slowfast import SlowFastBackbone
from gta.backbones.torchvision_video import TorchvisionBackbone
from gta.backbones.tsm import FIRST_CONVS
from gta.errors import CheckpointError
from gta.models.keymaps import KEY_MAPS, KeyMap
from gta.ops.mixing import resize_assignment, resize_lags, resize_mixing

_REGION = ".region_mixing"
_SHIFTED = re.compile(rf"(\.(?:{'|'.join(FIRST_CONVS)}))\.conv(?=\.)")
_COUNTERS = re.compile(r"\.num_batches_tracked$")  # how often a norm was updated; older files lack it


@dataclass(frozen=True)
class LoadReport:
    """What became of the weights of a file.

    Args:
        source: layout of the file.
        used: keys of the model that got weights.
        missing: keys of the model that the file has nothing for; they keep their starting values.
        unexpected: keys of the file that were left out, since the model has no place for them.
        resized: keys of the model that were interpolated to its number of frames, with both numbers of frames.
        differing: arguments with which the source's network computes something else from the same weights.
        assumed: arguments of the source's network that its file does not tell, with the values they were taken to have.
        notes: what else is different about the source's network.
    """

    source: str
    used: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    resized: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """One line with the numbers, more with what was not taken over."""
        lines = [f"{self.source}: {len(self.used)} weights used"]
        for word, keys in (
            ("kept their starting values", self.missing),
            ("left out", self.unexpected),
            ("resized", self.resized),
            ("different from the source's network", self.differing),
        ):
            if keys:
                shown = ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")
                lines.append(f"{len(keys)} {word}: {shown}")
        if self.assumed:
            options = ", ".join(f"--{line.split()[0].replace('_', '-')}" for line in self.assumed)
            lines.append(
                f"{len(self.assumed)} assumed, because the file does not say: {', '.join(self.assumed)} "
                f"(if that is wrong, use gta convert with {options})"
            )
        return "\n".join([*lines, *self.notes])


def canonical(key: str) -> str:
    """A key of one of our models without the wrappers of inserted attention and temporal shifts."""
    return _SHIFTED.sub(r"\1", key.replace(".host.", "."))


def backbone_kind(backbone: nn.Module) -> str:
    """Which key maps a backbone takes: `framewise`, `c2d`, `slowfast` or `torchvision`."""
    if isinstance(backbone, TorchvisionBackbone):
        return "torchvision"
    if isinstance(backbone, SlowFastBackbone):
        return "slowfast"
    return "c2d" if isinstance(backbone, PathwayBackbone) else "framewise"


def find_key_map(keys: Iterable[str], kind: str | None = None) -> KeyMap | None:
    """The key map whose marks are all found among `keys`, of the kind that the backbone takes (None: any kind)."""
    keys = list(keys)

    def found(pattern: str) -> bool:
        return any(re.search(pattern, key) for key in keys)

    for key_map in KEY_MAPS:
        fits = kind is None or key_map.target == kind
        if fits and all(map(found, key_map.marks)) and not any(map(found, key_map.absent)):
            return key_map
    return None


def rename(tensors: Mapping[str, Tensor], key_map: KeyMap, *, source: str) -> dict[str, Tensor]:
    """Apply a key map; parts of one matrix are joined.

    Keys that no rule leads into the backbone or the head keep a name that fits nothing, and so are reported.

    Raises:
        CheckpointError: two keys stand for one weight, or a part of a matrix is missing; `source` is the file's name.
    """
    renamed: dict[str, Tensor] = {}
    parts: dict[str, dict[int, Tensor]] = {}
    for key, tensor in tensors.items():
        if any(re.search(pattern, key) for pattern in key_map.ignored):
            continue
        target = key
        for pattern, replacement in key_map.rules:
            target = re.sub(pattern, replacement, target)
        whole, _, part = target.partition("#")
        if target in renamed or (part and int(part) in parts.get(whole, {})):
            raise CheckpointError(f"{source}: two of its weights correspond to {whole}, one is {key}")
        if part:
            parts.setdefault(whole, {})[int(part)] = tensor
        else:
            renamed[target] = tensor
    for whole, numbered in parts.items():
        if sorted(numbered) != [0, 1, 2]:
            raise CheckpointError(f"{source}: only {len(numbered)} of queries, keys and values were found for {whole}")
        if len({tensor.shape for tensor in numbered.values()}) > 1 or not numbered[0].ndim:
            raise CheckpointError(f"{source}: queries, keys and values have different shapes for {whole}")
        renamed[whole] = torch.cat([numbered[index] for index in range(3)])
    return renamed


def copy_weights(model: nn.Module, weights: Mapping[str, Tensor], *, source: str) -> LoadReport:
    """Copy weights with canonical or our own keys into a classifier, in place.

    Weights of the head are left out when the number of classes differs, and attention blocks that the file does not
    have keep their starting values. T x T matrices of another number of frames are interpolated.

    Raises:
        CheckpointError: a weight of the backbone is left over, missing or has another shape, or one is no number.
    """
    own = model.state_dict()
    by_name = {canonical(key): key for key in own}
    weights, notes = _separate_levels(weights, by_name)
    values: dict[str, Tensor] = {}
    unexpected: list[str] = []
    resized: list[str] = []
    for key, tensor in weights.items():
        target = by_name.get(canonical(key))
        if target is None:
            unexpected.append(key)
            continue
        if target in values:
            raise CheckpointError(f"{source}: two of its weights correspond to {target}, one is {key}")
        if tensor.is_floating_point() != own[target].is_floating_point() and not _COUNTERS.search(key):
            raise CheckpointError(
                f"{source}: {key} holds {tensor.dtype} numbers, which cannot be weights (is it quantised?)"
            )
        fitted, change = _shaped_like(target, tensor, own[target])
        if fitted is None:
            if not target.startswith("head."):
                raise CheckpointError(
                    f"{source}: {key} has shape {tuple(tensor.shape)}, the model's has {tuple(own[target].shape)}"
                )
            unexpected.append(key)
            continue
        values[target] = fitted
        resized += [change] if change else []
    missing = [key for key in own if key not in values and not _COUNTERS.search(key)]
    _refuse_partial(source, values, unexpected, missing)
    _refuse_broken(source, values)
    model.load_state_dict(values, strict=False)
    return LoadReport(source, tuple(values), tuple(missing), tuple(unexpected), tuple(resized), notes=notes)


def _separate_levels(
    weights: Mapping[str, Tensor], places: Mapping[str, str]
) -> tuple[Mapping[str, Tensor], tuple[str, ...]]:
    """Let both levels of a block start from the M that they shared in the file, and a line that says so."""
    names = {canonical(key) for key in weights}
    shared = {key: key.removesuffix(_REGION) + ".mixing" for key in places if key.endswith(_REGION)}
    copied = {key: weights_key for key, weights_key in shared.items() if key not in names and weights_key in names}
    if not copied:
        return weights, ()
    by_name = {canonical(key): tensor for key, tensor in weights.items()}
    note = "pixels and regions shared one M in the file: here each starts from it (share_mixing keeps one)"
    return {**weights, **{key: by_name[source] for key, source in copied.items()}}, (note,)


def _refuse_partial(source: str, used: Iterable[str], unexpected: list[str], missing: list[str]) -> None:
    """The backbone, each attention block and the head are loaded whole or, the last two, not at all."""
    left = [key for key in unexpected if not key.startswith("head.") and not _COUNTERS.search(key)]
    if left:
        hint = "; name a model with such attention blocks in the same places" if ".attention." in left[0] else ""
        hint = "; its pixels and regions have an M each: build the model without share_mixing" if _own(left) else hint
        raise CheckpointError(
            f"{source}: {len(left)} weights have no counterpart in the model, the first is {left[0]}{hint}"
        )
    begun = {_unit(key) for key in used}
    gaps = [key for key in missing if _unit(key) in begun or not _unit(key)]
    if gaps:
        raise CheckpointError(f"{source}: {len(gaps)} weights of the backbone are missing, the first is {gaps[0]}")


def _own(keys: list[str]) -> bool:
    return all(key.endswith(_REGION) for key in keys)


def _unit(key: str) -> str:
    """What a weight may be missing with: its whole attention block, or the whole head; "" for the backbone proper."""
    before, inside, _ = key.partition(".attention.")
    if inside:
        return before + inside
    return "head." if key.startswith("head.") else ""


def _refuse_broken(source: str, values: Mapping[str, Tensor]) -> None:
    """Numbers that no training leaves behind: NaN, infinity, negative variances."""
    for key, value in values.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{source}: its weight {key} holds NaN or infinite numbers")
        if key.endswith(".running_var") and bool((value < 0).any()):
            raise CheckpointError(f"{source}: its variance {key} is negative")


def _shaped_like(key: str, tensor: Tensor, like: Tensor) -> tuple[Tensor | None, str]:
    """The tensor in the shape of `like`, and a word on what was resized; None if it does not fit."""
    if tensor.shape == like.shape:
        return tensor, ""
    mixes = key.rpartition(".")[2] in ("mixing", "region_mixing") and tensor.shape[:2] == like.shape[:2]
    if mixes and tensor.ndim == like.ndim == 3 and tensor.shape[-1] % 2:
        old, new = ((size + 1) // 2 for size in (tensor.shape[-1], like.shape[-1]))
        return resize_lags(tensor, new), f"{key} (lags of {old} -> {new} frames)"
    if mixes and tensor.ndim == like.ndim == 4:
        old, new = tensor.shape[-1], like.shape[-1]
        return resize_mixing(tensor.float(), new).to(like.dtype), f"{key} ({old} -> {new} frames)"
    if key.rpartition(".")[2] == "assignment" and tensor.ndim == 3 and tensor.shape[1:] == like.shape[1:]:
        old, new = tensor.shape[0], like.shape[0]
        return resize_assignment(tensor.float(), new).to(like.dtype), f"{key} ({old} -> {new} frames)"
    if tensor.ndim == 4 and like.ndim == 5 and like.shape[2] > 1 and tensor.shape == (*like.shape[:2], *like.shape[3:]):
        # I3D's start (Carreira and Zisserman 2017): a clip of one repeated picture gives what the picture gives.
        length = like.shape[2]
        inflated = (tensor / length).unsqueeze(2).expand(like.shape).contiguous()
        return inflated, f"{key} (inflated to {length} frames)"
    if tensor.numel() == like.numel() and _without_ones(tensor) == _without_ones(like):
        return tensor.reshape(like.shape), ""  # a 1x1x1 convolution is a matrix, a 2D kernel a 3D one of length 1
    return None, ""


def _without_ones(tensor: Tensor) -> tuple[int, ...]:
    return tuple(size for size in tensor.shape if size != 1)
