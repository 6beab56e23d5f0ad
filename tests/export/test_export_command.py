"""`gta export`: what stands in the folder, the comparison with the original, and one line for every mistake."""

import errno
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from export_support import CLASSES, CLIP, randomise, small_checkpoint
from timm.models.resnet import BasicBlock, ResNet

import gta
from gta.checkpoint import read_checkpoint
from gta.cli import run
from gta.errors import CheckpointError, ExportError, OptionError
from gta.export.card import CARD, read_card
from gta.export.clips import synthetic_clips
from gta.export.graph import ClipGraph, trace
from gta.export.parity import compare
from gta.export.run import Target, export_network
from gta.export.runtimes import load_exported
from gta.predictor import build_model

# onnx is written by the command line, the others from Python: each path once, since tracing takes seconds.


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return small_checkpoint(tmp_path_factory.mktemp("checkpoint") / "best.ckpt")


@pytest.fixture(scope="module")
def onnx_folder(checkpoint):
    arguments = ["export", str(checkpoint), "--to", "onnx", "--dynamic-batch", "--scores", "probabilities"]
    assert run([*arguments, "--clips", "6"]) == 0
    return checkpoint.parent / "best-onnx"


def clips_of(number):
    values = np.random.default_rng(number).integers(0, 256, (number, 3, 4, 32, 32), np.uint8)
    return torch.from_numpy(values)


def test_the_card_says_everything_that_a_reader_needs(onnx_folder, checkpoint):
    card = json.loads((onnx_folder / CARD).read_text())
    export = card["export"]
    assert card["classes"] == list(CLASSES)
    assert card["clip"]["resize"] == [36, 48]
    assert export["input"]["name"] == "clip"
    assert export["input"]["dtype"] == "uint8"
    assert export["input"]["shape"] == [None, 3, 4, 32, 32]
    assert export["output"] == {"name": "probabilities", "dtype": "float32", "shape": [None, 3]}
    assert (export["runtime"], export["precision"], export["opset"]) == ("onnx", "float32", 20)
    assert export["source"]["file"] == "best.ckpt"
    assert len(export["source"]["sha256"]) == 64
    assert {"onnx", "onnxruntime", "torch", "gta"} <= set(card["versions"])
    assert "weights" in export["licence"]
    assert export["parity"]["num_clips"] == 6
    assert export["parity"]["passed"]
    assert export["parity"]["largest_difference"] <= 1e-4
    assert export["parity"]["top1_agreement"] == 1


@pytest.mark.parametrize("number", [1, 2, 9])
def test_onnx_gives_what_the_network_gives_for_any_number_of_clips(onnx_folder, checkpoint, number):
    original = ClipGraph(build_model(read_checkpoint(checkpoint)), CLIP, output="probabilities")
    clips = clips_of(number)
    with torch.inference_mode():
        expected = original(clips)
    exported = load_exported(onnx_folder)
    found = torch.from_numpy(exported.outputs(clips.numpy()))
    assert found.shape == (number, 3)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(exported(clips).softmax(dim=1), expected, atol=1e-4, rtol=0)


def test_a_bare_timm_network_with_attention_runs_in_openvino_with_any_number_of_clips(tmp_path):
    network = ResNet(BasicBlock, (1, 1, 1, 1), num_classes=3, channels=(8, 16, 16, 16))
    gta.insert_attention(network, block="gta", at={"res3": 1}, num_frames=4)
    randomise(network)
    target = Target("openvino", batch_size=None)
    card = export_network(network, tmp_path / "out", target=target, classes=CLASSES, clip=CLIP)
    assert card.measured["parity"]["passed"]
    clips = clips_of(9)
    with torch.inference_mode():
        expected = ClipGraph(network, CLIP)(clips)
        frames = gta.prepare(clips, CLIP).transpose(1, 2).flatten(0, 1)
        torch.testing.assert_close(expected, network(frames).unflatten(0, (9, 4)).mean(1), atol=1e-5, rtol=1e-5)
    found = torch.from_numpy(load_exported(tmp_path / "out").outputs(clips.numpy()))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_a_fixed_number_of_clips_is_filled_up_and_torch_needs_trust(tmp_path):
    network = randomise(gta.create_model("tiny", num_classes=3, num_frames=4))
    samples = synthetic_clips(CLIP, 2)
    target = Target("torch", batch_size=2)
    export_network(network, tmp_path / "out", target=target, classes=CLASSES, clip=CLIP, samples=samples)
    with pytest.raises(CheckpointError, match="give `trust`"):
        load_exported(tmp_path / "out")
    clips = clips_of(3)
    with torch.inference_mode():
        expected = ClipGraph(network, CLIP)(clips)
    torch.testing.assert_close(load_exported(tmp_path / "out", trust=True)(clips), expected, atol=1e-5, rtol=0)


