"""One pass through a network to find what its blocks return, before anything is put after them."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from gta.backbones.feature_shape import FeatureShape, InputShape, UnfitFeaturesError, recognise
from gta.backbones.token_shape import TokenFacts, token_facts
from gta.modes import evaluating

Example = Tensor | tuple[Any, ...]

# Pixels to try: small is fast, but some networks accept one size only.
_SIZES = (64, 112, 224)
_DEFAULT_FRAMES = 8


class PlaceShape(NamedTuple):
    """The features of a place, and whether they are what the module there is given (`before`), or what it returns."""

    features: FeatureShape
    before: bool

    @property
    def channels(self) -> int:
        """C."""
        return self.features.channels

    @property
    def num_frames(self) -> int:
        """T."""
        return self.features.num_frames


def shapes_at(
    network: nn.Module,
    names: Sequence[str],
    *,
    num_frames: int | None = None,
    example: Example | None = None,
    before: bool | None = False,
) -> dict[str, PlaceShape]:
    """Channels and frames of what the named modules return, found by running the network once.

    It runs in evaluation mode without gradients, on copies of its buffers; afterwards modules, modes, buffers and the
    random state are as before.

    Args:
        network: the network.
        names: dotted names of modules inside it.
        num_frames: T of a clip; if not given, that of `example`, or 8.
        example: what the network is called with, or a tuple of its arguments; if not given, inputs that suit its first
            convolution are tried: frames `(T, C, H, W)` for 2D networks, a clip `(1, C, T, H, W)` for 3D ones.
        before: look at what the modules are given, not at what they return; None: only where that is the tokens of
            frames.

    Raises:
        ValueError: the network does not run, a module takes no part, or returns what attention cannot read.
    """
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        if is_lazy(value):
            raise ValueError(f"{name} has no shape yet: run the network once, so that its lazy layers are initialised")
    if example is not None:
        inputs = example if isinstance(example, tuple) else (example,)
        given = _describe(network, inputs, num_frames)
        try:
            shapes = _run(network, names, inputs, given, before)
        except UnfitFeaturesError:
            raise
        except Exception as error:
            raise _does_not_run(network, inputs, error, "the example") from error
        _check_frames(num_frames, given, shapes)
        return shapes
    failed: tuple[tuple[Tensor], Exception] | None = None
    for kind in _default_inputs(network, num_frames or _DEFAULT_FRAMES):
        of_kind = failed
        for clip in kind:
            try:
                return _run(network, names, (clip,), _describe(network, (clip,), num_frames), before)
            except UnfitFeaturesError:
                raise
            except Exception as error:  # the next one may suit it
                failed = failed if of_kind else ((clip,), error)
    if failed is None:
        raise ValueError(
            f"{type(network).__name__} has no convolution from which to infer its input: "
            "`gta.insert_attention` takes one as example="
        )
    raise _does_not_run(network, *failed, "the default input (`gta.insert_attention` takes a suitable one as example=)")


def _does_not_run(network: nn.Module, inputs: tuple[Any, ...], error: Exception, whose: str) -> ValueError:
    shapes = ", ".join(str(tuple(value.shape)) if isinstance(value, Tensor) else repr(value) for value in inputs)
    reason = " ".join(str(error).split())[:300]
    return ValueError(f"{type(network).__name__} does not run on {shapes}, {whose}: {type(error).__name__}: {reason}")


class _Probe(nn.Module):
    """Stands where the attended block will stand, and notes what the block is given or returns."""

    def __init__(
        self,
        host: nn.Module,
        name: str,
        given: InputShape,
        found: dict[str, PlaceShape],
        facts: TokenFacts,
        before: bool | None,
    ) -> None:
        super().__init__()
        self.host = host
        self.name = name
        self.given = given
        self.found = found
        self.facts = facts
        self.before = before

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = self.host(*args, **kwargs)
        shape = self._shape(args, output)
        if self.found.setdefault(self.name, shape) != shape:
            raise UnfitFeaturesError(
                f"{self.name} is called more than once and returns features of another shape, {_told(output)}: "
                f"one attention block cannot read {shape.channels} and {self.found[self.name].channels} channels of "
                f"{shape.num_frames} and {self.found[self.name].num_frames} frames"
            )
        return output

    def _shape(self, args: tuple[Any, ...], output: object) -> PlaceShape:
        first = args[0] if args else None
        frames = self.given.clips * self.given.num_frames
        # Sizes beside the tokens, as MViT's blocks are given them, change inside a block: it is looked at afterwards.
        tokens = isinstance(first, Tensor) and first.ndim == 3 and len(first) == frames and isinstance(output, Tensor)
        if self.before or (self.before is None and tokens):
            shape = recognise(first, self.given, self.host, self.name, facts=self.facts, verb="is given")
            return PlaceShape(shape, before=True)
        return PlaceShape(recognise(output, self.given, self.host, self.name, facts=self.facts), before=False)


def _told(output: object) -> str:
    return str(tuple(output.shape)) if isinstance(output, Tensor) else type(output).__name__


def _run(
    network: nn.Module, names: Sequence[str], inputs: tuple[Any, ...], given: InputShape, before: bool | None
) -> dict[str, PlaceShape]:
    found: dict[str, PlaceShape] = {}
    probes = {
        name: _Probe(network.get_submodule(name), name, given, found, token_facts(network, name), before)
        for name in names
    }
    with evaluating(network), replaced(network, probes), _same_random_state(network), torch.no_grad():
        # The network's own buffers are not written to, even by a batch norm that ignores its mode.
        copies = {name: buffer.detach().clone() for name, buffer in network.named_buffers()}
        try:
            torch.func.functional_call(network, copies, inputs)
        except AttributeError as error:
            if not isinstance(error.obj, _Probe):
                raise
            probe = error.obj
            raise UnfitFeaturesError(
                f"{probe.name} ({type(probe.host).__name__}): {type(network).__name__} reads its {error.name!r} "
                "instead of calling it, so nothing can be inserted after it"
            ) from error
    for name in names:
        if name not in found:
            raise UnfitFeaturesError(
                f"{name} ({type(network.get_submodule(name)).__name__}) is not called when {type(network).__name__} "
                "runs: a block after it would have no effect"
            )
    return found


@contextlib.contextmanager
def replaced(network: nn.Module, modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """Inside, other modules, which hold the network's own, stand at some places."""
    hosts = {name: network.get_submodule(name) for name in modules}
    try:
        put_modules(network, modules)
        yield
    finally:
        for name in reversed(inner_first(hosts)):
            network.set_submodule(name, hosts[name])


