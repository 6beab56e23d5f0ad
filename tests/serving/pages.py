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
    """Classes and percentages of a list of bars."""
    lines = page.locator(f"{place} ol").nth(number).locator(".line").all_inner_texts()
    return {line.rsplit("\n", 1)[0]: float(line.rsplit("\n", 1)[1].removesuffix(" %")) for line in lines}


def expected(predictor: Any, views: Any) -> dict[str, Any]:
    """What `shown` should give for these views."""
    names, scores = predictor.best(views, 5)
    return {name: pytest.approx(100 * score, abs=0.06) for name, score in zip(names, scores, strict=True)}


def wait_for(page: Any, place: str, wanted: dict[str, Any]) -> None:
    """Wait until the bars of a place are these, and say what they are if they do not become so."""
    for _ in range(300):
        if page.locator(f"{place} ol").count() and shown(page, place) == wanted:
            return
        page.wait_for_timeout(200)
    assert shown(page, place) == wanted
