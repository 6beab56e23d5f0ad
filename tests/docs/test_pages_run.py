"""The snippets of each page, run from its first line to its last in a folder of their own, made smaller where long.

What is not run says why on the page itself (`pages.UNTESTED`).
"""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import documented as pages
import pytest

from gta.cli import run

# Pages that begin with nothing but a video; the others find videos and trained models.
FROM_NOTHING = {"README.md", "docs/index.md", "docs/own-videos.md"}
# Applied to every command and snippet.
SMALLER = (
    (r"--num-videos \d+", "--num-videos 48"),
    (r"num_videos=\d+", "num_videos=48"),
    (r"--max-epochs \d+|--epochs \d+", "--epochs 1"),
    (r"epochs=\d+", "epochs=1"),
    (r"--num-permutations \d+", "--num-permutations 2"),
)
EXTRA = {
    "train": [
        "--num-workers",
        "0",
        "--epochs",
        "1",
        "--data.clip.crop-size",
        str(pages.CLIP_CROP),
        "--run.accelerator",
        "cpu",
    ],
    "evaluate": ["--num-workers", "0"],
    "probe": ["--num-workers", "0"],
    "export": ["--clips", "2"],
}


def _pages_to_run() -> list[str]:
    languages = {"sh", "console", "python"}
    return [
        page
        for page in pages.PAGES
        if not page.startswith(pages.RECORDS) and any(snippet.language in languages for snippet in pages.snippets(page))
    ]


@pytest.fixture
def workplace(page: str, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the snippets of one page are run."""
    if page in FROM_NOTHING:
        shutil.copy(prepared / "clip.mp4", tmp_path)
    else:
        shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
        for name in ("mine", "nl"):  # the folder of the data set is stored in them
            config = tmp_path / "runs" / name / "config.json"
            config.write_text(config.read_text().replace(str(prepared), str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{_programs(tmp_path)}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def _programs(folder: Path) -> Path:
    """A folder with `gta` and `python` as an active environment has them."""
    programs = folder / ".programs"
    programs.mkdir()
    for name, words in (("gta", "-m gta "), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {words}"$@"\n')
        (programs / name).chmod(0o755)
    return programs


class _Server:
    """The `gta serve` of a page, on a free port, until the page ends."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, words: list[str]) -> None:
        self.stop()
        self.process = subprocess.Popen([sys.executable, "-m", "gta", *words, "--port", str(self.port)])
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"{words} ended"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/health", timeout=2).close()
            except OSError:
                time.sleep(0.5)
            else:
                return
        raise AssertionError(f"{words} does not answer")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(60) == 0


@pytest.fixture
def server() -> Iterator[_Server]:
    """A server that a page may start."""
    server = _Server()
    yield server
    server.stop()


def _smaller(text: str) -> str:
    for pattern, small in SMALLER:
        text = re.sub(pattern, small, text)
    return text


def _run_command(line: pages.Snippet, server: _Server) -> None:
    text = _smaller(line.text)
    plain = shlex.split(text, comments=True)
    if plain[0] == "gta" and plain[1] == "serve":
        server.start([word for word in plain[1:] if not word.isdigit() and word != "--port"])
    # Several training processes are started by repeating the command line, which in here is pytest's.
    elif plain[0] == "gta" and "--run.devices" not in plain and not re.search(r"\s[<>|&]|\*", text):
        fast = "--fast-dev-run" in plain or "--print" in plain or "--list" in plain
        extra = (
            EXTRA.get(plain[1], []) if not fast or plain[1] != "train" else EXTRA["train"][4:] * ("--list" not in plain)
        )
        if "--resume" in plain:
            extra = []
        assert run([*plain[1:], *extra]) == 0, f"{line.where}: {line.text}"
    else:
        text = text.replace("127.0.0.1:7860", f"127.0.0.1:{server.port}")
        result = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=False, timeout=600)
        assert result.returncode == 0, f"{line.where}: {line.text}\n{result.stdout}\n{result.stderr}"


@pytest.mark.parametrize("page", _pages_to_run())
def test_page_runs(page: str, workplace: Path, server: _Server) -> None:
    """Every command ends well, every piece of Python runs in the namespace of those before it."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    for snippet in pages.snippets(page):
        if snippet.language in ("sh", "console"):
            for line in pages.commands(snippet):
                if not line.untested and line.text.split()[0] not in pages.CHECKED_ELSEWHERE:
                    _run_command(line, server)
        elif snippet.language == "python" and not snippet.untested:
            code = "\n" * snippet.line + _smaller(snippet.text)
            exec(compile(code, str(pages.ROOT / page), "exec"), namespace)
