"""`gta evaluate` on a run of `gta train`, from the command line and from Python."""

import errno
import json
import shutil
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from train_options import SMALL

from gta.cli import run
from gta.commands.evaluate import _print_confusions
from gta.config import DataConfig, TrainConfig, config_to_json
from gta.errors import OptionError
from gta.files import write_json
from gta.runs.evaluate import Measuring
from gta.runs.sources import Source, find_source


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
    with pytest.raises(OptionError, match=r"no config\.json next to it"):
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


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"precision": "fp32"}, "`precision` is 'fp32': it must be one of '32', 'bf16', 'fp16'"),
        ({"precision": 32}, "`precision` is 32: it must be one of '32', "),
        ({"batch_size": 0}, "`batch_size` is 0: it must be 1 or more"),
        ({"num_workers": -1}, "`num_workers` is -1: it must be 0 or more"),
    ],
)
def test_python_refuses_what_the_command_line_refuses(values, words: str, monkeypatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # which sees wrong types first, in tests
    with pytest.raises(OptionError, match=words):
        Measuring(**values)


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


def test_one_video_is_not_called_videos(capsys) -> None:
    pair = {"true": "opening", "predicted": "closing", "count": 1, "index": [0]}
    for count, words in ((1, "1 of 1 video of opening"), (2, "1 of 2 videos of opening")):
        _print_confusions({"worst_confusions": [pair], "per_class": {"opening": {"num_videos": count}}})
        assert f"{words} classified as closing" in capsys.readouterr().out


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
    assert "\\n" not in shown
