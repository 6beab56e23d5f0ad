"""ImageNet weights of timm networks: what cannot be had is said in one line."""

import os
import socket
import subprocess
import sys

import pytest
import timm

import gta
from gta.backbones.hub import _answers


def test_an_unknown_tag_names_those_that_there_are():
    with pytest.raises(ValueError, match=r"'resnet18' has no 'foo' weights: there are imagenet, a1_in1k, "):
        gta.create_model("resnet18_gta", pretrained="foo")


def test_a_network_without_weights_says_so():
    with pytest.raises(ValueError, match="timm has no weights for 'botnet50ts_256'"):
        gta.create_model("botnet50ts_256", pretrained="imagenet")


def test_no_network_is_said_with_the_way_out(monkeypatch):
    def unreachable(*args, **kwargs):
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(ValueError, match=r"'imagenet' of 'resnet18' cannot be downloaded .*model\.pretrained"):
        gta.create_model("resnet18", pretrained="imagenet")


def test_an_unreachable_hub_is_not_asked_again_and_again(tmp_path):
    program = "import gta\ntry: gta.create_model('resnet18', pretrained='imagenet')\nexcept ValueError as e: print(e)"
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "no_proxy": "127.0.0.1"}
    environment.pop("HF_HUB_OFFLINE", None)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert "cannot be downloaded (no network?) and are not in the cache: give a file as model.pretrained" in done.stdout
    assert "Retrying" not in done.stderr


def test_a_server_is_asked_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert _answers(f"http://127.0.0.1:{port}")
    assert not _answers(f"http://127.0.0.1:{port}")
    assert not _answers("http://nowhere.invalid")


def test_a_full_disk_is_not_taken_for_the_network(monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "no space left", "weights")

    monkeypatch.setattr(timm, "create_model", full)
    with pytest.raises(OSError, match="no space left"):
        gta.create_model("resnet18", pretrained="imagenet")
