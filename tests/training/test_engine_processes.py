"""Several processes give the results of one."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import engine_fakes as fakes
import process_program
import pytest
import torch

from gta.checkpoint import load_file, read_checkpoint
from gta.evaluation.scores import evaluate

PROGRAM = Path(__file__).with_name("process_program.py")


def metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def start(*words: str | Path, code: int = 0, stop_at: Path | None = None) -> str:
    """Run the program and return what it said; SIGTERM for it once `stop_at` exists."""
    process = subprocess.Popen(
        [sys.executable, *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if stop_at is not None:
        deadline = time.monotonic() + 120
        while not stop_at.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == code, said[-3000:]
    return said


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


def test_two_processes_that_are_stopped_and_resumed_end_like_those_that_were_not(tmp_path: Path) -> None:
    start(PROGRAM, tmp_path / "plain", "2", "4")
    folder = tmp_path / "stopped"
    said = start(PROGRAM, folder, "2", "4", "slow", code=128 + signal.SIGTERM, stop_at=folder / "last.ckpt")
    assert "checkpoint written after epoch 0" in said
    assert 1 <= load_file(folder / "last.ckpt")["batches_done"] <= 2
    start(PROGRAM, folder, "2", "4", "resume")
    plain, stopped = (load_file(tmp_path / name / "last.ckpt")["state_dict"] for name in ("plain", "stopped"))
    for name, value in plain.items():
        assert torch.equal(value, stopped[name]), name
    for row, other in zip(metrics(tmp_path / "plain"), metrics(folder), strict=True):
        assert {name: float(text) for name, text in other.items()} == pytest.approx(
            {name: float(text) for name, text in row.items()}, rel=1e-9
        )


def test_two_processes_stop_together_when_the_first_cannot_write(tmp_path: Path) -> None:
    started = time.monotonic()
    said = start(PROGRAM, tmp_path / "run", "2", "4", "limit", code=2)
    assert "last.ckpt: the file would exceed the size limit: the previous file is intact" in said
    assert "error: another process of this run has failed" in said
    assert "Traceback" not in said
    assert load_file(tmp_path / "run" / "last.ckpt")["epoch"] == 1
    assert time.monotonic() - started < 100  # they do not wait for each other until the timeout of an hour


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
