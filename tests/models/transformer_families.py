"""One small network of each family of image transformers, and where its attention goes."""

from typing import NamedTuple

import timm
import torch
import torchvision

FRAMES = 4


class Family(NamedTuple):
    build: object
    """Builds the network, with options of its constructor."""
    size: int
    """Pixels of a frame's side."""
    at: object
    """Places of attention."""
    prefix: int | None = None
    """Tokens before the patches; None: features are images."""
    side: str = "before"
    """Where attention goes if nobody says so."""


def of_timm(name, **small):
    return lambda **options: timm.create_model(name, num_classes=5, **small, **options)


VIT = {"depth": 2, "embed_dim": 32, "num_heads": 2, "img_size": 64}
SWIN = {"depths": (1, 1, 2, 1), "embed_dim": 16, "num_heads": (1, 2, 2, 2), "img_size": 64}
HIERA = {"embed_dim": 16, "num_heads": 1, "stages": (1, 1, 2, 1), "img_size": 64}
BLOCKS = {"blocks": "all"}


def torchvision_vit():
    return torchvision.models.VisionTransformer(64, 16, 2, 2, 32, 64, num_classes=5)


def torchvision_swin():
    return torchvision.models.SwinTransformer([4, 4], 16, [1, 1, 2, 1], [1, 2, 2, 2], [4, 4], num_classes=5)


FAMILIES = {
    "vit": Family(of_timm("vit_tiny_patch16_224", **VIT), 64, BLOCKS, 1),
    "clip": Family(of_timm("vit_base_patch16_clip_224", **VIT), 64, BLOCKS, 1),
    "siglip": Family(of_timm("vit_base_patch16_siglip_224", **VIT), 64, BLOCKS, 0),
    "dinov2_reg": Family(of_timm("vit_small_patch14_reg4_dinov2", **{**VIT, "img_size": 56}), 56, BLOCKS, 5),
    "dinov3": Family(of_timm("vit_small_patch16_dinov3", **VIT), 64, BLOCKS, 5),
    "eva02": Family(of_timm("eva02_tiny_patch14_224", **{**VIT, "img_size": 56}), 56, BLOCKS, 1),
    "rope_mixed": Family(of_timm("vit_base_patch16_rope_mixed_224", **VIT), 64, BLOCKS, 1),
    "deit_distilled": Family(of_timm("deit_tiny_distilled_patch16_224", **VIT), 64, BLOCKS, 2),
    "beit": Family(of_timm("beit_base_patch16_224", **VIT), 64, BLOCKS, 1),
    "relpos": Family(of_timm("vit_relpos_small_patch16_224", **VIT), 64, BLOCKS, 0),
    "hiera": Family(of_timm("hiera_tiny_224", **HIERA), 64, {"res3": 1, "res4": [0, 1]}, 0),
    "swin": Family(of_timm("swin_tiny_patch4_window7_224", **SWIN), 64, {"res3": 1, "res4": 1}, None, "after"),
    "swinv2": Family(of_timm("swinv2_tiny_window8_256", **SWIN), 64, {"res3": 1, "res4": 1}, None, "after"),
    "torchvision_vit": Family(torchvision_vit, 64, BLOCKS, 1),
    "torchvision_swin": Family(torchvision_swin, 64, {"res3": 1, "res4": 1}, None, "after"),
}  # fmt: skip


def frames_of(family, clips, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(clips * FRAMES, 3, family.size, family.size, generator=generator)
