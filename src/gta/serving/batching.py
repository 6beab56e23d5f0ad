"""Requests that come at the same time go through the model together."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gta.serving.limits import draining


@dataclass
class _Job:
    views: Tensor
    future: "Future[Tensor]" = field(default_factory=Future)


class Batcher:
    """One thread that runs one model on what has been handed in; nobody waits for a batch to fill.

    Args:
        score: gives the class probabilities (N, K) of the views of N videos, uint8 (N, V, 3, T, H, W).
        batch_size: videos that go through it together at most.
        observe: called with the number of videos and the seconds of each batch.
    """

    def __init__(
        self,
        score: Callable[[Tensor], Tensor],
        batch_size: int,
        observe: Callable[[int, float], object] = lambda *_: None,
    ) -> None:
        self._score, self._batch_size, self._observe = score, batch_size, observe
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="gta-serve-model", daemon=True)
        self._thread.start()

    def submit(self, views: Tensor) -> "Future[Tensor]":
        """Class probabilities (K,) of one video's views, uint8 (V, 3, T, H, W), as soon as they are there.

        Raises:
            RefusedError: the model has been closed.
        """
        if self._closed:
            raise draining()
        job = _Job(views)
        self._jobs.put(job)
        return job.future

    def close(self) -> None:
        """Answer what has been handed in, then end the thread."""
        self._closed = True
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            batch, stop = [job], False
            with contextlib.suppress(queue.Empty):
                while len(batch) < self._batch_size and not stop:
                    further = self._jobs.get_nowait()
                    if further is None:
                        stop = True
                    else:
                        batch.append(further)
            self._answer([one for one in batch if one.future.set_running_or_notify_cancel()])
            if stop:
                return

    def _answer(self, batch: list[_Job]) -> None:
        """Run the jobs, those of one shape together. An error is the answer of those that it concerns."""
        shapes: dict[torch.Size, list[_Job]] = {}
        for job in batch:
            shapes.setdefault(job.views.shape, []).append(job)
        for jobs in shapes.values():
            begin = time.perf_counter()
            try:
                scores = self._score(torch.stack([job.views for job in jobs]))
            except Exception as error:
                for job in jobs:
                    job.future.set_exception(error)
                continue
            self._observe(len(jobs), time.perf_counter() - begin)
            for job, row in zip(jobs, scores, strict=True):
                job.future.set_result(row)
