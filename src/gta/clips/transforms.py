"""From decoded frames to a clip: resizing, cropping and flipping uint8 tensors, and normalising on the device.

The drawing of boxes is plain arithmetic (`multiscale_sizes`, `multiscale_offsets`, ...) so that it can be read next to
the protocol; torchvision's kernels do the work on pixels.
"""

import random
from collections.abc import Sequence

import torch
from torch import nn

from gta.config import ClipConfig, Interpolation
from gta.video.resize import resize, resized_size

# TSN's multi-scale crop: shares of the short side, and how many steps apart width and height may be.
MULTISCALE_SCALES = (1.0, 0.875, 0.75, 0.66)
MULTISCALE_MAX_DISTORTION = 1

Box = tuple[int, int, int, int]
"""top, left, height, width of a crop, in pixels"""


def multiscale_sizes(height: int, width: int, crop_size: int) -> list[tuple[int, int]]:
    """TSN's candidate crops as (height, width): scales of the short side, paired at most one step apart.

    A side within 2 pixels of the final size takes that size, so that such crops are not resampled.
    """
    sides = [int(min(height, width) * scale) for scale in MULTISCALE_SCALES]
    sides = [crop_size if abs(side - crop_size) < 3 and crop_size <= min(height, width) else side for side in sides]
    return [
        (crop_height, crop_width)
        for i, crop_height in enumerate(sides)
        for j, crop_width in enumerate(sides)
        if abs(i - j) <= MULTISCALE_MAX_DISTORTION
    ]


def multiscale_offsets(height: int, width: int, crop_height: int, crop_width: int) -> list[tuple[int, int]]:
    """TSN's 13 fixed positions as (top, left): corners, centre, middles of the edges, and the quarter points."""
    down, right = (height - crop_height) // 4, (width - crop_width) // 4
    grid = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2), (2, 0), (2, 4), (4, 2), (0, 2), (1, 1), (1, 3), (3, 1), (3, 3)]
    return [(rows * down, columns * right) for rows, columns in grid]


def multiscale_box(height: int, width: int, crop_size: int, rng: random.Random) -> Box:
    """Draw one of TSN's multi-scale crops."""
    crop_height, crop_width = rng.choice(multiscale_sizes(height, width, crop_size))
    top, left = rng.choice(multiscale_offsets(height, width, crop_height, crop_width))
    return top, left, crop_height, crop_width


def random_box(height: int, width: int, crop_size: int, rng: random.Random) -> Box:
    """Draw a square crop at any position; it shrinks to the short side of a smaller frame."""
    side = min(crop_size, height, width)
    return rng.randint(0, height - side), rng.randint(0, width - side), side, side


def view_boxes(height: int, width: int, crop_size: int, num_crops: int) -> list[Box]:
    """Square crops of an evaluation: the centre, or three along the long side (left or top first)."""
    side = min(crop_size, height, width)
    top, left = (height - side + 1) // 2, (width - side + 1) // 2
    if num_crops == 1:
        return [(top, left, side, side)]
    if height > width:
        return [(place, left, side, side) for place in (0, top, height - side)]
    return [(top, place, side, side) for place in (0, left, width - side)]


def crop_and_resize(
    frames: torch.Tensor, box: Box, crop_size: int, interpolation: Interpolation = "bilinear"
) -> torch.Tensor:
    """Cut `box` out of uint8 (T, C, H, W) and resize it to crop_size x crop_size."""
    top, left, height, width = box
    return resize(frames[..., top : top + height, left : left + width], (crop_size, crop_size), interpolation)


class TrainingView:
    """The random choices of one training sample: size, crop and flip, drawn once and applied to all its frames.

    Args:
        clip: the protocol.
        rng: source of randomness.
        may_flip: whether the sample's class allows mirroring.

    After `finish`, `crop` is the box that was cut out of the resized frames; `flipped` says whether they are mirrored.
    """

    def __init__(self, clip: ClipConfig, rng: random.Random, *, may_flip: bool) -> None:
        self._clip = clip
        self._rng = rng
        self._size = clip.resize
        if clip.train_short_side is not None:
            self._size = rng.randint(*clip.train_short_side)
        self.flipped = may_flip and rng.random() < 0.5
        self.crop: Box | None = None

    def fit(self, frame: torch.Tensor) -> torch.Tensor:
        """Resize one decoded frame (C, H, W); the reader calls it, so that large frames are never all in memory."""
        return resize(frame, resized_size(frame.shape[-2], frame.shape[-1], self._size), self._clip.interpolation)

    def box(self, height: int, width: int) -> Box:
        """Draw the crop from a resized frame."""
        if self._clip.crop == "multiscale":
            return multiscale_box(height, width, self._clip.crop_size, self._rng)
        if self._clip.crop == "random":
            return random_box(height, width, self._clip.crop_size, self._rng)
        return view_boxes(height, width, self._clip.crop_size, 1)[0]

    def finish(self, frames: torch.Tensor) -> torch.Tensor:
        """Crop and flip resized frames, uint8 (T, C, H, W), to a clip, uint8 (C, T, crop_size, crop_size)."""
        height, width = frames.shape[-2:]
        self.crop = self.box(height, width)
        clip = crop_and_resize(frames, self.crop, self._clip.crop_size, self._clip.interpolation)
        if self.flipped:
            clip = clip.flip(-1)
            if self._clip.flow:  # what moved to the left now moves to the right
                clip = clip.clone()
                clip[:, ::2] = 255 - clip[:, ::2]
        return clip.transpose(0, 1)  # a view: stacking to a batch makes the one copy


