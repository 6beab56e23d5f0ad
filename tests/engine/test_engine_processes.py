"""Several processes give the results of one."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import engine_fakes as fakes
import process_program
import pytest
import torch

from gta.engine.checkpoint import read_checkpoint
from gta.engine.evaluate import evaluate

PROGRAM = Path(__file__).with_name("process_program.py")


def metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def start(*words: str | Path) -> str:
    """Run the program and return what it said."""
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def test_two_processes_give_the_metrics_and_weights_of_one_with_the_same_global_batch(tmp_path: Path) -> None:
    process_program.main(tmp_path / "one", 1, 8)
    said = start(PROGRAM, tmp_path / "two", "2", "4")
    assert "global batch 8 = 4 clips x 2 process(es)" in said
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


def test_torchrun_says_how_many_processes_there_are_and_validation_measures_the_model_that_is_stored(
    tmp_path: Path,
) -> None:
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    said = start(*launch, PROGRAM, tmp_path / "run", "auto", "4", "norm")
    assert "global batch 8 = 4 clips x 2 process(es)" in said
    checkpoint = read_checkpoint(tmp_path / "run" / "last.ckpt")
    model = fakes.model(dropout=0.0)
    model.load_state_dict(checkpoint.state_dict)  # averaged weights, and the first process's averaged statistics
    result = evaluate(
        model, fakes.loader(fakes.FakeVideos(11, seed=1)), prepare=fakes.Scale(), classes=checkpoint.classes
    )
    assert float(metrics(tmp_path / "run")[-1]["val_loss"]) == pytest.approx(result.loss, rel=1e-6)
