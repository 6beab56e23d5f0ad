"""Cameras of visitors: a `gta.Stream` each, with the frames of its last seconds; their number is bounded."""

import secrets
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from gta.predictor import Predictor
from gta.serving.limits import busy
from gta.streaming.stream import DEFAULT_WINDOW_SECONDS, Stream
from gta.types import WindowPrediction

WINDOW_SECONDS = DEFAULT_WINDOW_SECONDS
"""Length of what is classified: the last seconds before the camera."""

_IDLE_SECONDS = 10.0
"""A camera that has sent nothing for so long makes way for another one."""


class Cameras:
    """The cameras that are running, by tokens that only their visitors know; all methods may be called from threads.

    Args:
        predictors: the models that may be asked.
        most: cameras at a time.
    """

    def __init__(self, predictors: Sequence[Predictor], most: int) -> None:
        self._predictors, self._most = predictors, most
        self._cameras: dict[str, _Camera] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._cameras)

    def push(self, token: str | None, number: int, picture: Any) -> tuple[str, WindowPrediction | None]:
        """Take the next frame of a camera.

        Args:
            token: of the camera; None for a new one. One that is no longer known begins anew.
            number: of the model to ask.
            picture: uint8 (H, W, 3).

        Returns:
            The camera's token, and the prediction of the window that ended before this frame, if one did.

        Raises:
            RefusedError: too many cameras are running.
        """
        with self._lock:
            camera = self._cameras.get(token or "")
            if camera is None or camera.number != number:
                camera = None
                self._make_room(token)
                token = secrets.token_hex(16)
                camera = self._cameras[token] = _Camera(number)
            camera.used = time.monotonic()
        assert token is not None
        return token, camera.push(self._predictors[number], picture)

    def drop(self, tokens: Iterable[str]) -> None:
        """Forget cameras that their visitors no longer need."""
        with self._lock:
            for token in tokens:
                self._cameras.pop(token, None)

    def drop_old(self) -> None:
        """Forget cameras that have sent nothing for long, and what they have seen."""
        now = time.monotonic()
        self.drop([token for token, camera in list(self._cameras.items()) if now - camera.used >= _IDLE_SECONDS])

    def _make_room(self, replaced: str | None) -> None:
        self._cameras.pop(replaced or "", None)
        if len(self._cameras) < self._most:
            return
        oldest = min(self._cameras, key=lambda token: self._cameras[token].used)
        if time.monotonic() - self._cameras[oldest].used < _IDLE_SECONDS:
            raise busy()
        del self._cameras[oldest]


class _Camera:
    def __init__(self, number: int) -> None:
        self.number, self.used = number, 0.0
        self._stream: Stream | None = None
        self._pushed = 0.0
        self._lock = threading.Lock()

    def push(self, predictor: Predictor, picture: Any) -> WindowPrediction | None:
        """Frames of one camera go one after the other; after an interruption a window begins anew."""
        with self._lock:
            if self._stream is None:
                self._stream = Stream(predictor, window=WINDOW_SECONDS)
            now = time.monotonic()
            if now - self._pushed > WINDOW_SECONDS:
                self._stream.reset()
            self._pushed = now
            return self._stream.push(picture, now)
