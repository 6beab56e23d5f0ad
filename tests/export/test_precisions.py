"""Every runtime gives what the network gives, for any number of clips; bf16, int8, compiled code, and what is timed."""

import json
import shutil

import numpy as np
import pytest
import torch
from export_support import CLASSES, CLIP, randomise, small_checkpoint
from timm.models.resnet import BasicBlock, ResNet

import gta
from gta.checkpoint import read_checkpoint
from gta.cli import run
from gta.config import ClipConfig
from gta.export.card import CARD, read_card
from gta.export.clips import synthetic_clips
from gta.export.graph import ClipGraph, trace
from gta.export.run import Target, export_network, graph_outputs
from gta.export.runtimes import load_exported
from gta.export.speed import FIRST, measure_speed
from gta.export.writers import write_program
from gta.predictor import build_model
from gta.synthetic import write_clip

EIGHT = ClipConfig(num_frames=8, crop_size=32, resize=(36, 48))


def bare_timm():
    network = ResNet(BasicBlock, (1, 1, 1, 1), num_classes=3, channels=(8, 16, 16, 16))
    gta.insert_attention(network, block="nl", at={"res3": 1}, num_frames=8)
    return network


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return small_checkpoint(tmp_path_factory.mktemp("precisions") / "best.ckpt", "tiny")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A labelled data set: a folder for each class, in two splits."""
    folder = tmp_path_factory.mktemp("labelled") / "videos"
    for split in ("train", "val"):
        for number, name in enumerate(CLASSES):
            (folder / split / name).mkdir(parents=True)
            for copy in range(2):
                path = folder / split / name / f"{copy}.mp4"
                write_clip(path, "Opening something", seed=number, index=2 * number + copy)
    return folder


@pytest.mark.parametrize(
    "name", ["tiny_nl", "tiny_gta", "tiny_tsm_gta", "tiny_c2d_nl", "tiny_slowfast_gta", "a bare timm ResNet"]
)
def test_torch_onnx_and_openvino_give_what_the_network_gives(tmp_path, name) -> None:
    """One trace for all, with clips in numbers that no trace has seen."""
    network = bare_timm() if name.startswith("a bare") else gta.create_model(name, num_classes=3, num_frames=8)
    graph = ClipGraph(randomise(network), EIGHT)
    program = trace(graph, None)
    samples = synthetic_clips(EIGHT, 12)
    expected = graph_outputs(graph, samples)
    assert np.ptp(expected, axis=0).max() > 0.01  # they depend on the clip
    for runtime in ("torch", "onnx", "openvino"):
        target = Target(runtime, batch_size=None)
        (tmp_path / runtime).mkdir()
        names = write_program(
            program, tmp_path / runtime, runtime=runtime, output="logits", batch_size=None, clip=EIGHT
        )
        found = outputs_of(tmp_path / runtime, target, names, np.concatenate(samples))
        for number, outputs in found.items():
            np.testing.assert_allclose(outputs, expected, atol=1e-4, rtol=0, err_msg=f"{runtime}, {number} a call")
            assert (outputs.argmax(1) == expected.argmax(1)).all()


def outputs_of(folder, target, names, clips):
    """The outputs with one, nine and twelve clips a call."""
    from gta.export.card import ExportCard
    from gta.export.runtimes import ExportedModel, open_runtime
    from gta.model_card import ModelCard

    card = ExportCard(
        model=ModelCard(model={"name": "x"}, classes=CLASSES, clip=EIGHT),
        runtime=target.runtime,
        precision="float32",
        output="logits",
        batch_size=None,
        files={name: {} for name in names},
    )
    model = ExportedModel(card, open_runtime(folder, card))
    return {
        number: np.concatenate([model.outputs(clips[start : start + number]) for start in range(0, len(clips), number)])
        for number in (1, 9, 12)
    }


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_bf16_is_near_float32_and_not_the_same(checkpoint, tmp_path, runtime) -> None:
    network = build_model(read_checkpoint(checkpoint))
    card = export_network(network, tmp_path / "out", target=Target(runtime, "bf16"), classes=CLASSES, clip=CLIP)
    parity = card.measured["parity"]
    assert (card.precision, parity["measure"], parity["limit"]) == ("bf16", "mean_distance", 0.02)
    assert 0 < parity["mean_distance"] <= 0.02
    assert parity["largest_difference"] > 1e-4
    clips = torch.from_numpy(np.concatenate(synthetic_clips(CLIP, 2)))
    with torch.inference_mode():
        expected = ClipGraph(network, CLIP)(clips)
    found = load_exported(tmp_path / "out", trust=True)(clips)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.1, rtol=0)


def test_int8_is_calibrated_measured_and_timed_on_the_command_line(checkpoint, videos, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    words = ["export", str(checkpoint), "--to", "openvino", "onnx", "--precision", "int8", "--output", str(out)]
    data = ["--calibration", str(videos), "--data", str(videos), "--calibration-clips", "4", "--clips", "5"]
    assert run([*words, *data, "--benchmark"]) == 0
    printed = capsys.readouterr().out
    plain = export_network(
        build_model(read_checkpoint(checkpoint)),
        tmp_path / "float32",
        target=Target("openvino"),
        classes=CLASSES,
        clip=CLIP,
    )
    for runtime in ("openvino", "onnx"):
        card = read_card(out / runtime)
        assert card.precision == "int8"
        assert card.measured["parity"]["clips"] == "of videos, val"
        assert card.measured["parity"]["num_clips"] == 5
        accuracy = card.measured["accuracy"]
        assert (accuracy["num_videos"], accuracy["split"], accuracy["data"]) == (6, "val", "videos")
        assert all(round(6 * accuracy[name], 6) in range(7) for name in ("top1_before", "top1_after"))
        table = card.measured["speed"]["threads"]["1"]
        assert set(table) == {FIRST, "eager bf16", "openvino int8", "onnx int8"}
        assert all(row["seconds"] > 0 and row["ratio"] > 0 for row in table.values())
    weights = read_card(out / "openvino").files["model.bin"]["bytes"]
    assert weights < 0.5 * plain.files["model.bin"]["bytes"]
    assert printed.count("top-1 of 6 videos: ") == 2
    assert "openvino int8" in printed
    assert f"{table[FIRST]['ratio']:.2f}x" in printed


def test_calibration_takes_a_plain_folder_and_says_what_it_lacks(checkpoint, videos, tmp_path, capsys) -> None:
    loose = tmp_path / "loose"
    loose.mkdir()
    for number, path in enumerate(sorted(videos.glob("val/*/0.mp4"))):
        shutil.copy(path, loose / f"{number}.mp4")
    words = ["export", str(checkpoint), "--to", "openvino", "--precision", "int8", "--output", str(tmp_path / "out")]
    assert run([*words, "--calibration", str(tmp_path / "none")]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run([*words, "--calibration", str(tmp_path / "empty")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert str(tmp_path / "empty") in line
    assert run([*words, "--calibration", str(loose), "--clips", "3"]) == 0
    assert json.loads((tmp_path / "out" / CARD).read_text())["export"]["parity"]["clips"] == "held out of loose"


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler on this machine")
def test_compiled_code_gives_what_the_network_gives(tmp_path) -> None:
    network = randomise(gta.create_model("tiny", num_classes=3, num_frames=4))
    card = export_network(network, tmp_path / "out", target=Target("aoti", batch_size=None), classes=CLASSES, clip=CLIP)
    assert card.measured["parity"]["passed"]
    clips = torch.from_numpy(np.concatenate(synthetic_clips(CLIP, 9)))
    with torch.inference_mode():
        expected = ClipGraph(network, CLIP)(clips)
    torch.testing.assert_close(load_exported(tmp_path / "out", trust=True)(clips), expected, atol=1e-4, rtol=0)


def test_without_a_compiler_aoti_is_one_line(checkpoint, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    assert run(["export", str(checkpoint), "--to", "aoti", "--output", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "the format aoti compiles with no-such-compiler -O2, which was not found" in line
    assert not (tmp_path / "out").exists()


def test_all_contenders_take_turns_and_the_first_round_does_not_count(monkeypatch) -> None:
    calls = []
    seconds = iter(range(1000))
    monkeypatch.setattr("gta.export.speed.time.process_time", lambda: float(next(seconds)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    table = measure_speed(
        {name: lambda _, name=name: lambda clip: calls.append(name) for name in (FIRST, "other")},
        np.zeros((1, 3, 4, 8, 8), np.uint8),
        rounds=3,
    )
    assert calls == [FIRST, "other"] * 4
    assert table["threads"]["1"]["other"] == {"seconds": 1.0, "ratio": 1.0}
