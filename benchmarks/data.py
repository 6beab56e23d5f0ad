"""How fast videos are read, against every other way of reading them: `python benchmarks/data.py [--rounds N]`.

Makes its own files (VP9 like Something-Something v2, H.264 like Kinetics with short and long groups of pictures, a long
720p film, a JPEG folder), then reads clips from them, all ways interleaved in every round, so that a busy machine slows
all alike. Prints medians of milliseconds per clip and ratios to ours. OpenCV, TorchCodec and decord take part where
they are installed; nothing here installs them. Every reader gets one thread, except "all frames", which is PyAV's
default.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import av
import av.logging
import numpy as np
import torch

from gta.data.dataset import VideoDataset
from gta.data.decode import open_video
from gta.data.frames import FrameFolder
from gta.data.listing import VideoList
from gta.data.presets import clip_config
from gta.data.sampling import dense_test_indices, tsn_test_indices
from gta.types import VideoRecord

# A reader that needs longer than this for one clip is run once only.
_TOO_SLOW_SECONDS = 5.0

# What is measured: time on the wall, or processor time of all threads of the process, which other programs on the
# machine hardly change and which is what counts when as many workers run as there are cores.
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}

Reader = Callable[[Path, list[int]], object]

SAMPLINGS: dict[str, Callable[[int], list[int]]] = {
    "TSN-8": lambda count: tsn_test_indices(count, 8)[0],
    "TSN-16": lambda count: tsn_test_indices(count, 16)[0],
    "window-64": lambda count: dense_test_indices(count, 64, 1)[0],
}


# --- files ---------------------------------------------------------------------------------------------------------


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


# --- ways of reading -----------------------------------------------------------------------------------------------


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


# --- measuring -----------------------------------------------------------------------------------------------------


def _single_threaded() -> None:
    torch.set_num_threads(1)
    av.logging.set_level(None)
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "threads;1"


def _seconds(reader: Reader, path: Path, indices: list[int], repeats: int, clock: str) -> float:
    now = CLOCKS[clock]
    start = now()
    for _ in range(repeats):
        reader(path, indices)
    return (now() - start) / repeats


def _serve(connection: Connection, clock: str) -> None:
    """A worker process: reads what it is told and answers with the seconds per clip."""
    readers, _ = available_readers()
    _single_threaded()
    while (order := connection.recv()) is not None:
        name, path, indices, repeats = order
        connection.send(_seconds(readers[name], path, indices, repeats, clock))


class Pair:
    """Two worker processes that read at the same time. Spawned, not forked: some peers hang in forked processes."""

    def __init__(self, clock: str) -> None:
        self._share = 2 if clock == "wall" else 1  # together they are twice as fast, at the same cost
        context = multiprocessing.get_context("spawn")
        pipes = [context.Pipe() for _ in range(2)]
        self._connections = [ours for ours, _ in pipes]
        for _, theirs in pipes:
            context.Process(target=_serve, args=(theirs, clock), daemon=True).start()

    def seconds(self, name: str, path: Path, indices: list[int], repeats: int) -> float:
        """Seconds per clip of the pair; the slower worker's time counts."""
        for connection in self._connections:
            connection.send((name, path, indices, repeats))
        return max(connection.recv() for connection in self._connections) / self._share

    def close(self) -> None:
        for connection in self._connections:
            connection.send(None)


def measure(
    path: Path, indices: list[int], readers: dict[str, Reader], rounds: int, pair: Pair | None, clock: str
) -> dict[str, float]:
    """Median milliseconds per clip of every reader that can read the file, in this process or in a pair of workers."""
    times: dict[str, list[float]] = {}
    repeats: dict[str, int] = {}
    slow: dict[str, float] = {}
    for name, reader in readers.items():
        try:
            once = _seconds(reader, path, indices, 1, clock)
        except Exception as error:
            print(f"    {name} failed: {type(error).__name__}: {str(error).splitlines()[0][:100]}")
            continue
        times[name], repeats[name] = [], max(1, min(10, int(0.1 / max(once, 1e-4))))
        if once > _TOO_SLOW_SECONDS:  # more would cost minutes and say nothing new
            slow[name] = once * 1000
            del times[name]
    for _ in range(rounds):
        for name in times:
            if pair is None:
                seconds = _seconds(readers[name], path, indices, repeats[name], clock)
            else:
                seconds = pair.seconds(name, path, indices, repeats[name])
            times[name].append(seconds * 1000)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {name: (medians | slow)[name] for name in readers if name in medians or name in slow}


def _table(rows: dict[str, dict[str, float]], base: str) -> None:
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    width = max(map(len, rows)) if rows else 0
    print(f"    {'':{width}}  " + "  ".join(f"{name:>18}" for name in names))
    for label, row in rows.items():
        cells = [f"{row[name]:8.1f} ms {row[name] / row[base]:5.2f}x" if name in row else "-" for name in names]
        print(f"    {label:{width}}  " + "  ".join(f"{cell:>18}" for cell in cells))


