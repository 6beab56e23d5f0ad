"""Putting attention blocks after chosen residual blocks of a network, and taking them out again."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from gta.backbones.stages import child_names, every_other, find_stages
from gta.blocks.attention import Instantiation, Pool
from gta.blocks.factory import create_block
from gta.blocks.gta import Regions
from gta.blocks.projection import Norm
from gta.ops.layout import fold_frames, unfold_frames

Places = Mapping[str, int | Sequence[int]] | Sequence[str]


class AttendedBlock(nn.Module):
    """A network's own block with an attention block after it.

    Args:
        host: the network's block; returns `(B*T, C, H, W)` (a frame-wise network) or `(B, C, T, H, W)`.
        attention: maps `(B, C, T, H, W)` to the same shape.
        num_frames: T, by which frame-wise features are split into clips.
    """

    def __init__(self, host: nn.Module, attention: nn.Module, num_frames: int) -> None:
        super().__init__()
        self.host = host
        self.attention = attention
        self.num_frames = num_frames

    def forward(self, features: Tensor) -> Tensor:
        """Apply the host, then the attention."""
        features = self.host(features)
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
    num_frames: int = 8,
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
) -> nn.Module:
    """Insert attention blocks into `network`, in place. Channel counts are found from its modules.

    Args:
        network: any backbone of this package, timm or torchvision CNN, or a module of your own. A frame-wise one is
            afterwards called with the frames of whole clips, `(B*T, 3, H, W)`.
        block: name for `create_block`.
        at: where. A mapping from a stage (res2..res5) or the dotted name of a container of blocks to a number of
            blocks ("every other block", from `first`) or to explicit indices; or a sequence of dotted names of modules.
        num_frames: T of the features at these places.
        first: index of the first block that a number counts from.
        num_groups, num_heads, num_regions, inner_channels, pool, scaled, norm, zero_init, regions, region_size,
            instantiation: as of `create_block`.

    Returns:
        `network`, for chaining.

    Raises:
        ValueError: a place does not exist, is taken, or its number of channels cannot be found.
    """
    names = find_places(network, at, first=first)
    hosts = {name: network.get_submodule(name) for name in names}
    for name, host in hosts.items():
        if isinstance(host, AttendedBlock):
            raise ValueError(f"{name} has an attention block already")
    built = {
        name: create_block(
            block,
            channels=output_channels(host, name),
            num_frames=num_frames,
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
        )
        for name, host in hosts.items()
    }
    for name in sorted(built, key=lambda name: -name.count(".")):  # inner places first, while their names still hold
        host, attention = hosts[name], built[name]
        like = next(host.parameters(), None)
        if like is not None:
            attention.to(device=like.device, dtype=like.dtype)
        attention.train(host.training)
        network.set_submodule(name, AttendedBlock(host, attention, num_frames))
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
    """Change the number of frames of every inserted block; returns the names of the parameters that were resized."""
    return [
        f"{name}.{parameter}"
        for name, module in network.named_modules()
        if isinstance(module, AttendedBlock)
        for parameter in module.resize(num_frames)
    ]


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


def output_channels(module: nn.Module, name: str = "block") -> int:
    """How many channels a block's output has: those of the last layer inside it that sets a width.

    Raises:
        ValueError: no such layer is inside.
    """
    channels = None
    for layer in module.modules():
        for attribute in ("out_channels", "num_features", "out_features"):
            width = getattr(layer, attribute, None)
            if isinstance(width, int):
                channels = width
                break
        else:
            if isinstance(layer, nn.LayerNorm):
                channels = layer.normalized_shape[-1]
    if channels is None:
        raise ValueError(f"{name}: the number of channels of its output cannot be found from its modules")
    return channels
