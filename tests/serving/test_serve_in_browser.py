"""The page of `gta serve` in a real browser, at the sizes of a desk and of a phone.

What `visit` checks after each test holds for all: no error, no request beyond the server.
"""

import re
import secrets
from pathlib import Path
from typing import Any

import httpx
import pytest
from pages import SIZES, choose, expected, expected_moves, explain, shown, upload, wait_for
from served_models import NAMES

from gta.clips.dataset import clip_views
from gta.serving.changes import changed


@pytest.mark.parametrize("size", SIZES)
def test_an_upload_is_named_forwards_and_backwards(visit, clip, models, size):
    page = visit(size)
    upload(page, clip)
    page.locator("#answer ol").first.wait_for()
    predictor = models[0].predictor
    views = clip_views(clip, predictor.clip)
    assert shown(page, "#answer") == expected(predictor, views)
    assert shown(page, "#answer", 1) == expected(predictor, views.flip(2))
    forwards, backwards = (one.bounding_box() for one in page.locator("#answer .moving").all())
    assert forwards["y"] == backwards["y"]  # side by side, on a phone, too
    assert forwards["x"] + forwards["width"] < backwards["x"]
    assert page.locator("#answer .frames img").count() == 8
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


_CLOCKS = """() => Promise.all(Array.from(document.querySelectorAll("#answer .moving"), async (one) => {
  const [animation] = one.getAnimations(), {duration, direction} = animation.effect.getComputedTiming();
  await animation.ready;  // to stop and to go on takes until the next picture
  return {time: animation.currentTime, state: animation.playState, duration, direction};
}))"""


@pytest.mark.parametrize("calm", [False, True])
def test_both_directions_play_in_step_at_the_pace_of_the_video(visit, clip, calm):
    """They begin, stop and go on together; where motion is to be reduced they wait to be asked."""
    page = visit(calm=calm)
    choose(page, "Or an example", "Opening something")
    page.locator("#answer ol").first.wait_for()
    button = page.locator("#answer button.play")

    def clocks(state: str) -> float:
        forwards, backwards = page.evaluate(_CLOCKS)
        assert forwards["time"] == pytest.approx(backwards["time"], abs=1)
        assert (forwards["direction"], backwards["direction"]) == ("normal", "reverse")
        assert forwards["state"] == backwards["state"] == state
        seconds = float(re.search(r"([\d.]+) s\.", page.locator("#answer .player").inner_text())[1])
        assert forwards["duration"] == pytest.approx(1000 * seconds / 0.84, abs=70)  # it rests at both ends
        return forwards["time"]

    if calm:
        assert clocks("paused") == 0
        button.click()
    page.wait_for_timeout(300)
    assert clocks("running") > 0
    button.click()
    stopped = clocks("paused")
    page.wait_for_timeout(300)
    assert clocks("paused") == stopped


def test_nothing_stays_that_is_about_another_video_or_model(visit, clip):
    """The explanation goes with what it is of, and the refusal to explain nothing goes once a video is chosen."""
    page = visit()
    seen = page.locator("#seen")
    page.locator("#explain").click()
    seen.get_by_role("alert").wait_for()
    upload(page, clip)
    page.wait_for_function("document.querySelector('#seen').innerText.trim() === ''")
    changes = (
        lambda: choose(page, "Or an example", "Closing something"),
        lambda: choose(page, "Model", "nl"),
        lambda: choose(page, "Compare with", "gta"),
        lambda: upload(page, clip),
        lambda: page.locator("#video").get_by_role("button", name="Clear").click(),
    )
    for change in changes:
        explain(page)
        change()
        page.locator("#seen iframe").wait_for(state="detached")
    page.locator("#answer").get_by_text("Choose a video").wait_for()


@pytest.mark.parametrize("size", SIZES)
def test_two_models_are_asked_at_the_same_click_and_the_page_can_be_kept(visit, clip, models, size):
    page = visit(size)
    upload(page, clip)
    page.locator("#answer ol").first.wait_for()
    beside = page.get_by_label("Compare with")
    beside.click()
    page.get_by_role("option", name="nl", exact=True).click()
    first, second = (clip_views(clip, served.predictor.clip) for served in models)
    wait_for(page, "#answer", expected(models[0].predictor, first))
    page.locator("#answer ol").nth(3).wait_for()
    assert shown(page, "#answer", 1) == expected(models[1].predictor, second)
    assert shown(page, "#answer", 2) == expected(models[0].predictor, first.flip(2))
    assert shown(page, "#answer", 3) == expected(models[1].predictor, second.flip(2))
    page.locator("#amount input[type=range]").press("End")
    page.locator("#changed ol").nth(1).wait_for()
    wanted = expected_moves(models[1].predictor, second, changed(second, "shuffle", 1.0))
    assert shown(page, "#changed", 1) == wanted
    inner = explain(page)
    inner.locator(".panel").nth(1).wait_for()
    page.locator("#seen iframe").scroll_into_view_if_needed()  # what is out of sight is not drawn
    (frame,) = page.frames[1:]
    for _ in range(100):  # the policy of the frame lets nothing wait in it
        if frame.evaluate("document.scrollingElement.scrollHeight === innerHeight"):
            break
        page.wait_for_timeout(100)
    assert frame.evaluate("document.scrollingElement.scrollHeight === innerHeight")  # nothing scrolls within it
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
    page.wait_for_function(
        "document.querySelector('#video video')?.error"
    )  # that the browser cannot play it, either ...
    assert page.get_by_test_id("toast-body").filter(visible=True).count() == 0  # ... is not worth a second notice
    assert page.get_by_text("but the model can read it").filter(visible=True).count() == 0


