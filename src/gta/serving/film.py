"""A video as something that plays, forwards and backwards in step: more frames than a model reads, where that is cheap.

Browsers play no video backwards, and some codecs not at all. The frames are one picture, one below the other, which a
style sheet moves along; both directions share it, and begin and stop together.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gta.clips.sampling import evaluation_indices
from gta.config import ClipConfig
from gta.serving.isolation import ReadVideo
from gta.serving.service import Service, middle_view
from gta.viz.frames import image_jpeg
from gta.viz.page import Html, data_uri

_MOST_FRAMES = 48
_MOST_VIDEO_FRAMES = 600
"""Longer videos show what the model reads: for a film of few frames a second they would be decoded once more."""
_MOST_PIXELS = 128
_QUALITY = 75


@dataclass(frozen=True)
class Film:
    """Frames that play.

    Args:
        frames: uint8 (T, H, W, 3), at equal distances in time.
        seconds: how long they take in the video, at the video's own pace.
        caption: what is shown, in words.
    """

    frames: NDArray[Any]
    seconds: float
    caption: str

    def sheet(self) -> Html:
        """The style that the players inside an element share: all frames as one picture, their number and time."""
        count, height, width, _ = self.frames.shape
        picture = data_uri(image_jpeg(self.frames.reshape(count * height, width, 3), _QUALITY), "image/jpeg")
        return Html(f"--sheet: url({picture}); --count: {count}; --seconds: {self.seconds:.3f}s")


def film(service: Service, path: Path, video: ReadVideo, number: int) -> Film:
    """A video as one of the models sees it, cut to its square.

    Args:
        service: what reads.
        path: the file.
        video: what was read of it.
        number: of the model.

    Raises:
        RefusedError: it cannot be read once more.
    """
    clip = service.models[number].predictor.clip
    if video.num_frames <= _MOST_VIDEO_FRAMES:
        shown = shown_protocol(clip, video.num_frames)
        views = service.read_as(path, shown)
        reads = f"{clip.num_frames} frames" if clip.test_clips == 1 else f"{clip.test_clips} x {clip.num_frames} frames"
        caption = (
            f"What the model sees of the video, at the original speed, {video.seconds:.1f} s. It reads {reads} of it."
        )
        return Film(_pictures(views[0]), video.seconds, caption)
    indices = evaluation_indices(clip, video.num_frames)[clip.test_clips // 2]
    step = (indices[-1] - indices[0]) / max(len(indices) - 1, 1)
    seconds = video.seconds * (indices[-1] - indices[0] + step) / video.num_frames
    caption = f"The {clip.num_frames} frames that the model reads, at the original speed, {seconds:.1f} s."
    return Film(_pictures(middle_view(service.views(video, number), clip)), seconds, caption)


def shown_protocol(clip: ClipConfig, num_frames: int) -> ClipConfig:
    """How a video of so many frames is read to be shown: evenly, in the square of a model's protocol, not large."""
    size = clip.resize if clip.test_resize is None else clip.test_resize
    crop = clip.crop_size if clip.test_crop_size is None else clip.test_crop_size
    scale = min(1.0, _MOST_PIXELS / crop)
    small = round(size * scale) if isinstance(size, int) else (round(size[0] * scale), round(size[1] * scale))
    return replace(
        clip,
        num_frames=min(num_frames, _MOST_FRAMES),
        sampling="tsn",
        test_clips=1,
        test_crops=1,
        test_resize=small,
        test_crop_size=round(crop * scale),
    )


def _pictures(view: Any) -> NDArray[Any]:
    """A view, uint8 (3, T, H, W), as pictures (T, H, W, 3)."""
    return np.ascontiguousarray(view.permute(1, 2, 3, 0).numpy())
