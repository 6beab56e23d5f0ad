"""Putting attention blocks after chosen residual blocks of a network, and taking them out again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, Literal, Unpack

import torch
from torch import Tensor, nn

from gta.backbones.arrangement import Arrangement, Prefix
from gta.backbones.dry_run import Example, PlaceShape, put_modules, shapes_at
from gta.backbones.feature_shape import split_sizes
from gta.backbones.stages import BLOCKS, STAGES, child_names, every_other, find_stages, spread
from gta.backbones.token_shape import drops_patches
from gta.blocks.adapters import TemporalReuse
from gta.blocks.contract import AttentionBlock
from gta.blocks.factory import REUSE, check_options, create_block
from gta.blocks.spec import AttentionArguments, AttentionSpec, one_spec
from gta.ops.layout import channels_to_back, channels_to_front, exported_for_any_batch

Where = int | Sequence[int] | Literal["all"]
Places = Mapping[str, Where] | Sequence[str]
Side = Literal["after", "before"]


class AttendedBlock(nn.Module):
    """A network's own block with an attention block after it, or before it.

    Args:
        host: the network's block.
        attention: maps `(B, C, T, H, W)` to the same shape.
        num_frames: T of the features here, by which frame-wise ones are split into clips.
        arrangement: the order of the features' axes; if not given, channels first.
        before: the attention works on what the host is given, not on what it returns.
        prefix: class and register tokens stay as they are (`keep`), or are mixed over time like the patches (`mix`).
    """

    attention: AttentionBlock

    def __init__(
        self,
        host: nn.Module,
        attention: nn.Module,
        num_frames: int,
        *,
        arrangement: Arrangement | None = None,
        before: bool = False,
        prefix: Prefix = "keep",
    ) -> None:
        super().__init__()
        self.host = host
        self.attention = attention  # type: ignore[assignment]
        self.num_frames = num_frames
        self.arrangement = arrangement or Arrangement()
        self.before = before
        self.prefix: Prefix = prefix
        parts = list(attention.modules())
        self.image = any(
            getattr(part, "pool", "none") != "none" or getattr(part, "region_size", None) is not None for part in parts
        )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Apply the host to whatever the network gives it, and the attention after or before it."""
        if self.before:
            return self.host(self._attend_traced(args[0]), *args[1:], **kwargs)
        output = self.host(*args, **kwargs)
        if isinstance(output, Tensor):
            return self._attend_traced(output)
        features, sizes = split_sizes(output)
        assert isinstance(features, Tensor)
        return self._attend_traced(features, sizes), output[1]

    def _attend_traced(self, features: Tensor, sizes: tuple[int, ...] | None = None) -> Tensor:
        if torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling():
            with exported_for_any_batch():
                return self._attend(features, sizes)
        return self._attend(features, sizes)

    def _attend(self, features: Tensor, sizes: tuple[int, ...] | None) -> Tensor:
        clips = self.arrangement.to_clips(features, self.num_frames, prefix=self.prefix, sizes=sizes, image=self.image)
        whole = sizes is not None and len(sizes) == 3
        out = self.arrangement.from_clips(self.attention(clips), features, prefix=self.prefix, whole=whole)
        # The host goes on in the memory format it had, so that its own numbers stay the same.
        if features.is_contiguous():
            return out.contiguous()
        if self.arrangement.layout != "channels_first" and channels_to_front(features).is_contiguous():
            return channels_to_back(channels_to_front(out).contiguous())
        return out

    def resize(self, num_frames: int) -> list[str]:
        """Change the number of frames; returns the names of the parameters that were resized."""
        self.num_frames = num_frames
        return [f"attention.{name}" for name in self.attention.resize(num_frames)]


