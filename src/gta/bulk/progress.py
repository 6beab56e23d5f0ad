"""How far a bulk prediction is: one line with the rate and the time left."""

import sys
import time


def describe_progress(done: int, total: int, unreadable: int, new: int, seconds: float) -> str:
    """The line.

    Args:
        done: videos that have their row, those of earlier runs included.
        total: videos of the manifest.
        unreadable: how many of the rows hold an error, those of earlier runs included.
        new: videos done by this run.
        seconds: how long this run works.
    """
    parts = [f"{done:,} of {total:,} videos"]
    if unreadable:
        parts.append(f"{unreadable:,} unreadable")
    if new and seconds > 0:
        rate = new / seconds
        parts.append(f"{rate:.1f} videos/s")
        if done < total:
            parts.append(f"{describe_duration((total - done) / rate)} left")
    return ", ".join(parts)


def describe_duration(seconds: float) -> str:
    """A time as people say it: `40 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def describe_traffic(requests: int, num_bytes: int) -> str:
    """What was fetched from addresses: `1,234 requests, 56.7 MB`."""
    return f"{requests:,} requests, {num_bytes / 1e6:,.1f} MB"


class ProgressLine:
    """Shows the line on stderr: rewritten in place on a terminal, every 30 s elsewhere.

    Args:
        total: videos of the manifest.
        done: how many have their row already.
        unreadable: how many of these rows hold an error.
    """

    def __init__(self, total: int, done: int, unreadable: int) -> None:
        self._total, self._before, self._unreadable = total, done, unreadable
        self._new = self._requests = self._bytes = 0
        self._start = self._shown = time.monotonic()
        self._on_terminal = sys.stderr.isatty()
        self._interval = 0.5 if self._on_terminal else 30.0

    def add(self, *, unreadable: bool, requests: int = 0, num_bytes: int = 0) -> None:
        """Count one video, and what was fetched for it."""
        self._requests += requests
        self._bytes += num_bytes
        self._new += 1
        self._unreadable += unreadable
        if time.monotonic() - self._shown >= self._interval:
            self._shown = time.monotonic()
            line = f"\r{self.text()}\x1b[K" if self._on_terminal else f"{self.text()}\n"
            print(line, end="", file=sys.stderr, flush=True)

    def text(self) -> str:
        """The line as it is now."""
        seconds = time.monotonic() - self._start
        line = describe_progress(self._before + self._new, self._total, self._unreadable, self._new, seconds)
        return f"{line}, {describe_traffic(self._requests, self._bytes)}" if self._requests else line

    def close(self) -> None:
        """Leave a terminal's line free again."""
        if self._on_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
