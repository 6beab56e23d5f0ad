"""For all tests: a real browser where there is one; hypothesis repeats the same examples in CI and looks for new ones
on a developer's machine.
"""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Fixtures and tests that encode AV1 as root leave their process, and all that it starts, in a real-time class.

    SVT-AV1 asks for it. Other processes on the machine would hardly run while the tests do.
    """
    _leave_real_time()
    yield
    _leave_real_time()


def _leave_real_time() -> None:
    if hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The system's Chromium, driven by Playwright; tests that need it are skipped where one of both is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=path, args=["--no-sandbox", *_FAKE_CAMERA])
        yield launched
        launched.close()
