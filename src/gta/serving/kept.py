"""The last few things that were made for visitors, in memory, for as long as their files stay."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Kept(Generic[Key, Value]):
    """A store of bounded size and age; all methods may be called from threads.

    Args:
        most: values at most; the oldest ones make way.
        seconds: age at which a value is dropped.
        num_bytes: what a value takes, where that is to be bounded, too.
        most_bytes: what all take together at most.
    """

    def __init__(
        self,
        most: int,
        seconds: float,
        *,
        num_bytes: Callable[[Value], int] = lambda _: 0,
        most_bytes: int = 0,
    ) -> None:
        self._most, self._seconds = most, seconds
        self._num_bytes, self._most_bytes = num_bytes, most_bytes
        self._values: OrderedDict[Key, tuple[float, Value]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def put(self, key: Key, value: Value) -> None:
        """Keep a value; others make way for it."""
        with self._lock:
            self._values.pop(key, None)
            self._values[key] = (time.monotonic(), value)
            while len(self._values) > self._most or self._total() > self._most_bytes:
                self._values.popitem(last=False)

    def get(self, key: Key) -> Value | None:
        """The value of a key; None if it is no longer here."""
        self.drop_old()
        with self._lock:
            return self._values.get(key, (0.0, None))[1]

    def drop_old(self) -> None:
        """Drop what is too old."""
        oldest = time.monotonic() - self._seconds
        with self._lock:
            for key in [key for key, (since, _) in self._values.items() if since < oldest]:
                del self._values[key]

    def _total(self) -> int:
        return sum(self._num_bytes(value) for _, value in self._values.values())
