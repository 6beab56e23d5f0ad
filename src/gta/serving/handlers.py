"""What the controls of the page do: answers as markup, without the page itself."""

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from gta.serving import answers
from gta.serving.cameras import WINDOW_SECONDS
from gta.serving.changes import Change, changed
from gta.serving.film import film
from gta.serving.isolation import ReadVideo
from gta.serving.limits import RefusedError
from gta.serving.service import Service

NONE = "none"
"""What stands for no model to compare with."""
START = "Choose a video: upload or record one, or pick an example."
CAMERA_START = f"Start the camera to classify its last {WINDOW_SECONDS:g} seconds. Nothing is stored."
_CAMERA_WAIT = f"The first prediction appears after {WINDOW_SECONDS:g} seconds."
_MOVE = "Move the slider to see the changed frames and scores here."
_GONE = "This video has been removed: upload it again."


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


@dataclass
class Live:
    """What one visitor's camera has shown, changed in place."""

    numbers: list[int] = field(default_factory=list)
    """Models that are asked."""
    tokens: dict[int, str] = field(default_factory=dict)
    """The camera of each."""
    found: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    """The newest answer of each."""


class Handlers:
    """What the controls of the page do. Each answers with markup; a refusal is shown in the place of an answer."""

    def __init__(self, service: Service, examples: dict[str, Path]) -> None:
        self.service, self.examples = service, examples

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
            return self._show(visit, (upload or None, example or None), (model, beside), (change, percent, seed))

    def _show(
        self,
        visit: Visit,
        controls: tuple[str | None, str | None],
        models: tuple[str, str],
        change: tuple[Change, int | float, int],
    ) -> tuple[Any, Any, Any, Any, Any]:
        chosen = visit.choice(*controls)
        visit.controls, visit.chosen = controls, chosen
        asked = (*map(str, chosen), *models)
        answer, moved, seen = gr.skip(), gr.skip(), gr.skip()
        if asked != visit.asked:
            visit.asked, visit.unchanged, visit.moved, seen = asked, None, None, ""
        try:
            path = self._path(*chosen)
            if path is None:
                answer, moved = answers.hint(START), ""
            elif visit.unchanged is None or change != visit.moved:
                with self.service.queued():
                    video, numbers = self._read(path), self._numbers(*models)
                    if visit.unchanged is None:
                        answer, visit.unchanged = self._answer(path, video, numbers)
                    moved = self._moved(video, numbers, visit.unchanged, *change)
                    visit.moved = change
        except RefusedError as error:  # it stands where the answer is missing; the next move of a control tries again
            said = answers.refusal(error.message)
            answer, moved = (said, "") if visit.unchanged is None else (answer, said)
            visit.moved = None
        kept = [gr.skip() if now == before else now for now, before in zip(chosen, controls, strict=True)]
        return answer, moved, seen, kept[0], kept[1]

    def _path(self, upload: str | None, example: str | None) -> Path | None:
        return Path(upload) if upload else self.examples.get(example or "")

    def _numbers(self, model: str, beside: str) -> list[int]:
        names = [model] if beside in (NONE, model) else [model, beside]
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
            return answers.refusal(START)
        service = self.service
        try:
            with service.queued():
                numbers = self._numbers(model, beside)
                page = service.explain_page(self._read(path), numbers)
        except RefusedError as error:
            return answers.refusal(error.message)
        if visit.asked != asked:
            return ""
        token = secrets.token_urlsafe(16)
        service.explanations.put(token, page)
        return answers.explanation(token, [service.names[number] for number in numbers])

    def watch(self, picture: Any, live: Live, model: str, beside: str) -> Any:
        """The next frame of a camera: its last seconds slide along."""
        if picture is None:
            return answers.hint(CAMERA_START)
        service = self.service
        try:
            with service.queued():
                numbers = self._numbers(model, beside)
                new = live.numbers != numbers  # also at the first frame
                if new:
                    service.stop_watching(live.tokens.values())
                    live.numbers, live.tokens, live.found = numbers, {}, {}
                for number in numbers:
                    token, found = service.watch(live.tokens.get(number), number, picture)
                    if token != live.tokens.get(number):  # a camera that begins anew
                        live.tokens[number], live.found, new = token, {}, True
                    if found is not None:
                        live.found[number], new = found, True
        except RefusedError as error:
            return answers.refusal(error.message)
        if not new:
            return gr.skip()
        if len(live.found) < len(numbers):
            return answers.hint(_CAMERA_WAIT)
        return answers.framed(
            answers.beside([(service.names[number], answers.bars(live.found[number])) for number in numbers])
        )
