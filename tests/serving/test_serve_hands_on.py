"""The page of `gta serve` in the hands of a visitor: the slider, the keyboard alone, a recording, a foreign codec."""

from pathlib import Path

import av
import pytest
from pages import choose, expected, shown, upload, wait_for
from served_models import NAMES

from gta.clips.dataset import clip_views
from gta.serving.changes import changed
from gta.video.reading import read_video


def test_the_slider_moves_the_scores_as_the_model_says(visit, clip, models):
    """All three ways to change the frames, and back: what is shown is what the model gives for these frames."""
    page = visit()
    upload(page, clip)
    predictor = models[0].predictor
    views = clip_views(clip, predictor.clip)
    unchanged = expected(predictor, views)
    wait_for(page, "#changed", unchanged)
    slider = page.locator("#amount input[type=range]")
    slider.press("End")
    for change in ("shuffle", "drop", "freeze"):
        page.get_by_label(change).check()
        wanted = expected(predictor, changed(views, change, 1.0))
        wait_for(page, "#changed", wanted)
        assert shown(page, "#changed") != unchanged
    for _ in range(10):
        slider.press("ArrowLeft")
    wait_for(page, "#changed", expected(predictor, changed(views, "freeze", 0.5)))
    slider.press("Home")
    wait_for(page, "#changed", unchanged)


def _tab_to(page, selector: str) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement?.closest(selector) != null", selector):
            return
    raise AssertionError(f"Tab does not come to {selector}")


def test_the_keyboard_alone_is_enough(visit):
    """Choose an example, change its frames, ask for the explanation, and move the mark in it."""
    page = visit()
    _tab_to(page, "#example")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator("#changed ol").wait_for()
    assert set(shown(page, "#answer")) <= set(NAMES)
    _tab_to(page, "#amount input[type=range]")
    before = page.locator("#changed .frames").inner_html()
    page.keyboard.press("End")
    page.wait_for_function("before => document.querySelector('#changed .frames')?.innerHTML !== before", arg=before)
    _tab_to(page, "#explain")
    page.keyboard.press("Enter")
    inner = page.frame_locator("#seen iframe")
    inner.locator(".panel").wait_for()
    page.locator("#seen iframe").scroll_into_view_if_needed()
    cross = inner.locator(".cross").first
    cross.wait_for(state="attached")
    place = cross.evaluate("one => [one.style.left, one.style.top]")
    _tab_to(page, "iframe")
    for _ in range(6):
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowUp")
    assert cross.evaluate("one => [one.style.left, one.style.top]") != place


def test_a_recording_is_predicted(visit):
    page = visit()
    page.get_by_label("Capture from camera").click()
    page.locator("#video").get_by_text("Click to Access Webcam").click()
    button = page.locator("#video .capture-button")
    playing = "seconds => document.querySelector('#video video').currentTime > seconds"
    page.wait_for_function(playing, arg=0.5)  # the first pictures of a camera take their time
    button.click()
    before = page.locator("#video video").evaluate("video => video.currentTime")
    page.wait_for_function(playing, arg=before + 3)
    button.click()
    page.locator("#answer ol").first.wait_for()
    assert set(shown(page, "#answer")) <= set(NAMES)


@pytest.fixture
def unplayable(clip, tmp_path) -> Path:
    """The same frames as MPEG-4 Part 2, which browsers do not play."""
    frames = read_video(clip).permute(0, 2, 3, 1).numpy()
    path = tmp_path / "old.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=12)
        stream.height, stream.width = frames.shape[1:3]
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode())
    return path


def test_a_codec_that_the_browser_lacks_is_predicted_all_the_same_and_told(visit, unplayable, models):
    page = visit()
    upload(page, unplayable)
    predictor = models[0].predictor
    wait_for(page, "#answer", expected(predictor, clip_views(unplayable, predictor.clip)))
    assert page.locator("#answer .frames img").count() == 8
    page.get_by_text("This browser cannot play the video. The model reads it all the same").wait_for()


def test_another_model_answers_once_it_is_chosen(visit, clip, models):
    page = visit()
    upload(page, clip)
    for model in (models[0], models[1]):
        wait_for(page, "#answer", expected(model.predictor, clip_views(clip, model.predictor.clip)))
        choose(page, "Model", models[1].name)
