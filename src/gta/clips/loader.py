"""Batches of clips from worker processes: deterministic, resumable in the middle of an epoch, exact over ranks."""

import atexit
import math
import os
import signal
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from gta.clips.dataset import Sample, VideoDataset
from gta.clips.plain import ClipDataset
from gta.datasets.workers import prepare_decoding
from gta.errors import GtaError
from gta.processes import FAILURE, release_signals, takes_signals

Batch = dict[str, Any]
"""`clip` uint8 (B, [V,] 3, T, H, W), `label` int64 (B,), `index` int64 (B,), `skipped` list of (path, reason)."""


class ClipSampler(Sampler[tuple[int, int]]):
    """Which samples this process reads, in which order: pairs (epoch, index).

    Shuffled (training): a new order every epoch from (seed, epoch), the same on all ranks, dealt out in turn, so that
    the ranks' batches together are the batches of one process with the global batch size. All ranks get equally many:
    what does not fill a global batch is left out with `drop_last`, otherwise a few samples are repeated.
    Not shuffled (evaluation): every sample exactly once over all ranks, so that ranks may differ by one.

    Args:
        num_samples: length of the data set.
        batch_size: clips per batch; `set_start` counts in batches.
        shuffle: training order.
        seed: seed of the order.
        rank: number of this process.
        world_size: number of processes.
        drop_last: in training, leave out what does not fill a batch on every rank.
    """

    def __init__(
        self,
        num_samples: int,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank}: with {world_size} process(es), it must be from 0 to {world_size - 1}")
        self.num_samples, self.batch_size, self.shuffle = num_samples, batch_size, shuffle
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.drop_last = drop_last
        self.epoch = 0
        self._start = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order and randomness the next iteration has."""
        self.epoch = epoch

    def set_start(self, num_batches: int) -> None:
        """Leave out the first `num_batches` batches of the next iteration (only of that one): they were done before."""
        self._start = num_batches * self.batch_size

    def __len__(self) -> int:
        if self.shuffle and self.drop_last:
            return self.num_samples // (self.batch_size * self.world_size) * self.batch_size
        if self.shuffle:
            return math.ceil(self.num_samples / self.world_size)
        return len(range(self.rank, self.num_samples, self.world_size))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        start, self._start = self._start, 0
        if not self.shuffle:
            mine = list(range(self.rank, self.num_samples, self.world_size))
        else:
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self.epoch) % 2**63)
            order = torch.randperm(self.num_samples, generator=generator).tolist()
            total = len(self) * self.world_size
            order = (order * math.ceil(total / max(len(order), 1)))[:total]
            mine = order[self.rank :: self.world_size]
        epoch = self.epoch
        return iter([(epoch, index) for index in mine[start:]])


@dataclass(frozen=True)
class _Failed:
    """Takes the place of a sample that could not be made, so that no exception has to cross processes."""

    reason: str
    skipped: tuple[tuple[str, str], ...] = ()


class _Netted(Dataset[Any]):
    """A data set whose errors of ours become samples: as exceptions, they would arrive with a worker's traceback."""

    def __init__(self, dataset: VideoDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: int | tuple[int, int]) -> "Sample | _Failed":
        try:
            return self.dataset[key]
        except GtaError as error:
            return _Failed(str(error), getattr(error, "skipped", ()))


def collate(samples: "list[Sample | _Failed]", *, sample_shape: tuple[int, ...]) -> Batch:
    """Stack samples to a batch; those without a clip are left out, so that the batch may be smaller, even empty.

    A batch with a sample that could not be made says why in its entry `gta.processes.FAILURE`.
    """
    failed = next((sample for sample in samples if isinstance(sample, _Failed)), None)
    if failed is not None:
        return {FAILURE: failed.reason, "skipped": [entry for sample in samples for entry in sample.skipped]}
    read = [sample for sample in samples if isinstance(sample, Sample) and sample.clip is not None]
    clips = [sample.clip for sample in read]
    return {
        "clip": default_collate(clips) if clips else torch.empty((0, *sample_shape), dtype=torch.uint8),
        "label": torch.tensor([sample.label for sample in read], dtype=torch.int64),
        "index": torch.tensor([sample.index for sample in read], dtype=torch.int64),
        "skipped": [entry for sample in samples for entry in sample.skipped],
    }


_SECONDS_AFTER_SIGTERM = 120
"""How long a worker goes on after SIGTERM: enough for the main process to finish its step and write a checkpoint."""


def _outlive(number: int, frame: FrameType | None) -> None:
    """Take SIGTERM as a request to end later: it may have been for the whole group, or for this worker alone."""
    signal.alarm(_SECONDS_AFTER_SIGTERM)


def _end(number: int, frame: FrameType | None) -> None:
    """End quietly: a script that ends while it holds a loader ends its workers so, which is no failure of theirs."""
    os._exit(0)


@takes_signals
def start_worker(_: int) -> None:
    """Begin as a worker of a loader.

    Ctrl-C, SIGTERM and SIGUSR1 may reach every process of a group (from a terminal, torchrun, `timeout`, a
    scheduler). The main process decides what they mean; it needs its workers until it has stopped.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _outlive)
    signal.signal(signal.SIGALRM, _end)
    release_signals()
    prepare_decoding()


def build_loader(
    dataset: VideoDataset | ClipDataset,
    *,
    batch_size: int,
    num_workers: int,
    shuffle: bool,
    seed: int = 0,
    drop_last: bool = False,
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
) -> DataLoader[Any]:
    """Build the loader of a data set; its `sampler` is a `ClipSampler`.

    Args:
        dataset: the data set to read from, such as `gta.open_dataset(...)`.
        batch_size: clips per batch.
        num_workers: processes that decode videos; 0 decodes in this process.
        shuffle: whether to shuffle, for training; see `ClipSampler`.
        seed: seed for the order.
        drop_last: leave out an incomplete last batch.
        rank: number of this process.
        world_size: number of processes.
        pin_memory: whether to copy batches to page-locked memory, for GPUs.

    Returns:
        A loader of `Batch` dictionaries.

    Raises:
        TypeError: `dataset` is no data set of videos.

    >>> data = gta.open_dataset("videos", "val", clip=gta.recipe("synthetic").data.clip)
    >>> loader = gta.build_loader(data, batch_size=4, num_workers=0, shuffle=False)
    >>> len(loader)  # batches
    4
    """
    if isinstance(dataset, ClipDataset):  # its own count of readings is for PyTorch's samplers
        dataset = dataset.clips
    if not hasattr(dataset, "sample_shape"):
        raise TypeError(f"`dataset` is a {type(dataset).__name__}: give what gta.open_dataset returns")
    sampler = ClipSampler(
        len(dataset),
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        rank=rank,
        world_size=world_size,
        drop_last=drop_last,
    )
    loader = DataLoader(
        _Netted(dataset),
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=partial(collate, sample_shape=dataset.sample_shape),
        drop_last=drop_last,
        pin_memory=pin_memory,
        worker_init_fn=start_worker,
        persistent_workers=num_workers > 0,
        generator=torch.Generator().manual_seed(seed),  # so that making an iterator leaves the global state alone
    )
    _LOADERS.add(loader)
    return loader


_LOADERS: "weakref.WeakSet[DataLoader[Any]]" = weakref.WeakSet()


@atexit.register
def _end_workers() -> None:
    """End the workers of a script that ends while it holds loaders; `multiprocessing` would wait for them."""
    for loader in list(_LOADERS):
        vars(loader).clear()  # with it goes the iterator that keeps the workers
