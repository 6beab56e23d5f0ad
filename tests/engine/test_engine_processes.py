"""Several processes give the results of one."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gta.engine.checkpoint import read_checkpoint

PROGRAM = Path(__file__).with_name("process_program.py")


def start(folder: Path, devices: int, batch_size: int) -> list[dict[str, str]]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), str(devices), str(batch_size)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"x {devices} process(es)" in done.stderr
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_two_processes_give_the_metrics_and_weights_of_one_with_the_same_global_batch(tmp_path: Path) -> None:
    one = start(tmp_path / "one", 1, 8)
    two = start(tmp_path / "two", 2, 4)
    assert len(one) == len(two) == 2
    for row, other in zip(one, two, strict=True):
        assert row["step"] == other["step"]
        for name in ("lr", "train_loss", "train_top1", "val_loss", "val_top1", "val_direction_accuracy"):
            assert float(other[name]) == pytest.approx(float(row[name]), rel=1e-5), name
    first, second = (read_checkpoint(tmp_path / name / "last.ckpt").state_dict for name in ("one", "two"))
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], atol=1e-6, rtol=1e-4, msg=name)
    for name in ("one", "two"):
        results = (tmp_path / name / "results.json").read_text()
        assert '"num_videos": 11' in results  # eleven videos over two processes: none twice, none lost
        assert (tmp_path / name / "skipped.csv").read_text().count("truncated") == 2
