"""Bodies of requests while they arrive: not too large, not too slow, and no more of them than there is room for."""

import asyncio
import time
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

from gta.serving import routes
from gta.serving.limits import Limits, RefusedError, full, too_large


class BodyRefusedError(HTTPException):
    """The body is too large or too slow; frameworks turn this into an answer wherever it comes up."""

    def __init__(self, refused: RefusedError) -> None:
        super().__init__(refused.status, refused.message)
        self.refused = refused


class Arrivals:
    """The bodies of all requests that are on their way.

    Args:
        limits: what one of them may take, and all files of visitors together.
        stored_bytes: what files of visitors take at present.
    """

    def __init__(self, limits: Limits, stored_bytes: Callable[[], int]) -> None:
        self.limits, self._stored_bytes = limits, stored_bytes
        self.video_bytes = 0
        """What has come of the videos among them."""

    def has_room(self, length: int) -> bool:
        """Whether a video of so many bytes may come."""
        return self._stored_bytes() + self.video_bytes + length <= self.limits.max_stored_bytes


class Body:
    """The body of one request.

    Args:
        scope: the request.
        receive: gives its messages.
        arrivals: those that come at the same time.
    """

    def __init__(self, scope: Scope, receive: Receive, arrivals: Arrivals) -> None:
        headers = dict(scope["headers"])
        kind = headers.get(b"content-type", b"").decode("latin-1")
        self._receive, self._arrivals = receive, arrivals
        self._stated = headers.get(b"content-length", b"0")
        self._is_video = routes.brings_video(scope["path"], kind)
        self._most = routes.most_bytes(scope["path"], kind, arrivals.limits)
        self._end = time.monotonic() + arrivals.limits.body_seconds
        self._total, self._complete = 0, False

    def refusal(self) -> RefusedError | None:
        """Why it is refused before any of it is read, by what its head says."""
        if not self._stated.isdigit():
            return RefusedError(400, "bad_request", "The length of the request is not a number.")
        if int(self._stated) > self._most:
            return self._too_large()
        return full() if self._is_video and not self._arrivals.has_room(int(self._stated)) else None

    async def receive(self) -> Message:
        """The next message, counted whatever the head says.

        Raises:
            BodyRefusedError: it is too large, too slow, or there is no room for it.
        """
        if self._complete:  # nothing is left but the news that the client has gone
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(self._end - time.monotonic(), 0.001))
        except TimeoutError:
            seconds = self._arrivals.limits.body_seconds
            raise BodyRefusedError(
                RefusedError(408, "slow_body", f"The request did not arrive in {seconds:g} s.")
            ) from None
        if message["type"] == "http.request":
            self._count(len(message.get("body", b"")))
            self._complete = not message.get("more_body", False)
        return message

    def close(self) -> None:
        """The request is over: what it brought is a file by now, or gone."""
        if self._is_video:
            self._arrivals.video_bytes -= self._total

    def _count(self, number: int) -> None:
        self._total += number
        if self._is_video:
            self._arrivals.video_bytes += number
        if self._total > self._most:
            raise BodyRefusedError(self._too_large())
        if self._is_video and not self._arrivals.has_room(0):
            raise BodyRefusedError(full())

    def _too_large(self) -> RefusedError:
        if self._is_video:
            return too_large(self._arrivals.limits)
        return RefusedError(
            413, "too_large", f"The request is too large: at most {self._most} bytes are accepted here."
        )
