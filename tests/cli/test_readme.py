"""What the README says is so: its list of folders is the tree's, and its commands and Python run as they stand."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# Made smaller for the test; each must be in the README, so that a changed command is noticed.
SMALLER = {"--num-videos 320": "--num-videos 48"}
EXTRA = {"train": ["--run.max-epochs", "1", "--data.num-workers", "0", "--data.clip.crop-size", "32"]}


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


def _commands() -> list[str]:
    lines = [line.split("  #")[0].strip() for block in _blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line]


def test_every_folder_of_the_package_has_its_caption_and_no_other():
    listed = re.findall(r"^\| `(?:src/gta/)?(\w+)/` \| \S.+ \|$", README, re.M)
    folders = {path.parent.name for path in (ROOT / "src" / "gta").glob("*/__init__.py")}
    assert sorted(listed) == sorted(folders)


def test_make_targets_exist():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    used = {line.split()[1] for line in _commands() if line.startswith("make ")}
    assert {"demo", "test"} <= used <= targets


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not re.match(r"https?://", target):
            assert (ROOT / target).exists(), target


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder where the README's commands have been run, in order."""
    folder = tmp_path_factory.mktemp("readme")
    from gta.synthetic import write_clip

    write_clip(folder / "clip.mp4", "Opening something", seed=5, index=0, frame_size=(48, 64))
    for small in SMALLER:
        assert small in README
    for line in _commands():
        for original, small in SMALLER.items():
            line = line.replace(original, small)
        words = shlex.split(line)
        if words[0] != "gta":
            assert words[0] in ("make", "source", "pip"), line
            continue
        arguments = words[1:] + EXTRA.get(words[1], [])
        if words[1] == "demo" or "--list" in words or "--help" in words:
            continue
        result = subprocess.run(
            [sys.executable, "-m", "gta", *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, f"{line}\n{result.stdout}\n{result.stderr}"
    return folder


def test_python_blocks_run(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    namespace: dict[str, object] = {}
    for block in _blocks("python"):
        exec(compile(block, "README.md", "exec"), namespace)
    assert namespace["logits"].shape[0] == 16  # the timm network sees single frames
    assert namespace["out"].shape == (2, 512, 8, 14, 14)
    assert len(namespace["prediction"].labels) == 3


def test_the_paper_table_is_what_the_command_prints(capsys):
    from gta.cli import run

    assert run(["paper", "--markdown"]) == 0
    assert capsys.readouterr().out.strip() in README
