"""Several processes give the results of one."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import process_program
import pytest
import torch

from gta.engine.checkpoint import read_checkpoint

PROGRAM = Path(__file__).with_name("process_program.py")


def metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_two_processes_give_the_metrics_and_weights_of_one_with_the_same_global_batch(tmp_path: Path) -> None:
    process_program.main(tmp_path / "one", 1, 8)
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path / "two"), "2", "4"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "global batch 8 = 4 clips x 2 process(es)" in done.stderr
    one, two = metrics(tmp_path / "one"), metrics(tmp_path / "two")
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
