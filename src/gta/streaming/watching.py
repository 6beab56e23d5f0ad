"""Watching a source: frames from a reader through a stream to whoever wants the predictions, until a signal comes."""

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from gta.errors import GtaError
from gta.streaming.reader import End, FrameReader
from gta.streaming.stream import Stream
from gta.terminal import quantity
from gta.types import WindowPrediction
from gta.video.conversion import to_rgb

_SECONDS_BETWEEN_LOOKS = 0.2  # for signals, while no frame comes
_SECONDS_BETWEEN_NOTICES = 10.0


class WatchStopped(GtaError):  # noqa: N818 - it is no error: the command did what the signal asked for
    """A signal stopped the command, which exits with 128 + the signal's number, as shells have it."""

    def __init__(self, number: int, what: str) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}: {what}")
        self.exit_code = 128 + number


@dataclass
class Summary:
    """What was read and predicted from a source."""

    seconds: float = 0.0
    """Duration of the video that was seen, in seconds."""
    frames: int = 0
    """Frames that were read."""
    dropped: int = 0
    """Frames that were dropped because they arrived faster than they could be classified."""
    predictions: int = 0
    """Windows that were classified."""
    skipped_windows: int = 0
    """Windows that ended together with a later one, which was classified instead."""
    reconnections: int = 0
    """How often a lost source was reopened."""

    def __str__(self) -> str:
        """One line."""
        text = f"{self.predictions} predictions in {self.seconds:.1f} s of video, {self.frames} frames read"
        text += f", {self.dropped} dropped"
        if self.skipped_windows:
            text += f", {quantity(self.skipped_windows, 'window')} skipped"
        if self.reconnections:
            text += f", {quantity(self.reconnections, 'reconnection')}"
        return text


class SignalGuard:
    """Remembers SIGINT and SIGTERM, so that the loop can end in order; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._former: dict[int, Any] = {}

    def __enter__(self) -> "SignalGuard":
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number


def watch(
    stream: Stream, reader: FrameReader, give: Callable[[WindowPrediction], None], notify: Callable[[str], None]
) -> Summary:
    """Classify the frames of a reader until it ends.

    Args:
        stream: classifies; its time unit becomes the source's.
        reader: the source, not started yet.
        give: gets every prediction as it is made.
        notify: told in one line, now and then, that frames are being dropped; and what was seen before a failure.

    Returns:
        What was seen.

    Raises:
        VideoError: the source failed; predictions up to there have been given.
        WatchStopped: SIGINT or SIGTERM came.
    """
    seen, told = Summary(), (time.monotonic(), 0)
    error: Exception | None = None
    with SignalGuard() as guard, reader:
        while guard.number is None:
            item = reader.take(_SECONDS_BETWEEN_LOOKS)
            if item is None:
                continue
            if isinstance(item, End):
                for prediction in stream.finish():
                    give(prediction)
                error = item.error
                break
            if item.after_loss:
                stream.reset()
            stream.time_unit = item.time_base
            found = stream.push(to_rgb(item.frame, compact=True), item.time)
            seen.seconds = float(item.time)
            if found is not None:
                give(found)
            if reader.dropped > told[1] and time.monotonic() - told[0] > _SECONDS_BETWEEN_NOTICES:
                told = time.monotonic(), reader.dropped
                notify(f"{reader.dropped} frames dropped so far: predictions take longer than the hop")
    seen.dropped, seen.reconnections = reader.dropped, reader.reconnections
    seen.frames = stream.counts.frames + reader.dropped
    seen.predictions, seen.skipped_windows = stream.counts.predictions, stream.counts.skipped_windows
    if error is not None:
        if seen.frames:
            notify(str(seen))
        raise error
    if guard.number is not None:
        raise WatchStopped(guard.number, str(seen))
    return seen
