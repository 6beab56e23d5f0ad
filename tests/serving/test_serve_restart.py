"""The page behind a password, and across a new start of its server, in a real browser."""

import socket
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from pages import shown, upload
from served_models import NAMES, predictor, serving, store

pytest.importorskip("gradio")

_SECONDS = 120


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A checkpoint and the file with the password."""
    folder = tmp_path_factory.mktemp("restart")
    store(predictor(), folder / "tiny.ckpt")
    (folder / "password").write_text("s:ecret\n")
    return folder


def _serving(place, port: int) -> AbstractContextManager[tuple[str, int]]:
    words = [str(place / "tiny.ckpt"), "--port", str(port), "--auth", f"mia:{place / 'password'}"]
    return serving(words, place / "log")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def _answered(page: Any, clip: Any) -> None:
    page.locator("html[data-ready]").wait_for()
    upload(page, clip)
    page.locator("#answer ol").first.wait_for()
    assert set(shown(page, "#answer")) <= set(NAMES)


def test_the_page_works_with_its_password_and_comes_back_after_a_new_start(browser, place, clip):
    port = _free_port()
    context = browser.new_context(http_credentials={"username": "mia", "password": "s:ecret"})
    context.set_default_timeout(1000 * _SECONDS)
    try:
        with _serving(place, port) as (address, _):
            for path in ("", "config", "gradio_api/app_id", "gradio_api/queue/join", "static/fonts/x", "theme.css"):
                assert httpx.get(f"{address}{path}").status_code == 401
            page = context.new_page()
            page.goto(address)
            _answered(page, clip)
        page.evaluate("window.isOld = true")
        page.locator("#amount input[type=range]").press("End")
        page.get_by_text("Connection to the server was lost").wait_for()
        with _serving(place, port):
            page.wait_for_function("window.isOld === undefined")
            _answered(page, clip)
    finally:
        context.close()
