"""The routes for programs: `/v1/predict`, `/v1/explain`, `/v1/health`, `/v1/model`, `/metrics`, and `/docs`."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from gta._version import __version__
from gta.serving.bodies import BodyRefusedError
from gta.serving.changes import Change
from gta.serving.docs_page import docs_page
from gta.serving.limits import RefusedError, mistake
from gta.serving.metrics import CONTENT_TYPE
from gta.serving.middleware import error_body, error_headers
from gta.serving.service import Service
from gta.serving.uploads import allowed_file

_MOST_FIELDS = 4
_RENAMED = "topk is top_k now; the old name will be removed in the next release"

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
            },
            "application/json": {"schema": {"type": "object", "properties": {"path": {"type": "string"}}}},
        },
    }
}


def create_api(service: Service, *, video_folder: Path | None = None) -> FastAPI:
    """The application with the routes for programs.

    Args:
        service: what answers.
        video_folder: folder whose files may be asked for by path; None if only uploads are.
    """
    app = FastAPI(
        title="gta serve", version=__version__, docs_url=None, redoc_url=None, openapi_url="/openapi.json", debug=False
    )
    _add_errors(app)
    _add_questions(app, service, video_folder)
    _add_facts(app, service)
    return app


def _add_errors(app: FastAPI) -> None:
    """Every refusal is JSON of the same form, in words of ours."""

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RefusedError)
        return JSONResponse(error_body(error), error.status, headers=error_headers(error))

    @app.exception_handler(HTTPException)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        if isinstance(error, BodyRefusedError):
            return JSONResponse(error_body(error.refused), error.status_code, headers=error_headers(error.refused))
        words = {404: "This address does not exist.", 405: "This method is not allowed for this address."}
        word = words.get(error.status_code, "The request is malformed.")
        known = RefusedError(error.status_code, "bad_request", word)
        return JSONResponse(error_body(known), known.status)

    @app.exception_handler(Exception)
    async def defect(_: Request, error: Exception) -> JSONResponse:  # which the guard puts into the log
        return JSONResponse(error_body(mistake()), mistake().status)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        known = RefusedError(422, "bad_request", f"{first['loc'][-1]}: {first['msg']}.")
        return JSONResponse(error_body(known), known.status)


def _add_questions(app: FastAPI, service: Service, video_folder: Path | None) -> None:
    @app.post("/v1/predict", openapi_extra=_BODY, summary="Classify a video")
    async def predict(
        request: Request,
        top_k: Annotated[int, Query(ge=1, le=1000, description="Classes to name.")] = 5,
        model: Annotated[str | None, Query(max_length=200, description="Which model; the first if not given.")] = None,
        change: Annotated[Change, Query(description="Change the order of the frames first.")] = "none",
        amount: Annotated[float, Query(ge=0, le=1, description="Share of the frames that is changed.")] = 1.0,
        reverse: Annotated[bool, Query(description="Also predict the video played backwards.")] = False,
        topk: Annotated[
            int | None, Query(ge=1, le=1000, deprecated=True, description="Old name of top_k, for one release.")
        ] = None,
    ) -> dict[str, Any]:
        """Send the video as the field `file` of a multipart form, or as JSON {"path": ...} in the server's folder."""
        number = service.model(model)
        service.require_room()
        async with _video_file(request, service, video_folder) as path:
            with service.queued():
                answer = await run_in_threadpool(
                    _predict, service, path, number, top_k if topk is None else topk, change, amount, reverse
                )
        return answer if topk is None else {**answer, "notice": _RENAMED}

    @app.post("/v1/explain", openapi_extra=_BODY, response_class=HTMLResponse, summary="Show what a model sees")
    async def explain(
        request: Request,
        model: Annotated[str | None, Query(max_length=200, description="Which model; the first if not given.")] = None,
        compare: Annotated[str | None, Query(max_length=200, description="A second model to show next to it.")] = None,
    ) -> HTMLResponse:
        """The self-contained page of `gta explain`, for a video sent as to `/v1/predict`."""
        numbers = [service.model(model)]
        if compare and service.model(compare) not in numbers:
            numbers.append(service.model(compare))
        service.require_explainable(numbers)
        service.require_room()
        async with _video_file(request, service, video_folder) as path:
            with service.queued():
                page = await run_in_threadpool(lambda: service.explain_page(service.read(path), numbers))
        return explanation_response(page)


def explanation_response(page: str) -> HTMLResponse:
    """An explain.html as an answer; the page's own policy is the stricter one."""
    policy = "sandbox allow-scripts allow-downloads; default-src 'self' 'unsafe-inline' data: blob:"
    return HTMLResponse(page.encode("utf-8", errors="replace"), headers={"content-security-policy": policy})


def _add_facts(app: FastAPI, service: Service) -> None:
    @app.get("/v1/health", summary="Whether the server answers")
    async def health() -> dict[str, str]:
        return {"status": "ok", "version": __version__}

    @app.get("/v1/model", summary="The models: names, classes, how they read a video")
    async def model() -> dict[str, Any]:
        return {"models": [served.card() for served in service.models]}

    @app.get("/metrics", response_class=PlainTextResponse, summary="Counters for Prometheus")
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(service.metrics.text(), media_type=CONTENT_TYPE)

    @app.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()))


def _predict(
    service: Service, path: Path, number: int, top_k: int, change: Change, amount: float, reverse: bool
) -> dict[str, Any]:
    video = service.read(path)
    answer = {
        "model": service.models[number].name,
        "predictions": service.predict(video, number, top_k=top_k, change=change, amount=amount),
        "num_frames": video.num_frames,
        "seconds": video.seconds,
    }
    if reverse:
        answer["reversed"] = service.predict(video, number, top_k=top_k, change="reverse")
    return answer


@contextlib.asynccontextmanager
async def _video_file(request: Request, service: Service, video_folder: Path | None) -> AsyncIterator[Path]:
    """The video that a request is about, as a file that is removed afterwards if it was sent."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        yield allowed_file(await _path_of(request), video_folder)
    elif kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=_MOST_FIELDS) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise RefusedError(422, "no_video", "There is no video in the request: send it as the field 'file'.")
            with await run_in_threadpool(_stored, service, file) as path:
                yield path
    else:
        raise RefusedError(415, "bad_type", "Send a multipart form with the field 'file', or JSON with a 'path'.")


async def _path_of(request: Request) -> str:
    try:
        values = await request.json()
    except ValueError:
        raise RefusedError(400, "bad_request", "The request is not JSON.") from None
    except RecursionError:
        raise RefusedError(400, "bad_request", "The request is nested too deeply.") from None
    path = values.get("path") if isinstance(values, dict) else None
    if not isinstance(path, str) or not path or "\0" in path:
        raise RefusedError(422, "no_video", "There is no video in the request: name it as 'path'.")
    return path


def _stored(service: Service, upload: UploadFile) -> contextlib.AbstractContextManager[Path]:
    path = service.folder.new_file(upload.filename or "")
    with path.open("xb") as file:
        shutil.copyfileobj(upload.file, file)
    return _removed(path)


@contextlib.contextmanager
def _removed(path: Path) -> Iterator[Path]:
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
