"""Runs that are really killed, stopped and starved of disk, and what is left of them. See kill_harness.py."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gta.checkpoint import load_file

HARNESS = Path(__file__).with_name("kill_harness.py")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All runs of the harness in one program: (root folder, its results)."""
    root = tmp_path_factory.mktemp("interruption")
    disk = root / "small_disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    mounted = os.geteuid() == 0 and subprocess.run(command, check=False, capture_output=True).returncode == 0
    if not mounted:
        disk.rmdir()
    try:
        done = subprocess.run(
            [sys.executable, str(HARNESS), str(root)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        yield root, json.loads(done.stdout), done.stderr
    finally:
        if mounted:
            subprocess.run(["umount", str(disk)], check=True)


def differences(first: Any, second: Any, place: str = "") -> list[str]:
    """Where two checkpoints differ, bit for bit."""
    if isinstance(first, dict) and isinstance(second, dict):
        found = [f"{place}: keys"] if first.keys() != second.keys() else []
        return found + [
            text
            for key in first.keys() & second.keys()
            for text in differences(first[key], second[key], f"{place}/{key}")
        ]
    if isinstance(first, list | tuple):
        if len(first) != len(second):
            return [f"{place}: length"]
        return [
            text
            for i, pair in enumerate(zip(first, second, strict=True))
            for text in differences(*pair, f"{place}/{i}")
        ]
    same = torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second
    return [] if same else [place]


@pytest.mark.parametrize("name", ["kill0", "kill1", "term", "int", "usr1", "group", "limit"])
def test_interrupted_and_resumed_run_equals_the_uninterrupted_one_bit_for_bit(outcome: Any, name: str) -> None:
    root, results, _ = outcome
    assert results["plain"]["code"] == 0
    for file in ("last.ckpt", "best.ckpt"):
        assert differences(load_file(root / "plain" / file), load_file(root / name / file)) == []
    assert (root / name / "metrics.csv").read_bytes() == (root / "plain" / "metrics.csv").read_bytes()


def test_killed_runs_were_really_killed_and_went_on_from_where_they_were(outcome: Any) -> None:
    results = [outcome[1][name] for name in ("kill0", "kill1")]
    assert [result["code"] for result in results] == [0, 0]
    assert all(result["steps"] == sorted(set(result["steps"])) for result in results)
    assert sum(len(result["steps"]) for result in results) >= 3


@pytest.mark.parametrize(("name", "code"), [("term", 143), ("int", 130), ("usr1", 138), ("group", 143)])
def test_signals_stop_a_run_with_a_checkpoint(outcome: Any, name: str, code: int) -> None:
    result = outcome[1][name]
    assert result["stopped"] == code
    assert 1 <= result["step"] < 12
    assert result["finished"] == 0


def test_a_checkpoint_killed_while_it_is_written_leaves_the_former_one_whole(outcome: Any) -> None:
    assert len(outcome[1]["writing"]["versions"]) == 6  # each was loaded and of one piece, or the harness fails


def test_a_file_size_limit_is_one_clear_line_and_the_last_checkpoint_loads(outcome: Any) -> None:
    _, results, errors = outcome
    assert results["limit"]["code"] == 2
    assert results["limit"]["step"] == 4
    assert results["limit"]["finished"] == 0
    assert "last.ckpt: the file would exceed the size limit: the previous file is intact" in errors


def test_a_full_disk_is_one_clear_line_and_the_last_checkpoint_loads(outcome: Any) -> None:
    root, results, errors = outcome
    if "full" not in results:
        pytest.skip("no right to mount a small file system here")
    assert results["full"]["code"] == 2
    assert "the disk is full: the previous file is intact" in errors
    assert results["full"]["finished"] == 0
    assert differences(load_file(root / "plain/last.ckpt"), load_file(root / "small_disk/run/last.ckpt")) == []


def test_no_half_written_files_are_left_in_a_finished_run_folder(outcome: Any) -> None:
    root = outcome[0]
    assert [path for name in ("kill0", "kill1") for path in (root / name).glob(".*.part*")] == []
