"""The video networks of torchvision: R3D, MC3, R(2+1)D, S3D, Video Swin and MViT."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gta.backbones.base import BackboneBase
from gta.backbones.dry_run import replaced, shapes_at
from gta.backbones.hub import cannot_download
from gta.backbones.separable import S3D_STAGES
from gta.backbones.stages import STAGES, find_stages
from gta.files import DISK_ERRORS

PREFIX = "torchvision/"
"""What the names of these backbones begin with."""
NETWORKS: Mapping[str, int] = {
    "r3d_18": 16,
    "mc3_18": 16,
    "r2plus1d_18": 16,
    "s3d": 16,
    "swin3d_t": 32,
    "swin3d_s": 32,
    "swin3d_b": 32,
    "mvit_v1_b": 16,
    "mvit_v2_s": 16,
}
"""Name in torchvision -> frames of a clip unless the user says otherwise: those its weights are evaluated with."""


class TorchvisionBackbone(BackboneBase):
    """A video network of torchvision without its classifier.

    Args:
        network: what `torchvision_network` builds.
        num_frames: T, frames per clip.

    Features are `(B, C, T', H', W')`; those of MViT, tokens, are `(B, C, 1, 1 + T'*H'*W', 1)`, the class token first.
    """

    def __init__(self, network: nn.Module, num_frames: int) -> None:
        super().__init__()
        self.network = network
        self.num_frames = num_frames
        kind = type(network).__name__
        self.kind = kind
        self.fixed_size: tuple[int, int] | None = None
        self.fixed_frames: int | None = None
        self.keeps_time = kind != "MViT"
        if kind == "MViT":
            rows, columns = network.pos_encoding.spatial_size  # type: ignore[union-attr]  # in positions
            _, down, across = network.conv_proj.stride  # type: ignore[union-attr,misc]
            self.fixed_size = (int(rows * down), int(columns * across))
            self.fixed_frames = num_frames
        # Pixels: all but the fixed ones end 32 times smaller than the frame (the residual networks 16 times).
        self.minimum_size = max(self.fixed_size or (32,))
        # Swin and MViT end with a layer norm, whose width is that of the features.
        widths = {"VideoResNet": 512, "S3D": 1024}
        self.num_features = widths[kind] if kind in widths else int(network.norm.normalized_shape[0])  # type: ignore[index,union-attr]

    def forward(self, clip: Float[Tensor, "B 3 T H W"]) -> Float[Tensor, "B C t h w"]:
        """Features of the last stage."""
        network: Any = self.network
        if self.fixed_size is not None and tuple(clip.shape[3:]) != self.fixed_size:
            raise ValueError(
                f"the clip is {clip.shape[3]}x{clip.shape[4]} pixels, the network reads "
                f"{self.fixed_size[0]}x{self.fixed_size[1]} only"
            )
        if self.kind == "VideoResNet":
            features = network.stem(clip)
            for layer in range(1, 5):
                features = getattr(network, f"layer{layer}")(features)
            return features
        if self.kind == "S3D":
            return network.features(clip)
        if self.kind == "SwinTransformer3d":
            tokens = network.norm(network.features(network.pos_drop(network.patch_embed(clip))))
            return tokens.permute(0, 4, 1, 2, 3)
        tokens = network.pos_encoding(network.conv_proj(clip).flatten(2).transpose(1, 2))
        sizes = (network.pos_encoding.temporal_size, *network.pos_encoding.spatial_size)
        for block in network.blocks:
            tokens, sizes = block(tokens, sizes)
        return network.norm(tokens).transpose(1, 2)[:, :, None, :, None]

    def pool(self, features: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B C"]:
        """What torchvision's own classifier is given: the average, S3D's windowed one, or MViT's class token."""
        if self.kind == "MViT":
            return features[:, :, 0, 0, 0]
        if self.kind == "S3D":
            window = [min(side, most) for side, most in zip(features.shape[2:], (2, 7, 7), strict=True)]
            features = F.avg_pool3d(features, window, stride=1)
        return super().pool(features)

    def stages(self) -> dict[str, list[str]]:
        """Dotted names of the blocks of res2..res5, of MViT's `blocks`."""
        if self.kind == "S3D":
            return {stage: [f"network.features.{part}" for part in S3D_STAGES[stage]] for stage in STAGES}
        return {stage: [f"network.{name}" for name in names] for stage, names in find_stages(self.network).items()}

    def attention_frames(self, num_frames: int) -> dict[str, int]:
        """T at each place that has attention, by its dotted name, for clips of `num_frames`."""
        named = dict(self.named_modules())
        hosts = {name: named[f"{name}.host"] for name in named if f"{name}.host" in named}
        if not hosts:
            return {}
        with replaced(self, hosts):  # the blocks themselves read the former number
            shapes = shapes_at(self, list(hosts), num_frames=num_frames)
        return {name: shape.num_frames for name, shape in shapes.items()}

    def resize(self, num_frames: int) -> list[str]:
        """Change the number of frames; nothing that is learned depends on it, but in MViT.

        Raises:
            ValueError: MViT, whose positions in time are learned, is built for one number of frames.
        """
        if self.fixed_frames not in (None, num_frames):
            raise ValueError(
                f"num_frames is {num_frames}: MViT has a learned positional encoding for {self.fixed_frames} frames"
            )
        return super().resize(num_frames)


def torchvision_network(name: str, num_frames: int, *, weights: str | None = None) -> nn.Module:
    """A video network of torchvision without classifier.

    Args:
        name: torchvision's name of it, one of `NETWORKS`.
        num_frames: T; MViT is built for 16 only.
        weights: None for random weights; `kinetics` for torchvision's default ones, or the name of others, such as
            `KINETICS400_IMAGENET22K_V1`.

    Raises:
        ValueError: torchvision has no such network or weights, they cannot be downloaded, or T does not fit.
    """
    from torchvision.models import get_model, get_model_weights  # here: takes a second

    if name not in NETWORKS:
        raise ValueError(f"torchvision has no video network {name!r}: choose from {', '.join(NETWORKS)}")
    fixed = name.startswith("mvit")
    if fixed and num_frames != NETWORKS[name]:
        raise ValueError(f"num_frames is {num_frames}: torchvision's {name} reads {NETWORKS[name]} frames only")
    if weights is None:
        return _without_head(get_model(name, weights=None))
    known = get_model_weights(name)
    tags = list(known.__members__)
    if weights not in ("kinetics", "DEFAULT", *tags):
        raise ValueError(f"{name!r} has no {weights!r} weights: there are kinetics, {', '.join(tags)}")
    chosen = known["DEFAULT" if weights == "kinetics" else weights]
    try:
        network = _without_head(get_model(name, weights=chosen, progress=False))
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise
        raise cannot_download(chosen.name, name, error) from error
    network.pretrained_cfg = _facts(chosen.transforms())  # type: ignore[assignment]  # timm's name and form
    return network


def _facts(preprocessing: Any) -> dict[str, Any]:
    """What torchvision does with the clips of a network, in timm's words."""
    return {
        "mean": tuple(preprocessing.mean),
        "std": tuple(preprocessing.std),
        "input_size": (3, *preprocessing.crop_size),
        "interpolation": preprocessing.interpolation.value,
    }


def _without_head(network: nn.Module) -> nn.Module:
    """Take the classifier out; `TorchvisionBackbone` pools."""
    for part in ("avgpool", "fc", "head", "classifier", "permute"):
        if hasattr(network, part):
            delattr(network, part)
    return network
