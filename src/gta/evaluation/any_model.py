"""The probe of temporal order for models that are not ours: any `nn.Module` that maps clips to logits."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from gta.config import Averaging, Precision
from gta.evaluation.opposites import Opposites, find_chiral_pairs, reversals_of
from gta.evaluation.probe import ProbeResult, probe
from gta.stored import shown

ClipAxes = Literal["BCTHW", "BTCHW", "BTHWC"]

# Where the axes of a clip of this layout come from in (B, C, T, H, W), and the other way round.
_FROM_OURS: dict[str, tuple[int, ...]] = {"BCTHW": (0, 1, 2, 3, 4), "BTCHW": (0, 2, 1, 3, 4), "BTHWC": (0, 2, 3, 4, 1)}
_TO_OURS: dict[str, tuple[int, ...]] = {"BCTHW": (0, 1, 2, 3, 4), "BTCHW": (0, 2, 1, 3, 4), "BTHWC": (0, 4, 1, 2, 3)}
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_CLIPS, _LABELS = ("clip", "pixel_values", "video"), ("label", "labels")


class _Logits(nn.Module):
    """A model of another layout as (B, C, T, H, W) -> logits (B, K)."""

    def __init__(self, model: nn.Module, layout: ClipAxes) -> None:
        super().__init__()
        self.model = model
        self.layout = layout

    def forward(self, clip: Tensor) -> Tensor:
        out: Any = self.model(clip.permute(_FROM_OURS[self.layout]).contiguous())
        if hasattr(out, "logits"):  # as Hugging Face's models return
            out = out.logits
        elif isinstance(out, Mapping):
            out = out.get("logits")
        elif isinstance(out, tuple | list):
            out = out[0]
        if not isinstance(out, Tensor) or out.ndim != 2:
            found = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(f"the model must return logits (B, K), or have them as .logits; it returned {found}")
        return out


class _Prepared(nn.Module):
    """What the user's function makes of the clips."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, clip: Tensor) -> Tensor:
        return self.function(clip)


def _as_they_are(clip: Tensor) -> Tensor:
    """Pixels are refused, since only the user knows the model's normalisation."""
    if not clip.is_floating_point():
        raise ValueError(
            f"the clips are {clip.dtype}: give `prepare`, which turns them into the model's input; `gta.prepare` does "
            "it with ImageNet's mean and std"
        )
    return clip


