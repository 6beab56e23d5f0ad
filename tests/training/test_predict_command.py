"""`gta predict` on a run of `gta train`."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
from train_options import SMALL

from gta.cli import run, show_every_name
from gta.synthetic import CLASSES


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
    assert output.err == "gta predict: --topk is now --top-k; the old name will be removed in the next release\n"
    assert len(output.out.splitlines()) == 2


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
