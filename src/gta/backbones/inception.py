"""BN-Inception's blocks (Ioffe and Szegedy 2015), whose first part is ECO's network of single frames."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def conv_norm(
    channels: int, out_channels: int, kernel: int = 1, stride: int = 1, *, relu: bool = True
) -> nn.Sequential:
    """Convolution, batch norm and, if asked for, ReLU; padded so that stride 1 keeps the size."""
    conv = nn.Conv2d(channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), *([nn.ReLU(inplace=True)] if relu else []))


class InceptionBlock(nn.Module):
    """Four branches side by side: 1x1; 3x3; two 3x3 in a row; pooling.

    Args:
        channels: width of the input.
        single: width of the 1x1 branch; 0: there is none.
        triple: widths of the 3x3 branch, before and after its 3x3 convolution.
        double: likewise, of the branch with two of them.
        pooled: width of the pooling branch; 0: its pooled input as it is.
        stride: 2 halves height and width: without the 1x1 branch and with max-pooling.
        largest: max-pooling instead of averaging, with stride 1 too.
    """

    def __init__(
        self,
        channels: int,
        single: int,
        triple: Sequence[int],
        double: Sequence[int],
        pooled: int,
        *,
        stride: int = 1,
        largest: bool = False,
    ) -> None:
        super().__init__()
        self.stride, self.largest = stride, largest or stride > 1
        self.single = conv_norm(channels, single, 1) if single else None
        self.triple = nn.Sequential(
            conv_norm(channels, triple[0], 1), conv_norm(triple[0], triple[1], 3, stride=stride)
        )
        self.double_first = nn.Sequential(conv_norm(channels, double[0], 1), conv_norm(double[0], double[1], 3))
        self.double_last = conv_norm(double[1], double[1], 3, stride=stride)
        self.pooled = conv_norm(channels, pooled, 1) if pooled else None
        self.out_channels = single + triple[1] + double[1] + (pooled or channels)

    def forward(
        self, frames: Float[Tensor, "N C H W"], *, double: Float[Tensor, "N D H W"] | None = None
    ) -> Float[Tensor, "N E h w"]:
        """All branches as channels; `double` is what `double_first` gave, if it was computed already."""
        parts = [] if self.single is None else [self.single(frames)]
        parts.append(self.triple(frames))
        parts.append(self.double_last(self.double_first(frames) if double is None else double))
        if self.largest:
            pooled = F.max_pool2d(frames, 3, stride=self.stride, padding=1)
        else:
            pooled = F.avg_pool2d(frames, 3, stride=1, padding=1)
        parts.append(pooled if self.pooled is None else self.pooled(pooled))
        return torch.cat(parts, dim=1)
