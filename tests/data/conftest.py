"""Video files and data sets that several tests read; encoded once."""

import os
import shutil
from pathlib import Path

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


@pytest.fixture(scope="module")
def small_set(tmp_path_factory):
    """Four sound videos, one too short, one damaged, two equal ones in different classes."""
    folder = tmp_path_factory.mktemp("small")
    for number in range(4):
        encode(folder / "train" / f"class {number % 2}" / f"{number}.mp4", num_frames=12, gop=12, seed=number)
    encode(folder / "val" / "class 0" / "short.mp4", num_frames=3)
    (folder / "val" / "class 1").mkdir()
    shutil.copy(folder / "train" / "class 0" / "0.mp4", folder / "val" / "class 1" / "copy.mp4")
    (folder / "train" / "class 1" / "bad.mp4").write_bytes(b"not a video")
    return folder


@pytest.fixture
def data(small_set, tmp_path):
    return Path(shutil.copytree(small_set, tmp_path / "data"))
