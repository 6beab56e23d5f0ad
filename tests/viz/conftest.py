"""A real browser for pages, where there is one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens an HTML file as a reader does, from disk; afterwards it must have asked for nothing and complained of
    nothing.
    """
    contexts: list[Any] = []
    requests: list[str] = []
    complaints: list[str] = []

    def open_it(path: Path, *, width: int = 1280, height: int = 900, dark: bool = False, touch: bool = False) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", has_touch=touch
        )
        contexts.append(context)
        page = context.new_page()
        address = path.resolve().as_uri()
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.goto(address)
        return page

    yield open_it
    for context in contexts:
        context.close()
    outside = [url for url in requests if not url.startswith(("data:", "file:", "blob:"))]
    assert outside == []
    assert sum(url.startswith("file:") for url in requests) == len(contexts)  # the pages themselves
    assert complaints == []
