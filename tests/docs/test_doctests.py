"""Examples in docstrings run as they stand; every public function and class has one."""

import doctest
import importlib
import inspect
import pkgutil
import shutil
from pathlib import Path

import pytest
import torch

import gta

_NEEDS_RUN = {"__main__"}
_FILES = ("clip.mp4", '"videos"', "runs/")


def _modules_with_examples() -> dict[str, str]:
    """Module -> its source, for those with examples."""
    found = {}
    for module in pkgutil.walk_packages(gta.__path__, "gta."):
        spec = module.module_finder.find_spec(module.name)  # pyright: ignore[reportCallIssue]
        source = spec.loader.get_source(module.name) if spec else ""
        if ">>> " in source and module.name.rpartition(".")[2] not in _NEEDS_RUN:
            found[module.name] = source
    return found


@pytest.mark.parametrize(("name", "source"), _modules_with_examples().items(), ids=list(_modules_with_examples()))
def test_examples_run(
    name: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if any(file in line for line in source.splitlines() if ">>> " in line or "    ... " in line for file in _FILES):
        shutil.copytree(request.getfixturevalue("prepared"), tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), extraglobs={"gta": gta, "torch": torch})
    assert result.attempted
    assert not result.failed


def test_every_public_function_and_class_has_an_example() -> None:
    for name in gta.__all__:
        value = getattr(gta, name)
        if name == "explain":  # a package that can be called
            value = value.explain
        if not inspect.ismodule(value) and callable(value):
            assert ">>> " in (value.__doc__ or ""), name
