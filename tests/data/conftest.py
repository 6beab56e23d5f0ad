"""Video files that several tests read; encoded once."""

import os

import av.logging
import pytest
import torch
from video_files import FORMATS, encode

os.environ.setdefault("SVT_LOG", "0")  # the AV1 encoder is talkative
av.logging.set_level(None)
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def videos(tmp_path_factory):
    """Name -> path of one file of every format."""
    folder = tmp_path_factory.mktemp("formats")
    return {name: encode(folder / file, **arguments) for name, (file, arguments) in FORMATS.items()}


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """An ordinary H.264 file: 40 frames of 64x48 at 25 per second, a keyframe every 8."""
    return encode(tmp_path_factory.mktemp("plain") / "plain.mp4", num_frames=40, gop=8, options={"bf": "2"})
