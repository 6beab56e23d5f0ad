"""Augmentations on the device: RandAugment, mixup (Zhang et al., 2018), cutmix (Yun et al., 2019), all torchvision's.

Draws come from PyTorch's global generator on the CPU, which the training step seeds.
"""

import torch
from torch import Tensor


def rand_augment(clip: Tensor, *, num_ops: int, magnitude: int) -> Tensor:
    """RandAugment (Cubuk et al., 2020): random operations on colours and geometry, the same on all frames of a clip.

    None of the operations mirrors the picture or touches the order of the frames, so labels keep their direction.

    Args:
        clip: uint8 (B, 3, T, H, W).
        num_ops: operations per clip, one after the other.
        magnitude: strength, 0 to 30.

    Returns:
        uint8 of the same shape.
    """
    from torchvision.transforms.v2 import RandAugment

    augment = RandAugment(num_ops=num_ops, magnitude=magnitude)
    return torch.stack([augment(frames) for frames in clip.transpose(1, 2)]).transpose(1, 2)


def mix_batch(clip: Tensor, label: Tensor, *, num_classes: int, mixup: float, cutmix: float) -> tuple[Tensor, Tensor]:
    """Mix each clip with another of the batch, and the targets in the same proportion.

    With both alphas above 0, each batch draws one of the two.

    Args:
        clip: (B, 3, T, H, W) float, normalised.
        label: (B,) int64 in [0, K).
        num_classes: number of classes (K).
        mixup: alpha of the Beta distribution of mixup's proportion; 0 for no mixup.
        cutmix: alpha of cutmix's; 0 for no cutmix. The same rectangle is exchanged in every frame.

    Returns:
        Clip of the same shape, and targets (B, K) float32 whose rows sum to 1; both as they came without mixing.
    """
    if mixup <= 0 and cutmix <= 0:
        return clip, label
    from torchvision.transforms import v2
    from torchvision.tv_tensors import Video

    use_cutmix = cutmix > 0 and (mixup <= 0 or bool(torch.rand(()) < 0.5))
    mix = (
        v2.CutMix(alpha=cutmix, num_classes=num_classes)
        if use_cutmix
        else v2.MixUp(alpha=mixup, num_classes=num_classes)
    )
    mixed, target = mix(Video(clip), label)
    return mixed.as_subclass(Tensor), target
