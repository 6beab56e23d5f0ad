"""Examples in docstrings of the public interface run as they stand."""

import doctest
import importlib
import pkgutil

import pytest

import gta

_NEEDS_RUN = {"__main__"}


def _modules_with_examples() -> list[str]:
    found = []
    for module in pkgutil.walk_packages(gta.__path__, "gta."):
        spec = module.module_finder.find_spec(module.name)  # pyright: ignore[reportCallIssue]
        source = spec.loader.get_source(module.name) if spec else ""
        if ">>> " in source and module.name.rpartition(".")[2] not in _NEEDS_RUN:
            found.append(module.name)
    return found


@pytest.mark.parametrize("name", _modules_with_examples())
def test_examples_run(name: str, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), extraglobs={"gta": gta})
    assert result.attempted
    assert not result.failed
