"""ImageNet weights of timm networks: what cannot be had is said in one line."""

import pytest
import timm

import gta


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
    with pytest.raises(ValueError, match=r"'imagenet' of 'resnet18' cannot be downloaded .*--model.pretrained"):
        gta.create_model("resnet18", pretrained="imagenet")


def test_a_full_disk_is_not_taken_for_the_network(monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "no space left", "weights")

    monkeypatch.setattr(timm, "create_model", full)
    with pytest.raises(OSError, match="no space left"):
        gta.create_model("resnet18", pretrained="imagenet")
