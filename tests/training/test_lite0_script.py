"""`scripts/efficientnet_lite0.py`: the network that its command names fits the weights, and the command is one."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import torch

import gta
from gta.cli import run

SCRIPT = Path(__file__).parents[2] / "scripts" / "efficientnet_lite0.py"


def test_the_printed_command_trains_on_what_the_script_writes(tmp_path, monkeypatch, capsys) -> None:
    found = re.search(r"^    gta (train .*)$", SCRIPT.read_text(), re.MULTILINE)
    assert found is not None
    words = shlex.split(found[1])
    assert run([*words, "--print"]) == 0
    name = words[words.index("--model.name") + 1]
    plain = gta.create_model(name.removesuffix("_gta"), num_classes=1000)
    own = {key: value for key, value in plain.state_dict().items() if "num_batches" not in key}
    torch.save({f"theirs.{number}": value for number, value in enumerate(own.values())}, tmp_path / "theirs.pth")
    written = tmp_path / "lite0.safetensors"
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(tmp_path / "theirs.pth"), str(written)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert "written" in capsys.readouterr().out
    model = gta.create_model(name, num_classes=3, pretrained=str(written))
    stem = "backbone.network.conv_stem.weight"
    assert torch.equal(model.state_dict()[stem], own[stem])
    # What TensorFlow's EfficientNet-Lite was trained with.
    assert model.data_config["mean"] == pytest.approx((0.5, 0.5, 0.5))
    assert model.data_config["std"] == pytest.approx((0.5, 0.5, 0.5))
    assert model.backbone.network.bn1.eps == 1e-3
    assert type(model.backbone.network.conv_stem).__name__ == "Conv2dSame"
