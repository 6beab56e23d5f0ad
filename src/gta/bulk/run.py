"""Predicting every video of a manifest into one table."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from gta.bulk.manifest import read_manifest
from gta.bulk.progress import ProgressLine
from gta.bulk.rows import PredictRows, Row, as_row
from gta.bulk.shards import Plan, ShardedOutput
from gta.bulk.tables import check_output
from gta.bulk.workers import supervised
from gta.checkpoint import read_checkpoint
from gta.errors import OptionError
from gta.files import sha256

TIME_LIMIT_SECONDS = 180.0
"""How long one video may take; the reader itself gives a damaged file up after 60 s where it can."""


@dataclass(frozen=True)
class BulkOptions:
    """How a bulk prediction is run.

    Args:
        topk: classes named for each video, 1 or more.
        device: as `--device`.
        num_workers: worker processes; as many as this process may use cores if None.
        shard_size: videos whose rows are written together; what a killed run loses is at most the shards in hand.
        time_limit_seconds: how long one video may take before it is given up, above 0.
        overwrite: begin anew, whatever is there.
    """

    topk: int = 5
    device: str = "auto"
    num_workers: int | None = None
    shard_size: int = 256
    time_limit_seconds: float = TIME_LIMIT_SECONDS
    overwrite: bool = False

    def __post_init__(self) -> None:
        numbers = (("top-k", self.topk), ("num-workers", self.num_workers), ("shard-size", self.shard_size))
        for name, number in numbers:
            if number is not None and number < 1:
                raise OptionError(f"--{name} is {number}: it must be 1 or more")
        if not self.time_limit_seconds > 0:
            raise OptionError(f"--time-limit is {self.time_limit_seconds:g}: it must be above 0 seconds")


def predict_many(checkpoint: str | Path, manifest: str, output: str | Path, options: BulkOptions | None = None) -> str:
    """Predict every video of a manifest into one table; killed and repeated, it goes on where it was.

    Args:
        checkpoint: file of the model.
        manifest: as `read_manifest` takes it.
        output: `.parquet`, `.csv` or `.jsonl`, with one row per video: path, labels, scores, duration, error.
        options: how.

    Returns:
        One line for the user: what was done.

    Raises:
        GtaError: the manifest, the checkpoint or an option does not fit, or a worker cannot start.
    """
    options = options or BulkOptions()
    output = Path(output)
    check_output(output)
    videos = read_manifest(manifest)
    checkpoint = read_checkpoint(checkpoint).path  # a damaged file is found before any process starts
    plan = Plan(
        _digest_of(name for name, _ in videos), len(videos), sha256(checkpoint), options.topk, options.shard_size
    )
    shards = ShardedOutput(output, plan, overwrite=options.overwrite)
    if shards.is_complete:
        return f"{output} is complete already: {len(videos):,} videos"
    progress = ProgressLine(len(videos), shards.num_done)
    make = PredictRows(checkpoint.absolute(), options.device, options.topk)
    for number, row in _rows(make, videos, shards.waiting(), options):
        shards.add(number, videos[number][0], row)
        progress.add(unreadable=row.error is not None, requests=row.requests, num_bytes=row.bytes)
    progress.close()
    shards.finish()
    return f"{output}: {progress.text()}"


def _rows(
    make: Callable[[int], Callable[[tuple[int, str]], Row]],
    videos: Sequence[tuple[str, str]],
    waiting: Iterable[int],
    options: BulkOptions,
) -> Iterator[tuple[int, Row]]:
    uses_gpu = options.device.startswith("cuda") or (options.device == "auto" and torch.cuda.is_available())
    results = supervised(
        make,
        ((number, videos[number][1]) for number in waiting),
        num_workers=options.num_workers or len(os.sched_getaffinity(0)),
        time_limit_seconds=options.time_limit_seconds,
        method="spawn" if uses_gpu else None,
    )
    for (number, _), row in results:
        yield number, as_row(row)


def _digest_of(names: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode("utf-8", errors="surrogateescape") + b"\0")
    return digest.hexdigest()
