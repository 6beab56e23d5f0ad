"""Which clips an export is calibrated with and compared on: no video gives both."""

import shutil

import pytest
from export_support import CLASSES, CLIP, small_checkpoint

from gta.cli import run
from gta.errors import DataError
from gta.export.clips import held_out_clips
from gta.synthetic import CLASSES as ACTIONS
from gta.synthetic import write_clip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return small_checkpoint(tmp_path_factory.mktemp("clips") / "best.ckpt", "tiny")


@pytest.fixture(scope="module")
def loose(tmp_path_factory):
    """Nine different videos and one that cannot be read, in a folder without classes."""
    folder = tmp_path_factory.mktemp("loose")
    for number in range(9):
        write_clip(folder / f"{number}.mp4", ACTIONS[number], seed=number, index=number)
    (folder / "9.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture(scope="module")
def labelled(loose, tmp_path_factory):
    """A data set of these videos: two for training, one for validation, in each class."""
    folder = tmp_path_factory.mktemp("set") / "videos"
    for number in range(9):
        place = folder / ("val" if number % 3 == 0 else "train") / CLASSES[number // 3]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(loose / f"{number}.mp4", place)
    return folder


def contents(clips):
    return {clip.tobytes() for clip in clips}


@pytest.fixture
def exported(monkeypatch):
    """What the command hands to the export, which itself is left out."""
    calls = []

    def export_network(*_, **options):
        calls.append(options)
        raise DataError("enough")

    monkeypatch.setattr("gta.export.run.export_network", export_network)
    return calls


def int8(checkpoint, tmp_path, *words):
    run(["export", str(checkpoint), "--to", "openvino", "--precision", "int8", "--output", str(tmp_path / "o"), *words])


@pytest.mark.parametrize(("wanted", "held"), [(2, 2), (100, 4)])
def test_half_of_the_videos_at_most_are_held_out_and_no_video_does_both(loose, wanted, held):
    compared, calibrated = held_out_clips(loose, CLIP, wanted, 100)
    assert (len(compared), len(calibrated)) == (held, 9 - held)
    assert len(contents(compared) | contents(calibrated)) == 9
    assert len(held_out_clips(loose, CLIP, 2, 3)[1]) == 3


def test_calibration_alone_is_shared_out_and_few_clips_are_told(checkpoint, loose, tmp_path, exported, capsys):
    int8(checkpoint, tmp_path, "--calibration", str(loose))
    (call,) = exported
    assert call["samples_from"] == f"held out of {loose.name}"
    assert (len(call["samples"]), len(call["calibration"])) == (4, 5)
    assert not contents(call["samples"]) & contents(call["calibration"])
    warning, _ = capsys.readouterr().err.splitlines()
    assert warning.startswith("gta export: calibrated with 5 clips only")
    assert "32 or more" in warning


def test_the_videos_of_data_that_are_compared_on_are_not_calibrated_with(
    checkpoint, labelled, tmp_path, exported, monkeypatch, capsys
):
    monkeypatch.setattr("gta.commands.export._FEW", 6)
    int8(checkpoint, tmp_path, "--data", str(labelled), "--calibration", str(labelled))
    assert len(capsys.readouterr().err.splitlines()) == 1  # the error alone: six are enough
    int8(checkpoint, tmp_path, "--data", str(labelled), "--calibration", str(labelled / "val" / CLASSES[0]))
    call = exported[0]
    assert call["samples_from"] == "of videos, val"
    assert (len(call["samples"]), len(call["calibration"])) == (3, 6)
    assert not contents(call["samples"]) & contents(call["calibration"])
    assert len(exported) == 1  # the second has nothing left to calibrate with
    assert "used for comparison or timing" in capsys.readouterr().err


def test_no_video_that_top1_is_measured_on_is_calibrated_with(checkpoint, labelled, tmp_path, exported, capsys):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for number, path in enumerate(sorted(labelled.glob("val/*/*.mp4"))):
        (folder / f"{number}.mp4").symlink_to(path)
    data = ["--data", str(labelled), "--clips", "1"]  # two of the three that are measured are not compared on
    int8(checkpoint, tmp_path, *data, "--calibration", str(folder))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"gta export: {folder}: all its videos are used for comparison or timing")
    other = next(labelled.glob("train/*/*.mp4"))
    shutil.copy(other, folder / "other.mp4")
    int8(checkpoint, tmp_path, *data, "--calibration", str(folder))
    (call,) = exported
    assert len(call["calibration"]) == 1


@pytest.mark.parametrize("named", ["calibration", "data"])
def test_own_data_that_cannot_be_used_are_an_error_only_where_they_are_named(
    checkpoint, loose, tmp_path, exported, monkeypatch, capsys, named
):
    own = tmp_path / "own"
    own.mkdir()
    (own / "note.txt").write_text("no videos")
    monkeypatch.setattr("gta.commands.export._own_data", lambda _: own)
    data = ["--data", str(own)] if named == "data" else []
    int8(checkpoint, tmp_path, "--calibration", str(loose), *data)
    told = capsys.readouterr().err
    assert str(own) in told
    if named == "data":
        assert exported == []
        return
    (call,) = exported
    assert "no clips of the training run's data to compare on" in told
    assert call["samples_from"] == f"held out of {loose.name}"
    assert not contents(call["samples"]) & contents(call["calibration"])


def test_one_video_is_too_few(checkpoint, loose, tmp_path, capsys):
    (tmp_path / "one").mkdir()
    shutil.copy(loose / "0.mp4", tmp_path / "one")
    int8(checkpoint, tmp_path, "--calibration", str(tmp_path / "one"))
    (line,) = capsys.readouterr().err.splitlines()
    assert "another for comparison" in line
