"""Stopping on request: SIGTERM, SIGINT and SIGUSR1 end a run after the step at hand, with a checkpoint."""

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from gta.errors import GtaError

_SECONDS_FOR_REPEATS = 1.0
"""The same request may arrive more than once; a person needs longer to press Ctrl-C again."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""Signals that ask a run to write a checkpoint and stop."""


class TrainingInterrupted(GtaError):  # noqa: N818 - it is no error: the run did what the signal asked for
    """A signal stopped the run; `number` is the signal's, and the command exits with 128 + number as shells have it."""

    def __init__(self, number: int, what: str) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}: {what}")
        self.number = number
        self.exit_code = 128 + number


class Stopper:
    """Remembers the first signal, so that the run can stop at a good moment; Ctrl-C after that stops at once.

    Further SIGTERM and SIGUSR1 change nothing: launchers send them to the process and then to its group.

    Use it as a context manager; afterwards the former handlers are back. Outside the main thread, where Python allows
    no handlers, it does nothing.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._first = 0.0
        self._former: dict[int, Any] = {}

    def __enter__(self) -> "Stopper":
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._remember) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.number is None:
            self.number = number
            self._first = time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._first >= _SECONDS_FOR_REPEATS:
            raise TrainingInterrupted(number, "at once, without a checkpoint of the last steps; `resume` continues")
