"""Class activation maps of single frames, on features over time: Grad-CAM and LayerCAM.

Grad-CAM (Selvaraju et al. 2017) weighs channels and is meant for the last layer; on earlier ones, whose channels mean
different things at different places, it points at little. LayerCAM (Jiang et al. 2021) weighs every number by its own
gradient. So Grad-CAM is used where the last layer has enough positions, and LayerCAM where an earlier one must do.

Own code, since the libraries for it reduce all axes of a feature map but the channels, want the whole graph of the
network, and bring OpenCV along. Here gradients are averaged within each frame, and only the layers after the maps
keep a graph.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gta.explain.blocks import attention_blocks
from gta.explain.network import Network, hooked
from gta.explain.records import CamMethod, ClassMaps

SMALLEST_SIDE = 4
"""Rows and columns that a layer's maps need in order to show where something is, if any layer has so many."""


class Layer(NamedTuple):
    """A module whose output could carry class maps."""

    name: str
    frames: int
    rows: int
    columns: int


def candidate_layers(network: Network, clip: Tensor) -> tuple[list[Layer], Tensor]:
    """The modules that put out features over space, in the order in which they finish, and the logits (1, K).

    Features are (1, C, t, h, w) or (t, C, h, w) in the clip's proportions. What is inside attention blocks is left out.
    """
    layers: list[Layer] = []
    inside = tuple(f"{name}." for name in attention_blocks(network.model))

    def hook(name: str) -> Any:
        def after(module: nn.Module, given: object, out: object) -> None:
            size = _feature_size(out, clip)
            if size is not None:
                layers.append(Layer(name, *size))

        return after

    handles = [
        module.register_forward_hook(hook(name))
        for name, module in network.model.named_modules()
        if name and not name.startswith(inside)
    ]
    with torch.no_grad(), hooked(handles):
        logits = network.logits(clip)
    return layers, logits


def _feature_size(out: object, clip: Tensor) -> tuple[int, int, int] | None:
    """Frames, rows and columns of features, or None if a module's output is no such thing."""
    if not isinstance(out, Tensor) or not out.is_floating_point() or out.ndim not in (4, 5):
        return None
    if out.ndim == 5 and out.shape[0] != 1:
        return None
    frames = out.shape[2] if out.ndim == 5 else out.shape[0]
    rows, columns = out.shape[-2:]
    height, width = clip.shape[3:]
    fits = rows * columns > 1 and rows <= height and columns <= width and frames <= clip.shape[2]
    # A map has the clip's proportions; other arrangements of axes (channels last) do not.
    return (frames, rows, columns) if fits and abs(rows * width - columns * height) <= max(height, width) else None


def choose_layer(network: Network, clip: Tensor, layers: Sequence[Layer]) -> tuple[Layer, CamMethod] | None:
    """The last layer through which everything passes before it is pooled, or None if there is none with positions.

    Of those with at least 4 x 4 positions, if there are any. A layer on a branch (inside a residual block, one pathway
    of SlowFast) would show only what that branch contributes.

    Returns:
        The layer, and the method that suits it.
    """
    counts = Counter(layer.name for layer in layers)
    once = [layer for layer in reversed(layers) if counts[layer.name] == 1]
    fine = [layer for layer in once if min(layer.rows, layer.columns) >= SMALLEST_SIDE]
    coarse = [layer for layer in once if layer not in fine]
    chosen = next((layer for layer in fine + coarse if _everything_passes(network, clip, layer.name)), None)
    if chosen is None:
        return None
    later = any(_is_coarser(layer, chosen) for layer in layers[layers.index(chosen) :])
    return chosen, "layer_cam" if later else "grad_cam"


def _is_coarser(layer: Layer, than: Layer) -> bool:
    return layer.rows * layer.columns < than.rows * than.columns


def _everything_passes(network: Network, clip: Tensor, name: str) -> bool:
    """Whether the logits depend on the clip through this module's output only.

    Not-a-number pixels make every number that depends on them not a number: the logits stay finite only if zeros in
    place of the module's output hide all of them.
    """

    def hide(module: nn.Module, given: object, out: Tensor) -> Tensor:
        return torch.zeros_like(out)

    with torch.no_grad(), hooked([network.model.get_submodule(name).register_forward_hook(hide)]):
        return bool(network.logits(torch.full_like(clip, float("nan"))).isfinite().all())


def class_maps(
    network: Network, clip: Tensor, layer: str, class_indices: Sequence[int], *, method: CamMethod = "grad_cam"
) -> list[ClassMaps]:
    """Maps of each class from a layer's output A and the gradient G of the class's score with respect to it.

    Grad-CAM is `relu(sum_c mean(G_c) A_c)`, the mean over a frame's positions; LayerCAM is `relu(sum_c relu(G_c) A_c)`.

    Args:
        network: the model.
        clip: normalised (1, 3, T, H, W).
        layer: dotted name of the module whose output is A.
        class_indices: for which classes.
        method: `grad_cam` or `layer_cam`.
    """
    kept: list[Tensor] = []

    def after(module: nn.Module, given: object, out: Tensor) -> Tensor:
        kept.append(out.detach().requires_grad_())
        return kept[-1].clone()  # what follows may work in place

    # Parameters without gradients: the graph begins at the layer, and the memory for it there.
    frozen: Mapping[str, Tensor] = {name: value.detach() for name, value in network.model.named_parameters()}
    handle = network.model.get_submodule(layer).register_forward_hook(after)
    with torch.enable_grad(), hooked([handle]):
        logits = network.logits(clip.detach(), frozen)
        gradients = [
            torch.autograd.grad(logits[0, index], kept, retain_graph=True, allow_unused=True)[-1]
            for index in class_indices
        ]
    features = _frames_first(kept[-1].detach())
    return [
        ClassMaps(
            class_index=index,
            layer=layer,
            maps=_weigh(features, gradient, method).cpu().numpy(),
            frame_numbers=network.frame_numbers(len(features)),
            method=method,
        )
        for index, gradient in zip(class_indices, gradients, strict=True)
    ]


def _frames_first(features: Tensor) -> Tensor:
    """(1, C, t, h, w) or (t, C, h, w) as (t, C, h, w)."""
    return features[0].transpose(0, 1) if features.ndim == 5 else features


def _weigh(features: Tensor, gradient: Tensor | None, method: CamMethod) -> Tensor:
    """The maps (t, h, w) in [0, 1]; all 0 if the score does not depend on the features."""
    if gradient is None:
        return torch.zeros_like(features[:, 0], dtype=torch.float32)
    slopes = _frames_first(gradient).float()
    weights = slopes.relu() if method == "layer_cam" else slopes.mean(dim=(2, 3), keepdim=True)
    maps = (weights * features.float()).sum(dim=1).relu()
    return maps / maps.max().clamp_min(torch.finfo(maps.dtype).tiny)
