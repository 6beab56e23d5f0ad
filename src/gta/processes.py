"""Worker processes, which end with their parent; every death of one is a line that says what to change (ground floor).

Workers die of what the machine lacks: memory, shared memory, file descriptors. PyTorch reports that with a traceback of
its own insides, of the worker, or by waiting for ever.
"""

import contextlib
import errno
import multiprocessing
import multiprocessing.process
import os
import re
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

from gta import errors
from gta.errors import GtaError
from gta.terminal import quantity

FAILURE = "failure"
"""Entry of a batch that takes the place of one that could not be made: why, in one line."""

# Descriptors that a worker takes in the main process (pipes, a sentinel), and each batch that it has ready.
_DESCRIPTORS_OF_WORKER = 8
_DESCRIPTORS_OF_BATCH = 4
_SPARE_DESCRIPTORS = 32
_SECONDS_TO_END = 5.0
_SECONDS_BETWEEN_LOOKS = 0.5

_KILLED = re.compile(r"DataLoader worker \(pid\(?s?\)? ?[\d, ]+\) (is killed by signal: (?P<signal>[^.]+)|exited)")
_CAUGHT = re.compile(r"Caught (\w+) in .*?worker process", re.DOTALL)
_OURS = re.compile(r"^gta\.errors\.(?P<kind>\w+): ", re.MULTILINE)
_SHARED_MEMORY = ("shared memory", "/torch_", "shm", "bus error")
_DESCRIPTORS = ("too many open files", "received 0 items of ancdata", "ancdata")


class WorkerError(GtaError):
    """A process that reads videos has died, or could not be started, for want of something that the machine lacks."""


def start_method() -> str:
    """How worker processes are started: forked where that is possible.

    That spares each the import of PyTorch; and a spawned process imports the user's script again, so that one without a
    `__main__` guard would begin its work anew in each.
    """
    methods = multiprocessing.get_all_start_methods()  # the system's own first
    return "fork" if "fork" in methods else methods[0]


def create_pool(num_workers: int, prepare: Callable[[], object] | None = None) -> ProcessPoolExecutor:
    """Processes that leave Ctrl-C to this one, which ends them, and that end with it even if it is killed.

    Args:
        num_workers: how many.
        prepare: called in each as it starts; it must be importable.

    Raises:
        WorkerError: the system does not allow the files that they need.
    """
    require_descriptors(num_workers)
    context = multiprocessing.get_context(start_method())
    return ProcessPoolExecutor(num_workers, mp_context=context, initializer=begin_worker, initargs=(prepare,))


def begin_worker(prepare: Callable[[], object] | None = None) -> None:
    """Begin as a worker process that leaves Ctrl-C to its parent, which ends it, and that ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    if prepare is not None:
        prepare()


def _end_with_parent() -> None:
    """Let this worker process end when its parent does, even one that hangs in a decoder: nobody else would end it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.pid,), daemon=True).start()


def _end_after(parent: int) -> None:
    # Not by the parent's sentinel: forked workers hold those of their elders, and one that hangs would keep all.
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(1)


Note = Callable[[list[tuple[str, str]]], object]
_Start = TypeVar("_Start", bound=Callable[..., object])

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_TAKES_SIGNALS: list[object] = []


def takes_signals(start: _Start) -> _Start:
    """Mark a `worker_init_fn` that sets its own handlers for signals to stop, and then calls `release_signals`.

    A signal to the whole process group may come between the fork of a worker and its handlers, and would end it there.
    So `guarded` starts such workers with these signals held back.
    """
    _TAKES_SIGNALS.append(start)
    return start


