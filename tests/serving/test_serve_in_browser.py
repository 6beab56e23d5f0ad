"""The page of `gta serve` in a real browser, at the sizes of a desk and of a phone.

What `visit` checks after each test holds for all: no error, no request beyond the server.
"""

from pathlib import Path

import httpx
import pytest
from pages import SIZES, expected, shown, upload
from served_models import NAMES

from gta.clips.dataset import clip_views


@pytest.mark.parametrize("size", SIZES)
def test_an_upload_is_named_forwards_and_backwards(visit, clip, models, size):
    page = visit(size)
    upload(page, clip)
    page.locator("#answer ol").first.wait_for()
    predictor = models[0].predictor
    views = clip_views(clip, predictor.clip)
    assert shown(page, "#answer") == expected(predictor, views)
    assert shown(page, "#answer", 1) == expected(predictor, views.flip(2))
    assert page.locator("#answer .moving").count() == 2
    assert page.locator("#answer .frames img").count() == 8
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("size", SIZES)
def test_two_models_are_asked_at_the_same_click_and_the_page_can_be_kept(visit, clip, size):
    page = visit(size)
    upload(page, clip)
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


def test_what_cannot_be_read_is_told_in_words(visit, tmp_path):
    page = visit()
    text = tmp_path / "list.mp4"
    text.write_bytes(b"ffconcat version 1.0\nfile '/etc/passwd'\n")
    upload(page, text)
    alert = page.locator("#answer [role=alert]")
    alert.wait_for()
    assert "cannot be read as a video" in alert.inner_text()
    assert "text file" in alert.inner_text()


def test_too_large_a_file_is_told(visit, tmp_path):
    page = visit()
    big = tmp_path / "big.mp4"
    big.write_bytes(bytes(3 << 20))
    upload(page, big)
    toast = page.get_by_test_id("toast-body").first
    toast.wait_for()
    assert "size" in toast.inner_text().lower()


def test_the_camera_is_classified_live(visit):
    page = visit()
    page.get_by_role("tab", name="Webcam").click()
    page.locator("#camera").get_by_role("button", name="Access Webcam").click()
    page.get_by_label("capture photo").click()
    page.locator("#live ol").wait_for()
    assert set(shown(page, "#live")) <= set(NAMES)


def test_no_absolute_path_leaves_the_server(address, clip):
    sent = httpx.post(f"{address}gradio_api/upload", files={"files": ("a.mp4", clip.read_bytes())}, timeout=60)
    assert sent.status_code == 200
    answers = [sent, *(httpx.get(f"{address}{path}", timeout=60) for path in ("", "config", "v1/model", "docs"))]
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
