"""The training batches as the loop reads them: resumable inside an epoch, and copied to the device ahead of time."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader


class TrainingBatches:
    """A loader's batches, epoch after epoch; on a GPU the next batch is copied while the present one is computed.

    Nothing is read before the first batch is asked for, so that the sampler has its epoch and its start by then.

    Args:
        loader: gives mappings with tensors; its sampler has `set_epoch` and `set_start`. It should pin its memory.
        device: where the tensors are wanted.
    """

    def __init__(self, loader: DataLoader[Any], device: torch.device) -> None:
        self.loader = loader
        self.device = device
        self._epoch = 0
        self._start = 0
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    @property
    def sampler(self) -> "TrainingBatches":
        """What Lightning tells the epoch: this object, which hands it on at the right moment."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self._epoch = epoch

    def set_start(self, num_batches: int) -> None:
        """Leave out the first batches of the next iteration: they were trained before the run was interrupted."""
        self._start = num_batches

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        sampler: Any = self.loader.sampler
        sampler.set_epoch(self._epoch)
        sampler.set_start(self._start)
        self._start = 0
        yield from self.loader if self._stream is None else self._ahead(self._stream)

    def _ahead(self, stream: torch.cuda.Stream) -> Iterator[dict[str, Any]]:
        """Copy on a stream of its own, one batch ahead of the one that is computed."""
        ahead: tuple[dict[str, Any], Any] | None = None
        for batch in self.loader:
            with torch.cuda.stream(stream):
                coming = {
                    name: value.to(self.device, non_blocking=True) if isinstance(value, Tensor) else value
                    for name, value in batch.items()
                }
                copied = stream.record_event()
            if ahead is not None:
                yield self._receive(*ahead)
            ahead = (coming, copied)
        if ahead is not None:
            yield self._receive(*ahead)

    def _receive(self, batch: dict[str, Any], copied: Any) -> dict[str, Any]:
        """Let the computing stream wait for the copy, and keep the memory until it has used it."""
        current = torch.cuda.current_stream(self.device)
        current.wait_event(copied)
        for value in batch.values():
            if isinstance(value, Tensor):
                value.record_stream(current)
        return batch
