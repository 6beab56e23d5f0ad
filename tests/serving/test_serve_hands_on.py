"""The page of `gta serve` in the hands of a visitor: the slider, the keyboard alone, a recording, a foreign codec."""

from pathlib import Path

import av
import pytest
from pages import choose, expected, expected_moves, shown, upload, wait_for
from served_models import NAMES

from gta.clips.dataset import clip_views
from gta.serving.changes import changed
from gta.video.reading import read_video


def test_the_slider_moves_the_scores_as_the_model_says(visit, clip, models):
    """All ways to change the frames, and back: what is shown is what the model gives for these frames, beside what it
    gave before, in the order of before.
    """
    page = visit()
    upload(page, clip)
    predictor = models[0].predictor
    views = clip_views(clip, predictor.clip)
    page.get_by_text("Move the slider").wait_for()
    assert page.locator("#changed img").count() == 0
    slider = page.locator("#amount input[type=range]")
    slider.press("End")
    for change in ("shuffle", "drop", "freeze"):
        page.get_by_label(change).check()
        wait_for(page, "#changed", expected_moves(predictor, views, changed(views, change, 1.0)))
        page.locator("#again").wait_for(state="visible" if change == "shuffle" else "hidden")
    for name, score in zip(*predictor.best(views, 5), strict=True):
        line = page.locator("#changed li").filter(has_text=name)
        assert f"{100 * score:.1f} % \u2192" in line.inner_text()
        place = line.locator("i").evaluate("mark => parseFloat(mark.style.left)")
        assert place == pytest.approx(100 * score, abs=0.06)
    for _ in range(10):
        slider.press("ArrowLeft")
    wait_for(page, "#changed", expected_moves(predictor, views, changed(views, "freeze", 0.5)))
    slider.press("Home")
    page.get_by_text("Move the slider").wait_for()
    assert shown(page, "#answer") == expected(predictor, views)


def test_shuffle_again_takes_another_order(visit, clip, models):
    page = visit()
    upload(page, clip)
    page.locator("#answer ol").first.wait_for()
    page.locator("#amount input[type=range]").press("End")
    predictor = models[0].predictor
    views = clip_views(clip, predictor.clip)
    for seed in range(3):
        wait_for(page, "#changed", expected_moves(predictor, views, changed(views, "shuffle", 1.0, seed=seed)))
        page.locator("#again").click()


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
    page.locator("#answer ol").first.wait_for()
    assert set(shown(page, "#answer")) <= set(NAMES)
    _tab_to(page, "#answer button.play")
    page.keyboard.press("Enter")
    page.locator("#answer button.play").get_by_text("Play").wait_for()
    _tab_to(page, "#amount input[type=range]")
    page.keyboard.press("End")
    page.locator("#changed ol").wait_for()
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
    page.get_by_text("This browser cannot play the video, but the model can read it").wait_for()
    assert page.get_by_test_id("toast-body").filter(visible=True).count() == 0


def test_another_model_answers_once_it_is_chosen(visit, clip, models):
    page = visit()
    upload(page, clip)
    for model in (models[0], models[1]):
        wait_for(page, "#answer", expected(model.predictor, clip_views(clip, model.predictor.clip)))
        choose(page, "Model", models[1].name)
