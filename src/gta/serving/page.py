"""The page for people (Gradio): the same functions as the routes, with hands on them."""

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import gradio.themes
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from gradio.data_classes import FileData, ImageData
from pydantic import BaseModel, ValidationError

from gta.serving import answers
from gta.serving.api import explanation_response
from gta.serving.camera_frames import PREFIX, camera_frame
from gta.serving.cameras import WINDOW_SECONDS
from gta.serving.handlers import CAMERA_START, NONE, START, Handlers, Live, Visit
from gta.serving.limits import RefusedError
from gta.serving.mends import SCRIPT
from gta.serving.service import Service
from gta.serving.visitor_files import Functions

_MOST_CALLS = 1 << 53
"""Calls that a page can count."""
_LEAST_STEP_SECONDS = 0.1
_CAMERA_SECONDS = 300
_HIDDEN: Any = "private"
_NUMBERED = "(...inputs) => [...inputs.slice(0, -1), window.gtaCalls = (window.gtaCalls ?? 0) + 1]"


def add_page(app: FastAPI, service: Service, examples: dict[str, Path]) -> Functions:
    """Put the page at `/` of an application that has the routes for programs.

    Args:
        app: the application.
        service: what answers.
        examples: videos to offer, by the names that visitors see.

    Returns:
        What the functions of the page take.
    """
    _add_explanations(app, service)
    blocks = _blocks(Handlers(service, examples))
    blocks.queue(max_size=service.limits.queue_size, default_concurrency_limit=service.limits.batch_size)
    system = ["system-ui", "sans-serif"]
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
        show_error=False,
        max_file_size=service.limits.max_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        run_history=False,
        footer_links=[],
        theme=gradio.themes.Base(primary_hue="blue", font=system, font_mono=["monospace"]),
        css=answers.STYLE,
        js=SCRIPT,
    )
    # Gradio checks that a named file was uploaded only once this is set, which mounting does not do.
    blocks.has_launched = True
    functions = [blocks.fns[number] for number in range(len(blocks.fns))]
    return Functions(
        inputs=[[partial(_takes, part) for part in function.inputs] for function in functions],
        streaming=frozenset(number for number, function in enumerate(functions) if function.connection == "stream"),
    )


def _frame(payload: ImageData | None) -> Any:
    """What the camera sends. Gradio would log a traceback for a damaged frame, and take all that Pillow reads."""
    return None if payload is None else camera_frame(payload.url)


def _takes(part: Any, value: Any) -> bool:
    """Whether a component of the page can have this value, as a call brings it."""
    match part:
        case gr.Video():
            return value is None or (_is_valid(FileData, value) and bool(value["path"]))
        case gr.Image():  # the frames of a camera come as they are, not as uploads
            return value is None or (
                _is_valid(ImageData, value) and not value.get("path") and str(value.get("url")).startswith(PREFIX)
            )
        case gr.Dropdown() | gr.Radio():
            return value in [known for _, known in part.choices] or value is part.value is None
        case gr.Slider():
            return isinstance(value, int | float) and part.minimum <= value <= part.maximum
        case gr.Number():
            return isinstance(value, int) and abs(value) < _MOST_CALLS
        case _:
            return value is None  # a state, which stays here


def _is_valid(model: type[BaseModel], value: Any) -> bool:
    try:
        model.model_validate(value)
    except ValidationError:
        return False
    return True


def _add_explanations(app: FastAPI, service: Service) -> None:
    """The route that the page shows explanations from."""

    @app.get("/explanations/{token}", response_class=HTMLResponse, include_in_schema=False)
    async def explanation(token: str, request: Request) -> HTMLResponse:
        page = service.explanations.get(token)
        if page is None:
            raise RefusedError(404, "gone", "This explanation has expired; request it again.")
        answer = explanation_response(page)
        if "download" in request.query_params:
            answer.headers["content-disposition"] = 'attachment; filename="explain.html"'
        return answer