# The browser of the tests grants every camera without asking: this is what one answers whose visitor does not.
_DENIED = """navigator.mediaDevices.getUserMedia =
  () => Promise.reject(new DOMException("Permission denied", "NotAllowedError"));"""


def test_a_camera_that_is_not_allowed_is_told(visit):
    page = visit()
    page.add_init_script(_DENIED)
    page.reload()
    page.get_by_role("tab", name="Webcam").click()
    page.locator("#camera").get_by_role("button", name="Access Webcam").click()
    page.locator("#live-notice").get_by_text("Camera access was denied").wait_for()


def test_the_camera_is_classified_live_by_both_models(visit):
    page = visit()
    choose(page, "Compare with", "nl")
    page.get_by_role("tab", name="Webcam").click()
    page.locator("#camera").get_by_role("button", name="Access Webcam").click()
    page.locator("#camera").get_by_role("button", name="Record").click()
    page.locator("#live ol").nth(1).wait_for()
    assert page.locator("#live h3").all_inner_texts() == ["gta", "nl"]
    for number in range(2):
        assert set(shown(page, "#live", number)) <= set(NAMES)
    note = "getComputedStyle(document.querySelector('#live'), '::after').content"
    assert page.evaluate(note) == "none"


def test_no_absolute_path_leaves_the_server(address, clip):
    sent = httpx.post(f"{address}gradio_api/upload", files={"files": ("a.mp4", clip.read_bytes())}, timeout=60)
    assert sent.status_code == 200
    answers = [sent, *(httpx.get(f"{address}{path}", timeout=60) for path in ("", "config", "v1/model", "docs"))]
    for answer in answers:
        assert answer.status_code == 200
        for root in ("/tmp", "/root", "/home", "/usr", str(clip.parent), str(Path.cwd())):
            assert f'"{root}' not in answer.text


def test_malformed_calls_of_the_page_tell_nothing_and_leave_no_traceback_in_the_log(server):
    """Every value at every place of every function, where it belongs and where it does not."""
    with httpx.Client(base_url=server.address, timeout=60) as client:
        (name,) = client.post("gradio_api/upload", files={"files": ("a.mp4", b"x")}).json()
        file = {"path": name, "meta": {"_type": "gradio.FileData"}}
        values = [
            file,
            {**file, "size": "much"},
            {"path": ""},
            {"url": "http://127.0.0.1:9/a.png"},
            {},
            "gta",
            7,
            True,
            [],
            None,
        ]
        refused = 0
        page = client.get("config").json()
        parts = {part["id"]: part for part in page["components"]}
        for number, function in enumerate(page["dependencies"]):
            usual = [_usual(parts[part]) for part in function["inputs"]]
            for place in range(len(usual)):
                for value in values:
                    if value == usual[place] or (function["connection"] == "stream" and value == "gta"):
                        continue  # nothing malformed; and what streams would go on until its visitor goes
                    refused += _call(client, server, number, [*usual[:place], value, *usual[place + 1 :]]) == 400
        assert refused > 100
    assert "Traceback" not in server.log.read_text()


def _usual(part: dict[str, Any]) -> object:
    """The value that a component has in a new page."""
    return None if part["type"] == "state" else part["props"].get("value")


def _call(client: httpx.Client, server: Any, number: int, data: list[object]) -> int:
    """Have a function of the page called; nothing that is said may tell where the server keeps its files."""
    session = f"s{secrets.token_hex(8)}"
    answer = client.post("gradio_api/queue/join", json={"data": data, "fn_index": number, "session_hash": session})
    told = answer.text
    if answer.status_code == 200:
        with client.stream("GET", f"gradio_api/queue/data?session_hash={session}") as events:
            for line in events.iter_lines():
                told += line
                if "process_completed" in line:
                    break
    else:
        assert answer.status_code == 400, told
    assert str(server.folder) not in told
    return answer.status_code


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
