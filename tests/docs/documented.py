"""What the README and the pages of the documentation ask a reader to type: their snippets, in order."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        "README.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        *(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md")),
    ]
)
PAGES = [page for page in PAGES if not page.startswith("docs/_build")]

CLIP_CROP = 32  # pixels, of the small models that pages and examples find
LANGUAGES = {"sh", "console", "python", "yaml", "json", "text", "bash", "bibtex"}

# Why a command or snippet is not run. It says so itself, for the reader as well: `gta watch ... # (untested: needs a
# camera)`. Every other line is run by `test_pages_run.py`.
UNTESTED = {
    "hours on a CPU",
    "needs a camera",
    "needs a GPU",
    "needs a hub",
    "needs ImageNet weights",
    "open to the network",
}
# Programs whose lines are checked elsewhere: `make` starts `gta demo`, which has a test of its own, and the tests;
# installing is done by `scripts/release_check.py`.
CHECKED_ELSEWHERE = {"make", "pip", "python3", "source"}
# Pages that record what was measured, and by which command: the options must exist, but nobody measures in a test.
RECORDS = "docs/results/"
_UNTESTED = re.compile(r"\(untested: ([^)]*)\)")


@dataclass(frozen=True)
class Snippet:
    """One fenced block of a page, or one command of such a block."""

    page: str
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        """Page and line, as editors take it."""
        return f"{self.page}:{self.line}"

    @property
    def untested(self) -> str | None:
        """Why it is not run, in its own words; None if it is run."""
        found = _UNTESTED.search(self.text)
        return found[1] if found else None


def snippets(page: str) -> list[Snippet]:
    """The fenced blocks of a page, but for Sphinx's directives."""
    found: list[Snippet] = []
    language, begin, lines = None, 0, []
    for number, line in enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("```") and language is None:
            language, begin, lines = line[3:].strip(), number, []
        elif line.startswith("```"):
            if language is not None and not language.startswith("{"):
                found.append(Snippet(page, begin, language, "\n".join(lines)))
            language = None
        else:
            lines.append(line)
    assert language is None, f"{page}:{begin}: a block without an end"
    return found


def commands(snippet: Snippet) -> list[Snippet]:
    """The commands of a shell snippet: lines that end in a backslash go on, output and empty lines are left out."""
    found: list[Snippet] = []
    pending, begin = "", 0
    for number, line in enumerate(snippet.text.splitlines(), start=snippet.line + 1):
        if snippet.language == "console" and not pending:
            if not line.startswith("$ "):
                continue
            line = line[2:]
        begin = begin if pending else number
        pending += line
        if pending.endswith("\\"):
            pending = pending[:-1]
            continue
        if pending.strip() and not pending.startswith("#"):
            found.append(Snippet(snippet.page, begin, "sh", pending.strip()))
        pending = ""
    return found


def page_commands(page: str) -> list[Snippet]:
    """All commands of a page."""
    return [line for snippet in snippets(page) if snippet.language in ("sh", "console") for line in commands(snippet)]
