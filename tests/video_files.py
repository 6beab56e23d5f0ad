"""Encodes small real video files for the tests: many codecs and containers, and damage of every kind."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def pictures(num_frames: int, height: int = 48, width: int = 64, seed: int = 0) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) uint8, every one different: a moving gradient, a bright square, a little noise."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    for number in range(num_frames):
        picture = np.stack([rows * 3 + number * 5, columns * 2 + number * 3, (rows + columns) + number * 7], -1) % 256
        picture = picture * 0.7 + generator.integers(0, 40, picture.shape)
        top, left = (number * 2) % (height - 12), (number * 3) % (width - 12)
        picture[top : top + 12, left : left + 12] = (number * 37) % 256
        yield picture.clip(0, 255).astype(np.uint8)


def encode(
    path: Path,
    *,
    codec: str = "libx264",
    num_frames: int = 30,
    height: int = 48,
    width: int = 64,
    rate: int = 25,
    options: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
    seed: int = 0,
    timestamps: list[int] | None = None,
    gop: int | None = None,
    max_b_frames: int | None = None,
    rotation: int | None = None,
) -> Path:
    """Write a video; `timestamps` (in milliseconds) makes the frame rate variable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=dict(options or {}))
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        if gop is not None:
            stream.codec_context.gop_size = gop
        if max_b_frames is not None:
            stream.codec_context.max_b_frames = max_b_frames
        if rotation is not None:
            stream.set_display_rotation(rotation)
        if timestamps is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, picture in enumerate(pictures(num_frames, height, width, seed)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if timestamps is not None:
                frame.pts, frame.time_base = timestamps[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


QUIET_X265 = "log-level=none"

# Name -> (file name, arguments of `encode`). Small, but every structure that makes exact reading hard.
FORMATS: dict[str, tuple[str, dict]] = {
    "vp9": ("a.webm", {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}, "gop": 1000}),
    "vp9_altref": (
        "b.webm",
        {"codec": "libvpx-vp9", "options": {"cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "16"}, "gop": 16},
    ),
    "vp8": (
        "v8.webm",
        {"codec": "libvpx", "options": {"cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "10"}, "gop": 12},
    ),
    "h264_short": ("c.mp4", {"options": {"bf": "2", "preset": "fast"}, "gop": 6}),
    "h264_long": ("d.mp4", {"options": {"bf": "3", "preset": "fast"}, "gop": 250}),
    "h264_no_b": ("e.mp4", {"options": {"tune": "zerolatency"}, "gop": 8}),
    "h264_open": ("f.mp4", {"options": {"x264-params": "open-gop=1:keyint=8:min-keyint=4:bframes=3:scenecut=0"}}),
    "h264_open_ts": ("g.ts", {"options": {"x264-params": "open-gop=1:keyint=8:min-keyint=4:bframes=3:scenecut=0"}}),
    "h264_mkv": ("h.mkv", {"options": {"bf": "2", "b-pyramid": "normal", "preset": "medium"}, "gop": 10}),
    "h264_refresh_ts": ("i.ts", {"options": {"x264-params": "intra-refresh=1:keyint=10:bframes=0"}}),
    "h264_avi": ("u.avi", {"options": {"bf": "3", "preset": "fast"}, "gop": 10}),
    "h264_raw": ("r.h264", {"options": {"bf": "2"}, "gop": 8}),
    "hevc": (
        "j.mp4",
        {
            "codec": "libx265",
            "options": {
                "preset": "ultrafast",
                "x265-params": f"{QUIET_X265}:keyint=10:min-keyint=5:bframes=3:open-gop=0",
            },
        },
    ),
    "hevc_open": (
        "k.mkv",
        {
            "codec": "libx265",
            "options": {
                "preset": "ultrafast",
                "x265-params": f"{QUIET_X265}:keyint=8:min-keyint=4:bframes=3:open-gop=1:b-adapt=0:scenecut=0",
            },
        },
    ),
    "av1": ("l.mp4", {"codec": "libsvtav1", "options": {"preset": "12", "svtav1-params": "keyint=10"}}),
    "av1_webm": ("m.webm", {"codec": "libsvtav1", "options": {"preset": "12"}, "gop": 12}),
    "mjpeg": ("n.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    "mpeg4": ("o.avi", {"codec": "mpeg4", "gop": 8}),
    "mpeg4_b": ("p.avi", {"codec": "mpeg4", "gop": 9, "max_b_frames": 2}),
    "mpeg4_mp4": ("q.mp4", {"codec": "mpeg4", "gop": 9, "max_b_frames": 2}),
    "mpeg2_ts": ("s.ts", {"codec": "mpeg2video", "gop": 8, "max_b_frames": 2}),
    "ffv1": ("t.mkv", {"codec": "ffv1", "pix_fmt": "yuv420p"}),
}


def decode_sequentially(path: Path) -> np.ndarray:
    """The oracle: every frame as PyAV's plainest loop gives it, (T, H, W, 3) uint8, turned upright."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        frames = []
        for frame in container.decode(stream):
            picture = frame.to_ndarray(format="rgb24")
            frames.append(np.rot90(picture, frame.rotation // 90 % 4))
    return np.stack(frames)
