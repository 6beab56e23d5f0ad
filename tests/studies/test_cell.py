"""One cell in this process: interrupted where it hurts, and on a GPU."""

import os
import signal

import pytest
import torch

from gta.config import ClipConfig
from gta.studies.cell import run_cell
from gta.studies.grids import Budget, Row, training_of
from gta.studies.results import read_result
from gta.synthetic import CLASSES, synthesize
from gta.training.loop import Loop
from gta.training.signals import TrainingInterrupted

CLIP = ClipConfig(resize=(36, 48), crop_size=32, crop="random", flip="none")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("cell") / "videos"
    synthesize(root, num_videos=24, val_fraction=1 / 3, classes=CLASSES[:2], frame_size=(36, 48))
    return root


def test_a_cell_that_is_interrupted_in_its_only_validation_can_be_finished(videos, tmp_path, monkeypatch):
    budget = Budget(epochs=1, batch_size=8, clip=CLIP)

    def stop(self, count, real=Loop._after_validation_batch):
        os.kill(os.getpid(), signal.SIGTERM)
        real(self, count)

    def cell():
        config = training_of(Row("a", "A", "tiny"), budget, root=videos, folder=tmp_path / "run")
        return run_cell(config, tmp_path, row="a")

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_after_validation_batch", stop)
        with pytest.raises(TrainingInterrupted):
            cell()
    result = cell()
    assert read_result(tmp_path) == result
    assert (result.clips_per_second, result.train_seconds, result.peak_memory_mib) == (None, None, None)
    assert result.num_videos == 8


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_cell_on_a_gpu(videos, tmp_path):
    budget = Budget(epochs=2, batch_size=8, clip=CLIP, accelerator="gpu", precision="bf16")
    config = training_of(Row("a", "A", "tiny_ta"), budget, root=videos, folder=tmp_path / "run")
    result = run_cell(config, tmp_path, row="a")
    assert result.machine == torch.cuda.get_device_name()
    assert result.peak_memory_mib > 1
    assert not result.sees_order  # probed in 32 bits, so rounding does not look like an effect
