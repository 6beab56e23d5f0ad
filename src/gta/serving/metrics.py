"""Counters in the text format that Prometheus reads; labels are from fixed sets, so their number is bounded."""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Requests by route and status with their times, batches, and what is being worked on.

    Args:
        in_flight: gives the number of requests that are worked on or wait.
    """

    def __init__(self, in_flight: Callable[[], int] = lambda: 0) -> None:
        self._in_flight = in_flight
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._times: dict[str, _Histogram] = {}
        self._batches = self._videos = 0
        self._batch_seconds = 0.0

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        with self._lock:
            self._requests[route, status] += 1
            self._times.setdefault(route, _Histogram()).add(seconds)

    def batch(self, videos: int, seconds: float) -> None:
        """Count one run of a model."""
        with self._lock:
            self._batches += 1
            self._videos += videos
            self._batch_seconds += seconds

    def text(self) -> str:
        """Everything, as Prometheus reads it."""
        with self._lock:
            lines = ["# TYPE gta_requests_total counter"]
            lines += [
                f'gta_requests_total{{route="{route}",status="{status}"}} {count}'
                for (route, status), count in sorted(self._requests.items())
            ]
            lines.append("# TYPE gta_request_seconds histogram")
            for route, histogram in sorted(self._times.items()):
                lines += histogram.lines("gta_request_seconds", f'route="{route}"')
            for name, value in (
                ("gta_batches_total", self._batches),
                ("gta_videos_total", self._videos),
                ("gta_model_seconds_total", f"{self._batch_seconds:.6f}"),
            ):
                lines += [f"# TYPE {name} counter", f"{name} {value}"]
        return "\n".join([*lines, "# TYPE gta_in_flight gauge", f"gta_in_flight {self._in_flight()}", ""])


class _Histogram:
    def __init__(self) -> None:
        self._counts = [0] * (len(_BUCKETS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(_BUCKETS, seconds)] += 1
        self._sum += seconds

    def lines(self, name: str, label: str) -> list[str]:
        found, total = [], 0
        for bound, count in zip((*map(str, _BUCKETS), "+Inf"), self._counts, strict=True):
            total += count
            found.append(f'{name}_bucket{{{label},le="{bound}"}} {total}')
        return [*found, f"{name}_sum{{{label}}} {self._sum:.6f}", f"{name}_count{{{label}}} {total}"]
