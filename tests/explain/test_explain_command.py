"""`gta explain`: the files it promises, what it prints, and one line for every mistake."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gta
from gta.checkpoint import write_checkpoint
from gta.cli import run
from gta.commands.explain import output_folders, parse_query
from gta.config import ClipConfig, config_to_json
from gta.errors import OptionError
from gta.explain.regions import distinct_regions
from gta.model_card import describe
from gta.synthetic import write_clip

CLASSES = ("Opening something", "Closing <b>something</b>", "$x_{2}$ costs", "פתיחה")


def _checkpoint(path: Path, name: str) -> Path:
    torch.manual_seed(0)
    model = gta.create_model(name, num_classes=len(CLASSES), num_frames=8)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    clip = ClipConfig(num_frames=8, crop_size=48, resize=(48, 64), test_crop_size=48)
    card = describe(model=model.arguments, classes=CLASSES, clip=config_to_json(clip))
    write_checkpoint(path, {"gta": card, "state_dict": {f"model.{k}": v for k, v in model.state_dict().items()}})
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("explain")
    for name in ("tiny_gta", "tiny_dnl", "tiny"):
        _checkpoint(folder / f"{name}.ckpt", name)
    write_clip(folder / "clip <b>.mp4", "Opening something", seed=5, index=0, frame_size=(48, 64))
    return folder


def _panels(page: Path) -> list[dict]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.S)
    return json.loads(text)["panels"]


def test_all_files_are_written_and_say_the_same(place, tmp_path, capsys):
    arguments = ["explain", str(place / "tiny_gta.ckpt"), str(place / "clip <b>.mp4"), "--query", "2,10,30"]
    assert run([*arguments, "--output", str(tmp_path / "out"), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    names = {"figure_attention.png", "figure_regions.png", "mixing.png", "explanation.npz", "explain.html"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert all(name in printed for name in names)
    assert "played backwards" in printed
    for name in names:
        if name.endswith(".png"):
            assert np.asarray(Image.open(tmp_path / "out" / name).convert("L")).std() > 0
    (panel,) = _panels(tmp_path / "out" / "explain.html")
    assert panel["query"] == [2, 10, 30]
    with np.load(tmp_path / "out" / "explanation.npz") as arrays:
        forward = arrays["forward"]
    assert panel["predictions"][0]["classes"][0][1] == pytest.approx(forward.max(), abs=1e-4)


def test_two_checkpoints_stand_side_by_side(place, tmp_path, capsys):
    arguments = ["explain", str(place / "tiny_gta.ckpt"), str(place / "clip <b>.mp4"), "--device", "cpu"]
    more = ["--compare", str(place / "tiny_dnl.ckpt"), "--swap", "--output", str(tmp_path)]
    assert run([*arguments, *more]) == 0
    first, second = _panels(tmp_path / "explain.html")
    assert (first["model"], second["model"]) == ("tiny_gta", "tiny_dnl")
    assert all(block["swapped"] for block in second["blocks"])
    assert "tiny_dnl.ckpt: " in capsys.readouterr().out


def test_a_model_without_attention_is_explained_too(place, tmp_path):
    arguments = ["explain", str(place / "tiny.ckpt"), str(place / "clip <b>.mp4"), "--device", "cpu"]
    assert run([*arguments, "--output", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"figure_attention.png", "explanation.npz", "explain.html"}


def test_a_broken_video_costs_no_other_one(place, tmp_path, capsys):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    videos = [str(tmp_path / "bad.mp4"), str(place / "clip <b>.mp4")]
    out = tmp_path / "out"
    assert run(["explain", str(place / "tiny.ckpt"), *videos, "--device", "cpu", "--output", str(out)]) == 2
    assert "bad.mp4" in capsys.readouterr().err
    assert (out / "clip <b>" / "explain.html").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--query", "1,2"], "--query is 1,2: it must be T,Y,X"),
        (["--query", "8,0,0"], "--query is 8,0,0: the model sees 8 frames of 48 x 48"),
        (["--block", "res9"], "--block is res9"),
        (["--class", "Opening somethin"], "did you mean 'Opening something'?"),
        (["--compare", "missing.ckpt"], "missing.ckpt"),
    ],
)
def test_mistakes_cost_one_line_and_no_work(place, tmp_path, capsys, options, words):
    arguments = ["explain", str(place / "tiny_gta.ckpt"), str(place / "clip <b>.mp4"), "--device", "cpu"]
    assert run([*arguments, "--output", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_points_are_three_whole_numbers():
    assert parse_query("3, 28,28") == (3, 28, 28)
    for text in ("", "1,2", "1,2,3,4", "1,2,-3", "1,2,x", "1,2,3.5"):
        with pytest.raises(OptionError, match="T,Y,X"):
            parse_query(text)


def test_videos_of_one_name_get_folders_of_their_own():
    videos = [Path("a/x.mp4"), Path("b/x.mp4"), Path("y.mp4")]
    assert output_folders(Path("out"), videos) == [Path("out/x"), Path("out/x-2"), Path("out/y")]
    assert output_folders(Path("out"), videos[:1]) == [Path("out")]


def test_distinct_regions_are_sharp_and_unlike_each_other():
    """Of two regions that say the same, the sharper one is shown, and the other comes last."""
    sharp = np.zeros((2, 4, 4, 4), np.float32)
    sharp[:, 0, :2] = 0.5
    sharp[:, 1, :2] = 0.4
    sharp[:, 2, :, :2] = 0.3
    sharp[:, 3] = 1 - sharp.sum(axis=1)
    chosen = distinct_regions(sharp, 9)
    assert {region.index for region in chosen[:3]} == {0, 2, 3}
    assert chosen[3].index == 1
    assert chosen[3].likeness == pytest.approx(1)
    assert [region.index for region in distinct_regions(sharp, 2)] == [region.index for region in chosen[:2]]
