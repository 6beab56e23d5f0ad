"""What calls of the page may bring: values that its functions take, and files that were uploaded to it.

Gradio lets a caller name the file of a component by its path. Whatever Gradio itself checks, such a path is held here
to be one that an upload was answered with: no place of this machine, and no address to fetch from. A value that a
function does not take would end in a traceback of Gradio's in the log, and in words of its own for the caller.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gta.serving.limits import RefusedError
from gta.serving.routes import UPLOAD
from gta.stored import StoredError, parse_json

FOLDER = "visitors"
"""Where Gradio keeps uploads, in the server's own folder."""

Takes = Callable[[Any], bool]
"""Whether an input of a function takes a value."""


@dataclass(frozen=True)
class Functions:
    """The functions of the page, by their numbers in calls."""

    inputs: Sequence[Sequence[Takes]]
    """What the inputs of each take."""
    streaming: Collection[int] = ()
    """Those that are called again and again, as a camera's."""


_CALLS, _STREAM = "/gradio_api/", "/gradio_api/stream/"
_PATH = re.compile(rf"{FOLDER}/[0-9a-f]{{64}}/[^/\\\0]+\Z")
_MOST_DEPTH = 50
_MOST_VALUES = 1000
"""Values in a call: the largest has ten. Reading and checking many more would keep every other request waiting."""


class VisitorFiles:
    """A layer around the page's routes.

    Args:
        app: the routes.
        functions: of the page.
    """

    def __init__(self, app: ASGIApp, functions: Functions) -> None:
        self._app, self._functions = app, functions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, if it is no call that names foreign files."""
        if scope["type"] != "http" or not _is_call(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return  # the client has gone
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if body:
            check_call(bytes(body), self._functions, streaming=scope["path"].startswith(_STREAM))
        waiting: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def again() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, again, send)


def _is_call(method: str, path: str) -> bool:
    return method == "POST" and path.startswith(_CALLS) and not path.startswith(UPLOAD)


def check_call(body: bytes, functions: Functions, *, streaming: bool = False) -> None:
    """Refuse a call, JSON, that names a file which was not uploaded, or brings a function what it does not take.

    Args:
        body: the call.
        functions: those that there are.
        streaming: it goes on with a call that streams, whose function Gradio takes from there.

    Raises:
        RefusedError: it does, it is not JSON, or has more values than any call.
    """
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > _MOST_VALUES:
        raise RefusedError(413, "too_large", "The request has too many values.")
    try:
        values = parse_json(body.decode("utf-8"))
    except (StoredError, UnicodeDecodeError):
        raise RefusedError(400, "bad_request", "The request is not JSON.") from None
    _check(values, 0)
    if not isinstance(values, dict) or not values.keys() & {"data", "fn_index"}:
        return  # it calls nothing
    number, data = values.get("fn_index"), values.get("data")
    known = functions.streaming if streaming else range(len(functions.inputs))
    if type(number) is not int or number not in known:
        raise RefusedError(404, "no_function", "There is no such function.")
    inputs = functions.inputs[number]
    if not isinstance(data, list) or len(data) != len(inputs):
        raise RefusedError(400, "bad_request", f"The function takes {len(inputs)} values.")
    for place, (takes, value) in enumerate(zip(inputs, data, strict=True)):
        if not takes(value):
            raise RefusedError(400, "bad_request", f"Value {place} is not valid for this function.")


def _check(value: Any, depth: int) -> None:
    if depth > _MOST_DEPTH:
        raise RefusedError(400, "bad_request", "The request is nested too deeply.")
    if isinstance(value, dict):
        path = value.get("path")
        if path and not (isinstance(path, str) and _PATH.match(path)):
            raise RefusedError(403, "foreign_file", "Only files that were uploaded to this server can be used.")
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
