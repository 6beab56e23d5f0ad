"""The contracts between rooms: what fulfils them, and what is said of a module that does not."""

import pytest
import torch
from torch import nn

import gta
from gta.backbones.contract import ImageNetwork, VideoBackbone
from gta.blocks import Composition, create_block, list_blocks, list_motion_blocks
from gta.blocks.contract import AttentionBlock
from gta.datasets.frame_store import StoredVideo
from gta.models.classifier import VideoClassifier
from gta.video.file import VideoFile
from gta.video.folder import FrameFolder
from gta.video.reading import VideoSource


@pytest.mark.parametrize("name", [*list_blocks(), *list_motion_blocks(), "sa+tape"])
def test_every_block_is_an_attention_block(name):
    assert isinstance(create_block(name, channels=32, num_frames=4), AttentionBlock)


@pytest.mark.parametrize("name", ["tiny_gta", "tiny_vit_gta", "tiny_tsm", "tiny_c2d", "tiny_slowfast"])
def test_every_backbone_keeps_its_contract(name):
    model = gta.create_model(name, num_classes=2, num_frames=8).eval()
    backbone = model.backbone
    assert isinstance(backbone, VideoBackbone)
    places = [place for stage in backbone.stages().values() for place in stage]
    assert all(isinstance(backbone.get_submodule(place), nn.Module) for place in places)
    side = backbone.minimum_size
    with torch.no_grad():
        features = backbone(torch.rand(1, 3, 8, side, side))
        assert backbone.pool(features).shape == (1, backbone.num_features)
    assert backbone.attention_frames(8) in (2, 4, 8)
    assert isinstance(backbone.resize(16), list)


def test_image_networks_and_open_videos_keep_theirs():
    assert isinstance(gta.create_model("tiny", num_classes=2).backbone.network, ImageNetwork)
    for kind in (VideoFile, FrameFolder, StoredVideo):
        members = ("num_frames", "frame_range", "read", "__enter__", "__exit__")
        assert all(hasattr(kind, name) for name in members), kind
        assert set(members) <= set(dir(VideoSource))


def test_a_module_that_lacks_something_is_refused_by_name():
    with pytest.raises(TypeError, match=r"Linear lacks .*VideoBackbone"):
        VideoClassifier(nn.Linear(2, 2), num_classes=2, num_frames=8, dropout=0.0, arguments={})
    with pytest.raises(TypeError, match=r"more \(Linear\) has no resize"):
        Composition({"more": nn.Linear(2, 2)})
