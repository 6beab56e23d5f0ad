"""The page for people (Gradio): the same functions as the routes, with hands on them."""

import secrets
from collections import OrderedDict
from pathlib import Path
from typing import Any

import gradio as gr
import gradio.themes
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from gta.serving import answers
from gta.serving.api import explanation_response
from gta.serving.cameras import WINDOW_SECONDS
from gta.serving.changes import Change, changed
from gta.serving.limits import RefusedError
from gta.serving.mends import SCRIPT
from gta.serving.service import Service

_KEPT_PAGES = 32
_NONE = "none"
_LEAST_STEP_SECONDS = 0.1
_CAMERA_SECONDS = 300
_HIDDEN: Any = "private"
_START = "Choose a video: upload or record one, or take an example."
_CAMERA_START = (
    f"Start the camera: what it has seen in the last {WINDOW_SECONDS:g} seconds is named. Nothing is stored."
)
_CAMERA_WAIT = f"The first answer comes after {WINDOW_SECONDS:g} seconds."


def add_page(app: FastAPI, service: Service, examples: dict[str, Path]) -> int:
    """Put the page at `/` of an application that has the routes for programs.

    Args:
        app: the application.
        service: what answers.
        examples: videos to offer, by the names that visitors see.

    Returns:
        How many functions the page has: their numbers in calls are below.
    """
    pages = _add_explanations(app, service)
    blocks = _blocks(Handlers(service, examples, pages))
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
    return len(blocks.fns)


def _add_explanations(app: FastAPI, service: Service) -> "OrderedDict[str, str]":
    """The route that the page shows explanations from; the last ones are kept in memory."""
    pages: OrderedDict[str, str] = OrderedDict()

    @app.get("/explanations/{token}", response_class=HTMLResponse, include_in_schema=False)
    async def explanation(token: str, request: Request) -> HTMLResponse:
        if token not in pages:
            raise RefusedError(404, "gone", "This explanation is no longer here; ask again.")
        answer = explanation_response(pages[token])
        if "download" in request.query_params:
            answer.headers["content-disposition"] = 'attachment; filename="explain.html"'
        return answer

    return pages


class Handlers:
    """What the controls of the page do. Each answers with markup; a refusal is shown in the place of an answer."""

    def __init__(self, service: Service, examples: dict[str, Path], pages: "OrderedDict[str, str]") -> None:
        self.service, self.examples, self._pages = service, examples, pages

    def path(self, upload: str | None, example: str | None) -> Path | None:
        """The chosen video."""
        if upload:
            return Path(upload)
        return self.examples.get(example or "")

    def predict(self, upload: str | None, example: str | None, model: str) -> str:
        """The video forwards and backwards, and its sampled frames."""
        path = self.path(upload, example)
        if path is None:
            return answers.hint(_START)
        service = self.service
        try:
            with service.place():
                number = service.model(model)
                video = service.read(path, remember=True)
                forwards = service.predict(video, number)
                backwards = service.predict(video, number, change="reverse")
        except RefusedError as error:
            return answers.refusal(error.message)
        clip, views = service.models[number].predictor.clip, service.views(video, number)
        return answers.framed(
            answers.forwards_and_backwards(views, clip, forwards, backwards),
            answers.strip(views, clip, "The frames that the model sees"),
        )

    def change(self, upload: str | None, example: str | None, model: str, change: Change, percent: float) -> str:
        """The video with its frames changed, and how the scores move."""
        path = self.path(upload, example)
        if path is None:
            return ""
        service, amount = self.service, percent / 100
        try:
            with service.place():
                number = service.model(model)
                video = service.read(path, remember=True)
                found = service.predict(video, number, change=change, amount=amount)
        except RefusedError as error:  # what is wrong with the video stands beside it already
            return "" if error.status == 422 else answers.refusal(error.message)
        clip, views = service.models[number].predictor.clip, service.views(video, number)
        return answers.framed(
            answers.strip(changed(views, change, amount), clip, "The frames in this order"), answers.bars(found)
        )

    def explain(self, upload: str | None, example: str | None, model: str, beside: str) -> str:
        """What one or two models see, to click through."""
        path = self.path(upload, example)
        if path is None:
            return answers.refusal(_START)
        service = self.service
        try:
            with service.place():
                numbers = [service.model(model)]
                if beside not in (_NONE, model):
                    numbers.append(service.model(beside))
                page = service.explain_page(service.read(path, remember=True), numbers)
        except RefusedError as error:
            return answers.refusal(error.message)
        token = secrets.token_urlsafe(16)
        self._pages[token] = page
        while len(self._pages) > _KEPT_PAGES:
            self._pages.popitem(last=False)
        return answers.explanation(token, [service.names[number] for number in numbers])

    def watch(self, picture: Any, camera: str | None, model: str) -> tuple[Any, str | None]:
        """The next frame of a camera: its last seconds slide along."""
        if picture is None:
            return answers.hint(_CAMERA_START), None
        service = self.service
        try:
            with service.place():
                token, found = service.watch(camera, service.model(model), picture)
        except RefusedError as error:
            return answers.refusal(error.message), camera
        if found is not None:
            return answers.framed(answers.bars(found)), token
        return (gr.skip() if token == camera else answers.hint(_CAMERA_WAIT)), token


