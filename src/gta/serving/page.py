"""The page for people (Gradio): the same functions as the routes, with hands on them."""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
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
from gta.serving.cameras import WINDOW_SECONDS
from gta.serving.changes import Change, changed
from gta.serving.film import film
from gta.serving.isolation import ReadVideo
from gta.serving.limits import RefusedError
from gta.serving.mends import SCRIPT
from gta.serving.service import Service
from gta.serving.visitor_files import Takes

_KEPT_PAGES = 32
_MOST_CALLS = 1 << 53
"""Calls that a page can count."""
_NONE = "none"
_LEAST_STEP_SECONDS = 0.1
_CAMERA_SECONDS = 300
_HIDDEN: Any = "private"
_START = "Choose a video: upload or record one, or take an example."
_NUMBERED = "(...inputs) => [...inputs.slice(0, -1), window.gtaCalls = (window.gtaCalls ?? 0) + 1]"
_MOVE = "Move the slider, and the frames and how the scores move are shown here."
_GONE = "This video is no longer here: upload it again."
_CAMERA_START = (
    f"Start the camera: what it has seen in the last {WINDOW_SECONDS:g} seconds is named. Nothing is stored."
)
_CAMERA_WAIT = f"The first answer comes after {WINDOW_SECONDS:g} seconds."


def add_page(app: FastAPI, service: Service, examples: dict[str, Path]) -> list[list[Takes]]:
    """Put the page at `/` of an application that has the routes for programs.

    Args:
        app: the application.
        service: what answers.
        examples: videos to offer, by the names that visitors see.

    Returns:
        For each function of the page, by its number in calls, what its inputs take.
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
    return [[partial(_takes, part) for part in blocks.fns[number].inputs] for number in range(len(blocks.fns))]


def _takes(part: Any, value: Any) -> bool:
    """Whether a component of the page can have this value, as a call brings it."""
    match part:
        case gr.Video():
            return value is None or (_is_valid(FileData, value) and bool(value["path"]))
        case gr.Image():  # the frames of a camera come as they are, not as uploads
            return value is None or (_is_valid(ImageData, value) and _is_picture(value))
        case gr.Dropdown() | gr.Radio():
            return value in [known for _, known in part.choices] or value is part.value is None
        case gr.Slider():
            return isinstance(value, int | float) and part.minimum <= value <= part.maximum
        case gr.Number():
            return isinstance(value, int) and abs(value) < _MOST_CALLS
        case _:
            return value is None  # a state, which stays here


def _is_picture(frame: dict[str, Any]) -> bool:
    return not frame.get("path") and str(frame.get("url")).startswith("data:image/")


def _is_valid(model: type[BaseModel], value: Any) -> bool:
    try:
        model.model_validate(value)
    except ValidationError:
        return False
    return True


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


@dataclass
class Visit:
    """What one visitor's page shows, so that what is there already is not worked out again, and nothing stale stays.

    One object for each visitor, changed in place: an explanation that takes long sees what has been chosen meanwhile.
    """

    controls: tuple[str | None, str | None] = (None, None)
    """The uploaded video and the example, as the controls had them last."""
    chosen: tuple[str | None, str | None] = (None, None)
    """The one of them that was chosen last; the other one is None."""
    asked: tuple[str, ...] | None = None
    """The video, model and comparison that the answer is about."""
    unchanged: list[list[dict[str, Any]]] | None = None
    """Every class of each model for the unchanged video, best first; None where there is no answer."""
    moved: tuple[Any, ...] | None = None
    """The change of the frames that is shown."""
    call: int = 0
    """Number of the newest call that was answered."""

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        """Held by the call that is answered. No field: Gradio copies those, which no lock lets itself be."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "Visit":
        """What Gradio makes for every new visitor."""
        return Visit()

    def choice(self, upload: str | None, example: str | None) -> tuple[str | None, str | None]:
        """What is chosen now, as `chosen`: of two, the one that was not there before."""
        upload, example = upload or None, example or None
        if not (upload and example):
            return upload, example
        if (upload, example) == self.controls:
            return self.chosen
        return (None, example) if upload == self.controls[0] else (upload, None)


