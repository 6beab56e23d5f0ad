"""MotionSqueeze (Kwon et al. 2020): where each position goes in the next frame, as three channels of motion."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gta.blocks.expected import ExpectedShape, check_features
from gta.blocks.initialise import initialise_weights
from gta.blocks.projection import Norm, OutputProjection
from gta.ops.layout import fold_frames, from_tokens, to_tokens, unfold_frames

_REDUCTION = 8
_SIZE = 15
_SIGMA = 5.0
_TEMPERATURE = 0.01
_WIDTHS = (16, 32, 64)
"""Channels of the transformation of motion, before the last layer: its first kernel is 7x7, the others 3x3."""


def correlate(
    here: Float[Tensor, "N D H W"], there: Float[Tensor, "N D H W"], size: int
) -> Float[Tensor, "N H W offsets"]:
    """Products of each position of `here` with the `size * size` positions around it in `there`, row by row.

    Offsets beyond the border count as 0.
    """
    frames, channels, height, width = here.shape
    reach = size // 2
    padded = F.pad(there, (reach, reach, reach, reach))
    queries = here.permute(0, 2, 3, 1).reshape(frames * height * width, 1, channels)
    found = []
    for row in range(size):  # all offsets at once would hold size * size copies of the features
        around = padded[:, :, row : row + height].unfold(3, size, 1)  # (N, D, H, W, size), a view
        keys = around.permute(0, 2, 3, 1, 4).reshape(frames * height * width, channels, size)
        found.append(torch.bmm(queries, keys).view(frames, height, width, size))
    return torch.cat(found, dim=3)


class MotionSqueeze(nn.Module):
    """Displacements to the next frame and how sure they are, turned into features and added to the input.

    Features of C/8 channels are compared with those of the next frame (cosine similarity, negative ones as 0) in a
    window of 15 x 15; a softmax over the window, sharpened around its best match by a Gaussian, gives the expected
    displacement, whose parts lie in [-1, 1]; the best similarity is the confidence. The last frame has the motion of
    the one before. Four depthwise separable convolutions make C channels of the three.

    In the paper a ReLU follows the last of them. Without it a block whose last norm starts with gamma 0 can learn.

    Args:
        channels: number of channels (C).
        inner_channels: width of the features that are compared; C/8 if not given.
        size: P, odd: the window's side.
        norm: norm of the residual branch.
        zero_init: let the block start as the identity.

    Raises:
        ValueError: the window has no middle.
    """

    def __init__(
        self,
        channels: int,
        *,
        inner_channels: int | None = None,
        size: int = _SIZE,
        norm: Norm = "batch",
        zero_init: bool = True,
    ) -> None:
        super().__init__()
        if size < 3 or size % 2 == 0:
            raise ValueError(f"size is {size}: the window needs an odd side of 3 or more")
        inner = inner_channels or max(1, channels // _REDUCTION)
        self.channels = channels
        self.size = size
        self.reduce = nn.Conv2d(channels, inner, 1, bias=False)
        self.reduce_norm = nn.BatchNorm2d(inner)
        self.transform = nn.Sequential()
        before = 3
        for number, width in enumerate(_WIDTHS):
            kernel = 7 if number == 0 else 3
            self.transform.append(_separable(before, width, kernel))
            before = width
        self.depthwise = _depthwise(before, 3)
        self.output = OutputProjection(before, channels, norm=norm, zero_init=zero_init)
        initialise_weights(self)

    def forward(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """Add what moves; a clip of one frame has no motion and stays as it is but for the norm's shift."""
        check_features(features, ExpectedShape(self.channels))
        frames = features.shape[2]
        motion = self.depthwise(self.transform(fold_frames(self.motion(features))))
        inner = to_tokens(unfold_frames(motion, frames))
        tokens = to_tokens(features).contiguous()
        return from_tokens(self.output(inner, tokens), *features.shape[3:])

    def motion(self, features: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B 3 T H W"]:
        """Displacement to the right and downwards, in shares of the window's reach, and its confidence in [0, 1]."""
        clips, _, frames, height, width = features.shape
        if frames == 1:
            return features.new_zeros(clips, 3, 1, height, width)
        reduced = F.relu(self.reduce_norm(self.reduce(fold_frames(features))))
        if reduced.dtype in (torch.float16, torch.bfloat16):  # a hundredth decides in the softmax
            reduced = reduced.float()
        reduced = unfold_frames(F.normalize(reduced, dim=1, eps=1e-6), frames)
        here, there = fold_frames(reduced[:, :, :-1]), fold_frames(reduced[:, :, 1:])
        similarity = F.relu(correlate(here, there, self.size))
        found = unfold_frames(self._displacement(similarity).permute(0, 3, 1, 2), frames - 1)
        return torch.cat([found, found[:, :, -1:]], dim=2).to(features.dtype)

    def _displacement(self, similarity: Float[Tensor, "N H W offsets"]) -> Float[Tensor, "N H W 3"]:
        confidence, best = similarity.max(dim=3, keepdim=True)
        index = torch.arange(self.size**2, device=similarity.device)
        right, down = index % self.size, torch.div(index, self.size, rounding_mode="floor")
        best_right, best_down = best % self.size, torch.div(best, self.size, rounding_mode="floor")
        distance = (right - best_right).square() + (down - best_down).square()
        near = torch.exp(distance.to(similarity.dtype) / (-2 * _SIGMA**2))
        weights = F.softmax(similarity * near / _TEMPERATURE, dim=3)
        reach = self.size // 2
        offsets = torch.stack([right, down], dim=1).to(similarity.dtype) / reach - 1
        return torch.cat([torch.matmul(weights, offsets), confidence], dim=3)

    def resize(self, num_frames: int) -> list[str]:
        """Any number of frames fits; nothing has to change."""
        return []


def _depthwise(channels: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU())


def _separable(channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    pointwise = (nn.Conv2d(channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU())
    return nn.Sequential(*_depthwise(channels, kernel), *pointwise)
