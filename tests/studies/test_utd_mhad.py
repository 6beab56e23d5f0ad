"""`benchmarks/utd_mhad.py`: cropping to the person, and the grids of real people."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from gta.studies.grids import grid_from_json

PATH = Path(__file__).parents[2] / "benchmarks" / "utd_mhad.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("utd_mhad", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(script, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["utd_mhad.py", *map(str, words)])
    script.main()


def walking(background: np.ndarray) -> np.ndarray:
    """A person, 20 pixels high, 10 wide, and twice as bright as the background's brightest, that goes to the right."""
    frames = np.repeat(background[None], 12, axis=0)
    for number, frame in enumerate(frames):
        frame[30:50, 20 + 2 * number : 30 + 2 * number] = 240
    return frames


@pytest.mark.parametrize("depth", [True, False])
def test_the_box_holds_the_whole_way_of_the_person_and_little_more(script, depth):
    """Depth: everything that is not black. Colour: everything that moves, whatever the background looks like."""
    ground = np.random.default_rng(0).integers(60, 120, (80, 100, 3), dtype=np.uint8)
    frames = walking(np.zeros_like(ground) if depth else ground)
    out = script.cropped(frames, 42)
    assert out.shape == (12, 42, 42, 3)
    seen = (out > 200).all(axis=3)
    widths = seen.any(axis=1).sum(axis=1)
    assert (widths >= 8).all()  # 10 of a box of about 42: nobody is cut at the sides
    assert seen.any(axis=2).sum(axis=1).min() >= 16
    places = [np.flatnonzero(picture.any(axis=0)).mean() for picture in seen]
    assert places[0] < 12
    assert places[-1] > 30  # the way fills most of the box


def test_without_any_motion_the_whole_frame_is_kept(script):
    frames = np.full((5, 20, 30, 3), 90, dtype=np.uint8)
    assert script.cropped(frames, 16).shape == (5, 16, 16, 3)


def test_the_grids_have_all_blocks_for_both_numbers_of_frames(script, monkeypatch, tmp_path):
    run(script, monkeypatch, "--grid", "tiny", tmp_path / "tiny.json")
    grid = grid_from_json(json.loads((tmp_path / "tiny.json").read_text()))
    assert len(grid.rows) == 14
    assert grid.references == ("8-gta", "16-gta")
    assert {row.model for row in grid.rows} == {"tiny", *(f"tiny_{block}" for block in script.BLOCKS if block)}
    weights = tmp_path / "w.safetensors"
    weights.touch()
    run(script, monkeypatch, "--grid", "lite0", tmp_path / "lite0.json", "--weights", weights, "--epochs", "3")
    grid = grid_from_json(json.loads((tmp_path / "lite0.json").read_text()))
    assert grid.budget.epochs == 3
    frozen = [row for row in grid.rows if row.freeze == "backbone"]
    assert len(frozen) == 10
    assert not any("tsm" in row.model for row in frozen)
    assert {row.pretrained for row in grid.rows} == {str(weights)}


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ((), "say what to do"),
        (("somewhere",), "say what to do"),
        (("nowhere", "--crop", "x"), "name the folder of the videos"),
        (("--grid", "huge", "x.json"), "choose tiny or lite0"),
        (("--grid", "lite0", "x.json"), "needs --weights"),
        (("--grid", "lite0", "x.json", "--weights", "nowhere.safetensors"), "needs --weights"),
    ],
)
def test_mistakes_are_told(script, monkeypatch, capsys, words, hint):
    with pytest.raises(SystemExit) as stopped:
        run(script, monkeypatch, *words)
    assert stopped.value.code == 2
    assert hint in capsys.readouterr().err
