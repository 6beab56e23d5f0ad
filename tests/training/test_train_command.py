"""`gta train`, `evaluate` and `predict` on real video files, through the command line's entrance."""

import json
import os
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from train_options import SMALL, one_line

from gta.cli import run
from gta.commands.fast_dev_run import shrink
from gta.commands.train import SHORT_FLAGS
from gta.recipes import RECIPES
from gta.synthetic import CLASSES
from gta.training.loop import Loop


def test_training_prints_the_result_and_the_next_command(videos: Path, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "run"
    assert run(["train", "synthetic", f"--data.root={videos}", f"--run.folder={folder}", *SMALL]) == 0
    out = capsys.readouterr().out
    assert re.search(r"best: epoch 1, top-1 .* direction", out)
    assert f"next: gta evaluate {folder / 'best.ckpt'}" in out
    config = json.loads((folder / "config.json").read_text())
    assert config["data"]["clip"]["crop_size"] == 32
    assert config["optim"]["optimizer"] == "adamw"


def test_train_takes_the_names_that_the_other_commands_have(tmp_path: Path, capsys) -> None:
    words = ["train", "finetune", str(tmp_path), "--epochs", "3", "--seed=4", "--num-frames", "4", "--output", "x"]
    assert run([*words, "--batch-size", "5", "--print"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["data"]["root"] == str(tmp_path)
    assert found["data"]["batch_size"] == 5
    assert (found["run"]["max_epochs"], found["run"]["seed"], found["run"]["folder"]) == (3, 4, "x")
    assert found["model"]["num_frames"] == found["data"]["clip"]["num_frames"] == 4


def test_the_page_on_training_lists_the_short_names() -> None:
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    for flag, fields in SHORT_FLAGS.items():
        assert f"`{flag}` | {', '.join(f'`{field}`' for field in fields)} |" in page


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "--epochs 3 videos",
            "videos is no option: a data set's folder comes first, gta train synthetic videos [OPTIONS]",
        ),
        ("videos --data.root other", "the data set is given twice, as videos and by --data.root: give one of them"),
        ("--data videos --data.root other", "--data.root is set by --data and by --data.root: give one of them"),
        (
            "--run.max_epochs 3 --epochs=4",
            "--run.max-epochs is set by --run.max-epochs and by --epochs: give one of them",
        ),
        ("videos --data=other", "the data set is given twice, as videos and by --data: give one of them"),
        ("videos more", "Unrecognized options: more"),
        ("--num-frames", "--num-frames needs a value"),
        ("--num-frames --epochs 3", "--num-frames needs a value"),
        ("--epochs --seed 3", "--run.max-epochs"),
    ],
)
def test_words_in_the_wrong_place_are_told_as_such(words: str, expected: str, capsys) -> None:
    assert run(["train", "synthetic", *words.split(), "--print"]) == 2
    assert expected in one_line(capsys)


