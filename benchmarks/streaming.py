"""A stream against its file: does it keep up on one core, does its memory stay flat, does it give the offline answers.

python benchmarks/streaming.py CKPT keeps-up  # gta watch plays a 25 fps 340x256 file in real time on one core
python benchmarks/streaming.py CKPT memory    # resident memory along 20 minutes of stream, as fast as it goes
python benchmarks/streaming.py CKPT equal     # every window beside that of predictor.predict_windows
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

import gta
from gta.streaming.stream import Stream
from gta.synthetic import CLASSES, render_clip
from gta.video.conversion import to_rgb
from gta.video.live import LiveVideo

FPS, HEIGHT, WIDTH = 25, 256, 340
WINDOW, HOP = 2.0, 0.2


def write_file(path: Path, seconds: float) -> Path:
    """Rendered clips of all classes one after the other, as H.264 with a key frame each second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, "yuv420p", FPS
        stream.codec_context.time_base = Fraction(1, FPS)
        number = written = 0
        while written < seconds * FPS:
            for picture in render_clip(CLASSES[number % len(CLASSES)], index=number, frame_size=(HEIGHT, WIDTH)):
                if written < seconds * FPS:
                    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                    frame.pts = written
                    container.mux(stream.encode(frame))
                    written += 1
            number += 1
        container.mux(stream.encode(None))
    return path


def keeps_up(checkpoint: Path, place: Path, seconds: float) -> None:
    """`gta watch` in a process that has one core; what it dropped, and how much of the core it took."""
    video = write_file(place / "stream.mp4", seconds)
    words = ["--realtime", "--window", str(WINDOW), "--hop", str(HOP), "--device", "cpu"]
    command = [sys.executable, "-m", "gta", "watch", str(checkpoint), str(video), *words]
    core = min(os.sched_getaffinity(0))
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(done.stderr.strip())
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    print(f"{len(lines)} lines; {wall:.1f} s of the clock, {used:.1f} CPU seconds with starting up")
    print(f"load of this machine meanwhile: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    stream, frames = opened_stream(checkpoint, video)
    torch.set_num_threads(1)
    begin = time.process_time()
    for frame, moment in frames:
        stream.push(frame, moment)
    print(
        f"decoding and predicting alone: {(time.process_time() - begin) / seconds:.3f} CPU seconds a second of stream"
    )


def opened_stream(checkpoint: Path, video: Path) -> tuple[Stream, Iterator[tuple[torch.Tensor, Fraction]]]:
    stream = Stream(gta.Predictor.from_checkpoint(checkpoint, device="cpu"), window=WINDOW, hop=HOP, top_k=1000)
    return stream, frames_of(video, stream)


def frames_of(video: Path, stream: Stream) -> Iterator[tuple[torch.Tensor, Fraction]]:
    with LiveVideo(str(video)) as source:
        stream.time_unit = source.time_base
        for frame, moment in source.frames():
            yield to_rgb(frame, compact=True), moment


def memory(checkpoint: Path, place: Path, minutes: float) -> None:
    """Pushes the frames of one file again and again, their times going on."""
    torch.set_num_threads(1)
    length = 60
    video = write_file(place / "stream.mp4", length)
    stream, _ = opened_stream(checkpoint, video)
    begin = time.process_time()
    for turn in range(round(60 * minutes / length)):
        for frame, moment in frames_of(video, stream):
            stream.push(frame, moment + turn * length)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        resident = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
        seconds = (turn + 1) * length
        print(
            f"{seconds / 60:5.1f} min of stream: {resident:7.1f} MiB, {stream.counts.predictions} predictions, "
            f"{stream.counts.frames_computed} frames computed, {seconds / (time.process_time() - begin):.1f} times as "
            "fast as the stream (CPU time)",
            flush=True,
        )


def equal(checkpoint: Path, place: Path, seconds: float) -> None:
    """The largest difference of any class's score in any window."""
    video = write_file(place / "stream.mp4", seconds)
    stream, frames = opened_stream(checkpoint, video)
    found = [prediction for frame, moment in frames if (prediction := stream.push(frame, moment)) is not None]
    found += stream.finish()
    expected = list(
        stream.predictor.predict_windows(video, window=WINDOW, hop=HOP, top_k=len(stream.predictor.classes))
    )
    differences = []
    for one, other in zip(found, expected, strict=True):
        assert abs(one.end_seconds - other.end_seconds) < 1e-4
        scores = dict(zip(other.labels, other.scores, strict=True))
        differences += [abs(score - scores[label]) for label, score in zip(one.labels, one.scores, strict=True)]
    same = sum(one.labels[0] == other.labels[0] for one, other in zip(found, expected, strict=True))
    print(f"{len(found)} windows, as many as offline; largest difference of a score {max(differences):.2g}")
    print(f"the same class in {same} of {len(found)} windows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("what", choices=["keeps-up", "memory", "equal"])
    parser.add_argument("--seconds", type=float, default=60, help="length of the file")
    parser.add_argument("--minutes", type=float, default=20, help="of stream, for memory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gta-streaming-") as folder:
        if options.what == "memory":
            memory(options.checkpoint, Path(folder), options.minutes)
        elif options.what == "equal":
            equal(options.checkpoint, Path(folder), options.seconds)
        else:
            keeps_up(options.checkpoint, Path(folder), options.seconds)


if __name__ == "__main__":
    main()
