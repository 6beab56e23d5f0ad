"""`gta data check` and `gta data show`, through the command line."""

import errno
import json
import os
import shutil
from pathlib import Path

from PIL import Image

import gta.datasets.prepare
import gta.files
from gta.cli import run
from gta.datasets.check import check_videos, look_at
from gta.datasets.listing import open_videos
from video_files import encode

# --- check -----------------------------------------------------------------------------------------------------------


def test_check_reports_every_kind_of_problem(data, capsys):
    assert run(["data", "check", str(data), "--num-workers", "1"]) == 0
    report = json.loads((data / "gta-check.json").read_text())
    assert report["videos_per_split"] == {"train": 5, "val": 2}
    assert (report["files"], report["frames"], report["problems"]) == (7, 63, 3)
    assert list(report["damaged"]) == ["train/class 1/bad.mp4"]
    assert report["too_short"] == {"val/class 0/short.mp4": 3}
    assert report["duplicates"] == [["train/class 0/0.mp4", "val/class 1/copy.mp4"]]
    assert report["missing"] == []
    shown = capsys.readouterr().out
    assert "layout folder, 2 classes, videos: 5 train, 2 val" in shown
    assert "train/class 1/bad.mp4: it cannot be opened" in shown


def test_check_names_one_clip_in_two_classes(data, capsys):
    report = check_videos(data, num_workers=0)
    assert report.conflicts == [{"train/class 0/0.mp4": "class 0", "val/class 1/copy.mp4": "class 1"}]
    assert run(["data", "check", str(data), "--num-workers", "0"]) == 0
    assert "train/class 0/0.mp4 ('class 0') = val/class 1/copy.mp4 ('class 1')" in capsys.readouterr().out


def test_check_names_what_it_ignores_and_classes_without_videos(data, capsys):
    (data / "train" / "class 0" / "notes.docx").write_bytes(b"x")
    (data / "train" / "class 0" / ".hidden.docx").write_bytes(b"x")
    (data / "train" / "class 2").mkdir()
    shutil.copy(data / "train" / "class 0" / "2.mp4", data / "train" / "class 2" / "x.mp4")
    assert run(["data", "check", str(data), "--num-workers", "0"]) == 0
    shown = capsys.readouterr().out
    assert "ignored (not videos by their names): 1 .docx" in shown
    assert "val: classes without a video 1\n    class 2" in shown
    assert "test is not listed" in shown


def test_check_asks_for_segments_as_training_does(tmp_path):
    encode(tmp_path / "a.mp4", num_frames=50, rate=25)
    rows = ["a.mp4,x,0,1", "a.mp4,x,1.5,1.7", "a.mp4,y,3,4", "a.mp4,y,1,9"]
    (tmp_path / "train.csv").write_text("\n".join(["path,label,start,end", *rows]) + "\n")
    report = check_videos(tmp_path, num_workers=0)
    assert list(report.segments) == ["a.mp4 from 1.5 s to 1.7 s", "a.mp4 from 3 s to 4 s"]
    assert "fewer than 8" in report.segments["a.mp4 from 1.5 s to 1.7 s"]
    assert "no frame lies between" in report.segments["a.mp4 from 3 s to 4 s"]
    assert report.num_problems == 2


def _refuse_to_write(monkeypatch, folder):
    """The file layer below `folder` behaves as a read-only file system does; root writes everywhere else."""
    original = gta.files.tempfile.mkstemp

    def refuse(*arguments, **options):
        if Path(options["dir"]).is_relative_to(folder):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(options["dir"]))
        return original(*arguments, **options)

    monkeypatch.setattr(gta.files.tempfile, "mkstemp", refuse)


def test_check_of_a_read_only_data_set(data, tmp_path, monkeypatch, capsys):
    _refuse_to_write(monkeypatch, data)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert run(["data", "check", str(data), "--num-workers", "0"]) == 0
    shown = capsys.readouterr()
    assert "train/class 1/bad.mp4: it cannot be opened" in shown.out
    assert "no report was written" in shown.err
    assert not (data / ".gta-index.npz").exists()
    index = open_videos(data, "train").index
    assert index is not None
    assert index.get(data / "train" / "class 0" / "0.mp4").num_frames == 12
    target = tmp_path / "mine" / "index.npz"
    assert run(["data", "check", str(data), "--num-workers", "0", "--index", str(target)]) == 0
    assert len(open_videos(data, "train", index=target).index) == 7
    assert run(["data", "check", str(data), "--num-workers", "0", "--report", str(data / "r.json")]) == 2


