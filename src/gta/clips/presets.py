"""The protocols of the field as named presets, resolved to a `ClipConfig` that says everything. Free of PyTorch.

| preset | follows |
| --- | --- |
| `paper` | the paper's section 4 where it says, the code base it builds on where it does not |
| `tsm` | the public code of TSM (2D networks) |
| `pyslowfast` | the public code of PySlowFast (3D networks) |
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, get_args

from gta.config import ClipConfig, Interpolation, Preset, Sampling
from gta.errors import OptionError

PRESETS: tuple[Preset, ...] = get_args(Preset)
_REFERENCE_CROP = 224
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SLOWFAST_MEAN, _SLOWFAST_STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)


DataKind = Literal["something", "kinetics"]


def clip_config(
    preset: str = "paper",
    *,
    num_frames: int = 8,
    sampling: Sampling | None = None,
    data: DataKind = "something",
    frame_stride: int | None = None,
    crop_size: int = _REFERENCE_CROP,
    test_clips: int | None = None,
    test_crops: int | None = None,
) -> ClipConfig:
    """Resolve a preset. What is not among the arguments can be changed with `dataclasses.replace`.

    Args:
        preset: `paper`, `tsm` or `pyslowfast`.
        num_frames: frames per clip.
        sampling: `tsn` for 2D networks; for 3D ones `segments` (short videos, seen as a whole) or `dense` (a window of
            a long one); the preset's own choice if None.
        data: `something` for data in which direction matters, `kinetics` for everyday actions; decides flips and views.
        frame_stride: distance of the frames of a dense window; the preset's own if None.
        crop_size: size of the clips in pixels. Other sizes than 224 scale every other size of the protocol along.
        test_clips: temporal clips in evaluation; the preset's own number if None.
        test_crops: spatial crops in evaluation, 1 or 3; the preset's own number if None.

    Raises:
        OptionError: there is no such preset.
    """
    if preset not in PRESETS:
        raise OptionError(f"preset is {preset!r}: it must be one of {', '.join(PRESETS)}")
    slowfast: Sampling = "dense" if data == "kinetics" else "segments"
    chosen: Sampling = sampling or (slowfast if preset == "pyslowfast" else "tsn")
    clip = _RULES[preset](chosen, data, num_frames)
    clip = scaled_to(clip, crop_size)
    return replace(
        clip,
        frame_stride=clip.frame_stride if frame_stride is None else frame_stride,
        test_clips=clip.test_clips if test_clips is None else test_clips,
        test_crops=clip.test_crops if test_crops is None else test_crops,
    )


def _paper(sampling: Sampling, data: DataKind, num_frames: int) -> ClipConfig:
    if sampling != "tsn":
        # The 3D models are PySlowFast's, fine-tuned with a wider range of sizes on Something-Something.
        clip = replace(_pyslowfast(sampling, data, num_frames), preset="paper")
        return replace(clip, train_short_side=(256, 340)) if data == "something" else clip
    return ClipConfig(
        preset="paper",
        num_frames=num_frames,
        sampling="tsn",
        resize=(240, 320),
        crop="multiscale",
        flip="label_aware",
        averaging="softmax",
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
    )


def _tsm(sampling: Sampling, data: DataKind, num_frames: int) -> ClipConfig:
    everyday = data == "kinetics"
    return ClipConfig(
        preset="tsm",
        num_frames=num_frames,
        sampling=sampling,
        frame_stride=max(64 // num_frames, 1) if sampling == "dense" else 1,
        resize=256,
        crop="multiscale",
        flip="random" if everyday else "none",
        test_crop_size=256 if everyday else None,
        test_clips=10 if everyday else 1,
        test_crops=3 if everyday else 1,
        averaging="logits",
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
    )


def _pyslowfast(sampling: Sampling, data: DataKind, num_frames: int) -> ClipConfig:
    everyday = data == "kinetics"
    return ClipConfig(
        preset="pyslowfast",
        num_frames=num_frames,
        sampling=sampling,
        frame_stride=2 if sampling == "dense" else 1,
        resize=256,
        train_short_side=(256, 320),
        crop="random",
        flip="random" if everyday else "none",
        test_crop_size=256,
        test_clips=10 if everyday else 1,
        test_crops=3 if everyday else 1,
        averaging="softmax",
        mean=_SLOWFAST_MEAN,
        std=_SLOWFAST_STD,
    )


def matched_to(clip: ClipConfig, facts: Mapping[str, Any]) -> ClipConfig:
    """Clips as a pretrained network had its images: mean, std and interpolation, and size.

    Args:
        clip: a resolved protocol. Its size stays if it is another than the protocols' 224; that a user asked for 224
            cannot be told from the protocols' own, so this needs a network that is built for it (`image_size`).
        facts: timm's `pretrained_cfg`: `mean`, `std`, `input_size` (C, H, W), `interpolation`; what is missing stays.
    """
    size = facts.get("input_size")
    if size is not None and clip.crop_size == _REFERENCE_CROP:
        clip = scaled_to(clip, int(size[-1]))
    changes: dict[str, Any] = {
        name: tuple(float(value) for value in facts[name]) for name in ("mean", "std") if facts.get(name) is not None
    }
    if facts.get("interpolation") in get_args(Interpolation):
        changes["interpolation"] = facts["interpolation"]
    return replace(clip, **changes)


_RULES = {"paper": _paper, "tsm": _tsm, "pyslowfast": _pyslowfast}


def scaled_to(clip: ClipConfig, crop_size: int) -> ClipConfig:
    """Scale the sizes of a protocol along with its crops, so that clips of `crop_size` pixels show the same part of
    the picture. A `test_resize`, which only a user sets, stays.
    """

    def scaled(pixels: int) -> int:
        return max(round(pixels * crop_size / clip.crop_size), 1)

    resize, short = clip.resize, clip.train_short_side
    return replace(
        clip,
        resize=scaled(resize) if isinstance(resize, int) else (scaled(resize[0]), scaled(resize[1])),
        train_short_side=None if short is None else (scaled(short[0]), scaled(short[1])),
        crop_size=crop_size,
        test_crop_size=None if clip.test_crop_size is None else scaled(clip.test_crop_size),
    )
