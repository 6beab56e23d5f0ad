"""Files of strangers are decoded in processes of their own.

A decoder that crashes, hangs or eats memory takes such a process with it, not the server. Such a process can put no
byte into a file. What comes back is JSON and raw pixels, never a pickle. Each process reads one file at a time.
"""

import contextlib
import json
import multiprocessing
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gta.config import ClipConfig, config_from_json, config_to_json
from gta.errors import VideoError
from gta.serving.limits import Limits, RefusedError, busy, too_long, too_slow, unreadable

if TYPE_CHECKING:
    from gta.video.file import VideoFile

_MEMORY_BYTES = 3 << 30
"""Address space that a process may take beyond what it has at the start: decoding is held to 1 GiB."""
_MOST_FRAMES_PER_SECOND = 240
_SECONDS_TO_END = 2.0


@dataclass(frozen=True)
class ReadVideo:
    """What was read of one video: for each protocol its views, uint8 (V, 3, T, H, W), and its facts."""

    views: tuple[Tensor, ...]
    num_frames: int
    seconds: float


class Reader:
    """Processes that read videos; `read` may be called from many threads.

    Args:
        limits: number of processes, and what a video may cost.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["gta.serving.isolation", "gta.clips.dataset"])
        self._idle: queue.Queue[_Worker] = queue.Queue()
        self._all: set[_Worker] = set()
        self._lock = threading.Lock()
        self._closed = False
        for _ in range(limits.num_workers):
            self._start()

    def read(self, path: Path, protocols: Sequence[ClipConfig], *, seconds: float | None = None) -> ReadVideo:
        """Read all evaluation views of a file, as each protocol wants them.

        Args:
            path: the file.
            protocols: how the models want it.
            seconds: time that it may take; that of the limits if not given.

        Raises:
            RefusedError: it cannot be read, plays for too long, or takes too much time.
        """
        end = time.monotonic() + (self.limits.request_seconds if seconds is None else seconds)
        worker = self._healthy(end)
        healthy = False
        try:
            answer = worker.ask(path, protocols, self.limits, end)
            healthy = True
            return answer
        except RefusedError as error:
            healthy = error.code != "too_slow"
            raise
        except (EOFError, OSError):
            raise unreadable("reading it crashed the decoder") from None
        finally:
            self._give_back(worker, healthy=healthy)

    def _healthy(self, end: float) -> "_Worker":
        """A process that nobody uses. One that the system has ended meanwhile is replaced first."""
        while True:
            try:
                worker = self._idle.get(timeout=max(end - time.monotonic(), 0.001))
            except queue.Empty:
                raise busy() from None
            if worker.is_alive:
                return worker
            self._give_back(worker, healthy=False)

    def close(self) -> None:
        """End all processes."""
        with self._lock:
            self._closed, workers = True, list(self._all)
            self._all.clear()
        for worker in workers:
            worker.end()

    def _start(self) -> None:
        worker = _Worker(self._context)
        with self._lock:
            if not self._closed:
                self._all.add(worker)
                self._idle.put(worker)
                return
        worker.end()

    def _give_back(self, worker: "_Worker", *, healthy: bool) -> None:
        if healthy:
            self._idle.put(worker)
            return
        with self._lock:
            self._all.discard(worker)
        worker.end()
        self._start()


class _Worker:
    def __init__(self, context: Any) -> None:
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True, name="gta-serve-reader")
        self._process.start()
        theirs.close()

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def ask(self, path: Path, protocols: Sequence[ClipConfig], limits: Limits, end: float) -> ReadVideo:
        question = {
            "path": str(path),
            "protocols": [config_to_json(clip) for clip in protocols],
            "max_seconds": limits.max_seconds,
            "time_limit": max(end - time.monotonic(), 0.1),
        }
        self._pipe.send_bytes(json.dumps(question).encode())
        answer = json.loads(self._receive(limits, end))
        if "too_long" in answer:
            raise too_long(answer["too_long"], limits)
        if "error" in answer:
            raise unreadable(answer["error"].replace(str(path), "the file"))
        views = []
        for shape in answer["shapes"]:
            data = bytearray(self._receive(limits, end))
            views.append(torch.frombuffer(data, dtype=torch.uint8).reshape(shape))
        return ReadVideo(tuple(views), answer["num_frames"], answer["seconds"])

    def _receive(self, limits: Limits, end: float) -> bytes:
        if not self._pipe.poll(max(end - time.monotonic(), 0)):
            raise too_slow(limits)
        return self._pipe.recv_bytes()

    def end(self) -> None:
        self._process.kill()
        self._process.join(_SECONDS_TO_END)
        self._pipe.close()
        with contextlib.suppress(ValueError):  # it has not ended yet: the system will see to it
            self._process.close()


# ---- in the process -------------------------------------------------------------------------------------------------


def _serve(pipe: Connection) -> None:
    """Answer questions until the other end is closed."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server decides when to stop
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
    _confine()
    with contextlib.suppress(EOFError, OSError):
        while True:
            for message in _answer(json.loads(pipe.recv_bytes())):
                pipe.send_bytes(message)


def _confine() -> None:
    """Take from this process the right to write files, and memory without end."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY_BYTES, used + _MEMORY_BYTES))


def _answer(question: dict[str, Any]) -> Iterator[bytes | memoryview]:
    protocols = [config_from_json(ClipConfig, clip) for clip in question["protocols"]]
    try:
        facts, views = _read(Path(question["path"]), protocols, question["max_seconds"], question["time_limit"])
    except VideoError as error:
        yield json.dumps({"error": error.reason}).encode()
        return
    except MemoryError:
        yield json.dumps({"error": "it takes too much memory"}).encode()
        return
    yield json.dumps({**facts, "shapes": [list(view.shape) for view in views]}).encode()
    for view in views:
        yield view.contiguous().numpy().tobytes()


def _read(
    path: Path, protocols: Sequence[ClipConfig], max_seconds: float, time_limit: float
) -> tuple[dict[str, Any], list[Tensor]]:
    """Facts of a video and its views; facts alone, "too_long", of one that plays for too long."""
    from gta.clips.sampling import evaluation_indices
    from gta.clips.transforms import EvaluationViews
    from gta.video.file import VideoFile

    with VideoFile(path, time_limit_seconds=time_limit) as video:
        seconds = _seconds(video)
        if seconds > max_seconds or video.num_frames > max_seconds * _MOST_FRAMES_PER_SECOND:
            return {"too_long": seconds}, []
        views = []
        for clip in protocols:
            fitted = EvaluationViews(clip)
            clips = evaluation_indices(clip, video.num_frames)
            frames = video.read([index for indices in clips for index in indices], fit=fitted.fit)
            views.append(fitted.finish(frames))
        facts = {"num_frames": video.num_frames, "seconds": round(seconds, 3)}
    return facts, views


def _seconds(video: "VideoFile") -> float:
    """How long a video plays: by its timestamps where they can be believed, else by its rate."""
    shown = video.index.frame_timestamps
    rate = video.fps if video.fps > 0 else 25.0
    if video.index.is_one_to_one and len(shown) > 1:
        return float((int(shown[-1]) - int(shown[0])) * video.time_base) + 1 / rate
    return video.num_frames / rate
