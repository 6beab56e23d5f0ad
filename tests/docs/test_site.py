"""The documentation site builds as `make docs` builds it: a broken link, an unknown name or bad markup fails."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from sphinx.util.inventory import InventoryFile

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; every warning of the generator is an error."""
    html = tmp_path_factory.mktemp("site") / "html"
    result = subprocess.run(
        [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "docs", str(html)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return html


def test_the_site_can_be_read_and_searched_from_disk(site: Path) -> None:
    assert (site / "index.html").is_file()
    assert (site / "searchindex.js").is_file()
    for page in site.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = [part.split('"')[0] for part in (text + " ").split('src="')[1:]]
        assert not [address for address in loaded if "//" in address], page.name


def test_a_public_name_that_is_not_in_the_reference_fails_the_build(site: Path) -> None:
    undocumented = runpy.run_path(str(ROOT / "docs" / "conf.py"))["undocumented"]  # what the build warns of
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="").data
    documented = {name for kind, names in inventory.items() if kind.startswith("py:") for name in names}
    assert undocumented(documented) == []
    assert undocumented(documented - {"gta.Predictor", "gta.blocks.NonLocal"}) == [
        "gta.Predictor",
        "gta.blocks.NonLocal",
    ]


def test_docstrings_are_not_taken_for_other_markup(site: Path) -> None:
    """`channels: C.` is not a list that begins at the letter C, nor are the words before a colon a type."""
    for page in (site / "api").glob("*.html"):
        text = page.read_text(encoding="utf-8")
        for misread in ("upperalpha", "upperroman", "<blockquote>", ">Type<"):
            assert misread not in text, f"{page.name}: {misread}"
