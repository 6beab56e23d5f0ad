"""Rows made on a Ray cluster: paths go out as the rows of a Ray data set, an actor pool of predictors answers them.

Ray places the actors, starts lost ones again and repeats their work, and holds paths back while all actors are busy.
Each actor runs its model in a process of its own, as `workers` does on one machine: a decoder that crashes or hangs
costs its own row, not the actor.
"""

import contextlib
import json
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from gta.bulk.rows import PredictRows, Row, as_row
from gta.bulk.workers import SupervisedPool
from gta.errors import GtaError, OptionError
from gta.export.card import CARD, is_exported, read_card
from gta.extras import require
from gta.processes import WorkerError
from gta.video.remote import remote_address

_PER_TASK = 8
"""Videos that an actor gets at a time; what a lost one has in hand is done again elsewhere."""
_TASKS_PER_ACTOR = 2
"""Tasks that an actor holds: the one in hand and the next. All other paths wait in the data set."""
_PER_BLOCK = 1024


@dataclass(frozen=True)
class ClusterOptions:
    """How the actors are placed.

    Args:
        num_workers: actors; as many as the cluster has room for if None.
        gpus_per_worker: share of a GPU for each; 0 computes on CPUs.
        time_limit_seconds: how long one video may take before it is given up.
    """

    num_workers: int | None
    gpus_per_worker: float
    time_limit_seconds: float


def cluster_rows(
    make: PredictRows, videos: Sequence[tuple[str, str]], waiting: Iterable[int], options: ClusterOptions
) -> Iterator[tuple[int, Row]]:
    """The rows of the waiting videos, in the order in which actors finish them.

    The cluster is the one of `RAY_ADDRESS` or of `ray start` on this machine; where there is none, Ray starts one of
    this machine's cores and ends it afterwards.

    Args:
        make: gives the function from a video to its row; its checkpoint travels to the actors.
        videos: name and path of every video; the paths must mean the same on all machines of the cluster.
        waiting: numbers of the videos that have no row yet.
        options: how.

    Raises:
        OptionError: Ray is not installed, or the cluster lacks what a worker needs.
        WorkerError: the workers cannot load the model.
    """
    ray = require("ray", "`engine` ray", extra="bulk")
    require("ray.data", "`engine` ray", extra="bulk")
    started = _connect(ray)
    handlers = _to_the_terminal()
    for handler in handlers:
        handler.setLevel(logging.ERROR)  # its logs of the session keep everything
    try:
        size = _pool_size(ray.cluster_resources(), options)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False  # `ProgressLine` shows it
        device = "cuda" if options.gpus_per_worker else "cpu"
        results = ray.data.from_arrow(list(_blocks(videos, waiting))).map_batches(
            _Actor,
            fn_constructor_args=[ray.put(_model_files(make.checkpoint)), replace(make, device=device), options],
            batch_size=_PER_TASK,
            batch_format="pyarrow",
            num_cpus=1,
            num_gpus=options.gpus_per_worker or None,
            compute=ray.data.ActorPoolStrategy(
                min_size=1, max_size=size, initial_size=size, max_tasks_in_flight_per_actor=_TASKS_PER_ACTOR
            ),
        )
        for batch in results.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for number, text in zip(batch["number"].to_pylist(), batch["row"].to_pylist(), strict=True):
                yield number, _stored_row(text)
    finally:
        for handler, level in handlers.items():
            handler.setLevel(level)
        if started:
            ray.shutdown()


def _to_the_terminal() -> dict[logging.Handler, int]:
    """What shows the remarks of Ray's data sets on stderr, and from which level on."""
    found = logging.getLogger("ray.data").handlers
    return {handler: handler.level for handler in found if type(handler).__name__ != "SessionFileHandler"}


