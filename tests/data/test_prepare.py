"""`gta data prepare`: copies that are read faster, and what it refuses."""

import av
import numpy as np
import pytest
from PIL import Image

import gta.datasets.prepare
import gta.files
from gta.cli import run
from gta.datasets.listing import open_videos
from gta.datasets.prepare import PrepareSettings, prepare_videos
from gta.errors import DataError
from gta.video.file import VideoFile
from gta.video.reading import probe_video, read_video
from video_files import encode, pictures


@pytest.mark.parametrize("kind", ["h264", "mjpeg", "jpeg"])
def test_prepare_makes_a_copy_that_is_read_alike(data, tmp_path, kind, capsys):
    target = tmp_path / kind
    command = ["data", "prepare", str(data), str(target), "--format", kind, "--short-side", "24", "--num-workers", "1"]
    assert run(command) == 0
    shown = capsys.readouterr().out
    assert "6 videos converted, 0 already there, 1 could not be read" in shown
    assert "bad.mp4" in (target / "skipped.csv").read_text()
    before, after = open_videos(data, "train"), open_videos(target, "train")
    assert after.classes == before.classes
    assert len(after) == len(before) - 1  # all but the damaged one
    for record in after.records:
        info = probe_video(record.path)
        assert (info.num_frames, info.height, info.width) == (12, 24, 32)
        source = data / record.path.relative_to(target).with_suffix(".mp4")
        original = read_video(source, [7])[0, :, ::2, ::2].float()
        assert (read_video(record.path, [7])[0].float() - original).abs().mean() < 30
    assert run(command) == 0
    assert "0 videos converted, 6 already there" in capsys.readouterr().out
    assert run([*command, "--quality", "50"]) == 2
    assert "made with other settings" in capsys.readouterr().err


def test_prepare_shortens_the_groups_of_pictures(data, tmp_path):
    prepare_videos(data, tmp_path / "out", PrepareSettings(keyframe_interval=3), num_workers=0)
    with VideoFile(tmp_path / "out" / "train" / "class 0" / "0.mp4") as video:
        assert np.diff(video.index.keyframe_packets).tolist() == [3, 3, 3]


def test_prepare_keeps_times_lists_and_manifests(tmp_path):
    times = [0, 40, 80, 500, 540, 900, 940, 1500]
    encode(tmp_path / "in" / "clips" / "a.mkv", num_frames=8, timestamps=times, gop=8)
    encode(tmp_path / "in" / "b.mp4", num_frames=10)
    (tmp_path / "in" / "manifest.csv").write_text("path,label,start,end\nclips/a.mkv,x,0.5,1.0\nb.mp4,y,,\n")
    report = prepare_videos(tmp_path / "in", tmp_path / "out", PrepareSettings(short_side=32), num_workers=0)
    assert (report.made, report.skipped) == (2, 0)
    before, after = (open_videos(tmp_path / name, "train") for name in ("in", "out"))
    assert (after.layout, after.classes) == ("manifest", before.classes)
    first = next(record for record in after.records if record.path.stem == "a")
    assert first.path == tmp_path / "out" / "clips" / "a.mp4"
    with VideoFile(first.path) as video:
        assert video.frame_range(first.start_seconds, first.end_seconds) == (3, 7)


def test_prepare_of_frame_folders(tmp_path):
    folder = tmp_path / "in" / "20bn-something-something-v1" / "5"
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures(9), start=1):
        Image.fromarray(picture).save(folder / f"{number:05d}.jpg")
    for name, text in (("labels", "Holding something\n"), ("train", "5;Holding something\n")):
        (tmp_path / "in" / f"something-something-v1-{name}.csv").write_text(text)
    for kind, expected in (("jpeg", "5"), ("h264", "5.mp4")):
        prepare_videos(tmp_path / "in", tmp_path / kind, PrepareSettings(format=kind, short_side=24), num_workers=0)
        (record,) = open_videos(tmp_path / kind, "train").records
        assert record.path.name == expected
        assert read_video(record.path).shape == (9, 3, 24, 32)


def test_prepare_takes_the_videos_of_every_fold(tmp_path):
    """In HMDB-51 a fold uses 100 videos of each class and leaves out the others."""
    root = tmp_path / "in"
    for name in ("a", "b"):
        encode(root / "hmdb51" / "wave" / f"{name}.avi", codec="mpeg4", num_frames=4)
    lists = root / "testTrainMulti_7030_splits"
    lists.mkdir()
    (lists / "wave_test_split1.txt").write_text("a.avi 1\nb.avi 0\n")
    (lists / "wave_test_split2.txt").write_text("a.avi 0\nb.avi 1\n")
    assert prepare_videos(root, tmp_path / "out", PrepareSettings(), num_workers=0).made == 2
    for fold, name in ((1, "a.mp4"), (2, "b.mp4")):
        (record,) = open_videos(tmp_path / "out", "train", fold=fold).records
        assert record.path.name == name


def test_prepare_refuses_two_videos_whose_copies_would_be_one(tmp_path):
    for name in ("a.mkv", "a.mp4", "b.mp4"):
        encode(tmp_path / "in" / "wave" / name, num_frames=4)
    with pytest.raises(DataError, match=r"a\.mp4: its copy and that of a\.mkv would have the same name"):
        prepare_videos(tmp_path / "in", tmp_path / "out", PrepareSettings(), num_workers=0)
    assert not (tmp_path / "out").exists()


def test_prepare_passes_over_what_the_encoder_refuses(data, tmp_path, monkeypatch):
    def refuse(*_):
        raise av.error.InvalidDataError(1, "no such thing")

    monkeypatch.setattr("gta.datasets.prepare._stream", refuse)
    report = prepare_videos(data, tmp_path / "out", PrepareSettings(), num_workers=0)
    assert (report.made, report.skipped) == (0, 7)
    assert "it cannot be encoded (no such thing)" in (tmp_path / "out" / "skipped.csv").read_text()


def test_prepare_refuses_what_would_be_lost(data, tmp_path, capsys):
    assert run(["data", "prepare", str(data), str(data)]) == 2
    assert "choose a folder other than" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("important")
    assert run(["data", "prepare", str(data), str(tmp_path / "full")]) == 2
    assert "is not empty and was not made by gta data prepare" in capsys.readouterr().err
    manifest = tmp_path / "outside"
    manifest.mkdir()
    (manifest / "train.csv").write_text("path,label\n../data/train/class 0/0.mp4,x\n")
    assert run(["data", "prepare", str(manifest), str(tmp_path / "new")]) == 2
    assert "lies outside" in capsys.readouterr().err


def test_prepare_says_when_nothing_was_gained(data, tmp_path, capsys, monkeypatch):
    original = gta.datasets.prepare._clip_milliseconds
    monkeypatch.setattr(gta.datasets.prepare, "_clip_milliseconds", lambda tasks: (original(tasks)[0], 1e9))
    assert run(["data", "prepare", str(data), str(tmp_path / "out"), "--format", "mjpeg", "--num-workers", "0"]) == 0
    assert "the copy is larger and slower than" in capsys.readouterr().err
