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

# A page whose server was started anew asks for app_id, and then loads itself again.
_PAGE_ROUTES = ("/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/gradio_api/app_id")
_PAGE_PREFIXES = (
    *("/assets/", "/static/", "/explanations/", "/gradio_api/queue/", UPLOAD, "/gradio_api/file=", HEARTBEAT),
    *("/gradio_api/startup-events", "/gradio_api/cancel", "/gradio_api/reset", "/gradio_api/stream/"),
)
"""What the page itself needs of Gradio; everything else that it has (proxy, direct calls, monitoring, ...) is shut."""

_TOO_LARGE = "/static/ffmpeg/"
"""Gradio's tool to trim videos, 32 MB, which the page does without."""
_PRIVATE = ("/gradio_api/file=", "/explanations/", HEARTBEAT, "/gradio_api/stream/")
"""What comes after these names a file of a visitor, or lets its holder see what belongs to one."""

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
        return RefusedError(405, "bad_request", "This method is not allowed for this address.")
    if path in _PAGE_ROUTES or (path.startswith(_PAGE_PREFIXES) and not path.startswith(_TOO_LARGE)):
        return None
    return RefusedError(404, "bad_request", "This address does not exist.")


def logged(path: str) -> str:
    """A path as the access log and nobody else's eyes may have it: without names of files, and without tokens."""
    return next((f"{prefix}*" for prefix in _PRIVATE if path.startswith(prefix) and path != prefix), path)


def kind(path: str) -> str:
    """What requests are counted as: a route for programs, `events` for answers that last as long as a visit, `page`."""
    if path in METHODS:
        return path
    return "events" if path.startswith((HEARTBEAT, EVENTS)) else "page"


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
