"""Small models behind the routes of `gta serve`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pages import SIZES
from served_models import NAMES, predictor, serving, store
from starlette.testclient import TestClient

from gta.serving.limits import Limits
from gta.serving.server import create_app
from gta.serving.service import ServedModel, Service
from gta.synthetic import write_clip


@pytest.fixture(scope="session")
def models() -> list[ServedModel]:
    return [ServedModel("gta", predictor()), ServedModel("nl", predictor("tiny_nl", side=32))]


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    write_clip(path, NAMES[0], seed=5, index=0, frame_size=(48, 64))
    return path


@pytest.fixture(scope="session")
def service(models):
    made = Service(models, Limits(max_mb=1.0, max_seconds=5.0, request_seconds=30.0, body_seconds=2.0, num_workers=1))
    yield made
    made.close()


@pytest.fixture(scope="session")
def client(service, clip):
    with TestClient(create_app(service, video_folder=clip.parent, with_page=False)) as opened:
        yield opened


@dataclass(frozen=True)
class Server:
    """A running `gta serve`: its address, its process, the folder that it takes for temporary files, and its log."""

    address: str
    pid: int
    folder: Path
    log: Path


@pytest.fixture(scope="session")
def server(models, tmp_path_factory) -> Iterator[Server]:
    """`gta serve` with its page, as a process of its own."""
    pytest.importorskip("gradio")
    place, temporary = tmp_path_factory.mktemp("served"), tmp_path_factory.mktemp("temporary")
    paths = [str(store(model.predictor, place / f"{model.name}.ckpt")) for model in models]
    words = [*paths, "--port", "0", "--max-mb", "1", "--max-seconds", "5", "--request-seconds", "60"]
    with serving(words, place / "log", TMPDIR=str(temporary)) as (address, pid):
        yield Server(address, pid, temporary, place / "log")
    assert list(temporary.iterdir()) == []


@pytest.fixture(scope="session")
def address(server) -> str:
    return server.address


_PAGE_SECONDS = 120
_HARMLESS = "Method not implemented."  # a warning of Gradio's own event target, at every upload


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Open the page; afterwards, no visit may have had an error, or have asked for anything beyond the server."""
    contexts: list[Any] = []
    outside: list[str] = []
    complaints: list[str] = []

    def note(message: Any) -> None:
        if message.type in ("error", "warning") and message.text != _HARMLESS:
            complaints.append(f"{message.type}: {message.text}")

    def visit_it(size: str = "desk", scheme: str = "light", *, calm: bool = False) -> Any:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            permissions=["camera", "microphone"],
            reduced_motion="reduce" if calm else "no-preference",
        )
        context.set_default_timeout(1000 * _PAGE_SECONDS)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: outside.append(request.url))
        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        page.locator("#answer p").wait_for()
        page.locator("html[data-ready]").wait_for()  # the page's own script has run
        return page

    yield visit_it
    for context in contexts:
        context.close()
    assert [url for url in outside if not url.startswith((address, "data:", "blob:"))] == []
    assert complaints == []
