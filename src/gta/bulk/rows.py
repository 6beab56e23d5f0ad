"""The row of one video: what a model gives it, or why it could not be read."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from gta.clips.dataset import open_source, opened_views
from gta.datasets.workers import Failure
from gta.errors import VideoError
from gta.export.card import is_exported
from gta.predictor import Predictor, choose_device, load_predictor
from gta.video.limits import describe
from gta.video.remote import TRAFFIC


@dataclass(frozen=True)
class Row:
    """What is known of one video in the end.

    Args:
        labels: names of the classes, best first; empty if the video could not be read.
        scores: their softmax probabilities in [0, 1].
        duration: seconds; None if the video could not be opened.
        error: why it could not be read, in a few words; None if it could.
        requests: ranges that were fetched for it, if it lies at an address.
        bytes: what came with them.
    """

    labels: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    duration: float | None = None
    error: str | None = None
    requests: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class PredictRows:
    """Makes the function from (number, path) to a row in the process that calls it; only this crosses to workers.

    Args:
        checkpoint: file of the model, or a folder that `gta export` wrote.
        device: as in `Predictor.from_checkpoint`; of several GPUs, worker number k takes number k modulo their number.
        top_k: how many classes to name.
        trust: as in `Predictor.from_exported`.
    """

    checkpoint: Path
    device: str = "cpu"
    top_k: int = 5
    trust: bool = False

    def __call__(self, worker: int) -> "RowMaker":
        """Load the model.

        Raises:
            GtaError: the checkpoint is missing or damaged, or there is no such device.
        """
        device = self.device
        if not is_exported(self.checkpoint):  # exported ones run on the CPU
            if device in ("auto", "cuda") and torch.cuda.is_available():
                device = f"cuda:{worker % torch.cuda.device_count()}"
            choose_device(device)
        return RowMaker(load_predictor(self.checkpoint, device=device, trust=self.trust), self.top_k)


def as_row(result: Row | Failure) -> Row:
    """The row of what a worker gave."""
    return Row(error=result.reason) if isinstance(result, Failure) else result


class RowMaker:
    """From the number and path of a video to its row.

    Args:
        predictor: the model.
        top_k: how many classes to name.
    """

    def __init__(self, predictor: Predictor, top_k: int) -> None:
        self._predictor, self._top_k = predictor, top_k

    def __call__(self, item: tuple[int, str]) -> Row:
        """Read and classify one video; what goes wrong in reading is in the row, an error of the model is raised."""
        before = replace(TRAFFIC)
        row = self._row(item)
        return replace(row, requests=TRAFFIC.requests - before.requests, bytes=TRAFFIC.bytes - before.bytes)

    def _row(self, item: tuple[int, str]) -> Row:
        _, path = item
        duration: float | None = None
        try:
            with open_source(path, self._predictor.clip) as video:
                duration = video.duration_seconds
                views = opened_views(video, self._predictor.clip)
        except VideoError as error:
            return Row(duration=duration, error=error.reason)
        except Exception as error:  # of this file, whatever it is: no file may end the run
            return Row(duration=duration, error=f"reading it fails ({describe(error)})")
        labels, scores = self._predictor.best(views, self._top_k)
        if not all(map(math.isfinite, scores)):
            return Row(duration=duration, error="the model gives no finite scores for it")
        return Row(labels, scores, duration)