def insert_attention(
    network: nn.Module,
    *,
    block: str = "gta",
    at: Places,
    num_frames: int | None = None,
    example: Example | None = None,
    first: int = 0,
    side: Side | None = None,
    prefix: Prefix = "keep",
    spec: AttentionSpec | None = None,
    **options: Unpack[AttentionArguments],
) -> nn.Module:
    """Insert attention blocks into `network`, in place.

    The network runs once, without gradients and in evaluation mode, to find the number of channels and frames at each
    place. If attention cannot be inserted, nothing is changed.

    Args:
        network: any backbone of this package, timm or torchvision CNN or transformer, or a module of your own. A
            frame-wise one is afterwards called with the frames of whole clips, `(B*T, 3, H, W)`.
        block: name for `create_block`; or `aim`, for image transformers: the block's own attention, again over time.
        at: where. A mapping from a stage (res2..res5) or the dotted name of a container of blocks to a number of
            blocks ("every other block", from `first`; among the `blocks` of a ViT evenly spread), to explicit indices
            or to `all`; or a sequence of dotted names of modules.
        num_frames: T of the clips that the network reads; if not given, that of `example`, or 8. A 3D network with
            temporal strides has fewer frames inside: each block is built for those at its place.
        example: an input for the run, `(B*T, 3, H, W)` or `(B, 3, T, H, W)`, or a tuple of the network's arguments;
            needed if the network does not run on zeros of a usual size.
        first: index of the first block that a number counts from.
        side: attention comes `after` the block or `before` it; if not given, before blocks of frames' tokens (what it
            adds to the patches then reaches a class token everywhere), after all others.
        prefix: class and register tokens stay as they are (`keep`), or become further positions that are mixed over
            time (`mix`); NL and SA do not pool positions then.
        spec: options of the blocks, as one value. In a transformer `inner_channels` is C/2 for every block if not
            given, the bottleneck of an adapter.
        options: the same as keywords, as in `gta.blocks.create_block`.

    Returns:
        `network`, for chaining.

    Raises:
        ValueError: `at` has another form; a place does not exist or is taken; its block is not called, or returns
            features with other shapes `(B*T, C, H, W)`, `(B, C, T, H, W)`, these with channels last, or tokens
            `(B*T, L, C)`; the network does not run, or drops patches in training; or an option does not apply to it or
            to the block.
        TypeError: a keyword is unknown, or is given together with spec.

    >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3, stride=4), torch.nn.ReLU(), torch.nn.Conv2d(16, 32, 3))
    >>> network = gta.insert_attention(network, block="gta", at=["0", "2"], num_frames=4)
    >>> network(torch.randn(2 * 4, 3, 32, 32)).shape  # two clips of four frames
    torch.Size([8, 32, 6, 6])
    """
    spec = one_spec(spec, options)
    if side not in (None, "after", "before"):
        raise ValueError(f"side is {side!r}: it must be 'after' or 'before'")
    if prefix not in ("keep", "mix"):
        raise ValueError(f"prefix is {prefix!r}: it must be 'keep' or 'mix'")
    check_places(at)
    if block == REUSE:
        check_options(block, (REUSE,), spec)
    names = list(dict.fromkeys(find_places(network, at, first=first)))
    hosts = {name: network.get_submodule(name) for name in names}
    for name, host in hosts.items():
        if isinstance(host, AttendedBlock):
            raise ValueError(f"{name} has an attention block already")
    before = None if side is None else side == "before"
    shapes = shapes_at(network, names, num_frames=num_frames, example=example, before=before) if names else {}
    layouts = {shape.features.arrangement.layout for shape in shapes.values()}
    if prefix == "mix" and layouts == {"channels_first"}:
        raise ValueError("prefix is 'mix', an option of transformers: this network has no class or register tokens")
    if "tokens" in layouts and drops_patches(network):
        raise ValueError(
            f"{type(network).__name__} drops different patches of every frame in training, but attention over time "
            "needs the same ones: build it without patch dropout"
        )
    attended: dict[str, AttendedBlock] = {}
    for name, host in hosts.items():
        shape, arrangement = shapes[name], shapes[name].features.arrangement
        if block == REUSE:
            attention: nn.Module = TemporalReuse(
                host, shape.channels, shape.num_frames, inner_channels=spec.inner_channels, zero_init=spec.zero_init
            )
        else:
            attention = create_block(
                block,
                channels=shape.channels,
                num_frames=shape.num_frames,
                spec=replace(
                    spec,
                    inner_channels=spec.inner_channels or _bottleneck(shape, spec.num_groups),
                    pool=spec.pool if arrangement.pools(prefix) else "none",
                ),
            )
        like = next(host.parameters(), None)
        if like is None:
            like = next(network.parameters(), None)
        if like is not None:
            attention.to(device=like.device, dtype=like.dtype)
        attention.train(host.training)
        attended[name] = AttendedBlock(
            host, attention, shape.num_frames, arrangement=arrangement, before=shape.before, prefix=prefix
        )
    put_modules(network, attended)
    return network


