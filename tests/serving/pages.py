"""What the tests do with the page of `gta serve`, and read from it."""

from pathlib import Path
from typing import Any

import pytest

SIZES = {"desk": (1280, 900), "phone": (390, 844)}


def upload(page: Any, path: Path) -> None:
    page.locator("#video input[type=file]").set_input_files(path)


def choose(page: Any, label: str, option: str) -> None:
    page.get_by_role("combobox", name=label).click()
    page.get_by_role("option", name=option, exact=True).click()


def shown(page: Any, place: str, number: int = 0) -> dict[str, float]:
    """Classes and percentages of a list of bars; of bars that have moved, where they are now."""
    lines = page.locator(f"{place} ol").nth(number).locator(".line")
    # The texts and not what is drawn: a list that is just being replaced may be hidden.
    parted = lines.evaluate_all("lines => lines.map((line) => [...line.children].map((part) => part.textContent))")
    return {name: float(value.rpartition("\u2192")[2].removesuffix(" %")) for name, value in parted}


def expected(predictor: Any, views: Any) -> dict[str, Any]:
    """What `shown` should give for these views."""
    names, scores = predictor.best(views, 5)
    return {name: pytest.approx(100 * score, abs=0.06) for name, score in zip(names, scores, strict=True)}


def expected_moves(predictor: Any, views: Any, now: Any) -> dict[str, Any]:
    """What `shown` should give for bars that moved: the classes and order of before, and the best one of now."""
    every = len(predictor.classes)
    scores = dict(zip(*predictor.best(now, every), strict=True))
    kept, best = predictor.best(views, 5)[0], predictor.best(now, 1)[0][0]
    return {name: pytest.approx(100 * scores[name], abs=0.06) for name in dict.fromkeys([*kept, best])}


def wait_for(page: Any, place: str, wanted: dict[str, Any]) -> None:
    """Wait until the bars of a place are these, in this order, and say what they are if they do not become so."""
    for _ in range(300):
        if page.locator(f"{place} ol").count() and list(shown(page, place).items()) == list(wanted.items()):
            return
        page.wait_for_timeout(200)
    assert list(shown(page, place).items()) == list(wanted.items()), page.locator(place).inner_text()


def explain(page: Any) -> Any:
    """Ask for the explanation; its frame, once it is there."""
    # Gradio's client loses a call that is made in the very moment in which the stream of the former one ends: no hand
    # is that fast.
    page.wait_for_timeout(500)
    page.locator("#explain").press("Enter")  # a click may miss what moves while an answer appears above it
    inner = page.frame_locator("#seen iframe")
    inner.locator(".panel").first.wait_for()
    return inner