def _blocks(handlers: Handlers) -> gr.Blocks:
    names = handlers.service.names
    with gr.Blocks(title="gta serve", analytics_enabled=False) as blocks:
        gr.HTML(answers.HEAD, container=False)
        with gr.Row():
            model = gr.Dropdown(names, value=names[0], label="Model", interactive=True)
            beside = gr.Dropdown(
                [_NONE, *names], value=_NONE, label="Compare with", interactive=True, visible=len(names) > 1
            )
        with gr.Tabs():
            with gr.Tab("Video"):
                _video_tab(handlers, model, beside)
            with gr.Tab("Webcam"):
                _camera_tab(handlers, model)
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
        with gr.Column(scale=2):
            answer = gr.HTML(answers.hint(_START), elem_id="answer")
    with gr.Row(equal_height=True):
        with gr.Column():  # columns stand one below the other on a phone
            change = gr.Radio(["shuffle", "drop", "freeze"], value="shuffle", label="What happens to the frames")
        with gr.Column():
            percent = gr.Slider(0, 100, value=0, step=5, label="Share of the frames, in percent", elem_id="amount")
    moved = gr.HTML("", elem_id="changed")
    button = gr.Button("Show what it sees: click any frame", variant="primary", elem_id="explain")
    seen = gr.HTML("", elem_id="seen")

    chosen = [video, example, model]
    hidden = {"api_visibility": _HIDDEN, "show_progress": "minimal"}
    gr.on([video.change, example.input, model.change], handlers.predict, chosen, answer, **hidden)
    video.change(lambda path: None if path else gr.skip(), video, example, api_visibility=_HIDDEN)
    gr.on(
        [percent.change, change.change, video.change, example.input, model.change],
        handlers.change,
        [*chosen, change, percent],
        moved,
        trigger_mode="always_last",
        **hidden,
    )
    example.input(lambda: None, None, video, api_visibility=_HIDDEN)
    button.click(handlers.explain, [*chosen, beside], seen, **hidden)


def _camera_tab(handlers: Handlers, model: gr.Dropdown) -> None:
    with gr.Row():
        with gr.Column():
            camera = gr.Image(label="Camera", sources=["webcam"], streaming=True, type="numpy", elem_id="camera")
        with gr.Column():
            live = gr.HTML(answers.hint(_CAMERA_START), elem_id="live")
    token = gr.State(None)
    most_frames = max(served.predictor.clip.num_frames for served in handlers.service.models)
    camera.stream(
        handlers.watch,
        [camera, token, model],
        [live, token],
        stream_every=max(WINDOW_SECONDS / most_frames, _LEAST_STEP_SECONDS),
        time_limit=_CAMERA_SECONDS,
        concurrency_limit=4,
        show_progress="hidden",
        api_visibility=_HIDDEN,
    )
