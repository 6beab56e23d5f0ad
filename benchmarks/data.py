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
import torch

from gta.clips.dataset import VideoDataset
from gta.clips.presets import clip_config
from gta.clips.sampling import dense_test_indices, tsn_test_indices
from gta.datasets.listing import VideoList
from gta.types import VideoRecord
from gta.video.reading import open_video
from reading_files import make_files
from reading_ways import Reader, available_readers, read_ours

# A reader that needs longer than this for one clip is run once only.
_TOO_SLOW_SECONDS = 5.0

# What is measured: time on the wall, or processor time of all threads of the process, which other programs on the
# machine hardly change and which is what counts when as many workers run as there are cores.
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}

SAMPLINGS: dict[str, Callable[[int], list[int]]] = {
    "TSN-8": lambda count: tsn_test_indices(count, 8)[0],
    "TSN-16": lambda count: tsn_test_indices(count, 16)[0],
    "window-64": lambda count: dense_test_indices(count, 64, 1)[0],
}


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