def _blocks(handlers: Handlers) -> gr.Blocks:
    names = handlers.service.names
    with gr.Blocks(title="gta serve", analytics_enabled=False) as blocks:
        gr.HTML(answers.HEAD, container=False)
        with gr.Row():
            model = gr.Dropdown(names, value=names[0], label="Model", interactive=True)
            beside = gr.Dropdown(
                [NONE, *names], value=NONE, label="Compare with", interactive=True, visible=len(names) > 1
            )
        with gr.Tabs():
            with gr.Tab("Video"):
                _video_tab(handlers, model, beside)
            with gr.Tab("Webcam"):
                _camera_tab(handlers, model, beside)
    return blocks


def _video_tab(handlers: Handlers, model: gr.Dropdown, beside: gr.Dropdown) -> None:
    limits = handlers.service.limits
    with gr.Row():
        with gr.Column(scale=1):
            video = gr.Video(
                label=f"Video, at most {limits.max_mb:g} MB and {limits.max_seconds:g} s",
                sources=["upload", "webcam"],
                format=None,
                include_audio=True,
                elem_id="video",
            )
            example = gr.Dropdown(list(handlers.examples), value=None, label="Or an example", elem_id="example")
        with gr.Column(scale=2, elem_id="answers"):
            gr.HTML(answers.notice(limits), elem_id="notice")
            answer = gr.HTML(answers.hint(START), elem_id="answer")
    with gr.Row(equal_height=True):
        with gr.Column():  # columns stand one below the other on a phone
            change = gr.Radio(["shuffle", "drop", "freeze"], value="shuffle", label="Change to the frames")
            again = gr.Button("Shuffle again", elem_id="again", size="sm")
        with gr.Column():
            percent = gr.Slider(0, 100, value=0, step=5, label="Share of the frames, in percent", elem_id="amount")
    moved = gr.HTML("", elem_id="changed")
    button = gr.Button("Show what it sees", variant="primary", elem_id="explain")
    seen = gr.HTML("", elem_id="seen")

    visit, seed, call = gr.State(Visit()), gr.State(0), gr.Number(0, precision=0, visible=False)
    chosen = [visit, video, example, model, beside]
    hidden = {"api_visibility": _HIDDEN, "show_progress": "minimal", "trigger_mode": "always_last"}
    # One function for all: what is shown last is what was chosen last, and a video is read once.
    gr.on(
        [component.change for component in (video, model, beside, percent, change, seed)] + [example.input],
        handlers.show,
        [*chosen, change, percent, seed, call],
        [answer, moved, seen, video, example],
        js=_NUMBERED,
        show_progress_on=answer,
        **hidden,
    )
    change.change(lambda change: gr.Button(visible=change == "shuffle"), change, again, api_visibility=_HIDDEN)
    again.click(lambda seed: seed + 1, seed, seed, api_visibility=_HIDDEN)
    button.click(handlers.explain, chosen, seen, **hidden)


def _camera_tab(handlers: Handlers, model: gr.Dropdown, beside: gr.Dropdown) -> None:
    with gr.Row():
        with gr.Column():
            camera = gr.Image(label="Camera", sources=["webcam"], streaming=True, type="numpy", elem_id="camera")
            camera.preprocess = _frame  # of this one: a class of our own would make Gradio write files beside this one
        with gr.Column():
            gr.HTML(answers.notice(handlers.service.limits), elem_id="live-notice")
            live = gr.HTML(answers.hint(CAMERA_START), elem_id="live")
    most_frames = max(served.predictor.clip.num_frames for served in handlers.service.models)
    camera.stream(
        handlers.watch,
        [camera, gr.State(Live()), model, beside],
        live,
        stream_every=max(WINDOW_SECONDS / most_frames, _LEAST_STEP_SECONDS),
        time_limit=_CAMERA_SECONDS,
        concurrency_limit=4,
        show_progress="hidden",
        api_visibility=_HIDDEN,
    )
