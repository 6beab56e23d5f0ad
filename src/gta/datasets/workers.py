"""Doing something to every file in parallel processes, such that no file can bring the whole down."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Generic, TypeVar

import av.logging
import torch

from gta.errors import GtaError
from gta.processes import create_pool
from gta.video.limits import describe

Item = TypeVar("Item")
Result = TypeVar("Result")

# Waiting tasks per process: enough to keep it busy, few enough that an interruption ends soon.
_QUEUE_PER_WORKER = 4


@dataclass(frozen=True)
class Failure:
    """Takes the place of a result that could not be had.

    Args:
        reason: why, in a few words.
    """

    reason: str


@dataclass(frozen=True)
class _Netted(Generic[Item, Result]):
    """A function with a net below it: an unexpected error becomes the `Failure` of one item.

    Errors of ours and of the operating system pass: a full disk is not the fault of the file at hand.
    """

    function: Callable[[Item], Result]

    def __call__(self, item: Item) -> "Result | Failure":
        try:
            return self.function(item)
        except (GtaError, OSError):
            raise
        except Exception as error:
            return Failure(f"reading it fails ({describe(error)})")


def prepare_decoding() -> None:
    """Let a worker process decode in one thread - workers scale by number - and without FFmpeg's own messages."""
    torch.set_num_threads(1)
    av.logging.set_level(None)


def in_parallel(
    function: Callable[[Item], Result], items: Sequence[Item], *, num_workers: int
) -> Iterator[tuple[Item, Result | Failure]]:
    """Apply `function` to every item, in any order; a result is a `Failure` where the item ended the work on it.

    A decoder library that crashes on a damaged file kills its process. The items that were under way are then tried
    again one by one, each in a process of its own, so that only the guilty one is lost. An unexpected error likewise
    costs the one item.

    Args:
        function: called in the worker processes; it must be importable.
        items: its arguments.
        num_workers: processes; 0 works in this process.
    """
    netted = _Netted(function)
    if num_workers == 0:
        for item in items:
            yield item, netted(item)
        return
    waiting = deque(items)
    while waiting:
        suspects = yield from _until_broken(netted, waiting, num_workers)
        for item in suspects:
            yield item, _alone(netted, item)


def _until_broken(
    function: Callable[[Item], Result], waiting: deque[Item], num_workers: int
) -> Generator[tuple[Item, Result], None, list[Item]]:
    """Work through `waiting` in one pool; ends when all is done or the pool broke, and returns what was under way."""
    suspects: list[Item] = []
    running: dict[Future[Result], Item] = {}
    broken = False
    with create_pool(num_workers, prepare_decoding) as pool:
        try:
            while True:
                while waiting and not broken and len(running) < num_workers * _QUEUE_PER_WORKER:
                    try:
                        future = pool.submit(function, waiting[0])
                    except BrokenProcessPool:
                        broken = True
                    else:
                        running[future] = waiting.popleft()
                if not running:
                    return suspects
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    item = running.pop(future)
                    try:
                        result = future.result()
                    except BrokenProcessPool:
                        broken = True
                        suspects.append(item)
                    else:
                        yield item, result
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _alone(function: Callable[[Item], Result], item: Item) -> Result | Failure:
    with create_pool(1, prepare_decoding) as pool:
        try:
            return pool.submit(function, item).result()
        except BrokenProcessPool:
            return Failure("reading it crashes the decoder")
