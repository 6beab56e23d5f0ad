"""Temporal relations instead of averaging (TRN, Zhou et al. 2018): ordered tuples of frames, at several scales."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gta.blocks.initialise import initialise_weights

_WIDTH = 256
_TUPLES = 3
MOST_FRAMES = 8
"""Frames of the largest relation unless the user says otherwise: those of the paper's 8-frame networks."""


def spread_tuples(num_frames: int, size: int) -> Tensor:
    """Which ordered frames a relation of `size` frames reads in evaluation: evenly spread, (tuples, size).

    Three tuples, begun at a sixth, a half and five sixths of a segment (`num_frames / size` frames); one if the
    relation takes all frames.
    """
    count = 1 if size == num_frames else _TUPLES
    start = (torch.arange(count) + 0.5) / count
    return ((torch.arange(size) + start[:, None]) * num_frames / size).long()


class RelationHead(nn.Module):
    """Multi-scale TRN: `sum over n of sum over tuples of h_n(relu(frames joined))`, `h_n` of two layers.

    Frames are reduced to 256 features. Relations of 2, 3, ... frames read three ordered tuples each: random ones in
    training, evenly spread ones in evaluation (the public code draws there, too; predictions would change from run to
    run). The relation of all frames reads its only one.

    Args:
        channels: C of the backbone's features.
        num_classes: number of classes (K).
        most_frames: frames of the largest relation, 2 or more. A clip of fewer frames leaves the larger ones out; one
            of more frames is read in tuples.
        dropout: probability of dropping a frame's feature, in [0, 1).

    Raises:
        ValueError: a relation needs two frames.
    """

    def __init__(self, channels: int, num_classes: int, *, most_frames: int, dropout: float) -> None:
        super().__init__()
        if most_frames < 2:
            raise ValueError(f"relation_frames is {most_frames}: a relation needs 2 frames or more")
        self.dropout = nn.Dropout(dropout)
        self.reduce = nn.Linear(channels, _WIDTH)
        self.relations = nn.ModuleDict({str(size): _Relation(size, num_classes) for size in range(2, most_frames + 1)})
        initialise_weights(self)

    def forward(self, features: Float[Tensor, "B C T h w"]) -> Float[Tensor, "B K"]:
        """Logits of the backbone's features.

        Raises:
            ValueError: there is one frame only.
        """
        frames = self.reduce(self.dropout(features.mean(dim=(3, 4)).transpose(1, 2)))  # (B, T, 256)
        num_frames = frames.shape[1]
        if num_frames < 2:
            raise ValueError("the head 'relation' needs 2 frames or more at the end of the network, which has 1")
        logits: list[Tensor] = []
        for name, relation in self.relations.items():
            if int(name) <= num_frames:
                chosen = self._tuples(num_frames, int(name)).to(frames.device)
                logits.append(relation(frames[:, chosen].flatten(2)).sum(dim=1))
        return torch.stack(logits).sum(dim=0)

    def _tuples(self, num_frames: int, size: int) -> Tensor:
        if not self.training or size == num_frames:
            return spread_tuples(num_frames, size)
        return torch.rand(_TUPLES, num_frames).topk(size, dim=1).indices.sort(dim=1).values


class _Relation(nn.Sequential):
    """`h_n`: ReLU, all frames of a tuple to 256, ReLU, classes."""

    def __init__(self, size: int, num_classes: int) -> None:
        super().__init__(nn.ReLU(), nn.Linear(size * _WIDTH, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, num_classes))
