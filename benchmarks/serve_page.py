"""How long the page of `gta serve` takes beyond the prediction: from a click in a browser to the answer on the screen.

    python benchmarks/serve_page.py runs/mine/best.ckpt data/videos/*.mp4

Every video is predicted by a bare predictor, forwards and backwards as the page does, then chosen as an example on the
page, then uploaded to it; the page's time minus the predictor's is the extra time. Needs Playwright and Chromium.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from gta.clips.dataset import clip_views
from gta.predictor import Predictor
from serve_load import served

# Counts how often an answer with bars appeared: clicking, waiting and drawing are all inside what is timed.
_COUNT = """() => {
  window.answers = 0;
  const place = document.querySelector('#answer');
  const seen = () => { if (place.querySelector('ol')) requestAnimationFrame(() => { window.answers += 1; }); };
  new MutationObserver(seen).observe(place, {childList: true, subtree: true, characterData: true});
}"""


def predicted(predictor: Predictor, path: Path) -> float:
    """Seconds of a prediction forwards and one backwards, reading included."""
    begin = time.perf_counter()
    views = clip_views(path, predictor.clip)
    predictor.best(views, 5)
    predictor.best(views.flip(2), 5)
    return time.perf_counter() - begin


def opened(page: Any, address: str) -> None:
    """Load the page and count its answers."""
    page.goto(address)
    page.locator("#answer p").wait_for()
    page.evaluate(_COUNT)


def answered(page: Any, begin: float) -> float:
    """Seconds until the next answer is drawn."""
    page.wait_for_function("window.answers > 0")
    return time.perf_counter() - begin


def chosen(page: Any, name: str) -> float:
    """Seconds from choosing an example to its answer."""
    page.get_by_role("combobox", name="Or an example").click()
    option = page.get_by_role("option", name=name, exact=True)
    option.wait_for()
    page.evaluate("window.answers = 0")
    begin = time.perf_counter()
    option.click()
    return answered(page, begin)


def uploaded(page: Any, address: str, path: Path) -> float:
    """Seconds from the choice of a file to its answer."""
    opened(page, address)
    begin = time.perf_counter()
    page.locator("#video input[type=file]").set_input_files(path)
    return answered(page, begin)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("videos", type=Path, nargs="+")
    options = parser.parse_args()
    predictor = Predictor.from_checkpoint(options.checkpoint, device="cpu")
    with tempfile.TemporaryDirectory(prefix="gta-examples-") as folder:
        for path in options.videos:
            shutil.copy(path, folder)
        with served(options.checkpoint, "--examples", folder) as (address, _), sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page()
            uploaded(page, address, options.videos[0])  # the first answer starts processes
            predicted(predictor, options.videos[0])
            times: list[tuple[float, float, float]] = []
            for path in options.videos:
                upload = uploaded(page, address, path)
                opened(page, address)
                times.append((predicted(predictor, path), chosen(page, path.stem), upload))
            browser.close()
    for number, what in ((1, "example"), (2, "upload")):
        extra = [one[number] - one[0] for one in times]
        print(
            f"{what}: prediction {1000 * statistics.median(one[0] for one in times):.0f} ms, "
            f"on the page {1000 * statistics.median(one[number] for one in times):.0f} ms, "
            f"more: median {1000 * statistics.median(extra):.0f} ms, most {1000 * max(extra):.0f} ms of {len(times)}"
        )


if __name__ == "__main__":
    main()
