"""Calls of the page may name files that were uploaded to it, and no others.

Gradio lets a caller name the file of a component by its path. Whatever Gradio itself checks, such a path is held here
to be one that an upload was answered with: no place of this machine, and no address to fetch from.
"""

import json
import re
from collections.abc import Collection, Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gta.serving.limits import RefusedError

FOLDER = "visitors"
"""Where Gradio keeps uploads, in the server's own folder."""

_CALLS, _UPLOAD = "/gradio_api/", "/gradio_api/upload"
_PATH = re.compile(rf"{FOLDER}/[0-9a-f]{{64}}/[^/\\\0]+\Z")
_MOST_DEPTH = 50
_MOST_VALUES = 1000
"""Values in a call: the largest has ten. Reading and checking many more would keep every other request waiting."""


class VisitorFiles:
    """A layer around the page's routes.

    Args:
        app: the routes.
        file_places: for each function of the page, by its number in calls, which of its inputs take a file.
    """

    def __init__(self, app: ASGIApp, file_places: Sequence[Collection[int]]) -> None:
        self._app, self._file_places = app, file_places

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
            check_call(bytes(body), self._file_places)
        waiting: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def again() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, again, send)


def _is_call(method: str, path: str) -> bool:
    return method == "POST" and path.startswith(_CALLS) and not path.startswith(_UPLOAD)


def check_call(body: bytes, file_places: Sequence[Collection[int]]) -> None:
    """Refuse a call, JSON, that names a file which was not uploaded, or a function that the page does not have.

    A file where a function takes none is refused, too: Gradio's words about such a value would tell where the file is.

    Raises:
        RefusedError: it does, it is not JSON, or has more values than any call.
    """
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > _MOST_VALUES:
        raise RefusedError(413, "too_large", "The request has more values than any call of the page.")
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(400, "bad_request", "The request is not JSON.") from None
    number = values.get("fn_index") if isinstance(values, dict) else None
    if number is not None and (not isinstance(number, int) or not 0 <= number < len(file_places)):
        raise RefusedError(404, "no_function", "The page has no such function.")
    _check(values, 0)
    data = values.get("data") if isinstance(values, dict) else None
    places = file_places[number] if number is not None else {place for known in file_places for place in known}
    for place, value in enumerate(data if isinstance(data, list) else []):
        if isinstance(value, dict | list) and place not in places:
            raise RefusedError(400, "bad_request", "The function takes no file there.")


def _check(value: Any, depth: int) -> None:
    if depth > _MOST_DEPTH:
        raise RefusedError(400, "bad_request", "The request is nested too deeply.")
    if isinstance(value, dict):
        path = value.get("path")
        if path and not (isinstance(path, str) and _PATH.match(path)):
            raise RefusedError(403, "foreign_file", "Only files that were uploaded here can be asked about.")
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
