"""A function over many items in processes that no item can bring down: one that crashes or hangs costs itself.

Each process has a pipe of its own and works through what it was given in order, so that it is always known which item
it has in hand. A process that dies or exceeds the time limit is replaced; what else it had been given goes to others.
"""

import contextlib
import itertools
import multiprocessing
import multiprocessing.connection
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from gta.datasets.workers import Failure, prepare_decoding
from gta.errors import GtaError
from gta.processes import WorkerError, begin_worker, require_descriptors, start_method

Item = TypeVar("Item")
Result = TypeVar("Result")

# Items that a process holds: the one in hand and one to go on with while the first's result travels.
_HELD = 2
# A crash may be the machine's fault (memory ran out), so the item is tried once more.
_TRIES = 2
_START_SECONDS = 300.0
_END_SECONDS = 5.0


@dataclass
class _Worker(Generic[Item]):
    """One process, its pipe, and the items that it was given, in order."""

    number: int
    process: Any
    pipe: Any
    held: deque[Item] = field(default_factory=deque)
    ready: bool = False
    deadline: float = 0.0


def supervised(
    make: Callable[[int], Callable[[Item], Result]],
    items: Iterable[Item],
    *,
    num_workers: int,
    time_limit_seconds: float,
    method: str | None = None,
) -> Iterator[tuple[Item, Result | Failure]]:
    """Apply a function to every item in worker processes; results come in any order, each item once.

    Args:
        make: called once in each process with the number of its worker; gives the function. It must be picklable if the
            processes are not forked.
        items: the arguments, hashable and each there once; taken as workers become free, so that there may be millions.
        num_workers: processes, 1 or more.
        time_limit_seconds: how long one item may take before its process is ended.
        method: how processes are started (`fork`, `spawn`); `fork` if the system has it. GPUs need `spawn`.

    Yields:
        An item and its result, or a `Failure` if the item crashed its process twice or took too long.

    Raises:
        GtaError: what `make` or the function raises of ours, or a process cannot start.
    """
    pool = SupervisedPool(make, num_workers, time_limit_seconds, method)
    try:
        yield from pool.work(iter(items))
    finally:
        pool.close()


class SupervisedPool(Generic[Item, Result]):
    """The processes of `supervised`; `work` may be called again and again."""

    def __init__(
        self, make: Callable[[int], Callable[[Item], Result]], num_workers: int, limit: float, method: str | None
    ) -> None:
        require_descriptors(num_workers)
        self._context: Any = multiprocessing.get_context(method or start_method())
        self._make, self._limit = make, limit
        self._again: deque[Item] = deque()
        self._crashes: dict[Item, int] = {}
        self._workers: list[_Worker[Item]] = []
        for number in range(num_workers):
            self._workers.append(self._start(number))

    def work(self, items: Iterator[Item]) -> Iterator[tuple[Item, "Result | Failure"]]:
        """Hand the items out and give their results as they come."""
        while True:
            for worker in self._workers:
                self._fill(worker, items)
            if not any(worker.held for worker in self._workers):
                if not self._again:
                    self._again.extend(itertools.islice(items, 1))
                if not self._again:
                    return
            waited = [worker.pipe for worker in self._workers if worker.held or not worker.ready]
            nearest = min(worker.deadline for worker in self._workers if worker.held or not worker.ready)
            found = multiprocessing.connection.wait(waited, timeout=max(0.0, nearest - time.monotonic()))
            for number, worker in enumerate(self._workers):
                if worker.pipe in found:
                    yield from self._receive(number)
                elif (worker.held or not worker.ready) and time.monotonic() > worker.deadline:
                    yield from self._give_up(number)

    def close(self) -> None:
        """End all processes, whatever they do."""
        for worker in self._workers:
            worker.pipe.close()  # an idle one ends by itself
        until = time.monotonic() + _END_SECONDS
        for worker in self._workers:
            if not worker.held:
                worker.process.join(timeout=max(0.0, until - time.monotonic()))
            _end(worker)

    def _start(self, number: int) -> _Worker[Item]:
        here, there = self._context.Pipe()
        process = self._context.Process(
            target=_serve, args=(self._make, number, there, here), daemon=True, name=f"bulk-{number}"
        )
        process.start()
        there.close()
        return _Worker(number, process, here, deadline=time.monotonic() + _START_SECONDS)

    def _fill(self, worker: _Worker[Item], items: Iterator[Item]) -> None:
        while worker.ready and len(worker.held) < _HELD:
            item = self._again.popleft() if self._again else next(items, None)
            if item is None:
                return
            if not worker.held:
                worker.deadline = time.monotonic() + self._limit
            worker.held.append(item)
            with contextlib.suppress(OSError):  # it has died; its end of the pipe tells so, too
                worker.pipe.send(item)
            if item in self._crashes:  # a suspect works alone, so that nothing else is lost with it
                return

    def _receive(self, number: int) -> Iterator[tuple[Item, "Result | Failure"]]:
        worker = self._workers[number]
        try:
            kind, value = worker.pipe.recv()
        except (EOFError, OSError):
            yield from self._bury(number)
            return
        if kind == "ready":
            worker.ready = True
        elif kind == "done":
            item = worker.held.popleft()
            worker.deadline = time.monotonic() + self._limit
            self._crashes.pop(item, None)
            yield item, value
        elif isinstance(value, GtaError):
            raise value
        else:
            raise RuntimeError(f"the work on {worker.held[0] if worker.held else 'nothing'} failed:\n{value}")

    def _bury(self, number: int) -> Iterator[tuple[Item, Failure]]:
        """Replace a process that died; the item that it had in hand is tried once more."""
        worker = self._workers[number]
        worker.process.join(timeout=_END_SECONDS)
        how = _cause(worker.process.exitcode)
        if not worker.ready:
            raise WorkerError(f"a worker process ended while loading the model ({how}): use fewer workers")
        self._replace(number)
        if not worker.held:
            return
        item = worker.held.popleft()
        self._again.extendleft(reversed(worker.held))
        self._crashes[item] = self._crashes.get(item, 0) + 1
        if self._crashes[item] < _TRIES:
            self._again.append(item)
        else:
            del self._crashes[item]
            yield item, Failure(f"reading it crashes the decoder ({how})")

    def _give_up(self, number: int) -> Iterator[tuple[Item, Failure]]:
        """End a process whose item takes too long."""
        worker = self._workers[number]
        if not worker.ready:
            raise WorkerError(f"a worker process did not load the model within {_START_SECONDS:g} s: use fewer workers")
        self._replace(number)
        item = worker.held.popleft()
        self._again.extendleft(reversed(worker.held))
        self._crashes.pop(item, None)
        yield item, Failure(f"it took longer than the time limit of {self._limit:g} s")

    def _replace(self, number: int) -> None:
        worker = self._workers[number]
        worker.pipe.close()
        _end(worker)
        self._workers[number] = self._start(worker.number)


def _end(worker: _Worker[Any]) -> None:
    if worker.process.is_alive():
        worker.process.kill()
    worker.process.join(timeout=_END_SECONDS)


def _cause(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def _serve(make: Callable[[int], Callable[[Any], Any]], number: int, pipe: Any, other_end: Any) -> None:
    """What a worker process does until the pipe is closed."""
    other_end.close()
    begin_worker(prepare_decoding)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        work = make(number)
        pipe.send(("ready", None))
        while True:
            pipe.send(("done", work(pipe.recv())))
    except (EOFError, ConnectionError):
        return
    except GtaError as error:
        pipe.send(("refused", error))
    except Exception:
        pipe.send(("broken", traceback.format_exc()))
