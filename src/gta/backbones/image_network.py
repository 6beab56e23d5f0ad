"""What a timm network makes of an image: how its features are arranged, and which sizes it reads."""

import torch
from torch import Tensor, nn

from gta.backbones.contract import ImageNetwork
from gta.modes import evaluating


def features_are_tokens(network: nn.Module, size: int) -> bool:
    """Whether `forward_features` returns tokens `(N, L, C)`, found on shapes alone where the network does not say it.

    Args:
        network: a timm network.
        size: height and width of a small image.

    Raises:
        ValueError: it does not read images of this size.
    """
    if isinstance(getattr(network, "num_prefix_tokens", None), int):
        return True
    if not any(isinstance(layer, nn.LayerNorm) for layer in network.modules()):  # a CNN
        return False
    image = torch.empty(1, 3, size, size, device="meta")
    features = _Features(network)
    shapes = {name: tensor.to("meta") for name, tensor in [*features.named_parameters(), *features.named_buffers()]}
    try:
        with evaluating(features), torch.no_grad():
            return torch.func.functional_call(features, shapes, (image,)).ndim == 3
    except (AssertionError, RuntimeError) as error:  # timm's networks of fixed windows
        raise ValueError(
            f"{type(network).__name__} does not read images of {size}x{size} pixels ({error}), so it cannot be a "
            "backbone by its name: put attention into timm's network itself with `gta.insert_attention`"
        ) from error


class _Features(nn.Module):
    network: ImageNetwork

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network  # type: ignore[assignment]

    def forward(self, images: Tensor) -> Tensor:
        return self.network.forward_features(images)


def fixed_size(network: nn.Module) -> tuple[int, int] | None:
    """The only height and width that the network reads, in pixels; None if it reads others too."""
    embed = getattr(network, "patch_embed", None) or getattr(network, "stem", None)  # MLP-Mixer's is its stem
    size = getattr(embed, "img_size", None)
    if size is not None and getattr(embed, "strict_img_size", True):
        return int(size[0]), int(size[1])
    shape, stride = getattr(network, "tokens_spatial_shape", None), getattr(network, "patch_stride", None)  # Hiera
    if shape is not None and stride is not None:
        return int(shape[-2] * stride[-2]), int(shape[-1] * stride[-1])
    return None


def patch_size(network: nn.Module) -> int | None:
    """Pixels of a patch's side, of which height and width have to be multiples; None if there is no such rule."""
    embed = getattr(network, "patch_embed", None) or getattr(network, "embeds", None)  # NaFlexViT's
    side = getattr(embed, "patch_size", None)
    if side is None or getattr(embed, "dynamic_img_pad", False):
        return None
    return int(side[0] if isinstance(side, tuple | list) else side)
