"""Bulk prediction: killed five times and repeated, and its throughput against a bare loop of decoding and predicting.

python benchmarks/bulk.py kills       # 2,000 files of which 100 are broken; what each run left, and the table
python benchmarks/bulk.py throughput  # videos per second and core of the bare loop and of one worker, interleaved
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

import gta
from gta.bulk.run import BulkOptions, predict_many
from gta.checkpoint import write_checkpoint
from gta.config import ClipConfig, config_to_json
from gta.extras import require
from gta.model_card import describe
from gta.synthetic import write_clip


def write_model(path: Path, num_frames: int = 8, crop_size: int = 64) -> Path:
    """An untrained tiny_gta: what it answers does not matter here."""
    torch.manual_seed(0)
    model = gta.create_model("tiny_gta", num_classes=16, num_frames=num_frames)
    clip = ClipConfig(num_frames=num_frames, crop_size=crop_size, resize=(crop_size, crop_size * 4 // 3))
    classes = [f"class {number}" for number in range(16)]
    card = describe(model=model.arguments, classes=classes, clip=config_to_json(clip))
    write_checkpoint(path, {"gta": card, "state_dict": {f"model.{k}": v for k, v in model.state_dict().items()}})
    return path


def write_videos(folder: Path, number: int, broken: int, size: tuple[int, int]) -> Path:
    """Hard links to eight rendered videos; broken ones (empty, text, cut in two) spread at random."""
    folder.mkdir()
    sources = [folder.parent / f"source{seed}.mp4" for seed in range(8)]
    for seed, source in enumerate(sources):
        write_clip(source, "Opening something", seed=seed, index=0, frame_size=size)
    whole = sources[0].read_bytes()
    contents = (b"", b"#EXTM3U\nnothing\n", whole[: len(whole) // 2], whole[:40] + os.urandom(2000))
    bad = set(random.Random(0).sample(range(number), broken))
    for place in range(number):
        path = folder / f"{place:06d}.mp4"
        if place in bad:
            path.write_bytes(contents[place % len(contents)])
        else:
            os.link(sources[place % len(sources)], path)
    return folder


def kills(place: Path) -> None:
    """SIGKILL the command five times at random moments, repeat it, and count the rows."""
    model = write_model(place / "model.ckpt")
    videos = write_videos(place / "videos", 2000, 100, (64, 84))
    output, parts = place / "scores.parquet", place / "scores.parquet.parts"
    words = ["--manifest", str(videos), "--output", str(output), "--device", "cpu", "--num-workers", "1"]
    command = [sys.executable, "-m", "gta", "predict", str(model), *words, "--shard-size", "64"]
    chance = random.Random(time.time_ns())
    for number in range(5):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        # Two to six shards later, in the middle of something: however fast the machine is, work is left.
        wanted = len(list(parts.glob("0*.jsonl"))) + chance.randint(2, 6)
        while process.poll() is None and len(list(parts.glob("0*.jsonl"))) < wanted:
            time.sleep(0.02)
        time.sleep(chance.uniform(0.0, 1.0))
        process.send_signal(signal.SIGKILL)
        done = len(list(parts.glob("0*.jsonl")))
        print(f"kill {number + 1}: exit code {process.wait()}, {done} of 32 shards on disk", flush=True)
    subprocess.run(command, check=True)
    rows = require("pyarrow.parquet", "reading Parquet", extra="bulk").read_table(output).to_pylist()
    names = [row["path"] for row in rows]
    print(f"rows {len(rows)}, different paths {len(set(names))}, with a reason {sum(bool(r['error']) for r in rows)}")
    print(f"the manifest in its order: {names == sorted(map(str, videos.iterdir()))}")


def throughput(place: Path) -> None:
    """Videos per second and core: `predictor.predict` in a loop, and one worker; three turns, interleaved."""
    torch.set_num_threads(1)
    model = write_model(place / "model.ckpt", crop_size=112)
    number = 300
    videos = write_videos(place / "videos", number, 0, (256, 340))
    paths = sorted(videos.iterdir())
    predictor = gta.Predictor.from_checkpoint(model, device="cpu")
    predictor.predict(paths[0])
    ratios = []
    for turn in range(3):
        start = time.process_time()
        for path in paths:
            predictor.predict(path)
        bare = time.process_time() - start
        start = os.times()
        begin = time.perf_counter()
        options = BulkOptions(device="cpu", num_workers=1, overwrite=True)
        predict_many(model, str(videos), place / "scores.jsonl", options)
        wall, end = time.perf_counter() - begin, os.times()
        used = sum(after - before for after, before in zip(end[:4], start[:4], strict=True))
        ratios.append(bare / used)
        print(f"turn {turn + 1}: bare {number / bare:.1f}, bulk {number / used:.1f} videos per CPU second", end="")
        print(f" (bulk {number / wall:.1f} per second of the clock, with loading the model), ratio {bare / used:.3f}")
    print(f"median ratio {statistics.median(ratios):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["kills", "throughput"])
    place = Path(tempfile.mkdtemp(prefix="gta-bulk-"))
    try:
        {"kills": kills, "throughput": throughput}[parser.parse_args().what](place)
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