def put_modules(network: nn.Module, modules: Mapping[str, nn.Module]) -> None:
    """Put other modules, which hold the network's own, at some places."""
    for name in inner_first(modules):
        network.set_submodule(name, modules[name])


def inner_first(names: Iterable[str]) -> list[str]:
    """Dotted names in the order in which they can be replaced: inner places first, while their names still hold."""
    return sorted(names, key=lambda name: -name.count("."))


@contextlib.contextmanager
def _same_random_state(network: nn.Module) -> Iterator[None]:
    devices = {value.device for value in network.parameters() if value.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(device.index for device in devices)):
        yield


def _first_convolution(network: nn.Module) -> nn.Conv2d | nn.Conv3d | None:
    return next((layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Conv3d)), None)


def _describe(network: nn.Module, inputs: tuple[Any, ...], num_frames: int | None) -> InputShape:
    """What the inputs are: the first of them with pixels decides."""
    pixels = next((value for value in inputs if isinstance(value, Tensor) and value.ndim in (4, 5)), None)
    if pixels is None:
        raise ValueError("the example has no tensor of frames (B*T, C, H, W) or clips (B, C, T, H, W)")
    size = (pixels.shape[-2], pixels.shape[-1])
    if pixels.ndim == 4:
        frames = num_frames or _DEFAULT_FRAMES
        if not pixels.shape[0] or pixels.shape[0] % frames:
            raise ValueError(f"the example's {pixels.shape[0]} frames cannot be split into clips of {frames} frames")
        return InputShape(pixels.shape[0] // frames, frames, size)
    first = _first_convolution(network)
    channels = 3 if first is None else first.in_channels
    frames_first = pixels.shape[1] != channels and pixels.shape[2] == channels
    return InputShape(pixels.shape[0], pixels.shape[1 if frames_first else 2], size)


def _check_frames(num_frames: int | None, given: InputShape, shapes: Mapping[str, PlaceShape]) -> None:
    """Refuse a number of frames that is neither the example's nor that of the features everywhere."""
    inside = {shape.num_frames for shape in shapes.values()}
    if num_frames is not None and num_frames != given.num_frames and inside != {num_frames}:
        raise ValueError(f"num_frames is {num_frames}, but the example has clips of {given.num_frames} frames")


def _default_inputs(network: nn.Module, num_frames: int) -> list[list[Tensor]]:
    """Inputs that may suit a network, likely kinds first, each kind in several sizes."""
    own = callable(getattr(network, "attention_frames", None))  # a backbone of this package: it reads clips
    first = _first_convolution(network)
    named = _named_size(network)
    if first is None and named is None and not own:
        return []
    channels = getattr(network, "in_channels", 3) if own or first is None else first.in_channels
    like = next(network.parameters()) if first is None else first.weight
    clips, frames = (1, channels, num_frames), (num_frames, channels)
    kinds = [clips] if own or isinstance(first, nn.Conv3d) else [frames, clips]
    kinds.append((1, num_frames, channels))
    return [[like.new_zeros((*kind, *size)) for size in _sizes(network)] for kind in kinds]


def _sizes(network: nn.Module) -> list[tuple[int, int]]:
    """Heights and widths to try: the one that a backbone asks for, usual ones, those that a network names."""
    trial = getattr(network, "trial_size", None) or getattr(network, "minimum_size", None)
    sizes = [(trial, trial)] if isinstance(trial, int) else []
    sizes += [(size, size) for size in _SIZES]
    # What a transformer of timm's, which may be another than its `default_cfg` says, or torchvision's was built for.
    embed = getattr(network, "patch_embed", None)
    for built in (getattr(embed, "img_size", None), getattr(network, "image_size", None)):
        pair = (built, built) if isinstance(built, int) else built
        sizes += [(int(pair[0]), int(pair[1]))] if isinstance(pair, tuple | list) and len(pair) == 2 else []
    named = _named_size(network)
    return list(dict.fromkeys([*sizes, named] if named else sizes))


def _named_size(network: nn.Module) -> tuple[int, int] | None:
    """Height and width that a timm network was trained with."""
    size = (getattr(network, "default_cfg", None) or {}).get("input_size")
    return (int(size[1]), int(size[2])) if size else None
