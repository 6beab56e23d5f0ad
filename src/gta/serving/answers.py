"""What the page shows of an answer, as markup: bars, frames, a film forwards and backwards, an explanation."""

from collections.abc import Sequence
from importlib import resources
from typing import Any

from torch import Tensor

from gta.config import ClipConfig
from gta.serving.film import Film
from gta.serving.limits import Limits, too_large
from gta.serving.service import middle_view
from gta.viz.frames import image_jpeg, spread
from gta.viz.page import Html, data_uri, isolated, join, percent, text

STYLE = resources.files("gta.serving").joinpath("assets", "page.css").read_text(encoding="utf-8")
HEAD = """
<div class="gta">
<h1>What does the model see in a video?</h1>
<p>Play it backwards, or shuffle its frames: a model that knows the order of time changes its mind.</p>
</div>
"""
_TOP = 5


def framed(*parts: Html) -> str:
    """Parts as the content of one place of the page."""
    return f'<div class="gta">{join(*parts)}</div>'


def refusal(message: str) -> str:
    """A refusal, read out by screen readers."""
    return framed(Html(f'<p class="bad" role="alert">{text(message)}</p>'))


def hint(sentence: str) -> str:
    """A sentence where there is no answer yet."""
    return framed(Html(f'<p class="hint">{text(sentence)}</p>'))


def notice(limits: Limits) -> str:
    """A place for what the browser finds out and the server does not hear of; empty until the script fills it.

    Args:
        limits: the script compares files with them before they are sent.
    """
    return framed(
        Html(
            f'<p class="bad notice" role="alert" data-most-bytes="{limits.max_bytes}" '
            f'data-too-large="{text(too_large(limits).message)}" data-empty="The file is empty."></p>'
        )
    )


def unplayable() -> Html:
    """Shown by the script where the browser cannot play the video that has been answered about."""
    return Html('<p class="unplayable" hidden>This browser cannot play the video, but the model can read it.</p>')


def bars(found: Sequence[dict[str, Any]]) -> Html:
    """The most probable classes as a list with a bar each."""
    lines = [_line(one["label"], percent(one["score"]), one["score"]) for one in found[:_TOP]]
    return Html(f"<ol>{join(*lines)}</ol>")


def moved(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> Html:
    """How scores have moved: the classes stay in their order, and a mark is where each bar ended.

    Args:
        before: every class of the unchanged video, best first.
        after: every class now, best first. If the best one was not among the first five, it stands below them.
    """
    now = {one["label"]: one["score"] for one in after}
    shown = [one for rank, one in enumerate(before) if rank < _TOP or one["label"] == after[0]["label"]]
    lines = []
    for one in shown:
        label, was, score = one["label"], one["score"], now[one["label"]]
        lines.append(_line(label, Html(f"{percent(was)} \u2192 <b>{percent(score)}</b>"), score, was))
    return Html(f"<ol>{join(*lines)}</ol>")


def _line(label: str, value: str, score: float, was: float | None = None) -> Html:
    mark = "" if was is None else f'<i style="left:{100 * was:.1f}%"></i>'
    return Html(
        f'<li><div class="line">{isolated(label)}<span>{text(value)}</span></div>'
        f'<div class="bar" aria-hidden="true"><span style="width:{100 * score:.1f}%"></span>{mark}</div></li>'
    )


def forwards_and_backwards(film: Film, found: Sequence[tuple[str, Any, Any]]) -> Html:
    """A film that plays in both directions in step, each with what one or two models call it.

    Args:
        film: what is played.
        found: name of a model, its classes forwards, and backwards, best first; for each model.
    """
    sides = []
    for title in ("Forwards", "Backwards"):
        lists = [
            join(_head(name, found), bars(forwards if title == "Forwards" else backwards))
            for name, forwards, backwards in found
        ]
        sides.append(
            Html(
                f'<section><h2>{title}</h2><div class="moving {title.lower()}" role="img" '
                f'aria-label="The video, {title.lower()}"></div>{join(*lists)}</section>'
            )
        )
    return Html(
        f'<div class="player" style="{film.sheet()}"><div class="pair">{join(*sides)}</div>'
        f'<p><button type="button" class="play">Pause</button> {text(film.caption)}</p></div>'
    )


def beside(found: Sequence[tuple[str, Html]]) -> Html:
    """Bars of one or two models side by side.

    Args:
        found: name of a model, and its bars; for each model.
    """
    sides = [Html(f"<section>{_head(name, found)}{shown}</section>") for name, shown in found]
    return Html(f'<div class="pair">{join(*sides)}</div>')


def _head(name: str, found: Sequence[Any]) -> Html:
    """The name of a model above what is its; nothing where there is only one."""
    return Html(f"<h3>{isolated(name)}</h3>" if len(found) > 1 else "")


def moved_bars(found: Sequence[tuple[str, Any, Any]]) -> Html:
    """How the scores of one or two models have moved, side by side.

    Args:
        found: name of a model, every class before, and now, best first; for each model.
    """
    return join(
        beside([(name, moved(before, after)) for name, before, after in found]),
        Html("<p>The mark on a bar is the score of the video with its frames in order.</p>"),
    )


def strip(views: Tensor, clip: ClipConfig, title: str) -> Html:
    """The frames of the middle view side by side, in several rows on a narrow screen."""
    frames = pictures(views, clip)
    shown = [frames[number] for number in spread(len(frames))]
    images = [Html(f'<img alt="" src="{data_uri(image_jpeg(frame), "image/jpeg")}">') for frame in shown]
    label = f"{title}: {len(shown)} of {len(frames)}"
    return Html(
        f'<h2>{text(title)}</h2><div class="frames" role="img" aria-label="{text(label)}">{join(*images)}</div>'
    )


def pictures(views: Tensor, clip: ClipConfig) -> Any:
    """The middle view's frames, uint8 (T, H, W, 3)."""
    return middle_view(views, clip).permute(1, 2, 3, 0).contiguous().numpy()


def explanation(token: str, names: Sequence[str]) -> str:
    """The page of an explanation inside this one, and a link that keeps it."""
    title = text(f"What {' and '.join(names)} see{'s' if len(names) == 1 else ''} in the video")
    return framed(
        Html(
            "<p>Click any frame below to see in all frames what the model attends to at that point. "
            f'<a href="explanations/{token}?download=1" download="explain.html">Save this page: explain.html</a></p>'
            f'<iframe src="explanations/{token}" title="{title}" sandbox="allow-scripts allow-downloads"></iframe>'
        )
    )
