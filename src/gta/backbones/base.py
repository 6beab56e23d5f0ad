"""What this package's video networks have in common: everything of `VideoBackbone` but the network itself."""

from jaxtyping import Float
from torch import Tensor, nn


class BackboneBase(nn.Module):
    """A video network that keeps the number of frames, learns nothing that depends on it, and whose features average.

    What is otherwise in a network, it overrides. Each sets `num_features` and defines `forward` and `stages`.
    """

    num_features: int
    """Width of what `pool` returns."""
    num_frames: int
    """T of the clips that it reads."""
    minimum_size = 32
    """Least height and width of a clip, in pixels: the last stage is 32 times smaller."""
    keeps_time = True
    """Whether the features have an axis of time, not the tokens of all frames in one row."""

    def pool(self, features: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B C"]:
        """Average over frames and positions."""
        return features.mean(dim=(2, 3, 4))

    def attention_frames(self, num_frames: int) -> int | dict[str, int]:
        """T at the places where attention goes, or at each by its dotted name, for clips of `num_frames`."""
        return num_frames

    def resize(self, num_frames: int) -> list[str]:
        """Change the number of frames; nothing that is learned depends on it."""
        self.num_frames = num_frames
        return []
