"""What everything asks of a backbone, and what a frame-wise one asks of the image network in it."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class VideoBackbone(Protocol):
    """A module that makes features of clips: what `VideoClassifier` puts a head on."""

    num_features: int
    """Width of what `pool` returns."""
    minimum_size: int
    """Least height and width of a clip, in pixels."""

    def __call__(self, clip: Tensor, /) -> Tensor:
        """Normalised clips (B, 3, T, H, W) to features (B, C, t, h, w)."""
        ...

    def pool(self, features: Tensor) -> Tensor:
        """Features to one vector for each clip, (B, num_features)."""
        ...

    def stages(self) -> dict[str, list[str]]:
        """Dotted names of the residual blocks of res2..res5, and of the `blocks` of a transformer."""
        ...

    def attention_frames(self, num_frames: int) -> int | Mapping[str, int]:
        """T at the places where attention goes, or at each by its dotted name, for clips of `num_frames`."""
        ...

    def resize(self, num_frames: int) -> list[str]:
        """Read clips of another T from here on; returns the names of the parameters that changed."""
        ...


@runtime_checkable
class ImageNetwork(Protocol):
    """A timm network without classifier."""

    def forward_features(self, images: Tensor, /) -> Tensor:
        """Images (N, 3, H, W) to features (N, C, h, w), (N, h, w, C) or tokens (N, L, C)."""
        ...

    def forward_head(self, features: Tensor, /, *, pre_logits: bool) -> Tensor:
        """Features to one vector for each image, (N, K)."""
        ...
