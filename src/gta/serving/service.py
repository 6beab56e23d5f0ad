"""What the routes and the page ask for: predictions, changed orders of frames, explanations."""

import contextlib
import copy
import math
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from gta.config import ClipConfig, config_to_json
from gta.errors import OptionError
from gta.explain import Explanation, explain
from gta.export.card import ExportCard, clip_shape
from gta.export.runtimes import ExportedModel
from gta.predictor import Predictor
from gta.serving.batching import Batcher
from gta.serving.cameras import Cameras
from gta.serving.changes import Change, changed
from gta.serving.isolation import Reader, ReadVideo
from gta.serving.kept import Kept
from gta.serving.limits import Limits, RefusedError, busy, not_explained, too_slow
from gta.serving.metrics import Metrics
from gta.serving.uploads import TemporaryFolder
from gta.viz.explain_page import TABLE_SIDE, explain_page

_T = TypeVar("_T")
_REMEMBERED = 32
"""Videos whose frames stay in memory, so that a slider moves without reading the file again."""
_REMEMBERED_BYTES = 512 << 20
"""What their frames take at most."""
_KEPT_PAGES = 32
"""Explanations that can still be looked at."""
_QUEUED_BYTES = 2 << 30
"""What the frames of the videos take at most that are worked on or wait."""
_deadline: ContextVar[float] = ContextVar("deadline")
"""When the answer to the present request must be there: set with its place in the queue, and held by every step."""


@dataclass(frozen=True)
class ServedModel:
    """A model and the name that visitors know it by."""

    name: str
    predictor: Predictor

    @property
    def exported(self) -> ExportCard | None:
        """The card of a model that `gta export` wrote, which answers but does not show its insides; else None."""
        model = self.predictor.model
        return model.card if isinstance(model, ExportedModel) else None

    def card(self) -> dict[str, Any]:
        """What the model is, for `/v1/model`: nothing of the machine."""
        exported = self.exported
        arguments = getattr(self.predictor.model, "arguments", {}) if exported is None else exported.model.model
        return {
            "name": self.name,
            "model": dict(arguments),
            "classes": list(self.predictor.classes),
            "clip": config_to_json(self.predictor.clip),
            "format": "checkpoint" if exported is None else exported.runtime,
            "precision": "float32" if exported is None else exported.precision,
            "can_explain": exported is None,
        }


