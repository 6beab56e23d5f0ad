"""The parts that every HTML page of gta is built of: one self-contained file, safe for names from anywhere.

Text that is handed to a part is escaped there, so a class called `<script>` is shown and does nothing; what is markup
already is of type `Html`. A page asks for nothing beyond itself: a content security policy forbids every request, and
of all scripts it runs only the page's own, known by its hash.
"""

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from gta.terminal import printable


class Html(str):
    """Markup: shown as it is. All other text is escaped."""

    __slots__ = ()


Text = str | Html
"""What parts take: plain text, or markup of type `Html`."""


@cache
def asset(name: str) -> str:
    """A style sheet or script that comes with gta, by file name."""
    return resources.files("gta.viz").joinpath("assets", name).read_text(encoding="utf-8")


def text(value: object) -> Html:
    """`value` as text of a page; control characters and marks of writing direction are shown as escape sequences."""
    return value if isinstance(value, Html) else Html(html.escape(printable(value)))


def isolated(value: object) -> Html:
    """A name from outside (of a class, a file, a model): isolated, so that its direction turns nothing else round."""
    return Html(f"<bdi>{text(value)}</bdi>")


def with_names(sentence: str, names: Iterable[str]) -> Html:
    """A sentence in which every one of these names, wherever it occurs, is isolated."""
    known = sorted({one for one in names if one}, key=len, reverse=True)
    if not known:
        return text(sentence)
    parts = re.split(f"({'|'.join(map(re.escape, known))})", sentence)
    return join(*(isolated(part) if number % 2 else part for number, part in enumerate(parts)))


def join(*parts: Text) -> Html:
    """The parts one after the other."""
    return Html("".join(map(text, parts)))


def section(title: Text, *blocks: Html) -> Html:
    """A heading and what belongs to it; nothing if there are no blocks."""
    return join(Html(f"<section><h2>{text(title)}</h2>\n"), *blocks, Html("</section>\n")) if blocks else Html()


def paragraph(*parts: Text, kind: str = "") -> Html:
    """A paragraph.

    Args:
        parts: text and markup, joined.
        kind: "note" for small print, "good" or "bad" for a verdict.
    """
    return Html(f"<p{_class(kind)}>{join(*parts)}</p>\n")


def bullets(items: Iterable[Text], *, kind: str = "") -> Html:
    """A list of points."""
    return Html(f"<ul{_class(kind)}>{''.join(f'<li>{text(item)}</li>' for item in items)}</ul>\n")


def code(lines: str) -> Html:
    """A block of commands or of other text that is shown as typed."""
    shown = "\n".join(html.escape(printable(line)) for line in lines.split("\n"))
    return Html(f"<pre><code>{shown}</code></pre>\n")


def folded(title: Text, *blocks: Html) -> Html:
    """Blocks that the reader unfolds."""
    return join(Html(f"<details><summary>{text(title)}</summary>\n"), *blocks, Html("</details>\n"))


def figure(content: Html, caption: Text = "", *, broad: bool = False) -> Html:
    """Something to look at, with a caption below; on a narrow screen a `broad` one keeps its size and scrolls."""
    below = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    inside = f'<div class="broad">{content}</div>' if broad else content
    return Html(f"<figure>{inside}{below}</figure>\n")


def figures(*parts: Html, broad: bool = False) -> Html:
    """Figures side by side where there is room; `broad` ones need more of it."""
    return join(Html(f'<div class="figures{" broad" if broad else ""}">'), *parts, Html("</div>\n"))


def image(png: bytes, alternative: str, *, media_type: str = "image/png") -> Html:
    """A picture inside the page.

    Args:
        png: the encoded picture.
        alternative: what it shows, for those who do not see it.
        media_type: of the encoding.
    """
    return Html(f'<img alt="{text(alternative)}" src="{data_uri(png, media_type)}">')


def data_uri(content: bytes, media_type: str) -> str:
    """A file as an address that holds all of it."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


@dataclass(frozen=True)
class Group:
    """A line of a table that names the part below it."""

    title: Text


def table(
    head: Sequence[Text], rows: Iterable[Sequence[Text] | Group], *, text_columns: int = 1, quiet_rows: int = 0
) -> Html:
    """A table; on a narrow screen a row with many columns becomes a card.

    Args:
        head: titles of the columns.
        rows: as many cells as there are columns each.
        text_columns: columns from the left that hold text; the others hold numbers.
        quiet_rows: rows from the end that are for comparison only.

    Raises:
        ValueError: a row has another length than the head.
    """
    lines = list(rows)
    body: list[str] = []
    for number, row in enumerate(lines):
        if isinstance(row, Group):
            body.append(f'<tr><th colspan="{len(head)}">{text(row.title)}</th></tr>')
            continue
        if len(row) != len(head):
            raise ValueError(f"a row of {len(row)} cells in a table of {len(head)} columns")
        cells = [
            f'<td{_class("n" if column >= text_columns else "")} data-label="{_plain(title)}">{text(cell)}</td>'
            for column, (title, cell) in enumerate(zip(head, row, strict=True))
        ]
        body.append(f"<tr{_class('note' if number >= len(lines) - quiet_rows else '')}>{''.join(cells)}</tr>")
    titles = [
        f"<th{_class('n' if column >= text_columns else '')}>{text(cell)}</th>" for column, cell in enumerate(head)
    ]
    kinds = " ".join(kind for kind, wanted in (("cards", len(head) > 4), ("many", len(head) > 9)) if wanted)
    parts = f"<thead><tr>{''.join(titles)}</tr></thead>\n<tbody>{chr(10).join(body)}</tbody>"
    return Html(f'<div class="wide"><table{_class(kinds)}>{parts}</table></div>\n')


def page(title: str, *blocks: Html, style: str = "", script: str = "", data: str = "") -> str:
    """The whole file.

    Args:
        title: heading, and name of the window.
        blocks: the content.
        style: CSS beside the common one.
        script: JavaScript, run at the end of the page.
        data: JSON for the script, found as the element `data`.
    """
    allowed = ""
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
        allowed = f" script-src 'sha256-{digest}';"
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline';{allowed} base-uri 'none'; form-action 'none'"
    )
    # "<" in JSON stands in strings only, where its escape means the same: nothing in it can end the element.
    stored = data.replace("<", "\\u003c")
    tail = f'<script type="application/json" id="data">{stored}</script>\n<script>{script}</script>\n' if script else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{text(title)}</title>\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{asset('page.css')}{style}</style></head>\n"
        f"<body>\n<h1>{isolated(title)}</h1>\n{join(*blocks)}\n{tail}</body>\n</html>\n"
    )


def percent(share: int | float | None, digits: int = 1) -> str:
    """A share in [0, 1] as a percentage; "-" for None."""
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _plain(title: Text) -> str:
    """A column's title as the value of an attribute."""
    return "" if isinstance(title, Html) and "<" in title else text(title)
