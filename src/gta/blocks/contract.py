"""What everything asks of an attention block, whoever wrote it."""

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class AttentionBlock(Protocol):
    """A module that can stand after (or before) a network's own block: the shape of the features stays."""

    def __call__(self, features: Tensor, /) -> Tensor:
        """(B, C, T, H, W) to the same shape."""
        ...

    def resize(self, num_frames: int) -> list[str]:
        """Fit what is learned to another T, in place; returns the names of the parameters that changed."""
        ...
