"""Counting multiply-adds as the paper does."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gta.modes import evaluating


def count_flops(model: nn.Module, clip_shape: Sequence[int]) -> int:
    """Count the multiply-adds of one forward pass (a multiply-add counts once, as in the paper's GFLOPs).

    Convolutions and matrix products are counted; norms, activations and pooling are not. Nothing is computed: the
    pass runs on shapes only, so a large model costs no memory.

    Args:
        model: any network; it is left unchanged.
        clip_shape: shape of its input, e.g. `(1, 3, 8, 224, 224)`; the batch dimension may be left out.

    >>> round(gta.count_flops(gta.create_model("r2d50"), (3, 8, 224, 224)) / 1e9, 1)  # the paper's 32.7 GFLOPs
    32.7
    """
    shape = tuple(clip_shape) if len(clip_shape) == 5 else (1, *clip_shape)
    shapes_only = {name: tensor.detach().to("meta") for name, tensor in _tensors(model)}
    kinds = [tensor.dtype for tensor in shapes_only.values() if tensor.is_floating_point()]
    clip = torch.empty(shape, device="meta", dtype=kinds[0] if kinds else None)
    counter = FlopCounterMode(display=False)
    with evaluating(model), torch.no_grad(), counter:
        torch.func.functional_call(model, shapes_only, (clip,))
    return counter.get_total_flops() // 2


def _tensors(model: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]