class EvaluationViews:
    """The views of an evaluation: `test_clips` temporal clips times `test_crops` crops, clip by clip."""

    def __init__(self, clip: ClipConfig) -> None:
        self._clip = clip
        self._resize = clip.resize if clip.test_resize is None else clip.test_resize
        self._crop_size = clip.crop_size if clip.test_crop_size is None else clip.test_crop_size

    def fit(self, frame: torch.Tensor) -> torch.Tensor:
        """Resize one decoded frame (C, H, W)."""
        return resize(frame, resized_size(frame.shape[-2], frame.shape[-1], self._resize), self._clip.interpolation)

    def boxes(self, height: int, width: int) -> list[Box]:
        """The `test_crops` boxes that are cut out of resized frames."""
        return view_boxes(height, width, self._crop_size, self._clip.test_crops)

    def crops(self, frames: torch.Tensor) -> list[torch.Tensor]:
        """Cut the `test_crops` crops out of resized frames, uint8 (..., C, H, W)."""
        boxes = self.boxes(*frames.shape[-2:])
        return [crop_and_resize(frames, box, self._crop_size, self._clip.interpolation) for box in boxes]

    def finish(self, frames: torch.Tensor) -> torch.Tensor:
        """Cut resized frames, uint8 (test_clips * T, C, H, W), into views, uint8 (V, C, T, crop_size, crop_size)."""
        crops = self.crops(frames)
        views = [
            crop[start : start + self._clip.num_frames].transpose(0, 1)
            for start in range(0, len(frames), self._clip.num_frames)
            for crop in crops
        ]
        return torch.stack(views)


class Normalize(nn.Module):
    """Turn uint8 clips into normalised float32 ones, on the device the clips are on: (x / 255 - mean) / std.

    Args:
        mean: of red, green and blue, in [0, 1].
        std: of red, green and blue, above 0.
        flow: L, if clips are of optical flow, with 2L channels: their mean is 1/2, their deviation the mean of `std`.
    """

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], *, flow: int = 0) -> None:
        super().__init__()
        means, stds = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
        if means.shape != (3,) or stds.shape != (3,) or not bool((stds > 0).all()):
            raise ValueError(f"mean {tuple(mean)} and std {tuple(std)} must be three numbers each, std above 0")
        if flow:
            means, stds = torch.full((2 * flow,), 0.5).double(), stds.mean().expand(2 * flow)
        self.channels = len(means)
        self.register_buffer("scale", (1 / (255 * stds)).float()[:, None, None, None], persistent=False)
        self.register_buffer("shift", (-means / stds).float()[:, None, None, None], persistent=False)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Normalise uint8 (..., C, T, H, W), C being 3 or, of flow, 2L, to float32 of the same shape."""
        if clips.dtype != torch.uint8 or clips.ndim < 4 or clips.shape[-4] != self.channels:
            raise ValueError(
                f"clips must be uint8 (..., {self.channels}, T, H, W), not {clips.dtype} {tuple(clips.shape)}"
            )
        return torch.addcmul(self.shift, clips.to(torch.float32), self.scale)


def prepare(frames: torch.Tensor, clip: ClipConfig | None = None) -> torch.Tensor:
    """Turn uint8 frames into model input: a batch of clips, scaled to [0, 1] and normalised.

    Args:
        frames: uint8 (T, 3, H, W), one clip as `gta.read_video` returns it, or (B, 3, T, H, W), on any device; 2L
            channels of optical flow, where `clip` says so.
        clip: configuration with `mean` and `std`, such as a checkpoint's (`Predictor.clip`); by default, ImageNet's.

    Returns:
        float32 (B, 3, T, H, W) on the same device; B is 1 for one clip.

    Raises:
        ValueError: the frames have another dtype or shape.

    >>> import torch
    >>> prepare(torch.zeros(8, 3, 32, 32, dtype=torch.uint8)).shape
    torch.Size([1, 3, 8, 32, 32])
    """
    if frames.dtype != torch.uint8:
        raise ValueError(f"frames are uint8, 0 to 255, before they are prepared; these are {frames.dtype}")
    clip = clip or ClipConfig()
    channels = clip.channels
    if frames.ndim == 4 and frames.shape[1] == channels:
        frames = frames.transpose(0, 1).unsqueeze(0)
    if frames.ndim != 5 or frames.shape[1] != channels:
        raise ValueError(
            f"frames have shape (T, {channels}, H, W) or (B, {channels}, T, H, W), these have {tuple(frames.shape)}"
        )
    return Normalize(clip.mean, clip.std, flow=clip.flow).to(frames.device)(frames)
