"""Ways of reading a clip from a video file, for `benchmarks/data.py`: ours and every other one that is installed."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from gta.video.folder import FrameFolder
from gta.video.reading import open_video

Reader = Callable[[Path, list[int]], object]


def read_ours(path: Path, indices: list[int]) -> object:
    with open_video(path) as video:
        return video.read(indices)


_INDEXES: dict[Path, dict] = {}


def read_ours_indexed(path: Path, indices: list[int]) -> object:
    if path not in _INDEXES:
        with open_video(path) as video:
            _INDEXES[path] = {"names": video.names} if isinstance(video, FrameFolder) else {"index": video.index}
    with open_video(path, **_INDEXES[path]) as video:
        return video.read(indices)


def read_everything(path: Path, indices: list[int]) -> object:
    """Peer (a): decode every frame with PyAV's defaults and pick."""
    if path.is_dir():
        from PIL import Image

        names = sorted(path.iterdir())
        return np.stack([np.asarray(Image.open(names[i])) for i in indices])
    with av.open(str(path)) as container:
        # Every frame is converted, as usual, but only the wanted ones are kept: 5 min of 720p would be 25 GB.
        converted = ((i, frame.to_ndarray(format="rgb24")) for i, frame in enumerate(container.decode(video=0)))
        wanted = set(indices)
        frames = {i: pixels for i, pixels in converted if i in wanted}
    return np.stack([frames[i] for i in indices])


def read_everything_lazily(path: Path, indices: list[int]) -> object:
    """Peer (a) at its best: decode every frame with PyAV's defaults, convert only the wanted ones."""
    if path.is_dir():
        return read_everything(path, indices)
    wanted = set(indices)
    with av.open(str(path)) as container:
        frames = {i: f.to_ndarray(format="rgb24") for i, f in enumerate(container.decode(video=0)) if i in wanted}
    return np.stack([frames[i] for i in indices])


def decode_only(path: Path, indices: list[int]) -> object:
    """The floor (d): sequential decoding up to the last wanted frame, one thread, no colour conversion."""
    if path.is_dir():
        return read_ours(path, indices)
    last = max(indices)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        for number, frame in enumerate(container.decode(stream)):
            if number == last:
                return frame
    return None


def read_opencv(path: Path, indices: list[int]) -> object:
    import cv2

    cv2.setNumThreads(1)
    if path.is_dir():
        names = sorted(path.iterdir())
        return np.stack([cv2.imread(str(names[i]))[..., ::-1] for i in indices])
    capture = cv2.VideoCapture(str(path))
    wanted, last, frames = set(indices), max(indices), {}
    for number in range(last + 1):
        if not capture.grab():
            break
        if number in wanted:
            frames[number] = cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)
    capture.release()
    return np.stack([frames[i] for i in indices])


def read_torchcodec(path: Path, indices: list[int]) -> object:
    from torchcodec.decoders import VideoDecoder

    return VideoDecoder(str(path), num_ffmpeg_threads=1, seek_mode="exact").get_frames_at(indices).data


def read_decord(path: Path, indices: list[int]) -> object:
    import decord

    return decord.VideoReader(str(path), num_threads=1).get_batch(indices).asnumpy()


def available_readers() -> tuple[dict[str, Reader], dict[str, str]]:
    """Every way that works here, and why the others do not."""
    readers: dict[str, Reader] = {"ours": read_ours, "ours, indexed": read_ours_indexed}
    readers |= {"all frames": read_everything, "all frames, lazy": read_everything_lazily, "floor": decode_only}
    missing: dict[str, str] = {}
    for name, module, reader in (
        ("opencv", "cv2", read_opencv),
        ("torchcodec", "torchcodec.decoders", read_torchcodec),
        ("decord", "decord", read_decord),
    ):
        try:
            __import__(module)
        except (ImportError, OSError, RuntimeError) as error:
            missing[name] = str(error).strip().splitlines()[0]
        else:
            readers[name] = reader
    return readers, missing