def release_signals() -> None:
    """Let signals to stop through again; one that came while they were held back is taken now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)


@contextlib.contextmanager
def _signals_held(loader: object) -> Iterator[None]:
    if getattr(loader, "worker_init_fn", None) not in _TAKES_SIGNALS:
        yield
        return
    former = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def guarded(loader: Iterable[Mapping[str, Any]], note_skipped: Note | None = None) -> Iterator[Mapping[str, Any]]:
    """The batches of a loader; what ends its workers is raised as one line.

    Args:
        loader: batches, usually a `DataLoader` with worker processes.
        note_skipped: called with the (path, reason) of videos that were skipped in a batch that could not be made.

    Raises:
        WorkerError: a worker died, or there is too little shared memory or too few file descriptors.
        GtaError: what a worker has found wrong, without its traceback.
    """
    workers = int(getattr(loader, "num_workers", 0))
    if workers:
        ready = int(getattr(loader, "prefetch_factor", None) or 2)
        require_descriptors(workers, _DESCRIPTORS_OF_WORKER + ready * _DESCRIPTORS_OF_BATCH)
    others = set(multiprocessing.active_children()) - _workers_of(loader)
    try:
        with _signals_held(loader):
            batches = iter(loader)  # starts the workers
        for batch in batches:
            if workers and loader not in _WORKERS:
                _WORKERS[loader] = set(multiprocessing.active_children()) - others
            if FAILURE in batch:
                if note_skipped is not None:
                    note_skipped(list(batch.get("skipped", ())))
                raise errors.DataError(batch[FAILURE])
            yield batch
    except GtaError as error:
        _end_all_but(others)
        raise _without_traceback(error) from None
    except Exception as error:  # PyTorch raises a worker's error as whatever it was
        explained = explain(error, workers)
        _end_all_but(others)
        if explained is None:
            raise
        raise explained from None


_Processes = set[multiprocessing.process.BaseProcess]
_WORKERS: "weakref.WeakKeyDictionary[Any, _Processes]" = weakref.WeakKeyDictionary()
"""Workers that live on between the epochs of a loader."""


def _workers_of(loader: object) -> _Processes:
    return _WORKERS.get(loader, set()) if getattr(loader, "num_workers", 0) else set()


def _end_all_but(others: _Processes) -> None:
    """End a loader's workers, which are all processes but the others.

    PyTorch waits five seconds for each after a failure. The death of each may raise PyTorch's own error here once more,
    which says nothing new.
    """
    started = set(multiprocessing.active_children()) - others
    for _ in range(len(started) + 1):
        with contextlib.suppress(RuntimeError):
            for process in started:
                process.kill()
            for process in started:
                process.join(timeout=_SECONDS_TO_END)
            return


def explain(error: BaseException, workers: int) -> GtaError | None:
    """What ended a loader, as an error that says what to change; None for a defect."""
    text = "\n".join(_chain(error))
    low = text.lower()
    if getattr(error, "errno", None) == errno.EMFILE or any(words in low for words in _DESCRIPTORS):
        return _too_few_descriptors(workers)
    if getattr(error, "errno", None) == errno.ENOSPC or any(words in low for words in _SHARED_MEMORY):
        return WorkerError(
            "the shared memory (/dev/shm) that worker processes hand batches over in is full: use fewer workers "
            "(data.num_workers) or smaller batches (data.batch_size), or give a container more (--shm-size 8g)"
        )
    killed = list(_KILLED.finditer(text))
    if killed:
        return WorkerError(_describe_death(next((found["signal"] for found in killed if found["signal"]), None)))
    if isinstance(error, MemoryError) or "cannot allocate memory" in low:
        return WorkerError(_MEMORY)
    if _CAUGHT.search(text):
        return _of_worker(text)
    return None


_MEMORY = (
    "memory ran out while videos were read: use fewer workers (data.num_workers) or smaller batches (data.batch_size)"
)


def _chain(error: BaseException) -> Iterator[str]:
    """What an error and those that led to it say: the signal stands in the first, the last just has "exited"."""
    present: BaseException | None = error
    while present is not None:
        yield _raw_text(present)
        present = present.__cause__ or present.__context__


def _raw_text(error: BaseException) -> str:
    """The text with its line breaks, which errors of ours do not show."""
    return "\n".join(map(str, error.args)) if isinstance(error, GtaError) else str(error)


def _describe_death(signal_name: str | None) -> str:
    name = (signal_name or "").strip()
    if name == "Killed" or not name:
        return (
            "a worker process that reads videos was killed, most likely because memory ran out: use fewer workers "
            "(data.num_workers) or smaller batches (data.batch_size)"
        )
    if name == "Segmentation fault":
        return (
            "a worker process that reads videos crashed in the decoder: gta data check finds the file; "
            "data.num_workers 0 reads in the main process"
        )
    return f"a worker process that reads videos was ended by a signal ({name}): the run can be resumed"


def _of_worker(text: str) -> GtaError | None:
    """The error of ours that a worker raised, from the traceback that PyTorch makes of it; None for a defect."""
    found = list(_OURS.finditer(text))
    kind = getattr(errors, found[-1]["kind"], None) if found else None
    if not (isinstance(kind, type) and issubclass(kind, GtaError)):
        return None
    line = " ".join(text[found[-1].end() :].split())
    return errors.DataError(line) if kind is errors.VideoError else kind(line)


def _without_traceback(error: GtaError) -> GtaError:
    text = _raw_text(error)
    return error if not _CAUGHT.search(text) else _of_worker(text) or error


def _too_few_descriptors(workers: int) -> WorkerError:
    limit = _descriptor_limit()
    known = "" if limit is None else f", now {limit}"
    processes = quantity(workers, "worker process", "worker processes")
    return WorkerError(
        f"too few file descriptors for {processes}: raise the limit (ulimit -n{known}) or use fewer "
        "workers (num_workers)"
    )


def require_descriptors(workers: int, each: int = _DESCRIPTORS_OF_WORKER) -> None:
    """Raise this process's limit of open files as far as its workers need and the system allows.

    Workers that find none left do not fail: their handing over of results waits for ever, and so does a pool of which
    only some processes could be started.

    Args:
        workers: processes about to be started.
        each: descriptors that each takes in this process.

    Raises:
        WorkerError: the system does not allow enough.
    """
    limit = _descriptor_limit()
    if limit is None:
        return
    import resource

    needed = _open_descriptors() + workers * each + _SPARE_DESCRIPTORS
    if needed <= limit:
        return
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise _too_few_descriptors(workers)
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _descriptor_limit() -> int | None:
    """How many files this process may have open; None where there is no such limit."""
    try:
        import resource
    except ImportError:  # not on this system
        return None
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def _open_descriptors() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return _SPARE_DESCRIPTORS
