"""The page for people (Gradio): the same functions as the routes, with hands on them."""

import secrets
from collections import OrderedDict
from pathlib import Path
from typing import Any

import gradio as gr
import gradio.themes
import torch
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from gta.clips.transforms import EvaluationViews
from gta.serving import answers
from gta.serving.api import explanation_response
from gta.serving.changes import Change, changed
from gta.serving.limits import RefusedError
from gta.serving.service import Service

_KEPT_PAGES = 32
_NONE = "none"
_STEP_SECONDS = 0.25
_CAMERA_SECONDS = 300
_HIDDEN: Any = "private"
_START = "Choose a video: upload or record one, or take an example."


def add_page(app: FastAPI, service: Service, examples: dict[str, Path]) -> None:
    """Put the page at `/` of an application that has the routes for programs.

    Args:
        app: the application.
        service: what answers.
        examples: videos to offer, by the names that visitors see.
    """
    pages = _add_explanations(app, service)
    blocks = _blocks(_Handlers(service, examples, pages))
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
    )
    # Gradio checks that a named file was uploaded only once this is set, which mounting does not do.
    blocks.has_launched = True


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


class _Handlers:
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
        except RefusedError as error:
            return answers.refusal(error.message)
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

    def watch(self, picture: Any, window: list[torch.Tensor] | None, model: str) -> tuple[str, list[torch.Tensor]]:
        """The camera's last frames as a clip: the window slides by one frame."""
        window = list(window or [])
        if picture is None:
            return answers.hint("Start the camera; nothing is stored."), []
        service = self.service
        try:
            with service.place():
                number = service.model(model)
                clip = service.models[number].predictor.clip
                fitted = EvaluationViews(clip)
                frame = fitted.fit(torch.from_numpy(picture.copy()).permute(2, 0, 1))
                if window and window[-1].shape != frame.shape:
                    window = []
                window = [*window, frame][-clip.num_frames :]
                frames = torch.stack([window[0]] * (clip.num_frames - len(window)) + window)
                views = fitted.finish(frames.repeat(clip.test_clips, 1, 1, 1))
                found = service.predict_views(views, number)
        except RefusedError as error:
            return answers.refusal(error.message), window
        return answers.framed(answers.bars(found)), window


def _blocks(handlers: _Handlers) -> gr.Blocks:
    names = handlers.service.names
    with gr.Blocks(title="gta serve", analytics_enabled=False) as blocks:
        gr.HTML('<div class="gta"><h1>What does the model see in a video?</h1></div>', container=False)
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


def _video_tab(handlers: _Handlers, model: gr.Dropdown, beside: gr.Dropdown) -> None:
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
    with gr.Row():
        change = gr.Radio(["shuffle", "drop", "freeze"], value="shuffle", label="What happens to the frames")
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


def _camera_tab(handlers: _Handlers, model: gr.Dropdown) -> None:
    with gr.Row():
        camera = gr.Image(label="Camera", sources=["webcam"], streaming=True, type="numpy", elem_id="camera")
        live = gr.HTML(answers.hint("Start the camera; nothing is stored."), elem_id="live")
    window = gr.State(None)
    camera.stream(
        handlers.watch,
        [camera, window, model],
        [live, window],
        stream_every=_STEP_SECONDS,
        time_limit=_CAMERA_SECONDS,
        concurrency_limit=4,
        show_progress="hidden",
        api_visibility=_HIDDEN,
    )