def _connect(ray: Any) -> bool:
    """Join the cluster; whether this call began the connection."""
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to Ray's makers
    # Its core calls the way in which its data sets start actors again an error. What fails is raised all the same.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        with _closed_stderr():
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
    except Exception as error:  # Ray has no class of its own for a cluster that does not answer or start
        ray.shutdown()
        where = os.environ.get("RAY_ADDRESS", "this machine")
        raise OptionError(f"`engine` ray: cannot reach or start a Ray cluster at {where} ({_short(error)})") from error
    return True


@contextlib.contextmanager
def _closed_stderr() -> Iterator[None]:
    """Without what Ray's core prints before it knows the level of its log: that there is a level."""
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _pool_size(resources: dict[str, float], options: ClusterOptions) -> int:
    """How many actors to start: what was asked for, or what fits; a pool that can never start is refused."""
    cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    room = int(cpus)
    if options.gpus_per_worker:
        room = min(room, int(gpus / options.gpus_per_worker + 1e-6))
    if room < 1:
        need = f" and {options.gpus_per_worker:g} GPU" if options.gpus_per_worker else ""
        raise OptionError(f"`engine` ray: a worker needs 1 CPU{need}, the cluster has {cpus:g} CPU and {gpus:g} GPU")
    return min(options.num_workers or room, room)


def _blocks(videos: Sequence[tuple[str, str]], waiting: Iterable[int]) -> Iterator[Any]:
    """Tables of numbers and paths; bytes, since names of files need not be UTF-8."""
    import pyarrow

    numbers = iter(waiting)
    while part := list(islice(numbers, _PER_BLOCK)):
        paths = [os.fsencode(_absolute(videos[number][1])) for number in part]
        yield pyarrow.table({"number": pyarrow.array(part, pyarrow.int64()), "path": pyarrow.array(paths)})


def _absolute(path: str) -> str:
    """Actors have working directories of their own."""
    return path if remote_address(path) is not None else os.path.abspath(path)


def _model_files(checkpoint: Path) -> dict[str, bytes]:
    """What the actors need of the model: a checkpoint, or the files of an exported folder, by name."""
    if not is_exported(checkpoint):
        return {checkpoint.name: checkpoint.read_bytes()}
    return {name: (checkpoint / name).read_bytes() for name in (CARD, *read_card(checkpoint).files)}


class _Actor:
    """One predictor of the pool: the model in a process of its own.

    Args:
        files: reference to the model's files by name.
        make: gives the function from a video to its row.
        options: whose time limit holds.
    """

    def __init__(self, files: Any, make: PredictRows, options: ClusterOptions) -> None:
        import ray

        self._folder = tempfile.TemporaryDirectory(prefix="gta-model-")  # kept as long as the actor
        folder = Path(self._folder.name)
        content: dict[str, bytes] = ray.get(files)
        for name, data in content.items():
            (folder / name).write_bytes(data)
        model = folder if CARD in content else folder / next(iter(content))
        # Not forked: Ray's own threads run in this process.
        self._pool: SupervisedPool[tuple[int, str], Row] = SupervisedPool(
            replace(make, checkpoint=model), 1, options.time_limit_seconds, "spawn"
        )

    def __call__(self, table: Any) -> Any:
        """Rows of some paths, as JSON beside their numbers; what ends the whole prediction is a row of its own."""
        import pyarrow

        paths = map(os.fsdecode, table["path"].to_pylist())
        items = zip(table["number"].to_pylist(), paths, strict=True)
        numbers: list[int] = []
        rows: list[str] = []
        try:
            for (number, _), result in self._pool.work(items):
                numbers.append(number)
                rows.append(json.dumps(asdict(as_row(result))))
        except GtaError as error:
            numbers, rows = [-1], [json.dumps({"refused": str(error)})]
        return pyarrow.table({"number": pyarrow.array(numbers, pyarrow.int64()), "row": pyarrow.array(rows)})


def _stored_row(text: str) -> Row:
    values = json.loads(text)
    if "refused" in values:
        raise WorkerError(f"a worker of the cluster stopped: {values['refused']}")
    return Row(**{**values, "labels": tuple(values["labels"]), "scores": tuple(values["scores"])})


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
