"""What every request passes, whichever route it is for: password, size and time of the body, headers, log, metrics.

Written for ASGI itself, so that it holds for routes of libraries, too, and for bodies that are never read.
"""

import asyncio
import base64
import binascii
import hmac
import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gta.serving.limits import Limits, RefusedError, draining, mistake, too_large
from gta.serving.metrics import Metrics
from gta.terminal import printable

access_log = logging.getLogger("gta.serve.access")
error_log = logging.getLogger("gta.serve")

_FORM_BYTES = 64 * 1024
"""What a multipart form may take beside the video in it."""
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"SAMEORIGIN",
    b"content-security-policy": b"default-src 'self' 'unsafe-inline' data: blob:; script-src 'self' 'unsafe-inline' "
    b"'unsafe-eval' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'",
}
_PAGE_ROUTES = ("/", "/config", "/theme.css", "/favicon.ico", "/manifest.json")
_PAGE_PREFIXES = (
    *("/assets/", "/static/", "/explanations/", "/gradio_api/queue/", "/gradio_api/upload", "/gradio_api/file="),
    *("/gradio_api/heartbeat/", "/gradio_api/startup-events", "/gradio_api/cancel", "/gradio_api/reset"),
    "/gradio_api/stream/",
)
"""What the page itself needs of Gradio; everything else that it has (proxy, direct calls, monitoring, ...) is shut."""
_ROUTES = ("/v1/predict", "/v1/explain", "/v1/health", "/v1/model", "/metrics", "/docs", "/openapi.json")


class BodyRefusedError(HTTPException):
    """The body is too large or too slow; frameworks turn this into an answer wherever it comes up."""

    def __init__(self, refused: RefusedError) -> None:
        super().__init__(refused.status, refused.message)
        self.refused = refused


class Guard:
    """The outermost layer of the server.

    Args:
        app: the routes.
        limits: size and time of bodies.
        metrics: where requests are counted.
        password: user and password that every request must carry; nothing is asked for if None.
        is_draining: whether new requests are refused.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        metrics: Metrics,
        password: tuple[str, str] | None = None,
        is_draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self._app, self._limits, self._metrics, self._is_draining = app, limits, metrics, is_draining
        self._wanted = None if password is None else ":".join(password).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:  # no route needs a web socket
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        begin = time.perf_counter()
        sent = _Sent(send)
        try:
            refused = self._refusal(scope)
            if refused is not None:
                raise refused
            await self._app(scope, self._counted(scope, receive), sent.send)
        except (RefusedError, BodyRefusedError) as error:
            known = error.refused if isinstance(error, BodyRefusedError) else error
            await sent.refuse(known)
        except Exception:
            error_log.exception("a request was not answered because of a defect")
            await sent.refuse(mistake())
        finally:
            seconds = time.perf_counter() - begin
            path = scope["path"]
            route = path if path in _ROUTES else "page"
            self._metrics.request(route, sent.status, seconds)
            _log(scope, sent, seconds)

    def _refusal(self, scope: Scope) -> RefusedError | None:
        """Why a request is refused before any of its body is read."""
        headers = dict(scope["headers"])
        if self._wanted is not None and not hmac.compare_digest(_credentials(headers), self._wanted):
            return RefusedError(401, "password", "A user and a password are needed.")
        if self._is_draining():
            return draining()
        path = scope["path"]
        if not (path in _ROUTES or path in _PAGE_ROUTES or path.startswith(_PAGE_PREFIXES)):
            return RefusedError(404, "bad_request", "There is nothing here.")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            return RefusedError(400, "bad_request", "The length of the request is not a number.")
        return too_large(self._limits) if int(length) > self._most_bytes else None

    @property
    def _most_bytes(self) -> int:
        return self._limits.max_bytes + _FORM_BYTES

    def _counted(self, scope: Scope, receive: Receive) -> Receive:
        """`receive` that refuses bodies which grow too large, whatever their header says, or come too slowly."""
        end = time.monotonic() + self._limits.body_seconds
        total, complete = 0, False

        async def counted() -> Message:
            nonlocal total, complete
            if complete:  # nothing is left but the news that the client has gone
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(end - time.monotonic(), 0.001))
            except TimeoutError:
                raise BodyRefusedError(
                    RefusedError(408, "slow_body", f"The request did not arrive in {self._limits.body_seconds:g} s.")
                ) from None
            if message["type"] == "http.request":
                total += len(message.get("body", b""))
                complete = not message.get("more_body", False)
                if total > self._most_bytes:
                    raise BodyRefusedError(too_large(self._limits))
            return message

        return counted


class _Sent:
    """What has been sent of an answer, with the headers that all answers carry."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status, self.bytes, self.started = 0, 0, False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started, self.status = True, message["status"]
            known = {name.lower() for name, _ in message["headers"]}
            extra = [(name, value) for name, value in _HEADERS.items() if name not in known]
            kept = [(name, value) for name, value in message["headers"] if name.lower() != b"server"]
            message = {**message, "headers": [*kept, *extra]}
        elif message["type"] == "http.response.body":
            self.bytes += len(message.get("body", b""))
        await self._send(message)

    async def refuse(self, error: RefusedError) -> None:
        """Answer with an error, unless an answer is on its way already."""
        if self.started:
            return
        body = json.dumps(error_body(error)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [(name.encode(), value.encode()) for name, value in error_headers(error).items()]
        await self.send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


def error_body(error: RefusedError) -> dict[str, Any]:
    """The JSON of every refusal."""
    return {"error": {"code": error.code, "message": error.message}}


def error_headers(error: RefusedError) -> dict[str, str]:
    """Headers of a refusal: when to come back, how to log in, and that what is left of a body is not read."""
    headers = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
    if error.status == 401:
        headers["www-authenticate"] = 'Basic realm="gta", charset="UTF-8"'
    if error.status in (401, 408, 413):
        headers["connection"] = "close"
    return headers


def _credentials(headers: Mapping[bytes, bytes]) -> bytes:
    kind, _, text = headers.get(b"authorization", b"").partition(b" ")
    if kind.lower() != b"basic":
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _log(scope: Scope, sent: _Sent, seconds: float) -> None:
    """One line of JSON: no query, no body, no name of a file."""
    client = scope.get("client") or ("", 0)
    entry = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "client": client[0],
        "method": scope["method"],
        "path": printable(scope["path"])[:200],
        "status": sent.status,
        "bytes": sent.bytes,
        "seconds": round(seconds, 4),
    }
    access_log.info(json.dumps(entry))
