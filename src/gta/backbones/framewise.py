"""Any timm 2D CNN applied to every frame."""

import contextlib

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gta.backbones.hub import cache_only_without_network
from gta.backbones.stages import find_stages
from gta.backbones.tsm import resize_shift
from gta.files import DISK_ERRORS
from gta.ops.layout import fold_frames, unfold_frames


class FramewiseBackbone(nn.Module):
    """A 2D network applied to each frame on its own; only blocks inserted into it join frames.

    Args:
        network: a timm CNN without classifier (`num_classes=0`).
        num_frames: T, frames per clip.
    """

    minimum_size = 32  # pixels: the last stage is 32 times smaller than the frame

    def __init__(self, network: nn.Module, num_frames: int) -> None:
        super().__init__()
        self.network = network
        self.num_frames = num_frames
        self.num_features = int(network.head_hidden_size)  # type: ignore[arg-type]  # width after timm's pooling

    def forward(self, clip: Float[Tensor, "B 3 T H W"]) -> Float[Tensor, "B C T h w"]:
        """Features of every frame, channels-last in memory."""
        frames = fold_frames(clip).contiguous(memory_format=torch.channels_last)
        return unfold_frames(self.network.forward_features(frames), self.num_frames)  # type: ignore[operator]

    def pool(self, features: Float[Tensor, "B C T h w"]) -> Float[Tensor, "B K"]:
        """Pool each frame as the 2D network does before its classifier, then average over the frames (consensus)."""
        frames = self.network.forward_head(fold_frames(features), pre_logits=True)  # type: ignore[operator]
        return frames.unflatten(0, (-1, self.num_frames)).mean(dim=1)

    def stages(self) -> dict[str, list[str]]:
        """Dotted names of the residual blocks of res2..res5."""
        return {stage: [f"network.{name}" for name in names] for stage, names in find_stages(self.network).items()}

    def attention_frames(self, num_frames: int) -> int:
        """T at the places where attention goes, for clips of `num_frames`."""
        return num_frames

    def resize(self, num_frames: int) -> list[str]:
        """Change the number of frames; nothing that is learned depends on it."""
        self.num_frames = num_frames
        resize_shift(self.network, num_frames)
        return []


def tiny_network() -> nn.Module:
    """A narrow ResNet-10: one basic block in each stage, 16 to 128 channels; for CPUs, tests and the demo."""
    from timm.models.resnet import BasicBlock, ResNet  # here, since importing timm takes seconds

    return ResNet(
        BasicBlock,  # type: ignore[arg-type]  # timm's annotation says an instance, a class is meant
        (1, 1, 1, 1),
        num_classes=0,
        channels=(16, 32, 64, 128),
        stem_type="deep",
        stem_width=8,
    )


def timm_network(name: str, *, weights: str | None = None) -> nn.Module:
    """A timm CNN without classifier.

    Args:
        name: timm's name of the architecture.
        weights: None for random weights, `imagenet` for timm's default weights, or the tag of others.

    Raises:
        ValueError: timm does not know the name or the tag, the weights cannot be downloaded, or the network has no
            stages of strides 4 to 32.
    """
    import timm

    if not timm.is_model(name):
        raise ValueError(f"{name!r} is neither one of this package's backbones nor a timm model")
    tagged = name if weights in (None, "imagenet") else f"{name}.{weights}"
    if weights is not None:
        _check_weights(name, weights)
    try:
        with contextlib.nullcontext() if weights is None else cache_only_without_network():
            network = timm.create_model(tagged, pretrained=weights is not None, num_classes=0)
    except OSError as error:  # the hub's and the network's errors are all of this kind, like those of the disk
        if weights is None or error.errno in DISK_ERRORS:
            raise
        raise ValueError(
            f"the weights {weights!r} of {name!r} cannot be downloaded (no network?) and are not in the cache: give a "
            f"file as model.pretrained, or none for random weights ({type(error).__name__})"
        ) from error
    if not hasattr(network, "forward_head") or not find_stages(network):
        raise ValueError(
            f"{name!r} is not a CNN with stages of strides 4, 8, 16 and 32, so attention cannot be inserted into it"
        )
    return network


def _check_weights(name: str, weights: str) -> None:
    """Refuse a tag of weights that timm does not have for this architecture."""
    import timm

    prefix = f"{name}."
    tags = [known.removeprefix(prefix) for known in timm.list_pretrained(f"{prefix}*")]
    if weights != "imagenet" and weights not in tags:
        known = ", ".join(["imagenet", *tags]) if tags else "none"
        raise ValueError(f"{name!r} has no {weights!r} weights: there are {known}")
    if not tags:
        raise ValueError(f"timm has no weights for {name!r}: give a file as model.pretrained, or none")
