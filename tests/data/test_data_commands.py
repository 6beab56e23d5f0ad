"""`gta data check | show | prepare` and `gta ensemble`, through the command line."""

import errno
import json
import os
import shutil
import warnings
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from video_files import encode, pictures

import gta.datasets.prepare
import gta.files
from gta.cli import run
from gta.datasets.check import check_videos, look_at
from gta.datasets.index import load_index
from gta.datasets.listing import open_videos
from gta.datasets.prepare import PrepareSettings, prepare_videos
from gta.errors import DataError
from gta.video.file import VideoFile
from gta.video.reading import probe_video, read_video


@pytest.fixture(scope="module")
def small_set(tmp_path_factory):
    """Four sound videos, one too short, one damaged, two equal ones in different classes."""
    folder = tmp_path_factory.mktemp("small")
    for number in range(4):
        encode(folder / "train" / f"class {number % 2}" / f"{number}.mp4", num_frames=12, gop=12, seed=number)
    encode(folder / "val" / "class 0" / "short.mp4", num_frames=3)
    (folder / "val" / "class 1").mkdir()
    shutil.copy(folder / "train" / "class 0" / "0.mp4", folder / "val" / "class 1" / "copy.mp4")
    (folder / "train" / "class 1" / "bad.mp4").write_bytes(b"not a video")
    return folder


@pytest.fixture
def data(small_set, tmp_path):
    return Path(shutil.copytree(small_set, tmp_path / "data"))


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
    assert "ignored (names that are not those of videos): 1 .docx" in shown
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


def test_check_makes_a_damaged_index_anew(data):
    check_videos(data, num_workers=0)
    index = data / ".gta-index.npz"
    index.write_bytes(index.read_bytes()[:-200])
    with pytest.warns(UserWarning, match="the index is damaged"):
        assert check_videos(data, num_workers=0).num_files == 7
    assert len(load_index(data)) == 7


@pytest.mark.parametrize("seed", range(3))
def test_a_mutated_index_is_used_or_announced(data, seed):
    check_videos(data, num_workers=0)
    index = data / ".gta-index.npz"
    original, generator = index.read_bytes(), np.random.default_rng(seed)
    for _ in range(60):
        mutated = bytearray(original)
        for place in generator.integers(0, len(mutated), generator.integers(1, 6)):
            mutated[place] = generator.integers(256)
        index.write_bytes(
            bytes(mutated[: generator.integers(1, len(mutated) + 1)] if generator.random() < 0.3 else mutated)
        )
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            videos = open_videos(data, "train")
            for record in videos.records if videos.index is not None else ():
                facts = videos.index.get(record.path)
                if facts is not None and facts.problem is None:
                    assert facts.num_frames >= 0
                    assert facts.packets is None or isinstance(facts.packets.is_one_to_one, bool)


def _columns(data):
    with np.load(data / ".gta-index.npz") as archive:
        return {name: archive[name] for name in archive.files}


@pytest.mark.parametrize(
    "change",
    [
        lambda columns: columns.pop("fps"),
        lambda columns: columns.update(sizes=columns["sizes"][:-1]),
        lambda columns: columns.update(num_frames=columns["num_frames"].astype(np.float32)),
        lambda columns: columns.update(num_frames=-columns["num_frames"] - 1),
        lambda columns: columns.update(num_frames=columns["num_frames"] + (1 << 60)),
        lambda columns: columns.update(offsets=columns["offsets"][::-1].copy()),
        lambda columns: columns.update(offsets=columns["offsets"] * 1000),
        lambda columns: columns.update(kinds=columns["kinds"] + 7),
        lambda columns: columns.update(fps=columns["fps"] * np.nan),
        lambda columns: columns.update(blobs=np.array(["x"], object)),
        lambda columns: columns.update(paths=np.frombuffer(zlib.compress(bytes(300 << 20), 1), np.uint8)),
        lambda columns: columns.update(texts=columns["texts"][:5]),
    ],
)
def test_an_index_that_holds_what_none_does_is_not_believed(data, change):
    check_videos(data, num_workers=0, decode=False)
    columns = _columns(data)
    change(columns)
    np.savez(data / ".gta-index.npz", **columns)
    with pytest.warns(UserWarning, match="the index is damaged"):
        assert load_index(data) is None


