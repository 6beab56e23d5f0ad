"""Folding and moving axes: the only place where it is done. Every function here returns a view where it can.

In channels-last memory a frame-wise backbone's `(B*T, C, H, W)` is `(B, T, S, C)` already, and so is a 3D backbone's
`(B, C, T, H, W)` in channels_last_3d: then nothing is copied. Any other memory format costs one copy on entry.
"""

import contextlib

import torch
import torch.fx.experimental._config as tracing
from jaxtyping import Shaped
from torch import Tensor


def to_tokens(features: Shaped[Tensor, "B C T H W"]) -> Shaped[Tensor, "B T S C"]:
    """Arrange features as a sequence of positions per frame; a view if `features` is channels-last in memory.

    Args:
        features: features of each clip.

    Returns:
        The positions of each frame, row by row, `S = H * W`.
    """
    return features.permute(0, 2, 3, 4, 1).flatten(2, 3)


def channels_last(features: Shaped[Tensor, "B C T H W"]) -> Shaped[Tensor, "B C T H W"]:
    """Make the tokens of features contiguous: a copy, unless they are channels-last in memory.

    A block reads its features several times; from channels-first memory each time would cost what one copy costs.
    """
    return features.contiguous(memory_format=torch.channels_last_3d)


def from_tokens(tokens: Shaped[Tensor, "B T S C"], height: int, width: int) -> Shaped[Tensor, "B C T H W"]:
    """Invert `to_tokens`; always a view: contiguous tokens give features that are channels-last in memory.

    Args:
        tokens: the positions of each frame, row by row.
        height: H, the number of rows of a frame.
        width: W, the number of columns; `H * W` must equal S.

    Raises:
        RuntimeError: `H * W` is not S.
    """
    return tokens.unflatten(2, (height, width)).permute(0, 4, 1, 2, 3)


def unfold_frames(frames: Shaped[Tensor, "N C H W"], num_frames: int) -> Shaped[Tensor, "B C T H W"]:
    """Split the frames of several clips into clips; always a view.

    Args:
        frames: frames of all clips, one clip after the other, `N = B * T`.
        num_frames: T, the number of frames per clip.

    Raises:
        ValueError: N is not a multiple of `num_frames`.
    """
    if frames.shape[0] % num_frames:
        raise ValueError(f"{frames.shape[0]} frames cannot be split into clips of {num_frames} frames")
    # The number of clips is spelt out: what a tracer makes of -1 it does not recognise later.
    return frames.unflatten(0, (frames.shape[0] // num_frames, num_frames)).transpose(1, 2)


def fold_frames(clips: Shaped[Tensor, "B C T H W"]) -> Shaped[Tensor, "N C H W"]:
    """Join the frames of all clips; a view if frames come right after the batch in memory.

    Args:
        clips: features of each clip.

    Returns:
        The frames of all clips, one clip after the other, `N = B * T`.
    """
    return clips.transpose(1, 2).flatten(0, 1)


def unfold_tokens(
    tokens: Shaped[Tensor, "N L C"], num_frames: int, height: int, width: int
) -> Shaped[Tensor, "B C T H W"]:
    """Split the tokens of the frames of several clips, `N = B * T` and `L = H * W`, into clips; always a view.

    Raises:
        ValueError: N is not a multiple of `num_frames`.
    """
    if tokens.shape[0] % num_frames:
        raise ValueError(f"{tokens.shape[0]} frames cannot be split into clips of {num_frames} frames")
    return from_tokens(tokens.unflatten(0, (tokens.shape[0] // num_frames, num_frames)), height, width)


def fold_tokens(clips: Shaped[Tensor, "B C T H W"]) -> Shaped[Tensor, "N L C"]:
    """The inverse of `unfold_tokens`: the tokens of every frame of all clips."""
    return to_tokens(clips).flatten(0, 1)


def channels_to_front(features: Shaped[Tensor, "B *positions C"]) -> Shaped[Tensor, "B C *positions"]:
    """`(N, H, W, C)` to `(N, C, H, W)`, `(B, T, H, W, C)` to `(B, C, T, H, W)`; always a view."""
    return features.movedim(-1, 1)


def channels_to_back(features: Shaped[Tensor, "B C *positions"]) -> Shaped[Tensor, "B *positions C"]:
    """The inverse of `channels_to_front`."""
    return features.movedim(1, -1)


def exported_for_any_batch() -> contextlib.AbstractContextManager[object]:
    """While frames are unfolded in `torch.export`: the program may not depend on there being one clip, or several.

    The tracer takes an axis of length 1 for a constant. It spares the inputs' own batch axis, but not the number of
    clips that is computed from it. PyTorch's ONNX exporter sets the same option.
    """
    return tracing.patch(backed_size_oblivious=True)  # type: ignore[attr-defined]  # put there at run time
