"""Mutated video files: small ones of many containers and codecs, damaged as disks, networks and attackers damage them.

Every case follows from (seed, number) alone, so that a finding can be made again: `fuzz.py --seed S --only N`.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from mutations import mutate

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "data"))
from video_files import pictures

# File name, encoder, pixel format, options of the encoder; every container and codec differs from its neighbours in
# how frames are found again.
SOURCES: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("h264.mp4", "libx264", "yuv420p", {"bf": "2", "g": "8", "preset": "fast"}),
    ("h264.mov", "libx264", "yuv420p", {"bf": "0", "g": "8", "preset": "fast"}),
    ("h264.mkv", "libx264", "yuv420p", {"bf": "2", "g": "8", "preset": "fast"}),
    ("h264.ts", "libx264", "yuv420p", {"bf": "2", "g": "8", "preset": "fast"}),
    ("h264.flv", "libx264", "yuv420p", {"bf": "2", "g": "8", "preset": "fast"}),
    ("h264.avi", "libx264", "yuv420p", {"bf": "2", "g": "8", "preset": "fast"}),
    ("raw.h264", "libx264", "yuv420p", {"bf": "2", "g": "8", "preset": "fast"}),
    ("hevc.mp4", "libx265", "yuv420p", {"preset": "ultrafast", "x265-params": "log-level=none:keyint=8"}),
    ("vp9.webm", "libvpx-vp9", "yuv420p", {"cpu-used": "8", "deadline": "realtime"}),
    ("vp8.webm", "libvpx", "yuv420p", {"cpu-used": "8", "g": "8"}),
    ("vp8.ivf", "libvpx", "yuv420p", {"cpu-used": "8", "g": "8"}),
    ("av1.mp4", "libsvtav1", "yuv420p", {"preset": "12", "svtav1-params": "keyint=8"}),
    ("mpeg4.avi", "mpeg4", "yuv420p", {"bf": "2", "g": "8"}),
    ("mpeg4.3gp", "mpeg4", "yuv420p", {"g": "8"}),
    ("mpeg2.mpg", "mpeg2video", "yuv420p", {"bf": "2", "g": "8"}),
    ("mpeg2.ts", "mpeg2video", "yuv420p", {"bf": "2", "g": "8"}),
    ("mpeg2.mxf", "mpeg2video", "yuv420p", {"bf": "2", "g": "8"}),
    ("wmv2.wmv", "wmv2", "yuv420p", {"g": "8"}),
    ("flv1.flv", "flv", "yuv420p", {"g": "8"}),
    ("flv1.swf", "flv", "yuv420p", {"g": "8"}),
    ("mjpeg.avi", "mjpeg", "yuvj420p", {}),
    ("ffv1.nut", "ffv1", "yuv420p", {}),
    ("rv20.rm", "rv20", "yuv420p", {"g": "8"}),
    ("animation.gif", "gif", "rgb8", {}),
    ("animation.apng", "apng", "rgb24", {}),
)
NUM_FRAMES, HEIGHT, WIDTH, RATE = 24, 48, 64, 25
_MOST_FRAMES = 200


def encode_sources(folder: Path) -> list[Path]:
    """Encode every source into a folder; the same pictures in each.

    Args:
        folder: where; created.

    Returns:
        The files, in the order of `SOURCES`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, codec, pix_fmt, options in SOURCES:
        path = folder / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=RATE, options=dict(options))
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
            for picture in pictures(NUM_FRAMES, HEIGHT, WIDTH):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        paths.append(path)
    return paths


@dataclass(frozen=True)
class VideoCase:
    """One mutated file.

    Args:
        name: source, number and mutations, for the report.
        file_name: what the file is to be called.
        data: its bytes.
    """

    name: str
    file_name: str
    data: bytes


def video_cases(sources: list[Path], seed: int, count: int, first: int = 0) -> Iterator[VideoCase]:
    """Cases `first .. first + count - 1` of a seed: one to three mutations each, the sources in turn."""
    originals = [path.read_bytes() for path in sources]
    for number in range(first, first + count):
        generator = np.random.default_rng((seed, number))
        which = number % len(sources)
        data, names = mutate(originals[which], generator)
        yield VideoCase(f"{sources[which].name} #{number} {'+'.join(names)}", sources[which].name, data)


def read_as_user(path: Path) -> str:
    """Read a file as training does, first without and then with its index, and look at it as `gta data check` does.

    Returns:
        `read`, `refused`, or `varies`: what FFmpeg makes of damage inside a frame that it does not report (leftovers of
        frames before) depends on what was decoded before, so on the index and on the frames that are asked for
        together. Only decoding everything finds such files, which is what `gta data check` does.

    Raises:
        AssertionError: the index refuses what is readable without it.
    """
    from gta.datasets.check import look_at
    from gta.errors import VideoError
    from gta.video.file import VideoFile
    from gta.video.reading import open_video

    look_at(path, decode=False)
    try:
        with open_video(path) as video:
            assert isinstance(video, VideoFile)
            count = video.num_frames
            indices = [int(i) for i in np.linspace(0, count - 1, 8)]
            spread = video.read(indices)
            index = video.index
    except VideoError:
        return "refused"
    try:
        with open_video(path, index=index) as video:
            indexed = video.read(indices)
    except VideoError as error:
        raise AssertionError(f"readable without its index, refused with it: {error.reason}") from error
    if not indexed.equal(spread):
        return "varies"
    if count <= _MOST_FRAMES:  # a damaged header may count millions
        try:
            with open_video(path) as video:
                every = video.read(range(count))
        except VideoError:  # damage between the frames that were asked for
            return "read"
        if not every[indices].equal(spread):
            return "varies"
    return "read"