def test_names_in_an_index_never_lead_out_of_a_folder(tmp_path):
    folder = tmp_path / "train" / "a" / "frames"
    folder.mkdir(parents=True)
    for number in range(9):
        Image.new("RGB", (8, 8)).save(folder / f"{number}.png")
    check_videos(tmp_path, num_workers=0)
    columns = _columns(tmp_path)
    blob = np.frombuffer(zlib.compress(b"../../../secret1.png"), np.uint8)
    np.savez(tmp_path / ".gta-index.npz", **columns | {"blobs": blob, "offsets": np.array([0, len(blob)])})
    assert load_index(tmp_path).get(folder) is None


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


def test_what_is_known_of_other_lists_and_of_a_quick_check_stays(data, monkeypatch):
    check_videos(data, "folder", num_workers=0, decode=False)
    names = {name for name, _ in load_index(data).items()}
    assert len(names) == 7
    (data / "train" / "class 0" / "0.mp4").unlink()

    def stop(path, *, decode):
        raise KeyboardInterrupt

    monkeypatch.setattr("gta.datasets.check.look_at", stop)
    with pytest.raises(KeyboardInterrupt):
        check_videos(data, "folder", num_workers=0)
    assert {name for name, _ in load_index(data).items()} == names - {"train/class 0/0.mp4"}


def test_a_file_that_could_not_be_read_for_the_moment_is_looked_at_again(data, monkeypatch):
    def fail(path, video):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("gta.datasets.check._digest", fail)
        report = check_videos(data, num_workers=0)
    assert report.damaged["train/class 0/0.mp4"] == "it cannot be read (Input/output error)"
    assert load_index(data).get(data / "train" / "class 0" / "0.mp4") is None
    assert list(check_videos(data, num_workers=0).damaged) == ["train/class 1/bad.mp4"]


def test_check_does_nothing_twice_and_goes_on_where_it_stopped(data, monkeypatch):
    looked = []

    def stopping(path, *, decode):
        looked.append(path.name)
        if len(looked) == 4:
            raise KeyboardInterrupt
        return look_at(path, decode=decode)

    monkeypatch.setattr("gta.datasets.check.look_at", stopping)
    with pytest.raises(KeyboardInterrupt):
        check_videos(data, num_workers=0)
    monkeypatch.setattr(
        "gta.datasets.check.look_at", lambda path, *, decode: looked.append(path.name) or look_at(path, decode=decode)
    )
    check_videos(data, num_workers=0)
    assert len(looked) == 4 + 4  # three were done when it stopped at the fourth
    assert check_videos(data, num_workers=0).num_files == 7
    assert len(looked) == 8
    encode(data / "train" / "class 0" / "new.mp4", num_frames=9)
    check_videos(data, num_workers=0)
    assert looked[8:] == ["new.mp4"]


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


# --- prepare ---------------------------------------------------------------------------------------------------------


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
    with pytest.raises(DataError, match=r"a\.mp4: its copy would have the name of that of a\.mkv"):
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
    assert "must go to another folder" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("important")
    assert run(["data", "prepare", str(data), str(tmp_path / "full")]) == 2
    assert "is not empty and was not made by gta data prepare" in capsys.readouterr().err
    manifest = tmp_path / "outside"
    manifest.mkdir()
    (manifest / "train.csv").write_text("path,label\n../data/train/class 0/0.mp4,x\n")
    assert run(["data", "prepare", str(manifest), str(tmp_path / "new")]) == 2
    assert "lies outside" in capsys.readouterr().err


# --- ensemble --------------------------------------------------------------------------------------------------------

CLASSES = ("a", "b", "c")


def write_scores(path, scores, folder="/data", names=("1.mp4", "2.mp4", "3.mp4"), labels=(0, 1, 2), classes=CLASSES):
    np.savez(
        path,
        paths=np.array([f"{folder}/val/{name}" for name in names]),
        labels=np.array(labels, np.int64),
        scores=np.array(scores, np.float32),
        classes=np.array(classes),
    )
    return str(path)


