"""A thread that reads a source: neither a slow prediction nor a source that hangs stops the other, or signals."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from av.video.frame import VideoFrame

from gta.errors import VideoError
from gta.video.live import LiveVideo

_FRAMES_AHEAD = 8  # of a file, which waits for the predictions
_FIRST_DELAY_SECONDS, _LAST_DELAY_SECONDS = 0.5, 30.0


@dataclass(frozen=True)
class TimedFrame:
    """A decoded frame, when it is shown, and whether frames are missing before it because the source was lost."""

    frame: VideoFrame
    time: Fraction
    time_base: Fraction
    after_loss: bool = False


@dataclass(frozen=True)
class End:
    """The source has ended, or failed for good."""

    error: Exception | None = None


class FrameReader:
    """Reads frames ahead in a thread; a context manager.

    A file or a pipe waits for whoever takes the frames. A live source does not: of what was not taken in time, the
    oldest frames are dropped, so that never more than `backlog` seconds wait.

    Args:
        open_source: opens the source, again after it was lost.
        live: the source does not wait: cameras, network streams, and files that are played in real time.
        paced: give frames at the speed at which they are shown, as a camera would.
        backlog: seconds of frames that may wait in a live source.
        max_retries: attempts in a row to get a lost source back, with delays from 0.5 to 30 s; a source that could not
            be opened in the first place is an error at once.
        notify: told in one line about every loss.

    Attributes:
        dropped: frames that nobody took in time.
        reconnections: how often the source came back.
    """

    def __init__(
        self,
        open_source: Callable[[], LiveVideo],
        *,
        live: bool,
        paced: bool,
        backlog: float,
        max_retries: int,
        notify: Callable[[str], None],
    ) -> None:
        self.dropped = 0
        self.reconnections = 0
        self._open_source, self._live, self._paced = open_source, live or paced, paced
        self._backlog, self._max_retries, self._notify = Fraction(backlog), max_retries, notify
        self._waiting: deque[TimedFrame] = deque()
        self._end: End | None = None
        self._began: float | None = None  # when a paced source's time was 0
        self._change = threading.Condition()
        self._stopped = threading.Event()
        # A daemon: FFmpeg may hang in a read that nothing can interrupt.
        self._thread = threading.Thread(target=self._run, name="gta-frame-reader", daemon=True)

    def __enter__(self) -> "FrameReader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        with self._change:
            self._change.notify_all()
        self._thread.join(timeout=1.0)

    def take(self, timeout: float) -> TimedFrame | End | None:
        """The next frame, or the end; None if there is none yet after `timeout` seconds."""
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._end, timeout)
            if self._waiting:
                frame = self._waiting.popleft()
                self._change.notify_all()
                return frame
            return self._end

    def _run(self) -> None:
        try:
            error = self._read_on()
        except Exception as defect:  # goes to whoever takes the frames, who would wait for ever otherwise
            error = defect
        with self._change:
            self._end = End(error)
            self._change.notify_all()

    def _read_on(self) -> Exception | None:
        """Read the source, and again whenever it is lost; returns the error that ends it, if one does."""
        last: tuple[Fraction, float] | None = None  # time of the last frame, and when it came
        failures = 0
        while True:
            endless = True
            try:
                with self._open_source() as video:
                    endless = video.is_endless
                    shift, first = Fraction(0), True
                    for frame, own in video.frames():
                        if first and last is not None:
                            self.reconnections += 1
                            shift = last[0] + Fraction(max(time.monotonic() - last[1], 1e-3))
                        put = TimedFrame(frame, own + shift, video.time_base, first and last is not None)
                        first, failures = False, 0
                        if not self._put(put):
                            return None
                        last = put.time, time.monotonic()
                loss = VideoError(video.name, "the stream ended")
                if not endless:
                    return None
            except VideoError as error:
                loss = error
                if last is None or not endless:
                    return error
            failures += 1
            if failures > self._max_retries:
                return VideoError(str(loss).removesuffix(f": {loss.reason}"), f"{loss.reason}; gave up")
            delay = min(_FIRST_DELAY_SECONDS * 2 ** (failures - 1), _LAST_DELAY_SECONDS)
            self._notify(f"{loss}; trying again in {delay:g} s")
            if self._stopped.wait(delay):
                return None

    def _put(self, new: TimedFrame) -> bool:
        """Hand a frame over; False if nobody wants frames any more."""
        if self._paced:
            if self._began is None:
                self._began = time.monotonic() - float(new.time)
            self._stopped.wait(max(self._began + float(new.time) - time.monotonic(), 0))
        with self._change:
            if not self._live:
                self._change.wait_for(lambda: len(self._waiting) < _FRAMES_AHEAD or self._stopped.is_set())
            self._waiting.append(new)
            while self._live and new.time - self._waiting[0].time > self._backlog:
                lost = self._waiting.popleft()
                self.dropped += 1
                if lost.after_loss:
                    after = self._waiting[0]
                    self._waiting[0] = TimedFrame(after.frame, after.time, after.time_base, after_loss=True)
            self._change.notify_all()
        return not self._stopped.is_set()
