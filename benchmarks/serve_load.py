"""Load on `gta serve`: many clients at once, against the bare predictor in one process.

    python benchmarks/serve_load.py runs/mine/best.ckpt clip.mp4 --clients 50 --seconds 120

The bare predictor runs before, between and after the rounds of load, so that other work on the machine slows both down.
CPU time says what a video costs, whatever else runs. The clients run in this process and take their share of the same
cores, so the ratio understates the server. One client alone, in turn with the predictor, shows what an answer takes
beyond the prediction.
"""

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from gta.predictor import Predictor

_BOUNDARY = "xxloadxx"


@contextlib.contextmanager
def served(checkpoint: Path, *words: str) -> Iterator[tuple[str, int]]:
    """Run `gta serve` on a free port and the CPU; gives its address, such as http://127.0.0.1:8000, and its process."""
    server = subprocess.Popen(
        [sys.executable, "-m", "gta", "serve", str(checkpoint), "--port", "0", "--device", "cpu", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert server.stdout is not None
        yield server.stdout.readline().split()[0], server.pid
    finally:
        server.terminate()
        server.wait(60)


def bare(predictor: Predictor, clip: Path, seconds: float) -> tuple[float, float]:
    """Videos a second of `Predictor.predict` in a loop, and the CPU seconds of one."""
    count, begin, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - begin < seconds:
        predictor.predict(clip)
        count += 1
    return count / (time.perf_counter() - begin), (time.process_time() - cpu) / count


def cpu_seconds(pid: int) -> float:
    """CPU time so far of a process, its descendants and those of them that have ended."""
    times: dict[int, tuple[int, int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        times[int(stat.parent.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    members = [pid]
    for one in members:
        members += [child for child, (parent, _) in times.items() if parent == one]
    return sum(times[one][1] for one in members) / os.sysconf("SC_CLK_TCK")


def extra(predictor: Predictor, port: int, clip: Path, count: int) -> tuple[list[float], list[float]]:
    """Seconds of predictions, and of answers to one client, in turn."""
    request = request_bytes(clip.read_bytes())

    async def answer() -> float:
        times: list[float] = []
        await client(port, request, 0, times, Counter(), at_least=1)
        return times[0]

    predictions, answers = [], []
    for _ in range(count):
        begin = time.perf_counter()
        predictor.predict(clip)
        predictions.append(time.perf_counter() - begin)
        answers.append(asyncio.run(answer()))
    return predictions, answers


async def client(
    port: int, request: bytes, end: float, times: list[float], answers: Counter[str], *, at_least: int = 0
) -> None:
    """Ask again and again over one connection until the time is over; after a 503, wait as told."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.perf_counter() < end or len(times) < at_least:
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


def request_bytes(clip: bytes) -> bytes:
    """A request for `/v1/predict` with the clip."""
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="clip.mp4"\r\n\r\n'.encode()
    body = head + clip + f"\r\n--{_BOUNDARY}--\r\n".encode()
    lines = [
        *("POST /v1/predict HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: multipart/form-data; boundary={_BOUNDARY}"),
        *(f"Content-Length: {len(body)}", "", ""),
    ]
    return "\r\n".join(lines).encode() + body


async def load(
    port: int, request: bytes, clients: int, seconds: float, times: list[float], answers: Counter[str]
) -> float:
    """Videos a second; adds the seconds of each answer, and the answers by status."""
    begin, before = time.perf_counter(), len(times)
    await asyncio.gather(*(client(port, request, begin + seconds, times, answers) for _ in range(clients)))
    return (len(times) - before) / (time.perf_counter() - begin)


def main() -> None:
    """Measure both, print, and exit with 1 if an answer was neither 200 nor 503."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120, help="of load, all rounds together")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    times: list[float] = []
    answers: Counter[str] = Counter()
    with served(options.checkpoint, "--no-page") as (address, process):
        port = int(address.rpartition(":")[2].strip("/"))
        predictor = Predictor.from_checkpoint(options.checkpoint, device="cpu")
        predictor.predict(options.clip)
        request = request_bytes(options.clip.read_bytes())
        asyncio.run(load(port, request, 2, 3, [], Counter()))  # the processes start
        predictions, alone = extra(predictor, port, options.clip, 40)
        part = options.seconds / options.rounds
        bares, loads, cpu = [bare(predictor, options.clip, part / 4)], [], 0.0
        for _ in range(options.rounds):
            before = cpu_seconds(process)
            loads.append(asyncio.run(load(port, request, options.clients, part, times, answers)))
            cpu += cpu_seconds(process) - before
            bares.append(bare(predictor, options.clip, part / 4))
    shares = [2 * rate / (bares[place][0] + bares[place + 1][0]) for place, rate in enumerate(loads)]
    one, two = statistics.median(predictions), statistics.median(alone)
    print(f"1 client: prediction {1000 * one:.0f} ms, answer {1000 * two:.0f} ms: {1000 * (two - one):.0f} ms more")
    print("bare predictor, videos/s:", *(f"{rate:.1f}" for rate, _ in bares))
    print(f"{options.clients} clients, {options.rounds} x {part:g} s, videos/s:", *(f"{rate:.1f}" for rate in loads))
    print("share of the bare predictor's:", *(f"{share:.2f}" for share in shares))
    bare_cost = statistics.mean(cost for _, cost in bares)
    print(f"CPU time of a video: {1000 * bare_cost:.1f} ms bare, {1000 * cpu / len(times):.1f} ms served")
    quantiles = statistics.quantiles(times, n=20)
    print(f"median {1000 * quantiles[9]:.0f} ms, p95 {1000 * quantiles[18]:.0f} ms; answers {dict(answers)}")
    sys.exit(bool(set(answers) - {"200", "503"}))


if __name__ == "__main__":
    main()
