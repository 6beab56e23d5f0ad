"""A picture sheet of what a protocol does to a video: the frames it samples, its crops, its flips, its views."""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from gta.clips.sampling import evaluation_indices, training_indices
from gta.clips.transforms import Box, EvaluationViews, TrainingView
from gta.config import ClipConfig
from gta.files import atomic_path
from gta.video.reading import open_video
from gta.video.resize import resize, resized_size

_TILE = 112
_GAP = 4
_MARGIN = 12
_TEXT_HEIGHT = 18
_INK = (30, 30, 30)
_FAINT = (120, 120, 120)
_STRIP_HEIGHT = 10
_COLUMNS = 16

Row = tuple[str, list[Image.Image]]


def draw_sheet(
    path: str | Path, clip: ClipConfig, target: str | Path, *, samples: int = 3, seed: int = 0, may_flip: bool = True
) -> None:
    """Draw the sheet of one video and save it as a picture.

    From top to bottom: the video at a glance; `samples` training samples; the views of an evaluation. The last two show
    the crop in the first resized frame, then the frames of the clip, and below a strip that marks them on the video's
    time axis.

    Args:
        path: a video file or a folder of pictures.
        clip: the protocol.
        target: the PNG file to write.
        samples: training samples to draw.
        seed: seed of the training samples.
        may_flip: whether the video's class allows mirroring.

    Raises:
        VideoError: the video cannot be read.
    """
    with open_video(path) as video:
        count = video.num_frames
        glance = sorted({round(i * (count - 1) / 7) for i in range(8)})
        overview = video.read(glance, fit=_small)
        frames = [_picture(frame) for frame in overview]
        rows: list[Row] = [(f"{Path(path).name}: {count} frames, shown: {_numbers(glance)}", frames)]
        for number in range(samples):
            rng = random.Random(f"{seed}/0/{number}")
            indices = training_indices(clip, count, rng)
            view = TrainingView(clip, rng, may_flip=may_flip)
            resized = video.read(indices, fit=view.fit)
            pixels = view.finish(resized)
            mirrored = ", mirrored" if view.flipped else ""
            tiles = [_crop_tile(resized[0], view.crop), *_tiles(pixels), _strip(indices, count)]
            rows.append((f"training sample {number + 1}{mirrored}: frames {_numbers(indices)}", tiles))
        views = EvaluationViews(clip)
        clips = evaluation_indices(clip, count)
        resized = video.read([i for indices in clips for i in indices], fit=views.fit)
        pixels = views.finish(resized)
        boxes = views.boxes(*resized.shape[-2:])
    for number, view in enumerate(pixels):
        indices = clips[number // clip.test_crops]
        place = f"evaluation clip {number // clip.test_crops + 1} of {clip.test_clips}"
        place += f", crop {number % clip.test_crops + 1} of {clip.test_crops}" if clip.test_crops > 1 else ""
        crop = _crop_tile(resized[number // clip.test_crops * clip.num_frames], boxes[number % clip.test_crops])
        rows.append((f"{place}: frames {_numbers(indices)}", [crop, *_tiles(view), _strip(indices, count)]))
    _save(rows, _title(clip), target)


def _title(clip: ClipConfig) -> str:
    sampling = f"dense, stride {clip.frame_stride}" if clip.sampling == "dense" else clip.sampling
    sizes = f"resize {clip.resize if clip.train_short_side is None else clip.train_short_side}"
    return (
        f"protocol '{clip.preset}': {clip.num_frames} frames ({sampling}), {sizes}, {clip.crop} crop {clip.crop_size}, "
        f"flip {clip.flip}; evaluation {clip.test_clips} x {clip.test_crops} views"
    )


def _small(frame: torch.Tensor) -> torch.Tensor:
    return resize(frame, resized_size(frame.shape[-2], frame.shape[-1], _TILE))


def _numbers(indices: Sequence[int]) -> str:
    if len(indices) <= _COLUMNS:
        return " ".join(map(str, indices))
    return f"{' '.join(map(str, indices[:3]))} ... {indices[-1]} ({len(indices)})"


def _picture(frame: torch.Tensor) -> Image.Image:
    return Image.fromarray(frame.permute(1, 2, 0).contiguous().numpy())


def _crop_tile(frame: torch.Tensor, box: Box | None) -> Image.Image:
    """The first resized frame with the crop drawn into it."""
    picture = _picture(frame)
    if box is not None:
        top, left, height, width = box
        line = max(picture.height // 80, 1)
        ImageDraw.Draw(picture).rectangle((left, top, left + width - 1, top + height - 1), outline="yellow", width=line)
    return picture.resize((round(picture.width * _TILE / picture.height), _TILE), Image.Resampling.BILINEAR)


def _tiles(clip: torch.Tensor) -> list[Image.Image]:
    """The frames of a clip (3, T, H, W) as small pictures, at most 16 of them, evenly chosen."""
    num_frames = clip.shape[1]
    chosen = range(num_frames)
    if num_frames > _COLUMNS:
        chosen = [i * (num_frames - 1) // (_COLUMNS - 1) for i in range(_COLUMNS)]
    return [_picture(clip[:, i]).resize((_TILE, _TILE), Image.Resampling.BILINEAR) for i in chosen]


def _strip(indices: Sequence[int], count: int) -> Image.Image:
    """The video's time axis with the sampled frames marked."""
    width = 8 * (_TILE + _GAP) - _GAP
    strip = Image.new("RGB", (width, _STRIP_HEIGHT), (225, 225, 225))
    draw = ImageDraw.Draw(strip)
    for index in indices:
        left = round(index * width / count)
        draw.rectangle(
            (left, 0, max(left + 1, round((index + 1) * width / count) - 2), _STRIP_HEIGHT), fill=(200, 60, 30)
        )
    return strip


def _save(rows: list[Row], title: str, target: str | Path) -> None:
    font = ImageFont.load_default(size=13)
    heights = [_row_height(pictures) for _, pictures in rows]
    width = max(2 * _MARGIN + sum(p.width + _GAP for p in pictures if p.height > _STRIP_HEIGHT) for _, pictures in rows)
    texts = [title, *(text for text, _ in rows)]
    width = max(width, *(2 * _MARGIN + int(font.getlength(text)) for text in texts))
    height = 2 * _MARGIN + _TEXT_HEIGHT + 6 + sum(_TEXT_HEIGHT + row + 10 for row in heights)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), title, fill=_INK, font=font)
    top = _MARGIN + _TEXT_HEIGHT + 6
    for (text, pictures), row_height in zip(rows, heights, strict=True):
        draw.text((_MARGIN, top), text, fill=_FAINT, font=font)
        top += _TEXT_HEIGHT
        left = _MARGIN
        for picture in pictures:
            if picture.height <= _STRIP_HEIGHT:
                sheet.paste(picture, (_MARGIN, top + row_height - _STRIP_HEIGHT))
            else:
                sheet.paste(picture, (left, top))
                left += picture.width + _GAP
        top += row_height + 10
    with atomic_path(target) as temporary:
        sheet.save(temporary, format="PNG")


def _row_height(pictures: list[Image.Image]) -> int:
    tallest = max(picture.height for picture in pictures)
    has_strip = any(picture.height <= _STRIP_HEIGHT for picture in pictures)
    return tallest + (_STRIP_HEIGHT + _GAP if has_strip else 0)
