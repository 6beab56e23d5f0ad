"""What every request passes, whichever route it is for: password, name of the server, body, headers, log, metrics.

Written for ASGI itself, so that it holds for routes of libraries, too, and for bodies that are never read.
"""

import asyncio
import base64
import binascii
import hmac
import json
import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gta.serving.bodies import Arrivals, Body, BodyRefusedError
from gta.serving.limits import Limits, RefusedError, draining, mistake
from gta.serving.metrics import Metrics
from gta.serving.routes import kind, logged
from gta.serving.routes import refusal as route_refusal
from gta.terminal import printable

access_log = logging.getLogger("gta.serve.access")
error_log = logging.getLogger("gta.serve")

_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"SAMEORIGIN",
    b"content-security-policy": b"default-src 'self' 'unsafe-inline' data: blob:; script-src 'self' 'unsafe-inline' "
    b"'unsafe-eval' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'",
}
_CROSS_ORIGIN = b"access-control-"  # pages of other hosts have no business here, whatever a library says
_POLL_SECONDS = 0.2


class Guard:
    """The outermost layer of the server.

    Args:
        app: the routes.
        limits: size and time of bodies.
        metrics: where requests are counted.
        password: user and password that every request must carry; nothing is asked for if None.
        hosts: names that requests may call the server by, so that a foreign page cannot reach it under a name of its
            own that leads here; any name if None.
        is_draining: whether new requests are refused.
        is_idle: whether nothing is worked on.
        stored_bytes: what files of visitors take at present.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        metrics: Metrics,
        password: tuple[str, str] | None = None,
        hosts: Collection[str] | None = None,
        is_draining: Callable[[], bool] = lambda: False,
        is_idle: Callable[[], bool] = lambda: True,
        stored_bytes: Callable[[], int] = lambda: 0,
    ) -> None:
        self._app, self._metrics, self._is_draining, self._is_idle = app, metrics, is_draining, is_idle
        self._arrivals = Arrivals(limits, stored_bytes)
        self._wanted = None if password is None else ":".join(password).encode()
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)

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
        sent, body = _Sent(send), Body(scope, receive, self._arrivals)
        try:
            refused = self._refusal(scope) or body.refusal()
            if refused is not None:
                raise refused
            # Routes for programs answer HEAD as they do GET; the server leaves the body out.
            asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
            if kind(scope["path"]) == "events":
                await self._stream(asked, body, sent)
            else:
                await self._app(asked, body.receive, sent.send)
        except (RefusedError, BodyRefusedError) as error:
            await sent.refuse(error.refused if isinstance(error, BodyRefusedError) else error)
        except Exception as error:
            if not _is_answer(error):
                error_log.exception("a request was not answered because of a defect")
            await sent.refuse(mistake())
        finally:
            body.close()
            seconds = time.perf_counter() - begin
            self._metrics.request(kind(scope["path"]), sent.status, seconds)
            _log(scope, sent, seconds)

    async def _stream(self, scope: Scope, body: Body, sent: "_Sent") -> None:
        """Pages keep answers open that have no end. When the server stops and nothing is left to tell, they end."""
        task = asyncio.ensure_future(self._app(scope, body.receive, sent.send))
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=_POLL_SECONDS)
                if self._is_draining() and self._is_idle():
                    break
            else:
                task.result()
                return
        finally:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)  # however a library takes it
        if sent.started and not sent.complete:
            await sent.send({"type": "http.response.body", "body": b""})

    def _refusal(self, scope: Scope) -> RefusedError | None:
        """Why a request is refused, whatever its body is."""
        headers = dict(scope["headers"])
        if self._hosts is not None and _host(headers) not in self._hosts:
            return RefusedError(
                421, "wrong_host", "This server does not accept this host name; add it with --allow-host."
            )
        if self._wanted is not None and not hmac.compare_digest(_credentials(headers), self._wanted):
            return RefusedError(401, "password", "A user name and a password are required.")
        return draining() if self._is_draining() else route_refusal(scope["method"], scope["path"])


class _Sent:
    """What has been sent of an answer, with the headers that all answers carry."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status, self.bytes, self.started, self.complete = 0, 0, False, False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started, self.status = True, message["status"]
            known = {name.lower() for name, _ in message["headers"]}
            extra = [(name, value) for name, value in _HEADERS.items() if name not in known]
            kept = [
                (name, value)
                for name, value in message["headers"]
                if name.lower() != b"server" and not name.lower().startswith(_CROSS_ORIGIN)
            ]
            message = {**message, "headers": [*kept, *extra]}
        elif message["type"] == "http.response.body":
            self.bytes += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
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


def _host(headers: Mapping[bytes, bytes]) -> str:
    """The name in the header Host, without its port."""
    text = headers.get(b"host", b"").decode("latin-1").lower()
    return text.partition("]")[0].removeprefix("[") if text.startswith("[") else text.partition(":")[0]


def _is_answer(error: BaseException) -> bool:
    """Whether a library only says that something is not there, after its answer had begun."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_answer, error.exceptions))
    return isinstance(error, HTTPException) or isinstance(error.__cause__, HTTPException)


def _log(scope: Scope, sent: _Sent, seconds: float) -> None:
    """One line of JSON: no query, no body, no name of a file."""
    client = scope.get("client") or ("", 0)
    entry = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "client": client[0],
        "method": scope["method"],
        "path": printable(logged(scope["path"]))[:200],
        "status": sent.status,
        "bytes": sent.bytes,
        "seconds": round(seconds, 4),
    }
    access_log.info(json.dumps(entry))
