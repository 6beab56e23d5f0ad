"""Any timm image network applied to every frame."""

import contextlib
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gta.backbones.base import BackboneBase
from gta.backbones.contract import ImageNetwork
from gta.backbones.hub import cache_only_without_network, cannot_download
from gta.backbones.image_network import features_are_tokens, fixed_size, patch_size
from gta.backbones.stages import BLOCKS, find_stages
from gta.backbones.tsm import resize_shift
from gta.files import DISK_ERRORS
from gta.ops.layout import (
    channels_to_back,
    channels_to_front,
    fold_frames,
    fold_tokens,
    unfold_frames,
    unfold_tokens,
)


class FramewiseBackbone(BackboneBase):
    """A 2D network applied to each frame on its own; only blocks inserted into it join frames.

    Args:
        network: a timm CNN or transformer without classifier (`num_classes=0`).
        num_frames: T, frames per clip.
        in_channels: channels of a frame: 3, or 2L of stacked optical flow.

    A transformer's tokens are features of `L x 1` positions, those of class and register tokens first.
    """

    network: ImageNetwork

    def __init__(self, network: nn.Module, num_frames: int, *, in_channels: int = 3) -> None:
        super().__init__()
        self.network = network  # type: ignore[assignment]  # timm's networks are all of this kind
        self.num_frames = num_frames
        self.in_channels = in_channels
        self.fixed_size = fixed_size(network)
        self.patch_size = patch_size(network)
        # Pixels; the last stage of a network with stages is 32 times smaller than the frame.
        smallest = self.patch_size if BLOCKS in find_stages(network) and self.patch_size else 32
        self.minimum_size = max(self.fixed_size or (smallest,))
        self.trial_size = self.minimum_size if self.fixed_size else max(smallest, 4 * (self.patch_size or 0))
        self.tokens = features_are_tokens(network, self.trial_size)
        self.channels_last = getattr(network, "output_fmt", None) == "NHWC"
        self.num_features = int(network.head_hidden_size)  # type: ignore[arg-type]  # width after timm's pooling

    def forward(self, clip: Float[Tensor, "B I T H W"]) -> Float[Tensor, "B C T h w"]:
        """Features of every frame, channels-last in memory."""
        self._check_size(clip.shape[3], clip.shape[4])
        frames = fold_frames(clip).contiguous(memory_format=torch.channels_last)
        features = self.network.forward_features(frames)
        if self.tokens:
            return unfold_tokens(features, self.num_frames, features.shape[1], 1)
        return unfold_frames(channels_to_front(features) if self.channels_last else features, self.num_frames)

    def pool(self, features: Float[Tensor, "B C T h w"]) -> Float[Tensor, "B K"]:
        """Pool each frame as the 2D network does before its classifier, then average over the frames (consensus)."""
        if self.tokens:
            images = fold_tokens(features)
        else:
            images = fold_frames(features)
            images = channels_to_back(images) if self.channels_last else images
        frames = self.network.forward_head(images, pre_logits=True)
        return frames.unflatten(0, (-1, self.num_frames)).mean(dim=1)

    def _check_size(self, height: int, width: int) -> None:
        if self.fixed_size is not None and (height, width) != self.fixed_size:
            raise ValueError(
                f"the clip is {height}x{width} pixels, the network reads {self.fixed_size[0]}x{self.fixed_size[1]} "
                "only: build it with image_size=... for another size"
            )
        if self.patch_size is not None and self.tokens and (height % self.patch_size or width % self.patch_size):
            raise ValueError(
                f"the clip is {height}x{width} pixels, which do not divide into patches of "
                f"{self.patch_size}x{self.patch_size}"
            )

    def stages(self) -> dict[str, list[str]]:
        """Dotted names of the residual blocks of res2..res5, and of the `blocks` of a transformer."""
        return {
            stage: [f"network.{name}" for name in names]
            for stage, names in find_stages(self.get_submodule("network")).items()
        }

    def resize(self, num_frames: int) -> list[str]:
        """Change the number of frames; nothing that is learned depends on it."""
        resize_shift(self.get_submodule("network"), num_frames)
        return super().resize(num_frames)


def tiny_network(in_channels: int = 3) -> nn.Module:
    """A narrow ResNet-10: one basic block in each stage, 16 to 128 channels; for CPUs, tests and the demo."""
    from timm.models.resnet import BasicBlock, ResNet  # here, since importing timm takes seconds

    return ResNet(
        BasicBlock,  # type: ignore[arg-type]  # timm's annotation says an instance, a class is meant
        (1, 1, 1, 1),
        num_classes=0,
        in_chans=in_channels,
        channels=(16, 32, 64, 128),
        stem_type="deep",
        stem_width=8,
    )


