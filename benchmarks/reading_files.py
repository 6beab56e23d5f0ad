"""Video files for `benchmarks/data.py`: each kind that data sets of the field have, made on the spot."""

from pathlib import Path

import av
import numpy as np


def _scene(num_frames: int, height: int, width: int, seed: int) -> list[np.ndarray]:
    """A textured background that pans, a moving object and camera noise: bit rates like those of real videos."""
    generator = np.random.default_rng(seed)
    small = generator.integers(0, 255, (height // 8 + 40, width // 8 + 80, 3)).astype(np.float32)
    texture = np.kron(small, np.ones((8, 8, 1), np.float32))
    noise = generator.normal(0, 3, (4, height, width, 1)).astype(np.float32)
    frames = []
    for number in range(num_frames):
        left, top = (number * 2) % 300, (number // 2) % 150
        picture = texture[top : top + height, left : left + width] * 0.6 + 40 + noise[number % 4]
        x = int((0.5 + 0.4 * np.sin(number / 9)) * (width - 60))
        picture[height // 3 : height // 3 + 50, x : x + 50] = (220, 60, 40)
        frames.append(picture.clip(0, 255).astype(np.uint8))
    return frames


def _encode(path: Path, frames: list[np.ndarray], codec: str, rate: int, gop: int, options: dict[str, str]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = gop
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def _repeat(source: Path, target: Path, times: int) -> Path:
    """Join copies of a file without encoding again."""
    with av.open(str(target), "w") as output:
        shift = 0
        stream = None
        for _ in range(times):
            with av.open(str(source)) as container:
                video = container.streams.video[0]
                stream = stream or output.add_stream_from_template(video)
                last = 0
                for packet in container.demux(video):
                    if packet.dts is None:
                        continue
                    last = max(last, packet.pts + packet.duration)
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                    output.mux(packet)
                shift += last
    return target


def make_files(folder: Path) -> dict[str, Path]:
    """Write one file of each kind, those that are not there yet."""
    x264 = {"preset": "fast", "crf": "23", "sc_threshold": "0"}
    names = {
        "ssv2 (VP9 427x240, 48 frames, 1 keyframe)": "ssv2.webm",
        "kinetics (H.264 340x256, 10 s, keyframe every 12)": "kinetics12.mp4",
        "kinetics (H.264 340x256, 10 s, keyframe every 250)": "kinetics250.mp4",
        "long (H.264 720p, 5 min, keyframe every 60)": "long.mp4",
        "ssv1 (48 JPEGs 320x240)": "ssv1",
    }
    paths = {name: folder / file for name, file in names.items()}
    ssv2, short, long_group, film, pictures = paths.values()
    if not ssv2.exists():
        options = {"crf": "30", "b": "0", "cpu-used": "5", "deadline": "realtime"}
        _encode(ssv2, _scene(48, 240, 427, 1)[:48], "libvpx-vp9", 12, 1000, options)
    if not short.exists():
        frames = _scene(300, 256, 340, 2)
        _encode(short, frames, "libx264", 30, 12, x264)
        _encode(long_group, frames, "libx264", 30, 250, x264)
    if not film.exists():
        fast = {**x264, "preset": "veryfast"}
        part = _encode(folder / "part.mp4", _scene(300, 720, 1280, 3), "libx264", 30, 60, fast)
        _repeat(part, film, 30)
        part.unlink()
    if not pictures.exists():
        from PIL import Image

        pictures.mkdir()
        for number, picture in enumerate(_scene(48, 240, 320, 4), start=1):
            Image.fromarray(picture).save(pictures / f"{number:05d}.jpg", quality=90)
    return paths
