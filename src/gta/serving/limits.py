"""What one server grants, and the words for what it refuses."""

from dataclasses import dataclass, fields

from gta.errors import OptionError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Addresses that only this machine reaches."""


@dataclass(frozen=True)
class Limits:
    """What requests may cost. Every number must be above 0. The options of `gta serve` are made from this."""

    max_mb: float = 50.0
    """Maximum size of a video, in MiB."""
    max_seconds: float = 60.0
    """Maximum duration of a video, in seconds."""
    request_seconds: float = 30.0
    """Maximum time for an answer, in seconds."""
    body_seconds: float = 30.0
    """Maximum time for a request to arrive, in seconds."""
    queue_size: int = 64
    """Maximum number of requests in progress or waiting; further ones get 503."""
    batch_size: int = 8
    """Maximum number of videos that go through a model together."""
    num_workers: int = 2
    """Processes that read videos."""
    keep_seconds: float = 600.0
    """Time after which uploaded files are removed, in seconds."""
    max_stored_mb: float = 1024.0
    """Maximum total size of uploaded files, in MiB; further ones get 503."""

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(Limits)):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise OptionError(f"`{name}` is {value:g}: it must be above 0")

    @property
    def max_bytes(self) -> int:
        """Size of a video at most."""
        return int(self.max_mb * (1 << 20))

    @property
    def max_stored_bytes(self) -> int:
        """Size of all files of visitors together at most."""
        return int(self.max_stored_mb * (1 << 20))


class RefusedError(Exception):
    """A request that is not answered as asked: an HTTP status, a short code for programs, a sentence for people."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after


def too_large(limits: Limits) -> RefusedError:
    """The file, or the request that holds it, is larger than allowed."""
    return RefusedError(413, "too_large", f"The file is too large: at most {limits.max_mb:g} MB are accepted.")


def too_long(seconds: float, limits: Limits) -> RefusedError:
    """The video plays for longer than allowed."""
    return RefusedError(
        422, "too_long", f"The video is too long: {seconds:.0f} s; at most {limits.max_seconds:g} s are accepted."
    )


def unreadable(reason: str) -> RefusedError:
    """The file is no video, or damaged; the reason is a reader's own, without the file's place."""
    return RefusedError(422, "unreadable", f"The file cannot be read as a video: {reason}.")


def too_slow(limits: Limits) -> RefusedError:
    """The answer took longer than a request may."""
    return RefusedError(
        504, "too_slow", f"The answer took longer than {limits.request_seconds:g} s; try a shorter or smaller video."
    )


def not_explained(name: str) -> RefusedError:
    """The model is an exported one."""
    return RefusedError(
        422,
        "not_explained",
        f"The model {name} is an exported one: it predicts, but attention, regions and class maps cannot be read from "
        "it. Serve the checkpoint that it was made from to see them.",
    )


def busy() -> RefusedError:
    """As many requests as allowed are being worked on."""
    return RefusedError(503, "busy", "The server is busy; try again in a moment.", retry_after=1)


def full() -> RefusedError:
    """Files of visitors take all the room there is."""
    return RefusedError(503, "full", "The server's storage for videos is full; try again later.", retry_after=60)


def draining() -> RefusedError:
    """The server has been told to stop."""
    return RefusedError(503, "stopping", "The server is shutting down.", retry_after=10)


def mistake() -> RefusedError:
    """A defect of ours."""
    return RefusedError(500, "defect", "An internal error occurred; see the server's log.")
