"""Exported folders in the place of checkpoints: the same answers, from nothing but their runtime and the reader."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from export_support import CLASSES, CLIP, modules_after, small_checkpoint

import gta
from gta.checkpoint import read_checkpoint
from gta.cli import run
from gta.export.run import Target, export_network
from gta.predictor import build_model
from gta.synthetic import write_clip

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "docs" / "predict_exported.py"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A checkpoint, its exports for ONNX and OpenVINO, and a small data set."""
    folder = tmp_path_factory.mktemp("exported")
    checkpoint = small_checkpoint(folder / "best.ckpt", "tiny")
    network = build_model(read_checkpoint(checkpoint))
    for runtime in ("onnx", "openvino"):
        output = "probabilities" if runtime == "onnx" else "logits"
        target = Target(runtime, output=output, batch_size=1)
        export_network(network, folder / runtime, target=target, classes=CLASSES, clip=CLIP)
    cubic = replace(CLIP, interpolation="bicubic")
    export_network(network, folder / "cubic", target=Target("onnx", batch_size=1), classes=CLASSES, clip=cubic)
    for number, name in enumerate(CLASSES):
        (folder / "videos" / "val" / name).mkdir(parents=True)
        write_clip(folder / "videos" / "val" / name / f"{number}.mp4", "Opening something", seed=number, index=number)
    return folder


def video_of(place):
    return place / "videos" / "val" / CLASSES[0] / "0.mp4"


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_predictor_gives_the_checkpoints_answers(place, runtime):
    expected = gta.Predictor.from_checkpoint(place / "best.ckpt", device="cpu")
    exported = gta.Predictor.from_exported(place / runtime)
    first, second = expected.predict(video_of(place), top_k=3), exported.predict(video_of(place), top_k=3)
    assert second.labels == first.labels
    assert second.scores == pytest.approx(first.scores, abs=1e-4)
    several = exported.predict([video_of(place), "missing.mp4", video_of(place)], top_k=3, batch_size=2)
    assert [bool(one.error) for one in several] == [False, True, False]
    assert several[2].scores == pytest.approx(first.scores, abs=1e-4)


