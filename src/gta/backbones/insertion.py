"""Putting attention blocks after chosen residual blocks of a network, and taking them out again."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from gta.backbones.dry_run import Example, put_modules, shapes_at
from gta.backbones.stages import child_names, every_other, find_stages
from gta.blocks.attention import Instantiation, Pool
from gta.blocks.factory import create_block
from gta.blocks.gta import Regions
from gta.blocks.mixing_options import MixingArguments
from gta.blocks.projection import Norm
from gta.ops.layout import exported_for_any_batch, fold_frames, unfold_frames

Places = Mapping[str, int | Sequence[int]] | Sequence[str]


class AttendedBlock(nn.Module):
    """A network's own block with an attention block after it.

    Args:
        host: the network's block; returns `(B*T, C, H, W)` (a frame-wise network) or `(B, C, T, H, W)`.
        attention: maps `(B, C, T, H, W)` to the same shape.
        num_frames: T of the features here, by which frame-wise ones are split into clips.
    """

    def __init__(self, host: nn.Module, attention: nn.Module, num_frames: int) -> None:
        super().__init__()
        self.host = host
        self.attention = attention
        self.num_frames = num_frames

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Apply the host to whatever the network gives it, then the attention."""
        features = self.host(*args, **kwargs)
        if torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling():
            with exported_for_any_batch():
                return self._attend(features)
        return self._attend(features)

    def _attend(self, features: Tensor) -> Tensor:
        if features.ndim == 5:
            out = self.attention(features)
        else:
            out = fold_frames(self.attention(unfold_frames(features, self.num_frames)))
        # A host that works in channels-first memory goes on in it, so that its own numbers stay the same.
        return out.contiguous() if features.is_contiguous() else out

    def resize(self, num_frames: int) -> list[str]:
        """Change the number of frames; returns the names of the parameters that were resized."""
        self.num_frames = num_frames
        return [f"attention.{name}" for name in self.attention.resize(num_frames)]  # type: ignore[operator]


def insert_attention(
    network: nn.Module,
    *,
    block: str = "gta",
    at: Places,
    num_frames: int | None = None,
    example: Example | None = None,
    first: int = 0,
    num_groups: int = 8,
    num_heads: int | None = None,
    num_regions: int = 8,
    inner_channels: int | None = None,
    pool: Pool = "after",
    scaled: bool = True,
    norm: Norm = "batch",
    zero_init: bool = True,
    regions: Regions = "predicted",
    region_size: tuple[int, int] | None = None,
    instantiation: Instantiation = "softmax",
    **mixing: Unpack[MixingArguments],
) -> nn.Module:
    """Insert attention blocks into `network`, in place.

    The network runs once, without gradients and in evaluation mode, to find the channels and frames of the features at
    each place. If it cannot take attention, nothing is changed.

    Args:
        network: any backbone of this package, timm or torchvision CNN, or a module of your own. A frame-wise one is
            afterwards called with the frames of whole clips, `(B*T, 3, H, W)`.
        block: name for `create_block`.
        at: where. A mapping from a stage (res2..res5) or the dotted name of a container of blocks to a number of
            blocks ("every other block", from `first`) or to explicit indices; or a sequence of dotted names of modules.
        num_frames: T of the clips that the network reads; if not given, that of `example`, or 8. A 3D network with
            temporal strides has fewer frames inside: each block is built for those at its place.
        example: an input for the run, `(B*T, 3, H, W)` or `(B, 3, T, H, W)`, or a tuple of the network's arguments;
            needed if the network does not run on zeros of a usual size.
        first: index of the first block that a number counts from.
        num_groups, num_heads, num_regions, inner_channels, pool, scaled: as of `create_block`.
        norm, zero_init, regions, region_size, instantiation: likewise.
        mixing: likewise; how global temporal attention mixes frames, the fields of `gta.blocks.MixingOptions`.

    Returns:
        `network`, for chaining.

    Raises:
        ValueError: a place does not exist or is taken; its block is not called, or returns something other than
            `(B*T, C, H, W)` or `(B, C, T, H, W)`; or the network does not run.
    """
    names = list(dict.fromkeys(find_places(network, at, first=first)))
    hosts = {name: network.get_submodule(name) for name in names}
    for name, host in hosts.items():
        if isinstance(host, AttendedBlock):
            raise ValueError(f"{name} has an attention block already")
    shapes = shapes_at(network, names, num_frames=num_frames, example=example) if names else {}
    attended: dict[str, AttendedBlock] = {}
    for name, host in hosts.items():
        shape = shapes[name]
        attention = create_block(
            block,
            channels=shape.channels,
            num_frames=shape.num_frames,
            num_groups=num_groups,
            num_heads=num_heads,
            num_regions=num_regions,
            inner_channels=inner_channels,
            pool=pool,
            scaled=scaled,
            norm=norm,
            zero_init=zero_init,
            regions=regions,
            region_size=region_size,
            instantiation=instantiation,
            **mixing,
        )
        like = next(host.parameters(), None)
        if like is None:
            like = next(network.parameters(), None)
        if like is not None:
            attention.to(device=like.device, dtype=like.dtype)
        attention.train(host.training)
        attended[name] = AttendedBlock(host, attention, shape.num_frames)
    put_modules(network, attended)
    return network


def remove_attention(network: nn.Module) -> int:
    """Take out every inserted attention block, in place; returns how many there were."""
    attended = [name for name, module in network.named_modules() if isinstance(module, AttendedBlock)]
    for name in reversed(attended):  # inner ones first
        module = network.get_submodule(name)
        assert isinstance(module, AttendedBlock)
        network.set_submodule(name, module.host)
    return len(attended)


def resize_attention(network: nn.Module, num_frames: int) -> list[str]:
    """Change the number of frames of every inserted block; returns the names of the parameters that were resized.

    Raises:
        ValueError: the blocks read different numbers of frames.
    """
    attended = {name: module for name, module in network.named_modules() if isinstance(module, AttendedBlock)}
    frames = {module.num_frames for module in attended.values()}
    if len(frames) > 1:
        numbers = ", ".join(map(str, sorted(frames)))
        raise ValueError(f"the attention blocks read different numbers of frames ({numbers}): insert them anew")
    return [f"{name}.{parameter}" for name, module in attended.items() for parameter in module.resize(num_frames)]


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
            if key in ("res2", "res3", "res4", "res5"):
                raise ValueError(f"{type(network).__name__} has no stage {key}: name its blocks by their dotted names")
            _require_module(network, key)
            blocks = child_names(network, key)
        indices = every_other(which, len(blocks), first) if isinstance(which, int) else which
        for index in indices:
            if not 0 <= index < len(blocks):
                raise ValueError(f"{key} has {len(blocks)} blocks, there is no block {index}")
            names.append(blocks[index])
    return names


def _require_module(network: nn.Module, name: str) -> None:
    try:
        network.get_submodule(name)
    except AttributeError:
        raise ValueError(f"{type(network).__name__} has no module {name!r}") from None
