"""The page of `gta serve` in a real browser, at the sizes of a desk and of a phone.

What `visit` checks after each test holds for all: no error, no request beyond the server.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from served_models import NAMES

from gta.clips.dataset import clip_views

_SIZES = {"desk": (1280, 900), "phone": (390, 844)}
_SECONDS = 120
_HARMLESS = "Method not implemented."  # a warning of Gradio's own event target, at every upload


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    contexts: list[Any] = []
    outside: list[str] = []
    complaints: list[str] = []

    def note(message: Any) -> None:
        if message.type in ("error", "warning") and message.text != _HARMLESS:
            complaints.append(f"{message.type}: {message.text}")

    def visit_it(size: str = "desk") -> Any:
        width, height = _SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, permissions=["camera"])
        context.set_default_timeout(1000 * _SECONDS)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: outside.append(request.url))
        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        page.locator("#answer p").wait_for()
        return page

    yield visit_it
    for context in contexts:
        context.close()
    assert [url for url in outside if not url.startswith((address, "data:", "blob:"))] == []
    assert complaints == []


def _upload(page: Any, path: Path) -> None:
    page.locator("#video input[type=file]").set_input_files(path)


def _shown(page: Any, place: str, number: int = 0) -> dict[str, float]:
    """Classes and percentages of a list of bars."""
    lines = page.locator(f"{place} ol").nth(number).locator(".line").all_inner_texts()
    return {line.rsplit("\n", 1)[0]: float(line.rsplit("\n", 1)[1].removesuffix(" %")) for line in lines}


def _expected(predictor: Any, views: Any) -> dict[str, Any]:
    names, scores = predictor.best(views, 5)
    return {name: pytest.approx(100 * score, abs=0.06) for name, score in zip(names, scores, strict=True)}


@pytest.mark.parametrize("size", _SIZES)
def test_an_upload_is_named_forwards_and_backwards(visit, clip, models, size):
    page = visit(size)
    _upload(page, clip)
    page.locator("#answer ol").first.wait_for()
    predictor = models[0].predictor
    views = clip_views(clip, predictor.clip)
    assert _shown(page, "#answer") == _expected(predictor, views)
    assert _shown(page, "#answer", 1) == _expected(predictor, views.flip(2))
    assert page.locator("#answer .moving").count() == 2
    assert page.locator("#answer .frames img").count() == 8
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("size", _SIZES)
def test_two_models_are_asked_at_the_same_click_and_the_page_can_be_kept(visit, clip, size):
    page = visit(size)
    _upload(page, clip)
    page.locator("#answer ol").first.wait_for()
    beside = page.get_by_label("Compare with")
    beside.click()
    page.get_by_role("option", name="nl", exact=True).click()
    page.locator("#explain").click()
    inner = page.frame_locator("#seen iframe")
    inner.locator(".panel").nth(1).wait_for()
    page.locator("#seen iframe").scroll_into_view_if_needed()  # what is out of sight is not drawn
    view = inner.locator(".panel").nth(0).locator(".frame .view").nth(2)
    view.scroll_into_view_if_needed()
    box = view.bounding_box()
    page.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + 0.2 * box["height"])
    crosses = inner.locator(".cross")
    places = [crosses.nth(number).evaluate("one => [one.style.left, one.style.top]") for number in range(2)]
    for left, top in places:
        assert abs(float(left.removesuffix("%")) - 80) < 4
        assert abs(float(top.removesuffix("%")) - 20) < 4
    with page.expect_download() as download:
        page.get_by_role("link", name="explain.html").click()
    assert download.value.suggested_filename == "explain.html"
    assert "<!doctype html>" in Path(download.value.path()).read_text()[:20]


def test_an_example_is_chosen_with_the_keyboard_alone(visit):
    page = visit()
    for _ in range(25):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#example') !== null"):
            break
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator("#answer ol").first.wait_for()
    assert set(_shown(page, "#answer")) <= set(NAMES)


def test_what_cannot_be_read_is_told_in_words(visit, tmp_path):
    page = visit()
    text = tmp_path / "list.mp4"
    text.write_bytes(b"ffconcat version 1.0\nfile '/etc/passwd'\n")
    _upload(page, text)
    alert = page.locator("#answer [role=alert]")
    alert.wait_for()
    assert "cannot be read as a video" in alert.inner_text()
    assert "text file" in alert.inner_text()


def test_too_large_a_file_is_told(visit, tmp_path):
    page = visit()
    big = tmp_path / "big.mp4"
    big.write_bytes(bytes(3 << 20))
    _upload(page, big)
    toast = page.get_by_test_id("toast-body").first
    toast.wait_for()
    assert "size" in toast.inner_text().lower()


def test_the_camera_is_classified_live(visit):
    page = visit()
    page.get_by_role("tab", name="Webcam").click()
    page.locator("#camera").get_by_role("button", name="Access Webcam").click()
    page.get_by_label("capture photo").click()
    page.locator("#live ol").wait_for()
    assert set(_shown(page, "#live")) <= set(NAMES)


def test_no_absolute_path_leaves_the_server(address, clip):
    upload = httpx.post(f"{address}gradio_api/upload", files={"files": ("a.mp4", clip.read_bytes())}, timeout=60)
    assert upload.status_code == 200
    answers = [upload, *(httpx.get(f"{address}{path}", timeout=60) for path in ("", "config", "v1/model", "docs"))]
    for answer in answers:
        assert answer.status_code == 200
        for root in ("/tmp", "/root", "/home", "/usr", str(clip.parent), str(Path.cwd())):
            assert f'"{root}' not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        *("gradio_api/file=/etc/passwd", "gradio_api/file=../../etc/passwd", "gradio_api/proxy=http://127.0.0.1/"),
        *("gradio_api/info", "gradio_api/run/predict", "gradio_api/call/predict", "monitoring", "gradio_api/vibe-code"),
    ],
)
def test_what_the_page_does_not_need_of_gradio_is_shut(address, path):
    answer = httpx.get(f"{address}{path}", timeout=60)
    assert answer.status_code in (403, 404)
    assert "root:" not in answer.text