def test_short_names_may_have_underscores_as_fields_may(capsys) -> None:
    assert run(["train", "synthetic", "--batch_size", "5", "--num_frames=4", "--data.num_workers", "1", "--print"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["data"]["batch_size"], found["data"]["num_workers"], found["model"]["num_frames"]) == (5, 1, 4)


def test_help_is_short_unless_all_is_asked_for(capsys) -> None:
    shown = []
    for flag in ("--help", "--help-all"):
        with pytest.raises(SystemExit) as stop:
            run(["train", "finetune", flag])
        assert stop.value.code == 0
        shown.append(capsys.readouterr().out)
    assert "--run.max-epochs" in shown[0]
    assert "--optim.betas" not in shown[0]
    assert "--optim.betas" in shown[1]
    assert shown[0].rstrip().endswith("gta train finetune --help-all")
    assert len(shown[0].splitlines()) < len(shown[1].splitlines()) / 2
    assert "{None}" not in shown[1]
    for text in shown:
        words = " ".join(text.split())
        assert "DATA or --data for --data.root, --epochs for --run.max-epochs, --seed for --run.seed" in words
        assert "--num-frames for --model.num-frames and --data.clip.num-frames." in words


def test_training_skips_and_lists_bad_videos(videos: Path, tmp_path: Path, capsys) -> None:
    root = tmp_path / "set"
    shutil.copytree(videos, root)
    bad = [sorted(root.glob(f"{split}/*/*.mp4"))[0] for split in ("train", "val")]
    bad[0].write_text("no video")
    bad[1].write_bytes(bad[1].read_bytes()[:100])
    folder = tmp_path / "run"
    assert run(["train", "synthetic", f"--data.root={root}", f"--run.folder={folder}", *SMALL]) == 0
    listed = (folder / "skipped.csv").read_text()
    assert all(str(path) in listed for path in bad)
    assert json.loads((folder / "results.json").read_text())["best"]["num_videos"] == 7


def test_resume_goes_on_and_refuses_another_configuration(trained: Path, videos: Path, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    assert run(["train", str(folder), "--resume", "--run.max-epochs=2"]) == 0
    assert len((folder / "metrics.csv").read_text().splitlines()) == 3
    capsys.readouterr()
    assert run(["train", str(folder), "--resume", "--optim.lr=0.5"]) == 2
    assert "--optim.lr is 0.5, but the run to resume was started with" in one_line(capsys)
    assert run(["train", str(folder)]) == 2
    assert "--resume" in one_line(capsys)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("train", "name a recipe first"),
        ("train synthetik", "did you mean 'synthetic'?"),
        ("train finetune", "--data.root"),
        ("train synthetic --optim.lrr=3", "--optim.lrr"),
        ("train synthetic --optim.lr=x", "--optim.lr"),
        ("train synthetic --optim.lr=-1", "--optim.lr is -1.0: it must be above 0"),
        ("train synthetic --model.num-frames=4", "--model.num-frames is 4"),
        ("train synthetic --data.root=/nowhere/at/all", "/nowhere/at/all"),
        ("train synthetic --data.root=VIDEOS --run.folder=TRAINED", "the run folder already exists"),
        ("train synthetic --data.root=ONE --run.folder=FREE", "one/set: its only class is alone: training needs"),
        (
            "train synthetic --data.root=VIDEOS --run.folder=FREE --data.clip.crop-size=24",
            "--data.clip.crop-size is 24: tiny_gta needs 32 pixels or more",
        ),
        (
            "train synthetic --data.root=VIDEOS --run.folder=FREE --data.clip.test-crop-size=31",
            "--data.clip.test-crop-size is 31: tiny_gta needs 32",
        ),
        ("train synthetic --data.root=VIDEOS --model.name=nothing_known --run.folder=FREE", "nothing_known"),
        ("evaluate /nowhere.ckpt", "no such checkpoint file"),
        ("evaluate TRAINED/config.json", "another kind"),
        ("evaluate TRAINED", "best.ckpt"),
        ("evaluate TRAINED/best.ckpt /nowhere/at/all", "/nowhere/at/all"),
        ("evaluate TRAINED/best.ckpt EMPTY", "empty"),
        ("evaluate TRAINED/best.ckpt --device=cuda:77", "--device is cuda:77"),
        ("evaluate TRAINED/best.ckpt --test-crops=2", "invalid choice '2' for argument '--test-crops'"),
        ("evaluate TRAINED/best.ckpt --output=TRAINED/best.ckpt/o.json", "best.ckpt: a file of this name"),
        ("evaluate TRAINED/best.ckpt --scores=/proc/free/s.npz", "/proc/free: there is no such"),
        ("probe TRAINED/best.ckpt --output=TRAINED/best.ckpt", "best.ckpt: a file of this name"),
        ("predict TRAINED/best.ckpt ONE/*.avi", "*.avi: no video matches this pattern"),
        ("predict TRAINED/best.ckpt --list ONE/none.txt", "none.txt: no such file; name a text file"),
        ("predict TRAINED/best.ckpt", "no video given"),
        ("predict TRAINED/best.ckpt x.mp4 --top-k=0", "--top-k is 0"),
        ("predict TRAINED/best.ckpt x.mp4", "x.mp4: no such file"),
    ],
)
def test_mistakes_are_one_clear_line_and_exit_code_2(words, expected, trained, videos, tmp_path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    one = tmp_path / "one" / "set"
    for split in ("train", "val"):
        (one / split / "alone").mkdir(parents=True)
        shutil.copy(next(videos.glob("val/*/*.mp4")), one / split / "alone" / "a.mp4")
    places = {"ONE": one, "VIDEOS": videos, "TRAINED": trained, "EMPTY": tmp_path / "empty", "FREE": tmp_path / "free"}
    for name, path in places.items():
        words = words.replace(name, str(path))
    assert run(words.split()) == 2
    assert expected in one_line(capsys)
    assert not (tmp_path / "free").exists()


def test_a_class_without_videos_is_named(videos: Path, tmp_path: Path, capsys) -> None:
    root = tmp_path / "set"
    shutil.copytree(videos, root)
    for path in root.glob(f"train/{CLASSES[0]}/*"):
        path.unlink()
    assert run(["train", "synthetic", f"--data.root={root}", f"--run.folder={tmp_path / 'run'}", *SMALL]) == 2
    assert CLASSES[0] in one_line(capsys)


def test_a_read_only_place_is_one_clear_line(videos: Path, capsys) -> None:
    words = ["train", "synthetic", f"--data.root={videos}", "--run.folder=/proc/no-run-here", *SMALL]
    assert run(words) == 2
    assert "/proc/no-run-here" in one_line(capsys)


@pytest.mark.parametrize("recipe", ["synthetic", "ssv2_tsm50_8f"])
def test_a_fast_development_run_proves_a_recipe(recipe: str, capsys) -> None:
    torch.set_num_threads(1)
    assert run(["train", recipe, "--fast-dev-run", "--run.accelerator=cpu"]) == 0
    out, err = capsys.readouterr()
    assert "the recipe works: 2 steps, 4 validation videos" in out
    assert "fast development run:" in err


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_fast_development_run_does_not_emulate_bf16(tmp_path, precision) -> None:
    config = RECIPES["ssv2_slowfast50_16x8_gta"]()
    run_config = replace(config.run, accelerator="cpu", precision=precision)
    small = shrink(replace(config, run=run_config), tmp_path)
    assert small.run.precision == {"bf16": "32", "fp16": "fp16"}[precision]  # fp16 is refused with its own words


def test_an_interrupted_fast_development_run_names_no_file_that_is_gone(capsys, monkeypatch) -> None:
    def stopped(loop: Loop, real: Any = Loop.run) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        real(loop)

    monkeypatch.setattr(Loop, "run", stopped)
    assert run(["train", "synthetic", "--fast-dev-run", "--run.accelerator=cpu"]) == 128 + signal.SIGTERM
    err = capsys.readouterr().err
    assert "stopped by SIGTERM: a fast development run leaves nothing to continue" in err
    assert "last.ckpt" not in err


def test_list_and_print(capsys) -> None:
    assert run(["train", "--list"]) == 0
    assert "ssv1_r2d50_gta_8f" in capsys.readouterr().out
    assert run(["train", "ssv1_r2d50_gta_8f", "--print", "--optim.lr=0.5"]) == 0
    assert json.loads(capsys.readouterr().out)["optim"]["lr"] == 0.5