FIRST = [[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.1, 0.6, 0.3]]  # right, wrong, wrong
SECOND = [[0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.0, 0.1, 0.9]]  # wrong, right, right


def test_ensemble_averages_and_measures(tmp_path, capsys):
    first = write_scores(tmp_path / "a.npz", FIRST)
    order = [2, 0, 1]  # other order, other folder: videos are matched by path
    second = write_scores(
        tmp_path / "b.npz", [SECOND[i] for i in order], "/elsewhere/x", [f"{i + 1}.mp4" for i in order], order
    )
    output, scores = tmp_path / "out.json", tmp_path / "out.npz"
    assert run(["ensemble", first, second, "--output", str(output), "--scores", str(scores)]) == 0
    written = json.loads(output.read_text())
    # averages: (.4 .5 .1) wrong, (.3 .6 .1) right, (.05 .35 .6) right
    assert written["top1"] == pytest.approx(2 / 3)
    assert [entry["top1"] for entry in written["ensemble"]] == pytest.approx([1 / 3, 2 / 3])
    with np.load(scores) as archive:
        assert archive["scores"] == pytest.approx((np.array(FIRST) + SECOND) / 2)
        assert list(archive["paths"]) == [f"/data/val/{n}.mp4" for n in (1, 2, 3)]
    assert "together: top-1 66.67 %" in capsys.readouterr().out
    # weighted 3 : 1 the first video is right, the third not
    assert run(["ensemble", first, second, "--weights", "3", "1", "--output", str(output)]) == 0
    assert json.loads(output.read_text())["top1"] == pytest.approx(2 / 3)
    assert json.loads(output.read_text())["confusion"]["rows_true_columns_predicted"][0] == [1, 0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("a", "b", "d")}, "its classes are not those of"),
        ({"names": ("1.mp4", "2.mp4", "4.mp4")}, "its 3 videos are not the 3 of"),
        ({"labels": (0, 1, 1)}, "its labels are not those of"),
    ],
)
def test_ensemble_of_results_that_do_not_fit(tmp_path, capsys, change, message):
    first = write_scores(tmp_path / "a.npz", FIRST)
    second = write_scores(tmp_path / "b.npz", SECOND, **change)
    assert run(["ensemble", first, second]) == 2
    assert message in capsys.readouterr().err


def test_ensemble_of_several_parts_of_one_file(tmp_path, capsys):
    names = ("1.mp4", "1.mp4", "2.mp4")
    first, second = (
        write_scores(tmp_path / f"{number}.npz", scores, folder=f"/{number}", names=names)
        for number, scores in enumerate((FIRST, SECOND))
    )
    assert run(["ensemble", first, second]) == 0
    assert "together: top-1 66.67 % over 3 videos" in capsys.readouterr().out
    fewer = write_scores(tmp_path / "c.npz", SECOND[:2], names=names[1:], labels=(1, 2))
    assert run(["ensemble", first, fewer]) == 2
    assert "its 2 videos are not the 3 of" in capsys.readouterr().err


def test_ensemble_mistakes(tmp_path, capsys):
    first = write_scores(tmp_path / "a.npz", FIRST)
    assert run(["ensemble", first]) == 2
    assert "1 result given: an ensemble needs two or more" in capsys.readouterr().err
    assert run(["ensemble", first, str(tmp_path / "gone.npz")]) == 2
    assert "no such file" in capsys.readouterr().err
    (tmp_path / "text.npz").write_text("no archive")
    assert run(["ensemble", first, str(tmp_path / "text.npz")]) == 2
    assert "not a score file" in capsys.readouterr().err
    assert run(["ensemble", first, first, "--weights", "1"]) == 2
    assert "--weights has 1 numbers for 2 results" in capsys.readouterr().err


def test_prepare_says_when_nothing_was_gained(data, tmp_path, capsys, monkeypatch):
    original = gta.datasets.prepare._clip_milliseconds
    monkeypatch.setattr(gta.datasets.prepare, "_clip_milliseconds", lambda tasks: (original(tasks)[0], 1e9))
    assert run(["data", "prepare", str(data), str(tmp_path / "out"), "--format", "mjpeg", "--num-workers", "0"]) == 0
    assert "the copy is larger and slower than" in capsys.readouterr().err