def _bottleneck(shape: PlaceShape, num_groups: int) -> int | None:
    """An adapter's inner width in a transformer: C/2, rounded up to whole groups; elsewhere each block has its own."""
    if shape.features.arrangement.layout == "channels_first":
        return None
    return -(-shape.channels // (2 * num_groups)) * num_groups


def remove_attention(network: nn.Module) -> int:
    """Remove every inserted attention block, in place, and restore the network as it was before.

    Args:
        network: any network, with or without inserted blocks.

    Returns:
        The number of removed blocks.

    >>> gta.remove_attention(gta.create_model("tiny_gta").backbone)
    2
    """
    attended = [name for name, module in network.named_modules() if isinstance(module, AttendedBlock)]
    for name in reversed(attended):  # inner ones first
        module = network.get_submodule(name)
        assert isinstance(module, AttendedBlock)
        network.set_submodule(name, module.host)
    return len(attended)


def resize_attention(network: nn.Module, num_frames: int | Mapping[str, int]) -> list[str]:
    """Change the number of frames of every inserted block; returns the names of the parameters that were resized.

    Args:
        network: the network.
        num_frames: T of the features at all places, or at each by its dotted name.

    Raises:
        ValueError: the blocks read different numbers of frames, and one number is given.
    """
    attended = {name: module for name, module in network.named_modules() if isinstance(module, AttendedBlock)}
    if isinstance(num_frames, int):
        frames = {module.num_frames for module in attended.values()}
        if len(frames) > 1:
            numbers = ", ".join(map(str, sorted(frames)))
            raise ValueError(f"the attention blocks read different numbers of frames ({numbers}): insert them again")
        num_frames = dict.fromkeys(attended, num_frames)
    return [f"{name}.{key}" for name, module in attended.items() for key in module.resize(num_frames[name])]


def check_places(at: object, *, by_name: bool = True) -> None:
    """Refuse what does not have the form of `at` (see `insert_attention`); which places exist is found later.

    Args:
        at: what the user gave.
        by_name: modules may be listed by their dotted names.

    Raises:
        ValueError: it has another form.
    """
    if isinstance(at, Mapping):
        for stage, which in at.items():
            indices = isinstance(which, Sequence) and all(map(_is_whole, which))
            if not (which == "all" if isinstance(which, str) else indices or _is_whole(which)):
                raise ValueError(f"`at` has {stage}: {which!r}: give a number of blocks, their indices, or 'all'")
        return
    listed = isinstance(at, Sequence) and not isinstance(at, str) and all(isinstance(name, str) for name in at)
    if not (by_name and listed):
        names = ", or a list of dotted names of modules" if by_name else "; only `gta.insert_attention` takes names"
        raise ValueError(
            f"`at` is {at!r}: give stages and their blocks, such as {{'res3': 2, 'res4': 'all'}} or "
            f"{{'blocks': [3, 6, 9]}}{names}"
        )


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def find_places(network: nn.Module, at: Places, *, first: int = 0) -> list[str]:
    """The dotted names of the modules that `at` means (see `insert_attention`)."""
    if not isinstance(at, Mapping):
        for name in at:
            _require_module(network, name)
        return list(at)
    stages = find_stages(network)
    names: list[str] = []
    for key, which in at.items():
        if key in stages:
            blocks = stages[key]
        else:
            others = (
                f"give {' or '.join(map(repr, stages))}" if stages else "name a container of blocks by its dotted name"
            )
            if key in STAGES:
                raise ValueError(f"{type(network).__name__} has no stage {key}: {others}")
            _require_module(network, key, f": {others}")
            blocks = child_names(network, key)
        if which == "all":
            indices: Sequence[int] = range(len(blocks))
        elif isinstance(which, Sequence):
            indices = which
        else:
            count = int(which)
            indices = spread(count, len(blocks)) if key == BLOCKS else every_other(count, len(blocks), first)
        for index in indices:
            if not 0 <= index < len(blocks):
                raise ValueError(f"{key} has {len(blocks)} blocks, there is no block {index}")
            names.append(blocks[index])
    return names


def _require_module(network: nn.Module, name: str, advice: str = "") -> None:
    try:
        network.get_submodule(name)
    except AttributeError:
        raise ValueError(f"{type(network).__name__} has no module {name!r}{advice}") from None
