"""A small data set of videos and a run trained on them, for the tests of the commands."""

from pathlib import Path

import pytest
from train_options import SMALL

from gta.cli import run
from gta.synthetic import CLASSES, synthesize


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos") / "set"
    synthesize(root, num_videos=16, val_fraction=0.5, classes=CLASSES[:4], frame_size=(48, 64))
    return root


@pytest.fixture(scope="module")
def trained(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert run(["train", "synthetic", f"--data.root={videos}", f"--run.folder={folder}", *SMALL]) == 0
    return folder
