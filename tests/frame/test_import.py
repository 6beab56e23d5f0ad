"""`import gta` costs nothing: no PyTorch, no device, no disk, no network."""

import json
import subprocess
import sys

import gta

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
