"""Load on `gta serve`: many clients at once, against the bare predictor in one process.

    python benchmarks/serve_load.py runs/mine/best.ckpt clip.mp4 --clients 50 --seconds 120

The clients run in this process and take their share of the same cores, so the ratio understates the server.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from gta.predictor import Predictor

_BOUNDARY = "xxloadxx"


def bare(checkpoint: Path, clip: Path, seconds: float) -> float:
    """Videos a second of `Predictor.predict` in a loop."""
    predictor = Predictor.from_checkpoint(checkpoint, device="cpu")
    predictor.predict(clip)
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        predictor.predict(clip)
        count += 1
    return count / (time.perf_counter() - begin)


async def client(port: int, request: bytes, end: float, times: list[float], answers: Counter[str]) -> None:
    """Ask again and again over one connection until the time is over; after a 503, wait as told."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.perf_counter() < end:
        begin = time.perf_counter()
        writer.write(request)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        status = head[9:12].decode()
        answers[status] += 1
        if status == "200":
            times.append(time.perf_counter() - begin)
        elif status == "503":
            await asyncio.sleep(1)
    writer.close()


async def load(port: int, clip: bytes, clients: int, seconds: float) -> tuple[list[float], Counter[str], float]:
    """Seconds of each answer, answers by status, and videos a second."""
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="clip.mp4"\r\n\r\n'.encode()
    body = head + clip + f"\r\n--{_BOUNDARY}--\r\n".encode()
    lines = [
        *("POST /v1/predict HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: multipart/form-data; boundary={_BOUNDARY}"),
        *(f"Content-Length: {len(body)}", "", ""),
    ]
    request = "\r\n".join(lines).encode() + body
    times: list[float] = []
    answers: Counter[str] = Counter()
    begin = time.perf_counter()
    await asyncio.gather(*(client(port, request, begin + seconds, times, answers) for _ in range(clients)))
    return times, answers, len(times) / (time.perf_counter() - begin)


def main() -> None:
    """Measure both, print, and exit with 1 if an answer was neither 200 nor 503."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120)
    options = parser.parse_args()
    words = [sys.executable, "-m", "gta", "serve", str(options.checkpoint), "--port", "0", "--no-page"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    server = subprocess.Popen(
        [*words, "--device", "cpu"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline().split("/")[2].rpartition(":")[2])
        asyncio.run(load(port, options.clip.read_bytes(), 2, 3))  # the processes start
        before = bare(options.checkpoint, options.clip, options.seconds / 6)
        times, answers, rate = asyncio.run(load(port, options.clip.read_bytes(), options.clients, options.seconds))
        after = bare(options.checkpoint, options.clip, options.seconds / 6)
    finally:
        server.terminate()
        server.wait(60)
    quantiles = statistics.quantiles(times, n=20)
    print(f"bare predictor: {before:.1f} videos/s before, {after:.1f} after")
    share = 2 * rate / (before + after)
    print(f"{options.clients} clients, {options.seconds:g} s: {rate:.1f} videos/s, {share:.2f} of it")
    print(f"median {1000 * quantiles[9]:.0f} ms, p95 {1000 * quantiles[18]:.0f} ms; answers {dict(answers)}")
    sys.exit(bool(set(answers) - {"200", "503"}))


if __name__ == "__main__":
    main()