def bench_reading(paths: dict[str, Path], rounds: int, workers: list[int], clock: str) -> dict:
    readers, missing = available_readers()
    for name, reason in missing.items():
        print(f"{name} does not take part: {reason}")
    results: dict = {}
    pair = Pair(clock) if 2 in workers else None
    for kind, path in paths.items():
        for count in workers:
            print(f"\n{kind}, {count} worker{'s' if count > 1 else ''}: {clock} ms per clip, and times ours")
            rows = {}
            with open_video(path) as video:
                num_frames = video.num_frames
            for name, sampling in SAMPLINGS.items():
                few = max(2, rounds // 2) if path.name == "long.mp4" else rounds
                rows[name] = measure(path, sampling(num_frames), readers, few, pair if count == 2 else None, clock)
            _table(rows, "ours")
            sys.stdout.flush()
            results[f"{kind} / {count}"] = rows
    if pair is not None:
        pair.close()
    return results


def _one_video(path: Path) -> VideoList:
    return VideoList(path.parent, "folder", "train", ("a",), (VideoRecord(path, 0),))


def _draw(dataset: VideoDataset, epochs: Iterator[int], path: Path, indices: list[int]) -> object:
    """A training sample, a new one every time."""
    return dataset[next(epochs), 0]


def bench_pipeline(paths: dict[str, Path], rounds: int, clock: str) -> dict:
    """Decoding alone against decoding with resizing, cropping and flipping, on one core."""
    print("\nwhole pipeline (decode + transforms of the paper's protocol), one core, TSN-8: ms per clip")
    results = {}
    for kind, path in paths.items():
        dataset = VideoDataset(_one_video(path), clip_config("paper"), training=True)
        with open_video(path) as video:
            indices = tsn_test_indices(video.num_frames, 8)[0]
        alone, whole = [], []
        repeats = 1 if path.name == "long.mp4" else 5
        draw = partial(_draw, dataset, itertools.count())
        for _ in range(2 * rounds):
            alone.append(_seconds(read_ours, path, indices, repeats, clock) * 1000)
            whole.append(_seconds(draw, path, indices, repeats, clock) * 1000)
        results[kind] = {"decode": statistics.median(alone), "pipeline": statistics.median(whole)}
        row = results[kind]
        print(f"    {kind:52} {row['decode']:7.1f} {row['pipeline']:7.1f}  {row['pipeline'] / row['decode']:.2f}x")
    return results


class _Probe(torch.utils.data.Dataset):
    """Reads clips and tells the worker's memory: what `bench_memory` watches."""

    def __init__(self, dataset: VideoDataset, samples: int) -> None:
        self.dataset, self.samples = dataset, samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, number: int) -> int:
        self.dataset[number, number % len(self.dataset)]
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()


def bench_memory(paths: dict[str, Path], samples: int) -> dict:
    """Resident memory of one DataLoader worker while it reads `samples` clips from all short files in turn."""
    chosen = [path for path in paths.values() if path.name != "long.mp4"]
    videos = VideoList(chosen[0].parent, "folder", "train", ("a",), tuple(VideoRecord(path, 0) for path in chosen))
    probe = _Probe(VideoDataset(videos, clip_config("paper"), training=True), samples)
    loader = torch.utils.data.DataLoader(probe, batch_size=10, num_workers=1)
    sizes = [int(value) / 2**20 for batch in loader for value in batch]
    marks = sorted({min(mark, len(sizes)) for mark in (50, len(sizes) // 4, len(sizes) // 2, len(sizes))})
    result = {str(mark): round(statistics.median(sizes[max(mark - 50, 0) : mark])) for mark in marks if mark}
    print(f"\nmemory of a worker (MiB) after samples: {result}")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="measurements per way of reading; the median counts")
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[1, 2], choices=(1, 2), help="numbers of processes to measure"
    )
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="wall time, or processor time of all threads")
    parser.add_argument("--samples", type=int, default=1000, help="samples that the memory measurement reads")
    parser.add_argument("--files", type=Path, help="folder to keep the test files in, for the next time")
    parser.add_argument("--only", default="", help="measure only the kinds of files whose name contains this")
    parser.add_argument("--json", type=Path, help="write the results there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.files or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        versions = f"Python {platform.python_version()}, PyAV {av.__version__}, PyTorch {torch.__version__}"
        print(f"{versions}, {os.cpu_count()} CPUs, {options.clock} time")
        paths = {kind: path for kind, path in make_files(folder).items() if options.only in kind}
        _single_threaded()
        results = {"reading": bench_reading(paths, options.rounds, options.workers, options.clock)}
        results["pipeline"] = bench_pipeline(paths, options.rounds, options.clock)
        if options.samples:
            results["memory"] = bench_memory(paths, options.samples)
        if options.json:
            options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
