"""What Gradio's page needs beside Gradio itself to stay without errors, for every visitor."""

from importlib import resources

from starlette.types import ASGIApp, Message, Receive, Scope, Send

SCRIPT = resources.files("gta.serving").joinpath("assets", "page.js").read_text(encoding="utf-8")
"""A function that is run in the page when it has loaded."""

_PROGRESS = "/gradio_api/upload_progress"
_DONE = b'data: {"msg": "done"}\n\n'


class UploadProgress:
    """A layer around the page's routes: an upload that is over before its progress is asked for is done, not missing.

    Gradio answers 404 then, which the browser reports as an error.

    Args:
        app: the routes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; mend the answer to one for progress."""
        if scope["type"] != "http" or scope["path"] != _PROGRESS:
            await self._app(scope, receive, send)
            return
        missing = False

        async def mended(message: Message) -> None:
            nonlocal missing
            if message["type"] == "http.response.start" and message["status"] == 404:
                missing = True
                headers = [(b"content-type", b"text/event-stream"), (b"content-length", str(len(_DONE)).encode())]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": _DONE})
            elif not missing:
                await send(message)

        await self._app(scope, receive, mended)
