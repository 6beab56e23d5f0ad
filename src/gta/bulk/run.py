"""Predicting every video of a manifest into one table."""

import contextlib
import hashlib
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from gta.bulk.cluster import ClusterOptions, cluster_rows
from gta.bulk.manifest import read_manifest
from gta.bulk.progress import ProgressLine
from gta.bulk.rows import PredictRows, Row, as_row
from gta.bulk.shards import Plan, ShardedOutput
from gta.bulk.tables import check_output
from gta.bulk.workers import supervised
from gta.checkpoint import read_checkpoint
from gta.errors import OptionError, require_least
from gta.export.card import CARD, is_exported
from gta.export.runtimes import check_exported
from gta.files import sha256

Engine = Literal["processes", "ray"]

TIME_LIMIT_SECONDS = 180.0
"""How long one video may take; the reader itself gives a damaged file up after 60 s where it can."""


@dataclass(frozen=True)
class BulkOptions:
    """How a bulk prediction is run.

    Args:
        top_k: classes named for each video, 1 or more.
        device: as in `Predictor.from_checkpoint`.
        engine: `processes` of this machine, or the actors of a `ray` cluster.
        num_workers: worker processes, as many as this process may use cores if None; or actors, as many as the
            cluster has room for.
        gpus_per_worker: share of a GPU that each actor gets, 0 or more; only Ray places by it.
        shard_size: videos whose rows are written together; what a killed run loses is at most the shards in hand.
        time_limit_seconds: how long one video may take before it is given up, above 0.
        overwrite: begin anew, whatever is there; repeated after a kill, it goes on where the first one was.
        trust: load exported folders of the formats torch and aoti, too.
    """

    top_k: int = 5
    device: str = "auto"
    engine: Engine = "processes"
    num_workers: int | None = None
    gpus_per_worker: float = 0.0
    shard_size: int = 256
    time_limit_seconds: float = TIME_LIMIT_SECONDS
    overwrite: bool = False
    trust: bool = False

    def __post_init__(self) -> None:
        require_least(self, top_k=1, num_workers=1, shard_size=1)
        if not self.time_limit_seconds > 0:
            raise OptionError(f"`time_limit_seconds` is {self.time_limit_seconds:g}: it must be above 0")
        self._check_gpus()

    def _check_gpus(self) -> None:
        share = self.gpus_per_worker
        if not 0 <= share < math.inf or (share > 1 and share != int(share)):
            raise OptionError(f"`gpus_per_worker` is {share:g}: it must be a share from 0 to 1, or a whole number")
        if self.engine != "ray":
            if share:
                raise OptionError("`gpus_per_worker` requires `engine` ray; without it, use `device`")
        elif self.device not in ("auto", "cpu", "cuda"):
            raise OptionError(
                f"`device` is {self.device}: with `engine` ray, Ray chooses the GPU; use auto, cpu or cuda"
            )
        elif self.device == "cuda" and not share:
            raise OptionError(
                "`engine` ray on GPUs needs each worker's share: give `gpus_per_worker`, for example 0.25"
            )
        elif self.device == "cpu" and share:
            raise OptionError("`device` cpu and `gpus_per_worker` cannot be used together")


def predict_many(checkpoint: str | Path, manifest: str, output: str | Path, options: BulkOptions | None = None) -> str:
    """Predict every video of a manifest into one table; killed and repeated, it goes on where it was.

    Args:
        checkpoint: file of the model, or a folder that `gta export` wrote.
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
    checkpoint, digest = _checked(checkpoint, options.trust)
    plan = Plan(_digest_of(name for name, _ in videos), len(videos), digest, options.top_k, options.shard_size)
    shards = ShardedOutput(output, plan, overwrite=options.overwrite)
    if shards.is_complete:
        return f"{output} is complete already: {len(videos):,} videos"
    progress = ProgressLine(len(videos), shards.num_done, shards.num_unreadable)
    make = PredictRows(checkpoint.absolute(), options.device, options.top_k, options.trust)
    work = _cluster_rows if options.engine == "ray" else _rows
    with contextlib.closing(progress):  # an error, too, is told on a line of its own
        for number, row in work(make, videos, shards.waiting(), options):
            shards.add(number, videos[number][0], row)
            progress.add(unreadable=row.error is not None, requests=row.requests, num_bytes=row.bytes)
    shards.finish()
    return f"{output}: {progress.text()}"


def _checked(checkpoint: str | Path, trust: bool) -> tuple[Path, str]:
    """The model's file or folder, and a digest of it; damage is found before any process starts."""
    if is_exported(checkpoint):
        check_exported(checkpoint, trust=trust)
        return Path(checkpoint), sha256(Path(checkpoint) / CARD)  # which holds the digests of the other files
    path = read_checkpoint(checkpoint).path
    return path, sha256(path)


def _rows(
    make: PredictRows, videos: Sequence[tuple[str, str]], waiting: Iterable[int], options: BulkOptions
) -> Iterator[tuple[int, Row]]:
    """The rows from processes of this machine."""
    uses_gpu = options.device.startswith("cuda") or (options.device == "auto" and torch.cuda.is_available())
    results = supervised(
        make,
        ((number, videos[number][1]) for number in waiting),
        num_workers=options.num_workers or len(os.sched_getaffinity(0)),
        time_limit_seconds=options.time_limit_seconds,
        # Neither CUDA nor the threads of a runtime that the calling process may use survive a fork.
        method="spawn" if uses_gpu or is_exported(make.checkpoint) else None,
    )
    for (number, _), row in results:
        yield number, as_row(row)


def _cluster_rows(
    make: PredictRows, videos: Sequence[tuple[str, str]], waiting: Iterable[int], options: BulkOptions
) -> Iterator[tuple[int, Row]]:
    """The rows from a Ray cluster."""
    how = ClusterOptions(options.num_workers, options.gpus_per_worker, options.time_limit_seconds)
    return cluster_rows(make, videos, waiting, how)


def _digest_of(names: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode("utf-8", errors="surrogateescape") + b"\0")
    return digest.hexdigest()
