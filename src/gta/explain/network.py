"""The model under explanation: called without changing it, with its clip in whichever layout it reads."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from gta.backbones.slowfast import SlowFastBackbone
from gta.backbones.stages import find_stages
from gta.models.classifier import VideoClassifier
from gta.ops.layout import fold_frames

InputKind = Literal["clips", "frames"]


class Network(NamedTuple):
    """A model and how to ask it: `clips` reads (B, 3, T, H, W), `frames` the folded frames (B*T, 3, H, W)."""

    model: nn.Module
    layout: InputKind
    num_frames: int

    def logits(self, clips: Tensor, parameters: Mapping[str, Tensor] | None = None) -> Tensor:
        """Class scores before the softmax (B, K), those of single frames averaged; with other parameters if given.

        Raises:
            ValueError: the model returns something else.
        """
        given = fold_frames(clips) if self.layout == "frames" else clips
        if parameters is None:
            out = self.model(given)
        else:
            out = torch.func.functional_call(self.model, dict(parameters), (given,))
        if isinstance(out, Tensor) and out.ndim == 2 and self.layout == "frames" and len(out) == len(given):
            out = out.unflatten(0, (len(clips), -1)).mean(dim=1)
        if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != len(clips):
            found = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(
                f"the model returns {found} for {len(clips)} clip(s), but class scores (B, K) are needed: give "
                "a classifier, and layout='frames' if it reads single frames"
            )
        return out

    def frame_numbers(self, count: int) -> tuple[int, ...]:
        """Which frames of the clip `count` frames of features stand for."""
        for module in self.model.modules():
            if isinstance(module, SlowFastBackbone) and len(module.slow_frames) == count:
                return tuple(int(frame) for frame in module.slow_frames)
        return tuple((2 * index + 1) * self.num_frames // (2 * count) for index in range(count))


def guess_layout(model: nn.Module) -> InputKind:
    """Networks of timm and torchvision read frames; everything else reads clips."""
    own = getattr(model, "stages", None)
    ours = isinstance(model, VideoClassifier) or (callable(own) and not isinstance(own, nn.Module))
    return "clips" if ours or not find_stages(model) else "frames"


@contextlib.contextmanager
def hooked(handles: list[Any]) -> Iterator[None]:
    """Remove hooks at the end."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def watch_inputs(modules: Mapping[str, nn.Module], see: Callable[[str, nn.Module, Tensor], None]) -> list[Any]:
    """Hooks that call `see(name, module, features)`, without gradients, before each of the modules works."""

    def hook(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def before(module: nn.Module, given: tuple[Any, ...]) -> None:
            with torch.no_grad():
                see(name, module, given[0].detach())

        return before

    return [module.register_forward_pre_hook(hook(name)) for name, module in modules.items()]
