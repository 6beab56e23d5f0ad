"""`gta train`, `evaluate` and `predict` on real video files, through the command line's entrance."""

import errno
import json
import os
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gta.cli import run, show_every_name
from gta.commands.fast_dev_run import shrink
from gta.config import DataConfig, TrainConfig, config_to_json
from gta.errors import OptionError
from gta.files import write_json
from gta.recipes import RECIPES
from gta.runs.sources import Source, find_source
from gta.synthetic import CLASSES, synthesize
from gta.training.loop import Loop

SMALL = [
    "--data.num-workers=0",
    "--data.batch-size=4",
    "--run.accelerator=cpu",
    "--run.max-epochs=1",
    "--run.num-threads=1",
    "--data.clip.crop-size=32",
    "--data.clip.resize",
    "36",
    "48",
]


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


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gta ")]
    assert len(lines) == 1, lines
    return lines[0]


def test_training_prints_the_result_and_the_next_command(videos: Path, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "run"
    assert run(["train", "synthetic", f"--data.root={videos}", f"--run.folder={folder}", *SMALL]) == 0
    out = capsys.readouterr().out
    assert re.search(r"best: epoch 1, top-1 .* direction", out)
    assert f"next: gta evaluate {folder / 'best.ckpt'}" in out
    config = json.loads((folder / "config.json").read_text())
    assert config["data"]["clip"]["crop_size"] == 32
    assert config["optim"]["optimizer"] == "adamw"


def test_evaluate_needs_nothing_but_the_checkpoint_and_agrees_with_training(
    trained: Path, videos: Path, capsys
) -> None:
    scores = trained / "scores.npz"
    checkpoint = str(trained / "best.ckpt")
    assert run(["evaluate", checkpoint, "--num-workers=0", f"--scores={scores}", "--device=cpu"]) == 0
    assert "direction accuracy" in capsys.readouterr().out
    evaluated = json.loads((trained / "evaluation_val.json").read_text())
    training = json.loads((trained / "results.json").read_text())["best"]
    for name in ("top1", "top5", "direction_accuracy", "num_videos", "confusion"):
        assert evaluated[name] == training[name], name
    assert evaluated["protocol"]["crop_size"] == 32
    assert (evaluated["data"], evaluated["fold"]) == (str(videos), 1)
    assert scores.exists()


def test_saved_scores_of_two_evaluations_make_an_ensemble(trained: Path, videos: Path, tmp_path: Path) -> None:
    """The averaged scores are the mean of what was saved, with other folders and more views in the second."""
    moved = shutil.copytree(videos, tmp_path / "moved")
    files = [tmp_path / "one.npz", tmp_path / "two.npz"]
    for file, words in zip(files, ([], [str(moved), "--test-clips=2", "--test-crops=3"]), strict=True):
        output = file.with_suffix(".json")
        command = ["evaluate", str(trained / "best.ckpt"), *words, "--num-workers=0", "--device=cpu"]
        assert run([*command, f"--scores={file}", f"--output={output}"]) == 0
    together, output = tmp_path / "both.npz", tmp_path / "both.json"
    assert run(["ensemble", *map(str, files), f"--scores={together}", f"--output={output}"]) == 0
    one, two, both = (np.load(file, allow_pickle=False) for file in (*files, together))
    assert np.abs(one["scores"] - two["scores"]).max() > 1e-6
    assert np.allclose(both["scores"], (one["scores"] + two["scores"]) / 2, atol=1e-7)
    assert list(both["paths"]) == list(one["paths"])
    written = json.loads(output.read_text())
    assert written["top1"] == pytest.approx(float((both["scores"].argmax(1) == both["labels"]).mean()))
    alone = [json.loads(file.with_suffix(".json").read_text())["top1"] for file in files]
    assert [entry["top1"] for entry in written["ensemble"]] == pytest.approx(alone)


def test_the_data_of_the_run_are_found_with_layout_and_fold_unless_others_are_named(tmp_path: Path) -> None:
    checkpoint, root = tmp_path / "best.ckpt", tmp_path / "set"
    with pytest.raises(OptionError, match=r"no config\.json beside it"):
        find_source(checkpoint, None, None, None)
    config = TrainConfig(data=DataConfig(root=root, layout="ucf101", fold=2))
    write_json(tmp_path / "config.json", config_to_json(config))
    assert find_source(checkpoint, None, None, None) == Source(root, "ucf101", 2)
    assert find_source(checkpoint, None, None, 3) == Source(root, "ucf101", 3)
    assert find_source(checkpoint, tmp_path, None, None) == Source(tmp_path, "auto", 1)


def test_a_run_started_beside_its_data_is_evaluated_from_elsewhere(videos: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(videos.parent)
    folder = tmp_path / "run"
    assert run(["train", "synthetic", f"--data.root={videos.name}", f"--run.folder={folder}", *SMALL]) == 0
    monkeypatch.chdir(tmp_path)
    assert run(["evaluate", str(folder / "best.ckpt"), "--num-workers=0"]) == 0


def test_the_numbers_are_printed_before_they_are_written(trained: Path, monkeypatch, capsys) -> None:
    def full(path: Path, value: object) -> None:
        raise OSError(errno.ENOSPC, "no space left", str(path))

    monkeypatch.setattr("gta.files.write_json", full)
    assert run(["evaluate", str(trained / "best.ckpt"), "--num-workers=0"]) == 2
    out, err = capsys.readouterr()
    assert "direction accuracy" in out
    assert "written" not in out
    assert "the disk is full" in err


def test_evaluation_beside_a_read_only_checkpoint_prints_its_numbers(trained: Path, monkeypatch, capsys) -> None:
    def read_only(*_: object, **options: object) -> object:
        raise OSError(errno.EROFS, "Read-only file system", str(options["dir"]))

    monkeypatch.setattr("gta.files.tempfile.NamedTemporaryFile", read_only)
    before = {path: path.stat().st_mtime_ns for path in trained.iterdir()}
    assert run(["evaluate", str(trained / "best.ckpt"), "--num-workers=0"]) == 0
    out, err = capsys.readouterr()
    assert "direction accuracy" in out
    assert "written" not in out
    assert "the results are only printed; name a file with --output" in err
    assert {path: path.stat().st_mtime_ns for path in trained.iterdir()} == before
    output = str(trained / "e.json")
    assert run(["evaluate", str(trained / "best.ckpt"), "--num-workers=0", f"--output={output}"]) == 2
    assert "direction accuracy" not in capsys.readouterr().out  # found before the work


def test_evaluations_with_other_views_have_files_of_their_own(trained: Path, videos: Path) -> None:
    from gta.commands.evaluate import EvaluateArguments, _output

    best = trained / "best.ckpt"
    kinds = [{}, {"test_clips": 2}, {"test_crops": 3}, {"test_clips": 2, "test_crops": 3}, {"averaging": "logits"}]
    kinds += [{"data": videos}, {"split": "train"}, {"data": videos, "test_clips": 2}]
    names = [_output(EvaluateArguments(best, **kind)).name for kind in kinds]
    assert names[0] == "evaluation_val.json"
    assert names[3] == "evaluation_val_2x3.json"
    assert len(set(names)) == len(names)


def test_classes_without_a_video_are_named(trained: Path, videos: Path, tmp_path: Path, capsys) -> None:
    root = tmp_path / "set"
    shutil.copytree(videos, root)
    shutil.rmtree(sorted((root / "val").iterdir())[0])
    assert (
        run(["evaluate", str(trained / "best.ckpt"), str(root), "--num-workers=0", f"--output={tmp_path}/e.json"]) == 0
    )
    assert "1 of the model's classes have no video here: " in capsys.readouterr().out
    assert len(json.loads((tmp_path / "e.json").read_text())["classes_without_videos"]) == 1


def test_prediction_as_json_contains_failures(trained: Path, videos: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    good = next(videos.glob("val/*/*.mp4"))
    assert run(["predict", str(trained / "best.ckpt"), str(tmp_path / "bad.mp4"), str(good), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert [set(entry) for entry in found] == [{"path", "error"}, {"path", "predictions"}]
    assert "text file" in found[0]["error"]


def test_videos_whose_names_are_not_utf_8(videos: Path, trained: Path, tmp_path: Path, capsys) -> None:
    show_every_name()
    root = tmp_path / "set"
    shutil.copytree(videos, root)
    good, bad = (os.fsdecode(name) for name in (b"caf\xe9.mp4", b"bad \xe9.mp4"))
    for split in ("train", "val"):
        first = sorted(root.glob(f"{split}/*/*.mp4"))[0]
        first.rename(first.with_name(good))
        first.with_name(bad).write_text("no video")
    folder = tmp_path / "run"
    assert run(["train", "synthetic", f"--data.root={root}", f"--run.folder={folder}", *SMALL]) == 0
    assert (folder / "skipped.csv").read_bytes().count(b"bad \xe9.mp4") == 2
    assert run(["train", str(folder), "--resume", "--run.max-epochs=2"]) == 0  # reads skipped.csv
    scores = folder / "scores.npz"
    assert run(["evaluate", str(folder / "best.ckpt"), "--num-workers=0", f"--scores={scores}"]) == 0
    skipped = json.loads((folder / "evaluation_val.json").read_text(encoding="utf-8"))["skipped"]
    assert [Path(entry["path"]).name for entry in skipped] == [bad]
    with np.load(scores) as stored:
        assert good in [Path(path).name for path in stored["paths"].tolist()]
    assert run(["predict", str(folder / "best.ckpt"), str(next(root.glob("val/*/*.mp4")))]) == 0


def test_python_measures_as_the_command_line_does(trained: Path, videos: Path, tmp_path: Path) -> None:
    import gta

    best = trained / "best.ckpt"
    target = tmp_path / "evaluation.json"
    assert run(["evaluate", str(best), str(videos), "--num-workers=0", f"--output={target}"]) == 0
    result = gta.evaluate(best, videos, num_workers=0, device="cpu")
    assert result.top1 == json.loads(target.read_text())["top1"]
    probed = gta.probe(best, videos, num_workers=0, num_permutations=1, device="cpu")
    assert probed.top1("in order") == result.top1
    with pytest.raises(TypeError, match="loader"):
        gta.probe(torch.nn.Linear(1, 1), videos)
    with pytest.raises(TypeError, match="classes: only for a module"):
        gta.probe(best, videos, classes=["x"])


def test_evaluate_with_more_views_says_so(trained: Path, videos: Path, capsys) -> None:
    output = trained / "views.json"
    words = ["evaluate", str(trained / "best.ckpt"), str(videos), "--test-clips=2", "--test-crops=3", "--num-workers=0"]
    assert run([*words, f"--output={output}"]) == 0
    protocol = json.loads(output.read_text())["protocol"]
    assert (protocol["test_clips"], protocol["test_crops"]) == (2, 3)
    shown = capsys.readouterr().out
    assert "2 x 3 views of each (clips x crops), " in shown
    assert "top-5" not in shown  # of four classes
    rows = [line for line in shown.splitlines() if line.startswith("  ") and "video" in line and "%" in line]
    shares = [float(row.split()[0]) for row in rows]
    assert len(shares) == 4
    assert shares == sorted(shares)
    assert ("most confused:" in shown) == (shares[0] < 100)


def test_predict_names_classes_and_prints_json(trained: Path, videos: Path, capsys) -> None:
    paths = [str(path) for path in sorted(videos.glob("val/*/*.mp4"))[:2]]
    assert run(["predict", str(trained / "best.ckpt"), *paths, "--top-k=3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry["path"] for entry in found] == paths
    assert all(len(entry["predictions"]) == 3 for entry in found)
    assert {prediction["label"] for prediction in found[0]["predictions"]} <= set(CLASSES)
    assert run(["predict", str(trained / "best.ckpt"), paths[0], "--top-k=99"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 4  # the file and every class


def test_predict_takes_folders_patterns_and_lists_and_says_what_it_ignores(
    trained: Path, videos: Path, tmp_path: Path, capsys
) -> None:
    good = sorted(videos.glob("val/*/*.mp4"))[:3]
    (tmp_path / "in").mkdir()
    for path in good:
        (tmp_path / "in" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "in" / "notes.txt").write_text("no video")
    (tmp_path / "list.txt").write_text(f"# more\n{good[0]}\n")
    checkpoint = str(trained / "best.ckpt")
    for words, number in (
        ([str(tmp_path / "in")], 3),
        ([str(tmp_path / "**/*.mp4")], 3),
        ([str(tmp_path / "in"), "--list", str(tmp_path / "list.txt"), "--batch-size", "2"], 4),
    ):
        assert run(["predict", checkpoint, *words, "--json"]) == 0
        output = capsys.readouterr()
        assert len(json.loads(output.out)) == number
        assert ("notes.txt" in output.err) == (words[0] == str(tmp_path / "in"))


def test_names_of_the_last_release_work_with_a_notice(trained: Path, videos: Path, capsys) -> None:
    good = sorted(videos.glob("val/*/*.mp4"))[0]
    assert run(["predict", str(trained / "best.ckpt"), str(good), "--topk", "1"]) == 0
    output = capsys.readouterr()
    assert output.err == "gta predict: --topk is now --top-k; the old name goes with the next release\n"
    assert len(output.out.splitlines()) == 2


def test_train_takes_the_names_that_the_other_commands_have(tmp_path: Path, capsys) -> None:
    words = ["train", "finetune", str(tmp_path), "--epochs", "3", "--seed=4", "--num-frames", "4", "--output", "x"]
    assert run([*words, "--batch-size", "5", "--print"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["data"]["root"] == str(tmp_path)
    assert found["data"]["batch_size"] == 5
    assert (found["run"]["max_epochs"], found["run"]["seed"], found["run"]["folder"]) == (3, 4, "x")
    assert found["model"]["num_frames"] == found["data"]["clip"]["num_frames"] == 4


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


def test_predict_names_the_good_ones_and_reports_every_bad_one(trained: Path, videos: Path, tmp_path, capsys) -> None:
    good = sorted(videos.glob("val/*/*.mp4"))[0]
    text, cut = tmp_path / "text.mp4", tmp_path / "cut.mp4"
    text.write_text("no video")
    cut.write_bytes(good.read_bytes()[:200])
    words = ["predict", str(trained / "best.ckpt"), str(text), str(good), str(cut), str(tmp_path / "none.mp4")]
    assert run(words) == 2
    out, err = capsys.readouterr()
    assert str(good) in out
    lines = [line for line in err.splitlines() if line.startswith("gta predict:")]
    assert len(lines) == 3
    assert all(name in err for name in ("text.mp4", "cut.mp4", "none.mp4: no such file"))


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
        ("evaluate TRAINED/best.ckpt --test-crops=2", "--test-crops is 2"),
        ("evaluate TRAINED/best.ckpt --output=TRAINED/best.ckpt/o.json", "best.ckpt: a file of this name"),
        ("evaluate TRAINED/best.ckpt --scores=/proc/free/s.npz", "/proc/free: there is no such"),
        ("probe TRAINED/best.ckpt --output=TRAINED/best.ckpt", "best.ckpt: a file of this name"),
        ("predict TRAINED/best.ckpt ONE/*.avi", "*.avi: no video fits this pattern"),
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
