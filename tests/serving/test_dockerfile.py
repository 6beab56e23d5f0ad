"""The Dockerfile keeps to what a linter knows, and starts a command that exists."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gta.commands import COMMANDS

_ROOT = Path(__file__).parents[2]
_FILE = _ROOT / "Dockerfile"


def test_the_linter_has_nothing_to_say():
    linter = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{Path.cwd()}") or shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint is not installed")
    found = subprocess.run([linter, "--no-color", str(_FILE)], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_it_installs_our_wheel_and_starts_our_command_as_an_ordinary_user():
    text = _FILE.read_text()
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    assert f"COPY dist/{project['name'].replace('-', '_')}-*.whl" in text
    (extra,) = re.findall(r"\$\{wheel\}\[(\w+)\]", text)
    assert extra in project["optional-dependencies"]
    program, command, *_ = json.loads(re.findall(r"^ENTRYPOINT (.*)$", text, re.M)[0])
    assert program in project["scripts"]
    assert command in COMMANDS
    assert re.findall(r"^USER (.*)$", text, re.M)[-1] not in ("root", "0")