def test_an_export_that_differs_is_not_kept_unless_forced(checkpoint, tmp_path, capsys):
    folder = tmp_path / "out" / "torch"
    arguments = ["export", str(checkpoint), "--to", "torch", "--clips", "4", "--output", str(folder)]
    arguments += ["--precision", "bf16"]  # whose numbers are others
    assert run([*arguments, "--limit", "0"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "differs from the original" in line
    assert "--force" in line
    assert list(folder.parent.iterdir()) == []
    assert run([*arguments, "--limit", "0", "--force"]) == 0
    assert not read_card(folder).measured["parity"]["passed"]
    assert run([*arguments, "--limit", "0", "--force"]) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "onnx", "--precision", "bf16"], "export to torch or openvino or aoti"),
        (["--to", "onnx", "--calibration", "x"], "--calibration requires --precision int8"),
        (["--to", "onnx", "--calibration-clips", "64"], "--calibration-clips requires --precision int8"),
        (["--to", "onnx", "--batch-size", "0"], "--batch-size is 0"),
        (["--to", "onnx", "onnx"], "name each format once"),
        (["--to", "openvino", "--precision", "int8"], "give --calibration"),
        (["--to", "onnx", "--limit", "-1"], "--limit is -1"),
        (["--to", "onnx", "--dynamic-batch", "--batch-size", "4"], "omit --batch-size"),
        (["--to", "onnx", "--batch-size", "65537"], "must be 65536 or less"),
    ],
)
def test_options_that_do_not_fit_are_one_line(checkpoint, tmp_path, capsys, arguments, words):
    assert run(["export", str(checkpoint), *arguments, "--output", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 60 kB, less than any export needs."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=60k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("runtime", ["torch", "onnx", "openvino"])
def test_a_full_disk_is_one_line_that_names_the_users_folder(checkpoint, small_disk, capfd, runtime):
    folder = small_disk / "out"
    assert run(["export", str(checkpoint), "--to", runtime, "--clips", "1", "--output", str(folder)]) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line == f"gta export: {folder}: the disk is full: free some space or write elsewhere"
    assert list(small_disk.iterdir()) == []


def test_an_output_that_cannot_be_written_is_told_before_any_work(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("gta.checkpoint.read_checkpoint", lambda _: pytest.fail("the work has begun"))

    def no_room(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gta.files.tempfile.NamedTemporaryFile", no_room)
    assert run(["export", str(checkpoint), "--to", "torch", "--output", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.strip() == (
        f"gta export: {tmp_path / 'out'}: the disk is full: free some space or write elsewhere"
    )
    (tmp_path / "file").touch()
    assert run(["export", str(checkpoint), "--to", "torch", "--output", str(tmp_path / "file" / "out")]) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


@pytest.mark.parametrize("output", [[], ["--output", "there/out"]])
def test_a_mistyped_checkpoint_leaves_no_folder(tmp_path, monkeypatch, capsys, output):
    monkeypatch.chdir(tmp_path)
    assert run(["export", "mistyped/best.ckpt", "--to", "torch", *output]) == 2
    assert capsys.readouterr().err == "gta export: mistyped/best.ckpt: no such checkpoint file\n"
    assert list(tmp_path.iterdir()) == []


def test_any_number_of_clips_has_no_bound():
    class Mean(torch.nn.Module):
        def forward(self, clips):
            return clips.mean(dim=(2, 3, 4))

    graph = ClipGraph(Mean(), replace(CLIP, num_frames=1, crop_size=2))
    clips = torch.randint(0, 256, (1025, 3, 1, 2, 2), dtype=torch.uint8)
    torch.testing.assert_close(trace(graph, None).module()(clips), graph(clips))


def test_the_benchmark_times_calls_of_batch_size_clips(checkpoint, tmp_path):
    words = ["export", str(checkpoint), "--to", "torch", "--clips", "1", "--output", str(tmp_path / "out")]
    assert run([*words, "--batch-size", "3", "--benchmark"]) == 0
    assert read_card(tmp_path / "out").measured["speed"]["clips_per_call"] == 3


@pytest.mark.parametrize("more", [[], ["--overwrite"]])
def test_a_folder_of_something_else_is_never_replaced(checkpoint, tmp_path, capsys, more):
    (tmp_path / "note.txt").write_text("mine")
    assert run(["export", str(checkpoint), "--to", "torch", "--output", str(tmp_path), *more]) == 2
    assert "not an exported model" in capsys.readouterr().err
    assert (tmp_path / "note.txt").read_text() == "mine"


@pytest.mark.parametrize(("runtime", "library"), [("onnx", "onnxscript"), ("openvino", "openvino")])
def test_a_missing_library_is_one_line_that_names_the_extra(
    checkpoint, tmp_path, capsys, monkeypatch, runtime, library
):
    monkeypatch.setitem(sys.modules, library, None)
    assert run(["export", str(checkpoint), "--to", runtime, "--output", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"needs {library}: pip install 'gta-video[export]'" in line


def test_damaged_folders_are_refused_with_a_reason(onnx_folder, tmp_path):
    with pytest.raises(CheckpointError, match=r"card\.json: no such file"):
        load_exported(tmp_path)
    content = json.loads((onnx_folder / CARD).read_text())
    model = (onnx_folder / "model.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(model[:-1] + bytes([model[-1] ^ 1]))
    (tmp_path / CARD).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="damaged"):
        load_exported(tmp_path)
    for change, words in (
        ({"runtime": "other"}, "this gta knows"),
        ({"files": {"../model.onnx": {"sha256": "0" * 64}}}, "not the plain name"),
        ({"input": {"shape": [1, 3, 8, 32, 32]}}, "its input has the shape"),
    ):
        (tmp_path / CARD).write_text(json.dumps({**content, "export": {**content["export"], **change}}))
        with pytest.raises(CheckpointError, match=words):
            read_card(tmp_path)


def test_a_network_that_cannot_be_exported_is_one_clear_error(tmp_path):
    class Chooses(torch.nn.Module):
        def forward(self, clips):
            scores = clips.mean(dim=(2, 3, 4))
            return scores if float(scores.sum()) > 0 else -scores

    with pytest.raises(ExportError, match="Chooses cannot be exported to torch"):
        export_network(Chooses(), tmp_path / "out", target=Target("torch"), classes=CLASSES, clip=CLIP)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="3 scores, but there are 2 classes"):
        export_network(Chooses(), tmp_path / "out", target=Target("torch"), classes=CLASSES[:2], clip=CLIP)
    with pytest.raises(OptionError, match="not int8"):
        export_network(Chooses(), tmp_path / "out", target=Target("torch", "int8"), classes=CLASSES, clip=CLIP)


def test_parity_is_what_it_says():
    first = np.array([[0.0, 1.0], [2.0, 0.0]], np.float32)
    same = compare(first, first + np.float32(5e-5), output="logits", precision="float32", clips="two")
    assert same.passed
    assert same.largest_difference == pytest.approx(5e-5, rel=0.01)
    assert same.mean_distance == pytest.approx(0, abs=1e-7)  # the float32 sums are rounded
    other = compare(first, first[:, ::-1], output="logits", precision="float32", clips="two")
    assert not other.passed
    assert other.top1_agreement == 0
    assert other.largest_difference == 2
    powers = np.exp(first) / np.exp(first).sum(1, keepdims=True)
    assert other.mean_distance == pytest.approx(np.abs(powers - powers[:, ::-1]).sum(1).mean() / 2)
    nothing = compare(first, np.full_like(first, np.nan), output="logits", precision="int8", clips="two")
    assert not nothing.passed


def test_clips_of_a_protocol_with_several_views_are_single(tmp_path):
    clips = synthetic_clips(replace(CLIP, test_clips=2), 3)
    assert [clip.shape for clip in clips] == [(1, 3, 4, 32, 32)] * 3
    assert not np.array_equal(clips[0], clips[1])
