"""`gta study` and `gta probe` from end to end, on real videos and real training, as small as can be."""

import json
from pathlib import Path

import pytest
import torch

from gta.cli import run
from gta.commands.study import StudyArguments, choose_grid
from gta.datasets.frame_store import FrameStore
from gta.datasets.listing import open_videos
from gta.errors import OptionError
from gta.studies.results import RESULT
from gta.studies.speed import SPEED
from gta.synthetic import synthesize

SMALL = ["--epochs", "1", "--num-train", "32", "--num-val", "16", "--seeds", "1", "--jobs", "1"]


def test_study_then_again_then_probe(tmp_path, capsys):
    grid = tmp_path / "mine.json"
    rows = [{"key": "tape", "label": "TAPE", "model": "tiny_tape", "paper_ssv1": 48.4}]
    clip = {"resize": [36, 48], "crop_size": 32, "crop": "random", "flip": "none"}
    budget = {"batch_size": 8, "frame_size": [36, 48], "clip": clip, "optim": {"optimizer": "adamw", "lr": 1e-3}}
    grid.write_text(json.dumps({"title": "Mine", "rows": rows, "budget": budget}))
    folder = tmp_path / "study"
    command = ["study", str(grid), "--output", str(folder), *SMALL]
    assert run(command) == 0
    cell = folder / "cells" / "tape" / "seed0"
    result = json.loads((cell / RESULT).read_text())
    assert result["num_videos"] == 16
    assert 0 <= result["top1"] <= 1
    assert result["model"]["name"] == "tiny_tape"
    assert result["clips_per_second"] > 0
    assert len(result["curves"]["val_top1"]) == 1
    config = json.loads((cell / "config.json").read_text())  # an ordinary training run, with the whole configuration
    config["data"]["root"] = str(folder / "videos")
    assert json.loads((cell / "run" / "config.json").read_text()) == config
    capsys.readouterr()
    assert run(["train", str(cell / "config.json"), "--print"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == config["model"]
    assert "| TAPE |" in (folder / "report.md").read_text()
    assert (folder / "report.html").exists()
    speed = json.loads((folder / SPEED).read_text())
    assert speed["clips_per_second"]["tape"] > 0

    finished = [path.stat().st_mtime_ns for path in (cell / RESULT, folder / SPEED)]
    assert run(command) == 0
    assert [path.stat().st_mtime_ns for path in (cell / RESULT, folder / SPEED)] == finished
    assert run([*command, "--epochs", "2"]) == 2
    assert "another budget" in capsys.readouterr().err
    assert run(["study", str(grid), "--output", str(folder), "--report-only"]) == 0  # the folder knows the rest
    report = (folder / "report.md").read_text()
    assert "| TAPE | 1 |" in report
    assert "--num-train 32" in report  # the command that made it, not the one that wrote the report

    checkpoint = cell / "run" / "last.ckpt"
    assert run(["probe", str(checkpoint), "--num-permutations", "2", "--num-workers", "0"]) == 0
    shown = capsys.readouterr().out
    for words in ("in order", "reversed", "shuffled 2", "one frame", "temporal sensitivity"):
        assert words in shown
    probed = json.loads((cell / "run" / "probe" / "probe.json").read_text())
    assert probed["treatments"]["in order"]["top1"] == pytest.approx(result["top1"])
    assert probed["treatments"]["reversed"]["top1"] == pytest.approx(result["reversed_top1"])
    assert (cell / "run" / "probe" / "sensitivity.png").read_bytes().startswith(b"\x89PNG")


def test_frames_of_ones_own_videos_are_stored_and_a_bad_video_is_skipped(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    synthesize("rendered", num_videos=48, frame_size=(36, 48))
    Path("mine").mkdir()
    for split in ("train", "val"):
        Path("rendered", split).rename(Path("mine", split))
    records = open_videos("mine", "val").records
    records[0].path.write_bytes(b"no video")
    clip = {"resize": [36, 48], "crop_size": 32, "flip": "none"}
    grid = {"title": "Mine", "rows": [{"key": "gta", "label": "GTA", "model": "tiny_gta"}], "budget": {"clip": clip}}
    Path("mine.json").write_text(json.dumps(grid))
    options = ["--output", "study", "--seeds", "1", "--epochs", "1", "--jobs", "1", "--num-threads", "1"]
    assert run(["study", "mine.json", "--data", "mine", *options]) == 0
    store = FrameStore(Path("study", "frames"))
    assert [store.open(record) is not None for record in records] == [False, *[True] * (len(records) - 1)]
    result = json.loads(Path("study", "cells", "gta", "seed0", RESULT).read_text())
    assert result["num_videos"] == len(records) - 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="tells what happens where there is no GPU")
def test_a_grid_for_gpus_is_refused_before_any_work(tmp_path, capsys):
    assert run(["study", "table1", "--size", "gpu", "--output", str(tmp_path / "study")]) == 2
    assert "--size cpu" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"model": "tiny_gtaa"}, "tiny_gtaa"),
        ({"model": "tiny_gta", "num_groups": 7}, "7 groups"),
        ({"model": "tiny_gta", "at": {"res9": 1}}, "res9"),
    ],
)
def test_a_row_that_cannot_be_built_is_named_before_any_work(tmp_path, capsys, row, words):
    grid = tmp_path / "mine.json"
    grid.write_text(json.dumps({"rows": [{"key": "mine", "label": "Mine", **row}]}))
    assert run(["study", str(grid), "--output", str(tmp_path / "study")]) == 2
    error = capsys.readouterr().err
    assert "row 'mine'" in error
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "study").exists()


def test_rows_are_kept_with_those_that_they_are_compared_with():
    grid = choose_grid(StudyArguments(grid="table1", rows=("slowfast", "slowfast-nl")))
    assert [row.key for row in grid.rows] == ["slowfast", "slowfast-nl", "slowfast-gta"]
    assert grid.references == ("slowfast-gta",)


def test_choosing_rows_and_budget():
    grid = choose_grid(StudyArguments(grid="table3", rows=("sa", "ta"), epochs=2, num_train=99))
    assert [row.key for row in grid.rows] == ["sa", "ta", "gta"]
    assert (grid.budget.epochs, grid.budget.num_train) == (2, 99)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["study"], "no grid is given"),
        (["study", "table7"], "'table7' is not a grid"),
        (["study", "nowhere.json"], "nowhere.json: no such grid file"),
        (["study", "table1", "--rows", "x"], "'x' is not a row"),
        (["study", "table1", "--rows"], "--rows names no row"),
        (["study", "table1", "--seeds", "0"], "--seeds is 0"),
        (["probe", "nowhere.ckpt"], "nowhere.ckpt: no such checkpoint"),
        (["probe", "nowhere.ckpt", "--num-permutations", "0"], "--num-permutations is 0"),
    ],
)
def test_mistakes_are_one_line(arguments, words, capsys):
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_mistake_in_rows_is_an_option_error():
    with pytest.raises(OptionError):
        choose_grid(StudyArguments(grid="table1", rows=("none",)))


def test_listing_and_printing(capsys):
    assert run(["study", "--list"]) == 0
    assert "table4" in capsys.readouterr().out
    assert run(["study", "table4", "--print"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["num_groups"] == 1
