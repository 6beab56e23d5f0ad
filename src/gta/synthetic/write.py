"""From rendered frames to real files: H.264 .mp4, VP9 .webm, or a folder of numbered JPEGs.

By default every frame is coded by itself with a fixed quantiser. Predicting a frame from its neighbours leaves traces
of them in the picture (a moving object drags a smear behind it), from which a model that looks at single frames could
read the direction of time. Coded like this, a reversed clip decodes to exactly the reversed pictures, bit for bit.
"""

import os
import shutil
import tempfile
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from gta.files import atomic_path
from gta.synthetic.parameters import Difficulty, draw_parameters
from gta.synthetic.render import FRAME_SIZE, render, render_mask

KEYFRAME_INTERVAL = 1
"""Default distance between key frames: each frame is one."""
_JPEG_QUALITY = 90


def write_clip(
    path: str | Path,
    class_name: str,
    *,
    seed: int,
    index: int,
    frame_size: tuple[int, int] = FRAME_SIZE,
    keyframe_interval: int = KEYFRAME_INTERVAL,
    difficulty: Difficulty = "normal",
) -> Path:
    """Render clip `index` of the data set with this `seed` as `class_name` and write it, atomically.

    Args:
        path: the file to write. `.mp4` gives H.264, `.webm` VP9, and a name without suffix a folder of JPEGs.
        class_name: one of `HARD_CLASSES`.
        seed: seed of the data set, >= 0.
        index: number of the clip, >= 0.
        frame_size: height and width in pixels, each even and at least 32.
        keyframe_interval: frames from one key frame to the next, >= 1; above 1 the encoding may hint at the direction.
        difficulty: `hard` for a clip of the hard variant.

    Returns:
        `path`.

    Raises:
        ValueError: the class, the frame size or the suffix is invalid.
    """
    path = Path(path)
    parameters = draw_parameters(seed, index, difficulty)
    frames = render(class_name, parameters, frame_size=frame_size)
    if path.suffix == "":
        write_jpegs(path, frames)
    else:
        write_video(path, frames, fps=parameters.fps, keyframe_interval=keyframe_interval)
    return path


def write_mask(
    path: str | Path,
    class_name: str,
    *,
    seed: int,
    index: int,
    frame_size: tuple[int, int] = FRAME_SIZE,
    difficulty: Difficulty = "normal",
) -> Path:
    """Write where the action is in the frames of a clip, atomically.

    Args:
        path: the .npz file to write; its array `mask` is that of `render_mask`, uint8 (T, H, W).
        class_name: one of `HARD_CLASSES`.
        seed: seed of the data set, >= 0.
        index: number of the clip, >= 0.
        frame_size: height and width in pixels, as of the clip.
        difficulty: as of the clip.

    Returns:
        `path`.

    Raises:
        ValueError: the class or the frame size is invalid.
    """
    path = Path(path)
    mask = render_mask(class_name, draw_parameters(seed, index, difficulty), frame_size=frame_size)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, mask=mask)
    return path


def write_video(
    path: str | Path, frames: NDArray[np.uint8], *, fps: int, keyframe_interval: int = KEYFRAME_INTERVAL
) -> None:
    """Encode frames (T, H, W, 3) as H.264 or VP9, by the suffix of `path`, whole or not at all.

    One thread; the same frames give the same file.
    """
    codec, options = _encoder(Path(path).suffix, keyframe_interval)
    exact = {"fflags": "bitexact"}  # without it WebM files carry a random number
    with atomic_path(path) as temporary, av.open(str(temporary), "w", container_options=exact) as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def _encoder(suffix: str, keyframe_interval: int) -> tuple[str, dict[str, str]]:
    """FFmpeg's name of the encoder for a suffix, and options with a fixed quantiser, so that history plays no part."""
    if keyframe_interval < 1:
        raise ValueError(f"a key frame every {keyframe_interval} frames: it must be 1 or more")
    common = {"g": str(keyframe_interval), "threads": "1"}
    if suffix == ".mp4":
        return "libx264", {**common, "qp": "22", "preset": "superfast", "x264-params": "log-level=error"}
    if suffix == ".webm":
        fast = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
        return "libvpx-vp9", {**common, **fast, "b": "0", "crf": "24", "qmin": "24", "qmax": "24"}
    raise ValueError(f"'{suffix}' files cannot be written: use .mp4, .webm or, for a folder of JPEGs, no suffix")


def write_jpegs(folder: str | Path, frames: NDArray[np.uint8]) -> None:
    """Write frames (T, H, W, 3) as 00001.jpg, 00002.jpg, ... in `folder`, which appears when it is complete."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=".part", dir=folder.parent))
    try:
        for number, picture in enumerate(frames, start=1):
            Image.fromarray(picture).save(temporary / f"{number:05d}.jpg", quality=_JPEG_QUALITY)
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o777 & ~mask)  # mkdtemp makes private folders; a data set is meant to be shared
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
