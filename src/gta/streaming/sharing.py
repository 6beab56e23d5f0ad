"""Work that windows share: the layers before the first one that joins frames are computed once for each frame.

A network is copied twice, with shared weights. One copy stops where frames are first joined and gives what it has by
then; the other takes that from outside, and its earlier layers are passed over. Both run the network's own code, so
nothing has to be known about it but where frames are joined. Whether the two together are the network is measured once
on random frames; where they are not, windows are computed as a whole.
"""

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gta.backbones.contract import ImageNetwork
from gta.backbones.dry_run import put_modules
from gta.backbones.insertion import AttendedBlock
from gta.backbones.stages import find_stages
from gta.backbones.tsm import ShiftedConv
from gta.models.classifier import VideoClassifier

# Largest difference of the logits, relative to the largest one: other batch sizes add in another order.
_TOLERANCE = 1e-4


class CannotShareError(Exception):
    """Why the windows of a network have no work in common; the text says it."""


class _ReachedError(Exception):
    """Leaves a network at the place where frames are joined, with the features that arrive there."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features


@dataclass
class _Slot:
    """Where the second copy finds the features that take the place of those it did not compute."""

    features: Tensor | None = None


class _Stop(nn.Module):
    """Runs the network's own block, if there is one to run first, and leaves the network."""

    def __init__(self, host: nn.Module | None) -> None:
        super().__init__()
        self.host = host

    def forward(self, features: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        raise _ReachedError(features if self.host is None else self.host(features, *args, **kwargs))


class _Resume(nn.Module):
    """Goes on with the slot's features: through the network's own block, or right behind it."""

    def __init__(self, block: nn.Module | None, slot: _Slot) -> None:
        super().__init__()
        self.block = block
        self.slot = slot

    def forward(self, *_: Any, **__: Any) -> Tensor:
        assert self.slot.features is not None
        return self.slot.features if self.block is None else self.block(self.slot.features)


class _PassOver(nn.Module):
    """Stands for a layer whose result is known already."""

    def forward(self, features: Tensor, *_: Any, **__: Any) -> Tensor:
        return features


@dataclass
class _Trace:
    """The modules in the order in which a network calls them, and those that were finished before frames are joined."""

    place: str | None = None
    after_host: bool = False
    finished: list[str] = field(default_factory=list)


class SharedLayers:
    """A network in two parts: what is computed for each frame on its own, and what joins the frames of a window.

    Args:
        model: a classifier of this package, in evaluation mode.
        size: height and width of its frames in pixels.

    Attributes:
        place: the name of the first module that joins frames; None if only the head does.

    Raises:
        CannotShareError: frames are joined from the first layer on, or the network is not one that can be split.
    """

    def __init__(self, model: nn.Module, size: tuple[int, int]) -> None:
        if not isinstance(model, VideoClassifier):
            raise CannotShareError(f"{type(model).__name__} is not one of this package's networks")
        device = next(model.parameters()).device
        self._num_frames = model.num_frames
        self._blank = torch.zeros(1, 3, self._num_frames, 1, 1, device=device)
        generator = torch.Generator().manual_seed(0)
        clip = torch.randn(1, 3, self._num_frames, *size, generator=generator).to(device)
        trace = _trace(_copy(model), clip)
        self.place = trace.place
        self._slot = _Slot()
        self._first, self._rest = _split(model, trace, self._slot)
        with torch.inference_mode():
            self._check(model, clip)

    def features(self, frames: Tensor) -> Tensor:
        """What each frame gives on its own, for normalised frames (N, 3, H, W); the first axis is N."""
        clips = frames.unsqueeze(2)
        try:
            return self._first.backbone(clips)
        except _ReachedError as reached:
            return reached.features

    def logits(self, features: Sequence[Tensor]) -> Tensor:
        """Logits (1, K) of a clip whose T frames have these features, each with a first axis of 1."""
        joined = torch.cat(list(features), dim=0 if features[0].ndim == 4 else 2)
        self._slot.features = joined
        try:
            return self._rest.forward_head(self._rest.backbone(self._blank))
        finally:
            self._slot.features = None

    def _check(self, model: nn.Module, clip: Tensor) -> None:
        whole = model(clip)
        try:
            # Twice one frame at a time: what joins frames elsewhere shows itself.
            parts = [self.features(frame) for frame in clip.transpose(1, 2).flatten(0, 1).split(1)]
            ours = self.logits(parts)
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise CannotShareError(f"its layers before {self.place} do not run on single frames ({error})") from error
        limit = _TOLERANCE * max(float(whole.abs().max()), 1.0)
        if ours.shape != whole.shape or float((ours - whole).abs().max()) > limit:
            raise CannotShareError(f"its layers before {self.place or 'the head'} combine frames")


def _copy(model: nn.Module) -> nn.Module:
    """Other modules around the same parameters and buffers."""
    tensors = itertools.chain(model.parameters(), model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


def _trace(model: nn.Module, clip: Tensor) -> _Trace:
    """Run the network once to find what it calls before frames are joined. The copy is not usable afterwards."""
    trace = _Trace()
    hosts = {id(module.host): name for name, module in model.named_modules() if isinstance(module, AttendedBlock)}
    shifted = _shifted_blocks(model)

    def enter(name: str, module: nn.Module) -> None:
        if trace.place is None and name in shifted:
            trace.place = name

    def leave(name: str, module: nn.Module) -> None:
        if trace.place is not None:
            return
        if id(module) in hosts:
            trace.place, trace.after_host = hosts[id(module)], True
        else:
            trace.finished.append(name)

    for name, module in model.named_modules():
        module.register_forward_pre_hook(lambda module, _, name=name: enter(name, module))
        module.register_forward_hook(lambda module, _, __, name=name: leave(name, module))
    with torch.inference_mode():
        model.get_submodule("backbone")(clip)
    return trace


def _shifted_blocks(model: nn.Module) -> set[str]:
    """Names of the residual blocks with a temporal shift: it changes the residual branch only, the input goes on."""
    backbone = model.get_submodule("backbone")
    blocks = [f"backbone.{name}" for names in find_stages(backbone).values() for name in names]
    found = set()
    for name in blocks:
        module = model.get_submodule(name)
        while isinstance(module, AttendedBlock):
            name, module = f"{name}.host", module.host
        if any(isinstance(part, ShiftedConv) for part in module.modules()):
            found.add(name)
    return found


def _split(model: nn.Module, trace: _Trace, slot: _Slot) -> tuple[Any, Any]:
    first, rest = _copy(model), _copy(model)
    if trace.place is None:  # the whole backbone sees single frames
        network = f"backbone.{_network(model)}"
        put_modules(first, {network: _Features(first.get_submodule(network))})
        put_modules(rest, {network: _Resumed(rest.get_submodule(network), slot)})
        return first, rest
    if trace.after_host:
        host = f"{trace.place}.host"
        put_modules(first, {trace.place: _Stop(first.get_submodule(host))})
        put_modules(rest, {host: _Resume(None, slot)})
        passed = [name for name in trace.finished if name != host and not name.startswith(f"{host}.")]
    else:
        put_modules(first, {trace.place: _Stop(None)})
        put_modules(rest, {trace.place: _Resume(rest.get_submodule(trace.place), slot)})
        passed = trace.finished
    names = set(passed)
    outermost = [name for name in names if not any(_is_inside(name, other) for other in names)]
    put_modules(rest, {name: _PassOver() for name in outermost})
    return first, rest


def _is_inside(name: str, other: str) -> bool:
    return name.startswith(f"{other}.")


def _network(model: nn.Module) -> str:
    if not isinstance(getattr(model.get_submodule("backbone"), "network", None), nn.Module):
        raise CannotShareError("no layer was found in it that combines frames")
    return "network"


class _Features(nn.Module):
    """A frame-wise network that is left with its features."""

    network: ImageNetwork

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network  # type: ignore[assignment]

    def forward_features(self, frames: Tensor) -> Tensor:
        """Compute the features and leave."""
        raise _ReachedError(self.network.forward_features(frames))


class _Resumed(nn.Module):
    """A frame-wise network whose features are known already."""

    network: ImageNetwork

    def __init__(self, network: nn.Module, slot: _Slot) -> None:
        super().__init__()
        self.network = network  # type: ignore[assignment]
        self.slot = slot

    def forward_features(self, frames: Tensor) -> Tensor:
        """The slot's features."""
        assert self.slot.features is not None
        return self.slot.features

    def forward_head(self, features: Tensor, *, pre_logits: bool) -> Tensor:
        """The network's own pooling."""
        return self.network.forward_head(features, pre_logits=pre_logits)
