"""The module that is exported: uint8 clips in, logits or probabilities out, normalisation inside."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gta.clips.transforms import Normalize
from gta.config import ClipConfig
from gta.explain.network import guess_layout
from gta.export.card import Output, clip_shape
from gta.ops.layout import fold_frames


class ClipGraph(nn.Module):
    """A classifier with its normalisation before it, and the softmax behind it if it is asked for.

    Args:
        network: reads normalised clips (B, C, T, H, W), or as timm's and torchvision's networks do their frames
            (B*T, C, H, W), of which the scores are then averaged; returns logits.
        clip: whose `mean`, `std` and sizes hold.
        output: what comes out.
        bf16: compute the network in bfloat16 where that is safe (PyTorch's autocast).
    """

    def __init__(self, network: nn.Module, clip: ClipConfig, *, output: Output = "logits", bf16: bool = False) -> None:
        super().__init__()
        self.normalize = Normalize(clip.mean, clip.std, flow=clip.flow)
        self.network = network
        self.shape = clip_shape(clip)
        self.reads_frames = guess_layout(network) == "frames"
        self.output = output
        self.bf16 = bf16
        self.eval()

    def forward(self, clip: Tensor) -> Tensor:
        """Uint8 clips (B, C, T, H, W) to float32 (B, K)."""
        # In the memory order that the network's weights have; other runtimes leave this out.
        images = self.normalize(clip).contiguous(memory_format=torch.channels_last_3d)
        if self.reads_frames:
            images = fold_frames(images)
        with torch.autocast(clip.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            scores = self.network(images)
        scores = scores.float()
        if self.reads_frames:
            scores = scores.unflatten(0, (-1, self.shape[1])).mean(dim=1)
        return scores.softmax(dim=1) if self.output == "probabilities" else scores


def trace(graph: ClipGraph, batch_size: int | None) -> "torch.export.ExportedProgram":
    """The graph as one program of ATen operators.

    Args:
        graph: what to trace, on the CPU.
        batch_size: clips per call, or None for any number.

    Raises:
        ValueError: it does not give one row of scores for each clip.
    """
    example = torch.zeros(2 if batch_size is None else batch_size, *graph.shape, dtype=torch.uint8)
    shapes: Mapping[str, Any] | None = None
    if batch_size is None:
        shapes = {"clip": {0: torch.export.Dim("batch", min=1)}}
    with torch.no_grad():
        found = graph(example)
        if found.ndim != 2 or len(found) != len(example):
            raise ValueError(
                f"the network returns {tuple(found.shape)} for {len(example)} clips, but (B, K) is expected"
            )
        return torch.export.export(graph, (example,), dynamic_shapes=shapes)
