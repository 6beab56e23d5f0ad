"""Wheel and sdist are the same bytes whenever they are built, and complete; the files a release carries are true."""

import importlib.util
import re
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

import gta

ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location("release_check", ROOT / "scripts" / "release_check.py")
assert _SPEC is not None
assert _SPEC.loader is not None
release_check = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(release_check)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Wheel and sdist of this tree, after two builds gave the same bytes."""
    if not (ROOT / ".git").exists():
        pytest.skip("what belongs into an archive is asked of git, and this is no clone")
    return release_check.build(tmp_path_factory.mktemp("build"))


def test_two_builds_give_the_same_bytes(built: tuple[Path, Path]) -> None:
    wheel, sdist = built
    assert wheel.name == f"gta_video-{gta.__version__}-py3-none-any.whl"
    assert sdist.name == f"gta_video-{gta.__version__}.tar.gz"


def test_builds_that_differ_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = iter(range(10))

    def build_something_else(words, **_):
        if "hatchling" in words:
            folder = Path(words[-1])
            folder.mkdir(parents=True)
            (folder / "x.whl").write_text(str(next(count)))
            return ""
        return "1\n" if "log" in words else ""

    monkeypatch.setattr(release_check, "run", build_something_else)
    with pytest.raises(release_check.CheckError, match=r"x\.whl: two builds of the same tree differ"):
        release_check.build(tmp_path)


@pytest.mark.parametrize("lost", ["gta/py.typed", "gta/viz/assets/page.css"])
def test_a_file_that_the_wheel_lacks_is_named(built: tuple[Path, Path], tmp_path: Path, lost: str) -> None:
    wheel, sdist = built
    poorer = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(poorer, "w") as part:
        for name in whole.namelist():
            if name != lost:
                part.writestr(name, whole.read(name))
    with pytest.raises(release_check.CheckError, match=re.escape(lost)):
        release_check.look_into(poorer, sdist)


def test_the_sdist_has_all_that_tests_and_documents_need(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"Makefile", "constraints.txt", "CONTRIBUTING.md", "CITATION.cff", "SECURITY.md", "docs/conf.py"}
    assert wanted <= names
    assert not any(name.endswith((".pyc", ".ckpt")) or "_build" in name for name in names)


def test_quick_tests_are_there() -> None:
    for name in release_check.QUICK_TESTS:
        assert (ROOT / name).is_file(), name


def test_the_citation_is_of_this_version_and_of_the_paper_in_the_readme() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == gta.__version__
    paper = citation["preferred-citation"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for author in paper["authors"]:
        assert f"{author['family-names']}, {author['given-names']}" in readme
    assert str(paper["year"]) in readme
