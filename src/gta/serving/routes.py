"""Which routes are open, with which methods, and how much a request to each of them may bring."""

from gta.serving.limits import Limits, RefusedError

METHODS: dict[str, str] = {
    "/v1/predict": "POST",
    "/v1/explain": "POST",
    "/v1/health": "GET",
    "/v1/model": "GET",
    "/metrics": "GET",
    "/docs": "GET",
    "/openapi.json": "GET",
}
"""The routes for programs. Those with GET answer HEAD as well."""

UPLOAD = "/gradio_api/upload"
HEARTBEAT = "/gradio_api/heartbeat/"
EVENTS = "/gradio_api/queue/data"

_PAGE_ROUTES = ("/", "/config", "/theme.css", "/favicon.ico", "/manifest.json")
_PAGE_PREFIXES = (
    *("/assets/", "/static/", "/explanations/", "/gradio_api/queue/", UPLOAD, "/gradio_api/file=", HEARTBEAT),
    *("/gradio_api/startup-events", "/gradio_api/cancel", "/gradio_api/reset", "/gradio_api/stream/"),
)
"""What the page itself needs of Gradio; everything else that it has (proxy, direct calls, monitoring, ...) is shut."""

_FORM_BYTES = 64 * 1024
"""What a multipart form may take beside the video in it."""
_QUESTION_BYTES = 64 * 1024
"""A request to a route for programs that brings no video."""
_CALL_BYTES = 4 << 20
"""A call of the page: the largest holds the picture of a camera."""


def refusal(method: str, path: str) -> RefusedError | None:
    """Why there is nothing at this place for this method; None if there is."""
    if path in METHODS:
        wanted = METHODS[path]
        if method == wanted or (method == "HEAD" and wanted == "GET"):
            return None
        return RefusedError(405, "bad_request", "This method is not for this address.")
    if path in _PAGE_ROUTES or path.startswith(_PAGE_PREFIXES):
        return None
    return RefusedError(404, "bad_request", "There is nothing here.")


def brings_video(path: str, content_type: str) -> bool:
    """Whether a request may bring a video."""
    if path in METHODS:
        return METHODS[path] == "POST" and content_type.lower().startswith("multipart/form-data")
    return path.startswith(UPLOAD)


def most_bytes(path: str, content_type: str, limits: Limits) -> int:
    """Size of a request's body at most."""
    if brings_video(path, content_type):
        return limits.max_bytes + _FORM_BYTES
    return _QUESTION_BYTES if path in METHODS else _CALL_BYTES