class Service:
    """Models that answer; all methods may be called from many threads.

    Args:
        models: one or more, with different names.
        limits: what requests may cost.

    Raises:
        OptionError: a model reads optical flow, which visitors do not have.
    """

    def __init__(self, models: Sequence[ServedModel], limits: Limits) -> None:
        self.models = tuple(models)
        for model in self.models:
            if model.predictor.clip.flow:
                raise OptionError(f"{model.name} reads optical flow, which is not computed from uploaded videos")
        self.limits = limits
        self.metrics = Metrics(lambda: self._in_flight)
        self.explanations: Kept[str, str] = Kept(_KEPT_PAGES, limits.keep_seconds)
        """Pages of explanations that visitors look at, by tokens that only they know."""
        self._videos: Kept[Path, ReadVideo] = Kept(
            _REMEMBERED, limits.keep_seconds, num_bytes=_num_bytes, most_bytes=_REMEMBERED_BYTES
        )
        self._cameras = Cameras([model.predictor for model in self.models], limits.queue_size)
        self.folder = TemporaryFolder(
            limits.keep_seconds, [self.explanations.drop_old, self._videos.drop_old, self._cameras.drop_old]
        )
        self.reader = Reader(limits)
        self._batchers = [
            Batcher(model.predictor.batch_scores, limits.batch_size, self.metrics.batch) for model in self.models
        ]
        self._protocols = tuple(dict.fromkeys(model.predictor.clip for model in self.models))
        frames = sum(math.prod((clip.test_clips * clip.test_crops, *clip_shape(clip))) for clip in self._protocols)
        self._places = max(1, min(limits.queue_size, _QUEUED_BYTES // frames))
        self._lock = threading.Lock()
        self._in_flight = 0
        # One at a time: an explanation takes gradients and memory.
        self._explaining = ThreadPoolExecutor(1, "gta-serve-explain")
        self._explainers: dict[int, Predictor] = {}
        self.is_draining = False

    def require_room(self) -> None:
        """Refuse a request at once, before its video arrives, if it would be refused afterwards.

        Raises:
            RefusedError: all places are taken.
        """
        if self._in_flight >= self._places:
            raise busy()

    @contextlib.contextmanager
    def queued(self) -> Iterator[None]:
        """A place in the queue for one request. One that came before the server was told to stop still gets it.

        Raises:
            RefusedError: all are taken.
        """
        with self._lock:
            if self._in_flight >= self._places:
                raise busy()
            self._in_flight += 1
        token = _deadline.set(time.monotonic() + self.limits.request_seconds)
        try:
            yield
        finally:
            _deadline.reset(token)
            with self._lock:
                self._in_flight -= 1

    def model(self, name: str | None) -> int:
        """Number of the model of this name; the first one if none is asked for.

        Raises:
            RefusedError: there is none of this name.
        """
        for number, model in enumerate(self.models):
            if name in (None, "", model.name):
                return number
        raise RefusedError(404, "no_model", f"There is no such model; there are: {', '.join(self.names)}.")

    @property
    def names(self) -> list[str]:
        """Names of the models."""
        return [model.name for model in self.models]

    def read(self, path: Path, *, remember: bool = False) -> ReadVideo:
        """Read a file as every model wants it, in a process of its own.

        Args:
            path: the file.
            remember: keep the frames for the next question about the same file.

        Raises:
            RefusedError: it cannot be read, or takes too long.
        """
        known = self._videos.get(path)
        if known is not None and path.exists():  # files of visitors are never written twice
            return known
        video = self.reader.read(path, self._protocols, seconds=self._seconds_left())
        if remember:
            self._videos.put(path, video)
        return video

    def read_as(self, path: Path, protocol: ClipConfig) -> Tensor:
        """Views, uint8 (V, 3, T, H, W), of a file by a protocol that is no model's; they are not kept.

        Raises:
            RefusedError: it cannot be read, or takes too long.
        """
        return self.reader.read(path, [protocol], seconds=self._seconds_left()).views[0]

    def views(self, video: ReadVideo, number: int) -> Tensor:
        """A video's views as a model reads them."""
        return video.views[self._protocols.index(self.models[number].predictor.clip)]

    def predict(
        self,
        video: ReadVideo,
        number: int = 0,
        *,
        top_k: int = 5,
        change: Change = "none",
        amount: float = 1.0,
        seed: int = 0,
    ) -> list[dict[str, Any]]:
        """The most probable classes, best first, as {"label", "score"}; frames changed first if asked for.

        Raises:
            RefusedError: it takes too long.
        """
        scores = self._wait(self.submit(video, number, change=change, amount=amount, seed=seed))
        return named(*self.models[number].predictor.name_best(scores, top_k))

    def watch(self, token: str | None, number: int, picture: Any) -> tuple[str, list[dict[str, Any]] | None]:
        """Take the next frame of a camera, as `Cameras.push`.

        Returns:
            The camera's token, and the most probable classes of its last seconds if there is a new answer.

        Raises:
            RefusedError: too many cameras are running.
        """
        token, found = self._cameras.push(token, number, picture)
        return token, None if found is None else named(found.labels, found.scores)

    def stop_watching(self, tokens: Iterable[str]) -> None:
        """Forget cameras."""
        self._cameras.drop(tokens)

    def submit(
        self, video: ReadVideo, number: int, *, change: Change = "none", amount: float = 1.0, seed: int = 0
    ) -> "Future[Tensor]":
        """The scores (K,) of a video, as soon as they are there."""
        return self._batchers[number].submit(changed(self.views(video, number), change, amount, seed=seed))

    def _seconds_left(self) -> float:
        """Time that the present request has left; all of it if it has no place in the queue."""
        end = _deadline.get(None)
        return self.limits.request_seconds if end is None else max(end - time.monotonic(), 0.0)

    def _wait(self, future: "Future[_T]") -> _T:
        try:
            return future.result(self._seconds_left())
        except FutureTimeoutError:
            future.cancel()
            raise too_slow(self.limits) from None

    def explain(self, video: ReadVideo, numbers: Sequence[int], *, name: str = "") -> list[Explanation]:
        """What one or two models see in a video, for every point of it, with their middle views.

        Raises:
            RefusedError: a model is an exported one, or it takes too long.
        """
        self.require_explainable(numbers)
        return self._wait(self._explaining.submit(self._explain, video, numbers))

    def _explain(self, video: ReadVideo, numbers: Sequence[int]) -> list[Explanation]:
        records = []
        for number in numbers:
            predictor = self._explainer(number)
            middle = middle_view(self.views(video, number), predictor.clip).transpose(0, 1).contiguous()
            found = explain(predictor, middle, table_side=TABLE_SIDE)
            records.append(replace(found, model=self.models[number].name))
        return records

    def require_explainable(self, numbers: Sequence[int]) -> None:
        """Refuse what only checkpoints can do.

        Raises:
            RefusedError: one of the models is an exported one.
        """
        for number in numbers:
            if self.models[number].exported is not None:
                raise not_explained(self.models[number].name)

    def _explainer(self, number: int) -> Predictor:
        """A copy of a model: an explanation listens in its layers, where predictions must not pass at the same time."""
        if number not in self._explainers:
            known = self.models[number].predictor
            self._explainers[number] = Predictor(
                copy.deepcopy(known.model), classes=known.classes, clip=known.clip, device=known.device
            )
        return self._explainers[number]

    def explain_page(self, video: ReadVideo, numbers: Sequence[int]) -> str:
        """`explain.html` of a video and one or two models."""
        return explain_page(self.explain(video, numbers))

    @property
    def is_idle(self) -> bool:
        """Whether nothing is worked on."""
        return self._in_flight == 0

    def close(self) -> None:
        """End threads and processes, and remove every file."""
        self.is_draining = True
        self._explaining.shutdown(wait=False, cancel_futures=True)
        for batcher in self._batchers:
            batcher.close()
        self.reader.close()
        self.folder.close()


def named(labels: Sequence[str], scores: Sequence[float]) -> list[dict[str, Any]]:
    """Classes as answers show them, [{"label", "score"}, ...]."""
    return [{"label": label, "score": score} for label, score in zip(labels, scores, strict=True)]


def _num_bytes(video: ReadVideo) -> int:
    return sum(view.nbytes for view in video.views)


def middle_view(views: Tensor, clip: ClipConfig) -> Tensor:
    """The middle crop of the middle clip, uint8 (3, T, H, W), of a video's views (V, 3, T, H, W)."""
    return views[clip.test_clips // 2 * clip.test_crops + clip.test_crops // 2]