def test_check_strict_ends_with_a_users_error(data, capsys):
    assert run(["data", "check", str(data), "--strict", "--num-workers", "0"]) == 2
    assert "3 problems; see" in capsys.readouterr().err


def test_check_finds_missing_files_and_wrong_labels(tmp_path):
    for name in ("a", "b"):
        encode(tmp_path / "videos" / name / f"{name}.mp4", num_frames=9, seed=ord(name))
    (tmp_path / "train.csv").write_text(
        "path,label\nvideos/a/a.mp4,a\nvideos/b/b.mp4,b\nvideos/b/b.mp4,a\nvideos/gone.mp4,a\n"
    )
    (tmp_path / "val.csv").write_text("path,label\nvideos/a/a.mp4,c\nvideos/a/a.mp4,b\n")
    report = check_videos(tmp_path, num_workers=0)
    assert report.missing == ["videos/gone.mp4"]
    assert report.wrong_label == {
        "videos/a/a.mp4": "it is listed as 'a' and as 'b'",
        "videos/b/b.mp4": "it is listed as 'a' and as 'b'",
    }
    (tmp_path / "val.csv").write_text("path,label\nvideos/a/a.mp4,c\n")
    assert check_videos(tmp_path, num_workers=0).wrong_label["videos/a/a.mp4"] == "'c' is not a class of the data set"


def test_parts_of_one_file_may_have_different_labels(tmp_path):
    encode(tmp_path / "a.mp4", num_frames=50)
    (tmp_path / "m.csv").write_text("path,label,start,end\na.mp4,sit,0,1\na.mp4,stand,1,2\na.mp4,sit,1,2\n")
    found = check_videos(tmp_path / "m.csv", num_workers=0).wrong_label
    assert found == {"a.mp4": "it is listed as 'sit' and as 'stand'"}  # the second and the third line
    (tmp_path / "m.csv").write_text("path,label,start,end\na.mp4,sit,0,1\na.mp4,stand,1,2\n")
    assert check_videos(tmp_path / "m.csv", num_workers=0).wrong_label == {}


def test_a_quick_check_is_repeated_in_full_when_asked(data):
    assert not look_at(data / "train" / "class 0" / "0.mp4", decode=False).decoded
    progress = []
    check_videos(data, num_workers=0, decode=False)
    check_videos(data, num_workers=0, decode=False, progress=lambda *numbers: progress.append(numbers))
    assert progress == []
    check_videos(data, num_workers=0, progress=lambda *numbers: progress.append(numbers))
    assert progress[-1] == (7, 7)


def test_check_decodes_everything(tmp_path):
    """Damage in the middle shows only when every frame is decoded."""
    path = encode(tmp_path / "a.mkv", codec="ffv1", num_frames=30)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(bytes(data))
    assert look_at(path, decode=True).problem is not None


def test_wrong_arguments(tmp_path, capsys):
    assert run(["data", "check", str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert run(["data", "chck"]) == 2
    assert "did you mean 'check'?" in capsys.readouterr().err
    assert run(["data", "check", str(tmp_path), "--num-workers", "-1"]) == 2
    assert "--num-workers is -1" in capsys.readouterr().err
    assert run(["data", "prepare", str(tmp_path), "x", "--quality", "0"]) == 2
    assert "--quality is 0: it must lie between 1 and 100" in capsys.readouterr().err
    assert run(["data"]) == 0
    assert "check" in capsys.readouterr().out


# --- show ------------------------------------------------------------------------------------------------------------


def test_show_draws_a_sheet(data, tmp_path):
    video = data / "train" / "class 0" / "0.mp4"
    target = tmp_path / "sheet.png"
    assert run(["data", "show", str(video), "--output", str(target), "--test-crops", "3", "--samples", "2"]) == 0
    with Image.open(target) as sheet:
        assert sheet.width > 900
        one_row = sheet.height / (1 + 2 + 3)
        assert 100 < one_row < 250
        assert len(sheet.convert("RGB").getcolors(2**24)) > 500
    words = ["--preset", "pyslowfast", "--dataset", "kinetics"]
    assert run(["data", "show", str(video), "--output", str(target), *words]) == 0
    with Image.open(target) as sheet:
        assert sheet.height > 30 * 100  # 10 clips x 3 crops


def test_show_of_no_video(data, tmp_path, capsys):
    assert run(["data", "show", str(data / "train" / "class 1" / "bad.mp4"), "--output", str(tmp_path / "x.png")]) == 2
    assert "bad.mp4: it cannot be opened as a video" in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()
