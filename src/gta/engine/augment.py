"""Augmentations on the device: RandAugment, mixup (Zhang et al., 2018), cutmix (Yun et al., 2019), soft targets.

Draws come from PyTorch's global generator on the CPU, which the training step seeds.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def soft_targets(labels: Tensor, num_classes: int) -> Tensor:
    """One-hot rows: (B,) int64 -> (B, K) float32."""
    return F.one_hot(labels, num_classes).to(torch.float32)


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


def mix_batch(clip: Tensor, target: Tensor, *, mixup: float, cutmix: float) -> tuple[Tensor, Tensor]:
    """Mix each clip with another of the batch, and the targets in the same proportion.

    With both alphas above 0, each batch draws one of the two.

    Args:
        clip: (B, 3, T, H, W) float, normalised.
        target: (B, K) float, rows that sum to 1.
        mixup: alpha of the Beta distribution of mixup's proportion; 0 for no mixup.
        cutmix: alpha of cutmix's; 0 for no cutmix. The same rectangle is exchanged in every frame.

    Returns:
        Clip and target of the same shapes.
    """
    if mixup <= 0 and cutmix <= 0:
        return clip, target
    use_cutmix = cutmix > 0 and (mixup <= 0 or bool(torch.rand(()) < 0.5))
    alpha = cutmix if use_cutmix else mixup
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    order = torch.randperm(len(clip)).to(clip.device)
    if not use_cutmix:
        return torch.lerp(clip[order], clip, share), torch.lerp(target[order], target, share)
    top, bottom, left, right = _rectangle(clip.shape[-2], clip.shape[-1], 1 - share)
    mixed = clip.clone()
    mixed[..., top:bottom, left:right] = clip[order][..., top:bottom, left:right]
    kept = 1 - (bottom - top) * (right - left) / (clip.shape[-2] * clip.shape[-1])
    return mixed, torch.lerp(target[order], target, kept)


def _rectangle(height: int, width: int, area: float) -> tuple[int, int, int, int]:
    """A rectangle of the image's shape and `area` of its surface around a random centre, clipped to the image."""
    rows, columns = int(height * area**0.5), int(width * area**0.5)
    centre_y = int(torch.randint(height, ()))
    centre_x = int(torch.randint(width, ()))
    return (
        max(centre_y - rows // 2, 0),
        min(centre_y + (rows + 1) // 2, height),
        max(centre_x - columns // 2, 0),
        min(centre_x + (columns + 1) // 2, width),
    )
