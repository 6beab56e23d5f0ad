"""The page of `gta serve` for those who cannot see it well, or at all: axe-core has nothing serious to say.

Checked at the sizes of a desk and of a phone, light and dark, in every state that a visitor brings it to.
"""

from typing import Any

import pytest
from pages import SIZES, choose, upload

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

_BAD = ("serious", "critical")


def _check(page: Any, state: str) -> None:
    """Look at a page, or at a frame of one."""
    page.wait_for_function("document.querySelectorAll('.pending, .generating').length === 0")
    found = [
        (finding["id"], finding["help"], [(node["target"], node["failureSummary"]) for node in finding["nodes"]])
        for finding in axe.Axe().run(page).response["violations"]
        if finding["impact"] in _BAD
    ]
    assert found == [], state


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_no_state_of_the_page_has_a_serious_finding(visit, clip, size, scheme):
    page = visit(size, scheme)
    _check(page, "empty")
    upload(page, clip)
    page.locator("#answer ol").first.wait_for()
    page.locator("#amount input[type=range]").press("End")
    page.locator("#changed ol").wait_for()
    _check(page, "answered")
    choose(page, "Compare with", "nl")
    page.locator("#explain").click()
    page.frame_locator("#seen iframe").locator(".panel").nth(1).wait_for()
    _check(page, "explained")
    (inner,) = page.frames[1:]
    _check(inner, "explanation")
    page.get_by_role("tab", name="Webcam").click()
    page.locator("#live p").wait_for()
    _check(page, "camera")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_refusals_have_no_serious_finding(visit, tmp_path, scheme):
    page = visit("desk", scheme)
    text = tmp_path / "list.mp4"
    text.write_bytes(b"ffconcat version 1.0\nfile '/etc/passwd'\n")
    upload(page, text)
    page.locator("#answer [role=alert]").wait_for()
    _check(page, "unreadable")
    page.reload()
    page.locator("#answer p").wait_for()
    big = tmp_path / "big.mp4"
    big.write_bytes(bytes(3 << 20))
    upload(page, big)
    page.locator("#notice [role=alert]").wait_for()
    _check(page, "too large")
