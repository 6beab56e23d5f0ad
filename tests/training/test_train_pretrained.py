"""`gta train --model.pretrained`: a run of another length starts from a checkpoint and says what it took."""

from pathlib import Path

import torch

from gta.checkpoint import read_checkpoint
from gta.cli import run
from gta.synthetic import CLASSES, synthesize

SMALL = ["--run.max-epochs=1", "--data.num-workers=0", "--data.batch-size=4", "--data.clip.crop-size=32"]


def test_an_eight_frame_run_starts_a_four_frame_run(tmp_path: Path, capsys) -> None:
    videos = tmp_path / "videos"
    synthesize(videos, num_videos=16, val_fraction=0.5, classes=CLASSES[:4], frame_size=(48, 64))
    common = ["train", "synthetic", f"--data.root={videos}", "--run.accelerator=cpu", *SMALL]
    assert run([*common, f"--run.folder={tmp_path / 'eight'}"]) == 0
    capsys.readouterr()
    first = tmp_path / "eight" / "best.ckpt"
    shorter = ["--model.num-frames=4", "--data.clip.num-frames=4", f"--model.pretrained={first}"]
    assert run([*common, *shorter, f"--run.folder={tmp_path / 'four'}"]) == 0
    said = capsys.readouterr().err
    assert "weights used" in said
    assert "resized" in said
    mixing = [value for key, value in _weights(tmp_path / "four" / "best.ckpt").items() if key.endswith(".mixing")]
    assert mixing
    assert all(value.shape[2:] == (4, 4) for value in mixing)


def _weights(path: Path) -> dict[str, torch.Tensor]:
    return dict(read_checkpoint(path).state_dict)
