"""Every snippet of the README and the documentation is one that a reader can use; `test_pages_run.py` runs them."""

import json
import re
import shlex
from pathlib import Path

import documented as pages
import pytest
import tyro

from gta.cli import run

_GTA = re.compile(r"(?:^|\| |-m |srun )gta (.*)")


def test_every_snippet_names_its_language() -> None:
    for page in pages.PAGES:
        for snippet in pages.snippets(page):
            assert snippet.language in pages.LANGUAGES, f"{snippet.where}: {snippet.language!r}"


def test_a_snippet_that_is_not_run_says_why() -> None:
    said = set()
    for page in pages.PAGES:
        for snippet in pages.snippets(page):
            for line in snippet.text.splitlines():
                if "untested" in line:
                    reason = pages.Snippet(page, snippet.line, snippet.language, line).untested
                    assert reason in pages.UNTESTED, f"{snippet.where}: {line}"
                    said.add(reason)
    assert said == pages.UNTESTED  # no reason is kept that nobody gives


class _Parsed(BaseException):
    """The options were understood; nothing more is to be done."""


def _gta_lines() -> list[pages.Snippet]:
    found = []
    for page in pages.PAGES:
        for snippet in pages.snippets(page):
            if snippet.language in ("sh", "console", "bash"):
                found += [line for line in pages.commands(snippet) if _GTA.search(line.text)]
    return found


@pytest.mark.parametrize("line", _gta_lines(), ids=lambda line: line.where)
def test_options_exist(line: pages.Snippet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """Also of what is not run: the words are those that the command understands."""
    monkeypatch.chdir(tmp_path)
    original = tyro.cli

    def parse_only(*arguments, **options):
        original(*arguments, **options)
        raise _Parsed

    monkeypatch.setattr(tyro, "cli", parse_only)
    found = _GTA.search(line.text)
    assert found is not None
    words = shlex.split(re.split(r"\s[>|]\s", found[1])[0], comments=True)
    for run_file in (word for word in words if word.endswith("config.json")):
        Path(run_file).parent.mkdir(parents=True)
        Path(run_file).write_text("{}")
    if words[0] == "train" and words[1].startswith("runs/") and "--resume" in words:
        Path(words[1]).mkdir(parents=True)
        (Path(words[1]) / "config.json").write_text("{}")
    if words[0] == "train" and words[1].endswith(".yaml"):
        Path(words[1]).write_text("extends: finetune\n")
    try:
        code = run(words)
    except _Parsed:
        return
    assert code == 0, f"{line.where}: {line.text}\n{capsys.readouterr().err}"


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^(\w[\w-]*):", (pages.ROOT / "Makefile").read_text(), re.M))
    used = {target for page in pages.PAGES for target in re.findall(r"`make ([\w-]+)", (pages.ROOT / page).read_text())}
    used |= {
        line.text.split()[1] for page in pages.PAGES for line in pages.page_commands(page) if line.text[:5] == "make "
    }
    assert {"demo", "test", "check"} <= used <= targets


def test_scripts_that_are_named_exist() -> None:
    for page in pages.PAGES:
        for name in re.findall(
            r"python ((?:benchmarks|scripts|docs|tests)/[\w/]+\.py)", (pages.ROOT / page).read_text()
        ):
            assert (pages.ROOT / name).is_file(), f"{page}: {name}"


def test_data_snippets_can_be_read(tmp_path: Path) -> None:
    from gta.recipes.files import read_config_file

    read = 0
    for page in pages.PAGES:
        for snippet in pages.snippets(page):
            if snippet.language == "json":
                assert json.loads(snippet.text), snippet.where
            if snippet.language == "yaml":
                file = tmp_path / "page.yaml"
                file.write_text(snippet.text, encoding="utf-8")
                read_config_file(file)
                read += 1
    assert read
