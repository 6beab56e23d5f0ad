"""`import gta` costs nothing: no PyTorch, no device, no disk, no network."""

import importlib
import json
import re
import subprocess
import sys

import pytest

import gta
from gta import _moved

_PROBE = """
import json, sys
touched = []
def watch(event, arguments):
    if event == "open":
        mode, flags = arguments[1], arguments[2]
        if (isinstance(mode, str) and set(mode) & set("wax+")) or (mode is None and flags & 3):
            touched.append(f"{event} {arguments[0]}")
    elif event.split(".")[0] in ("socket", "subprocess", "ctypes", "tempfile") or event in ("os.mkdir", "os.rename"):
        touched.append(event)
sys.dont_write_bytecode = True
sys.addaudithook(watch)
import gta
print(json.dumps({"modules": sorted(sys.modules), "touched": touched}))
"""


def test_import_loads_nothing_heavy_and_touches_nothing():
    result = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, check=True, timeout=60)
    seen = json.loads(result.stdout)
    assert not {"torch", "lightning", "timm", "av", "numpy", "rich"} & set(seen["modules"])
    assert seen["touched"] == []


def test_every_public_name_resolves():
    for name in gta.__all__:
        assert getattr(gta, name) is not None


def test_unknown_name_is_an_attribute_error():
    assert not hasattr(gta, "no_such_name")
    assert "create_model" in dir(gta)


_INSIDE = [f"gta.{name}" for name in ("data.layouts.kinetics", "data.synthetic.render")]


@pytest.mark.parametrize("old", [*_moved.MOVED, *_INSIDE])
def test_old_module_names_give_the_modules_themselves_with_a_notice(old: str) -> None:
    sys.modules.pop(old, None)
    importlib.import_module(old.rpartition(".")[0])
    with pytest.warns(FutureWarning, match=f"{re.escape(old)} is gta"):
        module = importlib.import_module(old)
    assert module is sys.modules[module.__name__]
    assert module.__name__ != old
    assert module.__spec__ is not None
    assert module.__spec__.name == module.__name__


def test_names_that_never_were_are_import_errors() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("gta.data.no_such_module")


def test_the_lightning_module_is_found_under_either_name() -> None:
    import gta.engine
    import gta.training

    assert gta.engine.ClassifierModule is gta.training.ClassifierModule


def test_every_public_name_loads_and_has_a_docstring() -> None:
    import gta

    for name in gta.__all__:
        value = getattr(gta, name)
        assert name.startswith("__") or (value.__doc__ or "").strip(), name