def probe_model(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    classes: Sequence[str] | None = None,
    layout: ClipAxes = "BCTHW",
    prepare: nn.Module | Callable[[Tensor], Tensor] | None = None,
    opposites: Opposites | None = None,
    reversals: Mapping[str, str] | None = None,
    num_permutations: int = 5,
    seed: int = 0,
    averaging: Averaging = "softmax",
    precision: Precision = "32",
    device: torch.device | str | None = None,
) -> ProbeResult:
    """Measure what any model makes of the order of frames: in order, reversed, shuffled, one frame only.

    Args:
        model: clips of `layout` -> logits (B, K), or something with `.logits` (Hugging Face). A model whose time goes
            by attention over T frames, a 3D network, an image network averaged over frames: all are read alike.
        loader: batches (clips, labels), or mappings with "clip" (or "pixel_values", "video") and "label" ("labels");
            clips (B, ...) of `layout`, labels (B,) int64.
        classes: K names in the order of the logits; if not given, those of the model's `config.id2label` (Hugging
            Face), else "class 0", "class 1", ...
        layout: order of the axes of clips, `BTCHW` for Hugging Face's models, `BCTHW` for torchvision's.
        prepare: a module or function, such as `gta.prepare`, that makes the model's input of the loader's clips, both
            (B, 3, T, H, W) whatever the layout; if not given, clips are used as they are and must be floating-point.
        opposites: what turns a class into its time reversal, by name; `known_opposites()` if not given.
        reversals: class -> its time reversal, instead of looking at the names.
        num_permutations: shuffles of each clip, 1 or more.
        seed: seed of the shuffles.
        averaging, precision, device: as of `gta.evaluation.probe.probe`.

    Raises:
        ValueError: the layout, averaging or precision is unknown, a batch is none of these, classes and logits differ
            in number, or a label or a name in `reversals` is none of the classes.
        DataError: the loader is empty.
    """
    if layout not in _TO_OURS:
        raise ValueError(f"layout is {layout!r}: it must be one of {', '.join(_TO_OURS)}")
    for name, value, known in (("averaging", averaging, Averaging), ("precision", precision, Precision)):
        if value not in get_args(known):
            raise ValueError(f"`{name}` is {value!r}: it must be one of {', '.join(map(repr, get_args(known)))}")
    names = tuple(classes) if classes is not None else _own_names(model)
    if names:
        _check_reversals(reversals, names)
    chosen = torch.device(device) if device is not None else next((p.device for p in model.parameters()), "cpu")
    result = probe(
        _Logits(model, layout),
        _batches(loader, layout),
        prepare=prepare if isinstance(prepare, nn.Module) else _Prepared(prepare or _as_they_are),
        classes=names,
        num_permutations=num_permutations,
        seed=seed,
        averaging=averaging,
        precision=precision,
        device=chosen,
    )
    count = next(iter(result.scores.values())).shape[1]
    names = names or tuple(f"class {number}" for number in range(count))
    if len(names) != count:
        raise ValueError(f"the model gives {count} logits per clip, but there are {len(names)} classes")
    strange = result.labels[(result.labels < 0) | (result.labels >= count)]
    if len(strange):
        raise ValueError(f"labels lie between 0 and {count - 1}, one is {int(strange[0])}")
    _check_reversals(reversals, names)
    pairs = () if reversals is not None else find_chiral_pairs(names, opposites)
    return replace(result, classes=names, reversals=dict(reversals or reversals_of(pairs)), pairs=pairs)


def _check_reversals(reversals: Mapping[str, str] | None, classes: Sequence[str]) -> None:
    strange = [name for pair in (reversals or {}).items() for name in pair if name not in classes]
    if strange:
        raise ValueError(f"`reversals` names {strange[0]!r}, which is none of the classes {shown(tuple(classes))}")


def _own_names(model: nn.Module) -> tuple[str, ...]:
    """The names in a Hugging Face model's configuration; () if there are none."""
    table = getattr(getattr(model, "config", None), "id2label", None)
    if not isinstance(table, Mapping):
        return ()
    return tuple(str(table[key]) for key in sorted(table, key=int))


def _batches(loader: Iterable[Any], layout: ClipAxes) -> Iterator[Mapping[str, Any]]:
    """The loader's batches as the probe reads them; clips are numbered in the order in which they come."""
    number = 0
    for batch in loader:
        if isinstance(batch, Mapping):
            clip, label = (next((batch[key] for key in keys if key in batch), None) for keys in (_CLIPS, _LABELS))
        elif isinstance(batch, tuple | list) and len(batch) == 2:
            clip, label = batch
        else:
            clip = label = None
        if not isinstance(clip, Tensor) or label is None or clip.ndim != 5:
            raise ValueError(
                "a batch must be (clips, labels), or a mapping with 'clip' and 'label'; clips have five axes "
                f"({layout}); this one is a {type(batch).__name__}"
            )
        label = torch.as_tensor(label)
        if label.ndim != 1 or len(label) != len(clip) or label.dtype not in _INTEGERS:
            raise ValueError(
                f"labels are the numbers of the classes, one whole number per clip, ({len(clip)},) here; these are "
                f"{label.dtype} of shape {tuple(label.shape)}"
            )
        index = torch.arange(number, number + len(label))
        number += len(label)
        yield {"clip": clip.permute(_TO_OURS[layout]), "label": label, "index": index}