class Handlers:
    """What the controls of the page do. Each answers with markup; a refusal is shown in the place of an answer."""

    def __init__(self, service: Service, examples: dict[str, Path], pages: "OrderedDict[str, str]") -> None:
        self.service, self.examples, self._pages = service, examples, pages

    def show(
        self,
        visit: Visit,
        upload: str | None,
        example: str | None,
        model: str,
        beside: str,
        change: Change,
        percent: int | float,
        seed: int,
        call: int,
    ) -> tuple[Any, Any, Any, Any, Any]:
        """Whatever follows from what is chosen, and is not on the page yet.

        Calls are numbered by the page. Gradio lets two of them overlap now and then: of these the older one must not
        have the last word.

        Returns:
            The video forwards and backwards; its frames changed, with how the scores move; the explanation, which goes
            when it is of something else; the uploaded video and the example, of which only one stays chosen.
        """
        with visit.lock:
            if call < visit.call:
                return gr.skip(), gr.skip(), gr.skip(), gr.skip(), gr.skip()
            visit.call = call
            return self._show(visit, upload, example, model, beside, (change, percent, seed))

    def _show(
        self,
        visit: Visit,
        upload: str | None,
        example: str | None,
        model: str,
        beside: str,
        change: tuple[Change, int | float, int],
    ) -> tuple[Any, Any, Any, Any, Any]:
        chosen = visit.choice(upload, example)
        visit.controls, visit.chosen = (upload or None, example or None), chosen
        asked = (*map(str, chosen), model, beside)
        answer, moved, seen = gr.skip(), gr.skip(), gr.skip()
        if asked != visit.asked:
            visit.asked, visit.unchanged, visit.moved, seen = asked, None, None, ""
        try:
            path = self._path(*chosen)
            if path is None:
                answer, moved = answers.hint(_START), ""
            elif visit.unchanged is None or change != visit.moved:
                with self.service.place():
                    video, numbers = self._read(path), self._numbers(model, beside)
                    if visit.unchanged is None:
                        answer, visit.unchanged = self._answer(path, video, numbers)
                    moved = self._moved(video, numbers, visit.unchanged, *change)
                    visit.moved = change
        except RefusedError as error:  # it stands where the answer is missing; the next move of a control tries again
            said = answers.refusal(error.message)
            answer, moved = (said, "") if visit.unchanged is None else (answer, said)
            visit.moved = None
        kept = [gr.skip() if now == before else now for now, before in zip(chosen, (upload, example), strict=True)]
        return answer, moved, seen, kept[0], kept[1]

    def _path(self, upload: str | None, example: str | None) -> Path | None:
        return Path(upload) if upload else self.examples.get(example or "")

    def _numbers(self, model: str, beside: str) -> list[int]:
        names = [model] if beside in (_NONE, model) else [model, beside]
        return [self.service.model(name) for name in names]

    def _read(self, path: Path) -> ReadVideo:
        try:
            return self.service.read(path, remember=True)
        except RefusedError:
            if path.exists():
                raise
            raise RefusedError(404, "gone", _GONE) from None

    def _answer(self, path: Path, video: ReadVideo, numbers: Sequence[int]) -> tuple[str, list[list[dict[str, Any]]]]:
        """The video forwards and backwards with its classes, its sampled frames; and every class of every model."""
        shown = film(self.service, path, video, numbers[0])
        forwards = [self._every(video, number, "none", 1.0, 0) for number in numbers]
        backwards = [self._every(video, number, "reverse", 1.0, 0) for number in numbers]
        names = [self.service.names[number] for number in numbers]
        markup = answers.framed(
            answers.unplayable(),
            answers.forwards_and_backwards(shown, list(zip(names, forwards, backwards, strict=True))),
            *self._strips(video, numbers, "The frames that {} sees", "none", 1.0, 0),
        )
        return markup, forwards

    def _moved(
        self,
        video: ReadVideo,
        numbers: Sequence[int],
        before: Sequence[Any],
        change: Change,
        percent: int | float,
        seed: int,
    ) -> str:
        """The video with its frames changed, and how the scores move."""
        amount = percent / 100
        if not amount:
            return answers.hint(_MOVE)
        after = [self._every(video, number, change, amount, seed) for number in numbers]
        names = [self.service.names[number] for number in numbers]
        return answers.framed(
            *self._strips(video, numbers, "The frames in this order, for {}", change, amount, seed),
            answers.moved_bars(list(zip(names, before, after, strict=True))),
        )

    def _every(self, video: ReadVideo, number: int, change: Change, amount: float, seed: int) -> list[dict[str, Any]]:
        every = len(self.service.models[number].predictor.classes)
        return self.service.predict(video, number, top_k=every, change=change, amount=amount, seed=seed)

    def _strips(
        self, video: ReadVideo, numbers: Sequence[int], title: str, change: Change, amount: float, seed: int
    ) -> list[Any]:
        """The frames of each model; once if they read the same ones."""
        strips = {}
        for number in numbers:
            clip = self.service.models[number].predictor.clip
            if clip not in strips:
                views = changed(self.service.views(video, number), change, amount, seed=seed)
                strips[clip] = answers.strip(views, clip, title.format(self.service.names[number]))
        return list(strips.values())

    def explain(self, visit: Visit, upload: str | None, example: str | None, model: str, beside: str) -> str:
        """What one or two models see, to click through; nothing if something else has been chosen meanwhile."""
        path, asked = self._path(*visit.choice(upload, example)), visit.asked
        if path is None:
            return answers.refusal(_START)
        service = self.service
        try:
            with service.place():
                numbers = self._numbers(model, beside)
                page = service.explain_page(self._read(path), numbers)
        except RefusedError as error:
            return answers.refusal(error.message)
        if visit.asked != asked:
            return ""
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
        with gr.Column(scale=2, elem_id="answers"):
            gr.HTML(answers.notice(limits), elem_id="notice")
            answer = gr.HTML(answers.hint(_START), elem_id="answer")
    with gr.Row(equal_height=True):
        with gr.Column():  # columns stand one below the other on a phone
            change = gr.Radio(["shuffle", "drop", "freeze"], value="shuffle", label="What happens to the frames")
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


def _camera_tab(handlers: Handlers, model: gr.Dropdown) -> None:
    with gr.Row():
        with gr.Column():
            camera = gr.Image(label="Camera", sources=["webcam"], streaming=True, type="numpy", elem_id="camera")
        with gr.Column():
            gr.HTML(answers.notice(handlers.service.limits), elem_id="live-notice")
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
