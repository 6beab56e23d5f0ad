"""What the page shows of an answer, as markup: bars, frames, a clip forwards and backwards, an explanation."""

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from gta.config import ClipConfig
from gta.serving.service import middle_view
from gta.viz.frames import image_jpeg, spread
from gta.viz.page import Html, data_uri, isolated, join, percent, text

STYLE = """
.gta h1 { margin: .4rem 0; line-height: 1.2; }
.gta h2 { font-size: 1.1rem; margin: .8rem 0 .3rem; }
.gta .pair { display: flex; flex-wrap: wrap; gap: 1rem 2rem; }
.gta .pair > section { flex: 1 1 15rem; min-width: 0; }
.gta ol { list-style: none; margin: .4rem 0; padding: 0; }
.gta li { margin: .3rem 0; overflow-wrap: anywhere; }
.gta .line { display: flex; justify-content: space-between; gap: 1rem; }
.gta .line span { white-space: nowrap; }
.gta .bar { height: .5rem; border-radius: .25rem; background: #8884; }
.gta .bar span { display: block; height: 100%; border-radius: .25rem; background: #2563eb; }
.gta .moving { width: 12rem; max-width: 100%; border-radius: .3rem; display: block; }
.gta .frames { display: flex; flex-wrap: wrap; gap: 2px; max-width: 46rem; }
.gta .frames img { flex: 1 1 4.2rem; min-width: 4.2rem; max-width: 8rem; display: block; }
.gta iframe { width: 100%; height: 46rem; border: 1px solid #8886; border-radius: .4rem; background: white; }
.gta .bad { border-left: .3rem solid #b91c1c; padding: .4rem .8rem; background: #b91c1c18; }
.gta a { color: #1d4ed8; text-decoration: underline; }
input::placeholder { color: #4b5563 !important; opacity: 1 !important; }
.dark input::placeholder { color: #d1d5db !important; }
[data-testid="min-value"], [data-testid="max-value"], .min_value, .max_value { color: inherit !important; }
.or, input.subdued { color: inherit !important; }
button.primary, button.primary:hover { background: #1d4ed8 !important; color: white !important; }
button[role="tab"].selected { color: #1d4ed8 !important; }
.dark button[role="tab"].selected { color: #93c5fd !important; }
.dark .gta a { color: #93c5fd; }
"""
HEAD = """
<div class="gta">
<h1>What does the model see in a video?</h1>
<p>Play it backwards, or shuffle its frames: a model that knows the order of time changes its mind.</p>
</div>
"""
_MILLISECONDS = 250
_SIDE = 160


def framed(*parts: Html) -> str:
    """Parts as the content of one place of the page."""
    return f'<div class="gta">{join(*parts)}</div>'


def refusal(message: str) -> str:
    """A refusal, read out by screen readers."""
    return framed(Html(f'<p class="bad" role="alert">{text(message)}</p>'))


def hint(sentence: str) -> str:
    """A sentence where there is no answer yet."""
    return framed(Html(f"<p>{text(sentence)}</p>"))


def bars(found: Sequence[dict[str, Any]]) -> Html:
    """The most probable classes as a list with a bar each."""
    lines = [
        Html(
            f'<li><div class="line">{isolated(one["label"])}<span>{percent(one["score"])}</span></div>'
            f'<div class="bar" aria-hidden="true"><span style="width:{100 * one["score"]:.1f}%"></span></div></li>'
        )
        for one in found
    ]
    return Html(f"<ol>{join(*lines)}</ol>")


def forwards_and_backwards(
    views: Tensor, clip: ClipConfig, forwards: Sequence[dict[str, Any]], backwards: Sequence[dict[str, Any]]
) -> Html:
    """The clip as the model sees it, playing in both directions, each with what the model calls it."""
    frames = pictures(views, clip)
    sides = [
        Html(
            f"<section><h2>{title}</h2>"
            f'<img class="moving" alt="The sampled frames, {title.lower()}" src="{moving(shown)}">'
            f"{bars(found)}</section>"
        )
        for title, shown, found in (("Forwards", frames, forwards), ("Backwards", frames[::-1], backwards))
    ]
    return Html(f'<div class="pair">{join(*sides)}</div>')


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


def moving(frames: Any) -> str:
    """Frames as an animated picture, a data URI."""
    images = [Image.fromarray(frame) for frame in frames]
    scale = max(1, round(_SIDE / max(images[0].size)))
    images = [one.resize((one.width * scale, one.height * scale)) for one in images]
    buffer = io.BytesIO()
    images[0].save(
        buffer, "WEBP", save_all=True, append_images=images[1:], duration=_MILLISECONDS, loop=0, quality=75, method=0
    )
    return data_uri(buffer.getvalue(), "image/webp")


def explanation(token: str, names: Sequence[str]) -> str:
    """The page of an explanation inside this one, and a link that keeps it."""
    title = text(f"What {' and '.join(names)} sees in the video" if names else "What the model sees")
    return framed(
        Html(
            f'<p><a href="explanations/{token}?download=1" download="explain.html">Keep this page: explain.html</a></p>'
            f'<iframe src="explanations/{token}" title="{title}" sandbox="allow-scripts allow-downloads"></iframe>'
        )
    )
