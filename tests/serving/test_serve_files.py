"""Files that a visitor chooses for the page of `gta serve`: which ones are sent, and what is fetched for them."""

import pytest
from pages import expected, explain, shown, upload

from gta.clips.dataset import clip_views


def test_too_large_or_empty_a_file_is_told_in_the_answers_place(visit, clip, tmp_path):
    page = visit()
    big = tmp_path / "big.mp4"
    big.write_bytes(bytes(3 << 20))
    for _ in range(2):  # the same file may be chosen again
        upload(page, big)
        page.locator("#notice").get_by_text("The file is too large: at most 1 MB are accepted.").wait_for()
    empty = tmp_path / "empty.mp4"
    empty.touch()
    upload(page, empty)
    page.locator("#notice").get_by_text("The file is empty.").wait_for()
    assert not page.get_by_text("Choose a video").is_visible()
    assert "Error" not in page.locator("#video").inner_text()
    assert page.get_by_test_id("toast-body").count() == 0
    upload(page, clip)
    page.locator("#answer ol").first.wait_for()
    assert page.locator("#notice .notice").inner_text() == ""


@pytest.mark.parametrize(("name", "content"), [("clip.y4m", None), ("clip", None), ("notes.txt", b"no video")])
@pytest.mark.parametrize("dropped", [False, True])
def test_the_server_judges_what_the_browser_does_not_call_a_video(visit, clip, models, name, content, dropped):
    page = visit()
    file = {"name": name, "mimeType": "", "buffer": content or clip.read_bytes()}
    if dropped:
        data = page.evaluate_handle(
            """([name, bytes]) => {
                const data = new DataTransfer();
                data.items.add(new File([Uint8Array.from(bytes)], name, { type: "text/plain" }));
                return data;
            }""",
            [name, list(file["buffer"])],
        )
        page.locator("#video button").first.dispatch_event("drop", {"dataTransfer": data})
    else:
        page.locator("#video input[type=file]").set_input_files(file)
    if content is None:
        page.locator("#answer ol").first.wait_for()
        predictor = models[0].predictor
        assert shown(page, "#answer") == expected(predictor, clip_views(clip, predictor.clip))
    else:
        page.locator("#answer").get_by_text("The file cannot be read as a video").wait_for()
    assert page.get_by_test_id("toast-text").filter(visible=True).count() == 0


def test_nothing_large_is_fetched_and_what_it_sees_comes_into_sight(visit, clip):
    page = visit()
    sizes = []
    page.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
    page.reload()
    page.locator("html[data-ready]").wait_for()
    upload(page, clip)
    page.locator("#answer ol").first.wait_for()
    page.locator("#amount input[type=range]").press("End")
    page.locator("#changed ol").first.wait_for()
    assert page.get_by_label("Trim video to selection").count() == 0 or page.get_by_label("Trim video").is_hidden()
    page.evaluate("scrollTo(0, 0)")
    explain(page)
    page.wait_for_function("document.querySelector('#seen').getBoundingClientRect().top < innerHeight / 3")
    assert len(sizes) > 20
    assert 10_000 < max(sizes) < 2 << 20