def test_gta_predict_takes_an_exported_folder(place, capsys):
    answers = []
    for path in ("best.ckpt", "onnx"):
        assert run(["predict", str(place / path), str(video_of(place)), "--json", "--device", "cpu"]) == 0
        (entry,) = json.loads(capsys.readouterr().out)
        answers.append({one["label"]: one["score"] for one in entry["predictions"]})
    assert answers[1] == pytest.approx(answers[0], abs=1e-4)
    assert run(["predict", str(place / "onnx"), str(video_of(place)), "--device", "cuda"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "--device is cuda" in line


def test_gta_evaluate_measures_an_exported_folder_and_keeps_the_checkpoints_results(place, capsys):
    results = []
    for path in ("best.ckpt", "openvino"):
        arguments = ["evaluate", str(place / path), str(place / "videos"), "--num-workers", "0", "--device", "cpu"]
        assert run(arguments) == 0
        found = (place if path == "best.ckpt" else place / path) / "evaluation_val_videos.json"
        results.append(json.loads(found.read_text()))
    first, second = results
    assert second["num_videos"] == 3
    assert second["loss"] == pytest.approx(first["loss"], abs=1e-4)
    assert second["confusion"] == first["confusion"]
    capsys.readouterr()
    assert run(["evaluate", str(place / "openvino"), str(place / "videos"), "--precision", "bf16"]) == 2
    assert "was chosen when it was exported" in capsys.readouterr().err


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_many_videos_get_the_checkpoints_rows(place, tmp_path, capsys, runtime):
    (place / "bad.txt").write_text(f"{video_of(place)}\nmissing.mp4\n")
    tables = []
    for path in ("best.ckpt", runtime):
        output = tmp_path / f"{path}.jsonl"
        words = ["--manifest", str(place / "bad.txt"), "--output", str(output), "--num-workers", "1"]
        assert run(["predict", str(place / path), *words, "--device", "cpu", "--top-k", "3"]) == 0
        tables.append([json.loads(line) for line in output.read_text().splitlines()])
    first, second = tables
    assert second[0]["labels"] == first[0]["labels"]
    assert second[0]["scores"] == pytest.approx(first[0]["scores"], abs=1e-4)
    assert second[1] == first[1]
    assert first[1]["error"] == "no such file"
    (place / runtime / "card.json").rename(tmp_path / "card.json")
    try:
        assert run(["predict", str(place / runtime), *words]) == 2
    finally:
        (tmp_path / "card.json").rename(place / runtime / "card.json")
    assert str(place / runtime) in capsys.readouterr().err


def test_a_table_of_another_model_or_with_code_is_refused_before_any_worker_starts(place, tmp_path, capsys):
    network = build_model(read_checkpoint(place / "best.ckpt"))
    export_network(network, tmp_path / "torch", target=Target("torch"), classes=CLASSES, clip=CLIP)
    output = tmp_path / "scores.csv"
    words = ["--manifest", str(place / "videos"), "--output", str(output), "--num-workers", "1"]
    assert run(["predict", str(tmp_path / "torch"), *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "give --trust" in line
    assert run(["predict", str(tmp_path / "torch"), *words, "--device", "cuda"]) == 2
    capsys.readouterr()
    assert run(["predict", str(place / "onnx"), *words]) == 0
    assert run(["predict", str(place / "openvino"), *words]) == 2
    assert "it exists already" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["explain"], ["probe"], ["export", "--to", "onnx"]])
def test_what_an_exported_model_cannot_do_is_said(place, capsys, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    name, *more = command
    assert (
        run([name, str(place / "onnx"), *([] if name == "export" else [str(video_of(place).parents[2])]), *more]) == 2
    )
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"{place / 'onnx'}: an exported model only works with" in line
    assert "give the checkpoint that it was made from" in line


def test_gta_watch_takes_an_exported_folder(place, capsys):
    lines = []
    for path in ("best.ckpt", "onnx"):
        words = ["--window", "0.8", "--hop", "0.4", "--top-k", "3", "--device", "cpu"]
        assert run(["watch", str(place / path), str(video_of(place)), *words]) == 0
        lines.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    first, second = lines
    assert len(first) == len(second) > 1
    for one, other in zip(first, second, strict=True):
        assert other["time"] == one["time"]
        assert dict(zip(other["labels"], other["scores"], strict=True)) == pytest.approx(
            dict(zip(one["labels"], one["scores"], strict=True)), abs=1e-4
        )


def test_predicting_needs_neither_timm_nor_lightning_nor_the_other_runtime(place):
    program = "import sys, gta; print(gta.Predictor.from_exported(sys.argv[1]).predict(sys.argv[2]).labels)"
    loaded = modules_after(program, str(place / "onnx"), str(video_of(place)))
    assert {"onnxruntime", "av"} <= loaded
    assert not loaded & {"timm", "lightning", "torchmetrics", "matplotlib", "onnx", "onnxscript", "openvino", "nncf"}


def test_evaluating_needs_neither_timm_nor_lightning(place, tmp_path):
    program = "import sys; from gta.cli import run; assert run(sys.argv[1:]) == 0"
    words = ["--num-workers", "0", "--device", "cpu", "--output", str(tmp_path / "out.json")]
    loaded = modules_after(program, "evaluate", str(place / "onnx"), str(place / "videos"), *words)
    assert "onnxruntime" in loaded
    assert not loaded & {"timm", "lightning", "onnx", "onnxscript", "openvino", "nncf"}


def only_these(folder, *names):
    """A folder with links to what these packages need to run, as a fresh environment would have it."""
    waiting, found = list(names), set()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found.add(name)
        package = importlib.metadata.distribution(name)
        for part in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}:
            if not (folder / part).exists():
                (folder / part).symlink_to(package.locate_file(part))
        for need in package.requires or ():
            if "extra ==" not in need:
                waiting.append(re.split(r"[ ;<>=!~(\[]", need)[0])
    return found


@pytest.mark.parametrize(
    ("runtime", "package"), [("onnx", "onnxruntime"), ("openvino", "openvino"), ("cubic", "onnxruntime")]
)
def test_the_script_in_the_docs_needs_the_runtime_numpy_and_av(place, tmp_path, runtime, package):
    assert "torch" not in only_these(tmp_path, package, "numpy", "av")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-S", str(SCRIPT), str(place / runtime), str(video_of(place))],
        env={**clean, "PYTHONPATH": str(tmp_path), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = {name: float(score) for score, name in (line.split("  ") for line in done.stdout.splitlines())}
    views = gta.Predictor.from_exported(place / runtime)
    middle = views.model.outputs(_middle_view(video_of(place), views.clip))[0]
    assert found == pytest.approx(dict(zip(CLASSES, middle.tolist(), strict=True)), abs=0.02)


def _middle_view(path, clip):
    from gta.clips.dataset import clip_views

    return clip_views(path, replace(clip, test_crops=1)).numpy()


def test_the_script_is_as_short_as_the_docs_say():
    lines = [line for line in SCRIPT.read_text().splitlines() if line.strip()]
    assert len(lines) <= 40
