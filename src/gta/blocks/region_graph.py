"""Graph convolution among regions in space and time (Wang and Gupta 2018), without a detector of objects."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gta.blocks.expected import ExpectedShape, check_features
from gta.blocks.initialise import initialise_weights
from gta.blocks.projection import Norm, OutputProjection
from gta.ops.layout import from_tokens, to_tokens
from gta.ops.mixing import pool_regions, spread_regions

_LAYERS = 3
_GRAPHS = 3


def overlap_graphs(
    assignment: Float[Tensor, "B T S R"],
) -> tuple[Float[Tensor, "B nodes nodes"], Float[Tensor, "B nodes nodes"]]:
    """Edges to the regions of the next frame and to those of the frame before, as rows that sum to 1 (or 0).

    The weight of an edge is the regions' overlap: the sum of the lesser of their shares over the positions, divided by
    that of the greater ones. For regions with sharp borders it is the intersection over union.
    """
    clips, frames, _, regions = assignment.shape
    nodes = frames * regions
    forward = assignment.new_zeros(clips, frames, regions, frames, regions)
    if frames > 1:
        masks = assignment.transpose(2, 3)  # (B, T, R, S)
        here, there = masks[:, :-1, :, None], masks[:, 1:, None]
        overlaps = torch.minimum(here, there).sum(dim=4) / torch.maximum(here, there).sum(dim=4).clamp_min(1e-12)
        # (B, T-1, R, R) to the blocks above the diagonal of the T x T frames
        steps = torch.diag_embed(overlaps.permute(0, 2, 3, 1), offset=1)  # (B, R, R, T, T)
        forward = steps.permute(0, 3, 1, 4, 2)
    edges = forward.reshape(clips, nodes, nodes)
    return _rows_to_one(edges), _rows_to_one(edges.transpose(1, 2))


def _rows_to_one(edges: Float[Tensor, "B nodes nodes"]) -> Float[Tensor, "B nodes nodes"]:
    return edges / edges.sum(dim=2, keepdim=True).clamp_min(1e-12)


class RegionGraph(nn.Module):
    """Reason over the regions of all frames as nodes of three graphs.

    One graph joins all regions by their similarity (a softmax), one each region to the next frame's by their overlap,
    one to those of the frame before. Each of three layers is `Z + relu(norm(sum over graphs of G Z W))`.

    Simplified: the paper's nodes are boxes of a region proposal network, and the graph's average is classified beside
    the network's. Here regions are predicted as in region GTA (a 1x1 convolution and a softmax over R), and what the
    graph finds is spread back to their positions, so that it is a block like the others.

    Args:
        channels: number of channels (C).
        inner_channels: D, width of the nodes; C/4 if not given.
        num_regions: R in each frame.
        norm: norm of the residual branch.
        zero_init: let the block start as the identity.
    """

    def __init__(
        self,
        channels: int,
        *,
        inner_channels: int | None = None,
        num_regions: int = 8,
        norm: Norm = "batch",
        zero_init: bool = True,
    ) -> None:
        super().__init__()
        if num_regions < 1:
            raise ValueError(f"num_regions is {num_regions}: it must be at least 1")
        inner = inner_channels or max(1, channels // 4)
        self.channels = channels
        self.widths = (inner, num_regions)
        self.values = nn.Linear(channels, sum(self.widths))  # values and the logits of regions read the same input
        self.similarity = nn.Linear(inner, 2 * inner, bias=False)
        self.layers = nn.ModuleList(nn.Linear(inner, _GRAPHS * inner, bias=False) for _ in range(_LAYERS))
        self.norms = nn.ModuleList(nn.LayerNorm(inner) for _ in range(_LAYERS))
        self.output = OutputProjection(inner, channels, norm=norm, zero_init=zero_init)
        initialise_weights(self)

    def forward(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """Add to each position what its regions found."""
        check_features(features, ExpectedShape(self.channels))
        tokens = to_tokens(features).contiguous()
        values, logits = self.values(tokens).split(self.widths, dim=3)
        assignment = F.softmax(logits, dim=3)
        nodes = pool_regions(values, assignment)
        frames, regions = nodes.shape[1:3]
        found = self.reason(nodes.flatten(1, 2), assignment).unflatten(1, (frames, regions))
        return from_tokens(self.output(spread_regions(found, assignment), tokens), *features.shape[3:])

    def reason(
        self, nodes: Float[Tensor, "B nodes D"], assignment: Float[Tensor, "B T S R"]
    ) -> Float[Tensor, "B nodes D"]:
        """Three layers of graph convolution."""
        query, key = self.similarity(nodes).chunk(2, dim=2)
        similar = F.softmax(torch.bmm(query, key.transpose(1, 2)) * query.shape[2] ** -0.5, dim=2)
        graphs = torch.cat([similar, *overlap_graphs(assignment)], dim=2)  # (B, nodes, 3 nodes)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            sent = torch.cat(layer(nodes).chunk(_GRAPHS, dim=2), dim=1)  # (B, 3 nodes, D)
            nodes = nodes + F.relu(norm(torch.bmm(graphs, sent)))
        return nodes

    def regions(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B T R H W"]:
        """The region assignment as images, R of them for each frame; for pictures."""
        logits = self.values(to_tokens(features))[..., self.widths[0] :]
        return F.softmax(logits, dim=3).transpose(2, 3).unflatten(3, tuple(features.shape[3:]))

    def resize(self, num_frames: int) -> list[str]:
        """Any number of frames fits; nothing has to change."""
        return []