def tiny_transformer() -> nn.Module:
    """A narrow ViT: four blocks of 64 channels over patches of 8x8 pixels; for CPUs and tests.

    It is initialised as ViT's authors had it (timm's `jax`), with a scale that goes by the width. Its patches are
    pooled by their maximum: the layer norms make every patch equally long, so that an average over 36 patches hides
    the few that show the moving object, and training from scratch takes several times as many clips (docs/log.md).
    """
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        img_size=48,
        patch_size=8,
        embed_dim=64,
        depth=4,
        num_heads=2,
        mlp_ratio=3,
        num_classes=0,
        class_token=False,
        global_pool="max",
        weight_init="jax",
        dynamic_img_size=True,
    )


def timm_network(
    name: str,
    *,
    weights: str | None = None,
    image_size: int | None = None,
    global_pool: str | None = None,
    in_channels: int | None = None,
) -> nn.Module:
    """A timm image network without classifier.

    Args:
        name: timm's name of the architecture.
        weights: None for random weights, `imagenet` for timm's default weights, or the tag of others.
        image_size: height and width, in pixels, that a transformer is built for; timm's own if not given. Those that
            can interpolate their encoding of positions read other sizes too.
        global_pool: how positions become one vector: `token`, `avg`, `map`, ...; timm's own if not given.
        in_channels: of the input; pretrained weights of three are repeated and scaled (timm's way).

    Raises:
        ValueError: timm does not know the name or the tag, the weights cannot be downloaded, an option does not fit, or
            the network has neither stages of strides 4 to 32 nor a sequence of blocks.
    """
    import timm

    if not timm.is_model(name):
        raise ValueError(f"{name!r} is neither one of this package's backbones nor a timm model")
    tagged = name if weights in (None, "imagenet") else f"{name}.{weights}"
    if weights is not None:
        _check_weights(name, weights)
    try:
        with contextlib.nullcontext() if weights is None else cache_only_without_network():
            network = _create(
                tagged,
                weights is not None,
                {"img_size": image_size, "global_pool": global_pool, "in_chans": in_channels},
            )
    except OSError as error:  # the hub's and the network's errors are all of this kind, like those of the disk
        if weights is None or error.errno in DISK_ERRORS:
            raise
        raise cannot_download(weights, name, error) from error
    if not hasattr(network, "forward_head") or not find_stages(network):
        raise ValueError(
            f"{name!r} has neither stages of strides 4, 8, 16 and 32 nor a sequence of blocks, so attention cannot be "
            "inserted into it by its name: gta.insert_attention takes the dotted names of its modules"
        )
    return network


def _create(name: str, pretrained: bool, options: dict[str, int | str | None]) -> nn.Module:
    """Let timm build it; transformers that can read several image sizes are built so."""
    import timm

    given: dict[str, Any] = {option: value for option, value in options.items() if value is not None}
    ours = {"img_size": "image_size"}
    try:
        try:
            return timm.create_model(name, pretrained=pretrained, num_classes=0, dynamic_img_size=True, **given)
        except TypeError as error:
            if "unexpected keyword argument" not in str(error) or "dynamic_img_size" not in str(error):
                raise
            return timm.create_model(name, pretrained=pretrained, num_classes=0, **given)
    except TypeError as error:
        refused = next((option for option in given if option in str(error)), None)
        if refused is None or "unexpected keyword argument" not in str(error):
            raise
        raise ValueError(f"{ours.get(refused, refused)} does not apply to {name!r}") from error
    except AssertionError as error:  # timm's own checks of its arguments
        if not given:
            raise
        told = ", ".join(f"{ours.get(option, option)}={value!r}" for option, value in given.items())
        raise ValueError(f"{name!r} cannot be built with {told}: {error}") from error


def _check_weights(name: str, weights: str) -> None:
    """Refuse a tag of weights that timm does not have for this architecture."""
    import timm

    prefix = f"{name}."
    tags = [known.removeprefix(prefix) for known in timm.list_pretrained(f"{prefix}*")]
    if weights != "imagenet" and weights not in tags:
        known = ", ".join(["imagenet", *tags]) if tags else "none"
        raise ValueError(f"{name!r} has no {weights!r} weights: there are {known}")
    if not tags:
        raise ValueError(f"timm has no weights for {name!r}: pass a file as model.pretrained, or leave it out")
