import csv
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time

import av
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from gta.errors import DataError, OptionError
from gta.synthetic import CLASSES, REVERSALS, render_clip, synthesize, write_clip
from gta.synthetic.layouts import SynthesisConfig, plan_videos
from gta.synthetic.parameters import draw_parameters

SIZE = (48, 64)
FEW = ("Opening something", "Closing something", "Shaking something")


def decode(path):
    if path.is_dir():
        return np.stack([np.asarray(Image.open(file)) for file in sorted(path.iterdir())])
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def files(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "h264"), (".webm", "vp9"), ("", None)])
def test_written_files_show_what_was_rendered(tmp_path, suffix, codec):
    frames = render_clip("Opening something", seed=1, index=4)
    path = write_clip(tmp_path / f"clip{suffix}", "Opening something", seed=1, index=4)
    decoded = decode(path)
    assert decoded.shape == frames.shape
    assert np.abs(decoded.astype(int) - frames).mean() < 8
    if codec is not None:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == codec
            assert stream.average_rate == draw_parameters(1, 4).fps
    else:
        assert sorted(file.name for file in path.iterdir())[:2] == ["00001.jpg", "00002.jpg"]


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ""])
@pytest.mark.parametrize("name", ["Pushing something from left to right", "Covering something with something"])
def test_a_pair_decodes_to_the_same_pictures_in_opposite_order(tmp_path, suffix, name):
    first = decode(write_clip(tmp_path / f"first{suffix}", name, seed=0, index=7))
    second = decode(write_clip(tmp_path / f"second{suffix}", REVERSALS[name], seed=0, index=7))
    assert np.array_equal(first, second[::-1])


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_keyframe_interval(tmp_path, suffix):
    keys = {}
    for interval in (1, 6):
        path = write_clip(tmp_path / f"{interval}{suffix}", FEW[0], seed=0, index=0, keyframe_interval=interval)
        with av.open(str(path)) as container:
            keys[interval] = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    assert all(keys[1])
    assert keys[6][0]
    assert len(keys[6]) / 6 <= sum(keys[6]) < len(keys[6]) / 2


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match=r"'\.avi' files cannot be written"):
        write_clip(tmp_path / "clip.avi", FEW[0], seed=0, index=0)
    with pytest.raises(ValueError, match="every 0 frames"):
        write_clip(tmp_path / "clip.mp4", FEW[0], seed=0, index=0, keyframe_interval=0)
    assert list(tmp_path.iterdir()) == []


def test_the_old_name_of_live_works_with_a_notice(tmp_path):
    with pytest.warns(FutureWarning, match="progress is live now"):
        assert synthesize(tmp_path, num_videos=6, classes=FEW, frame_size=SIZE, progress=False).num_rendered == 6


def test_folder_layout(tmp_path):
    summary = synthesize(tmp_path / "d", num_videos=12, val_fraction=0.25, classes=FEW, frame_size=SIZE)
    assert (summary.num_train, summary.num_val, summary.num_test) == (9, 3, 0)
    assert (summary.num_rendered, summary.num_kept, summary.ceiling) == (12, 0, 2 / 3)
    for split, count in (("train", 3), ("val", 1)):
        assert sorted(path.name for path in (tmp_path / "d" / split).iterdir()) == sorted(FEW)
        assert all(len(list((tmp_path / "d" / split / name).glob("*.mp4"))) == count for name in FEW)
    decoded = decode(tmp_path / "d" / "train" / FEW[1] / "000004.mp4")
    assert decoded.shape == render_clip(FEW[1], seed=0, index=4, frame_size=SIZE).shape


def test_ssv2_layout(tmp_path):
    synthesize(tmp_path, layout="ssv2", num_videos=40, test_fraction=0.4, frame_size=(32, 32), val_fraction=0.2,
               classes=CLASSES[8:16])  # fmt: skip
    read = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("labels", "train", "validation")}
    assert read["labels"] == {name: str(number) for number, name in enumerate(sorted(CLASSES[8:16]))}
    assert [len(read[name]) for name in ("train", "validation")] == [16, 8]
    for entry in read["train"] + read["validation"]:
        assert set(entry) == {"id", "label", "template", "placeholders"}
        name = entry["template"].replace("[", "").replace("]", "")
        assert name in read["labels"]
        assert len(entry["placeholders"]) == name.lower().count("something")
        assert all(thing in entry["label"] for thing in entry["placeholders"])
        assert "something" not in entry["label"]
        assert (tmp_path / "20bn-something-something-v2" / f"{entry['id']}.webm").is_file()
    test = json.loads((tmp_path / "test.json").read_text())
    assert len(test) == 16
    assert all(set(entry) == {"id"} for entry in test)


def test_ssv1_layout(tmp_path):
    synthesize(tmp_path, layout="ssv1", num_videos=6, classes=FEW, val_fraction=0.5, frame_size=SIZE)
    labels = (tmp_path / "something-something-v1-labels.csv").read_text().splitlines()
    assert labels == sorted(FEW)
    lines = (tmp_path / "something-something-v1-validation.csv").read_text().splitlines()
    assert lines == [f"{number};{name}" for number, name in zip((4, 5, 6), FEW, strict=True)]
    assert (tmp_path / "something-something-v1-test.csv").read_text() == ""
    frames = sorted((tmp_path / "20bn-something-something-v1" / "4").iterdir())
    assert len(frames) == draw_parameters(0, 3).num_frames
    assert frames[0].name == "00001.jpg"


def test_kinetics_layout(tmp_path):
    synthesize(tmp_path, layout="kinetics", num_videos=6, classes=FEW, val_fraction=0.5, frame_size=SIZE)
    for split in ("train", "val"):
        rows = list(csv.DictReader(io.StringIO((tmp_path / f"{split}.csv").read_text())))
        assert [row["label"] for row in rows] == list(FEW)
        for row in rows:
            assert row["split"] == split
            assert len(row["youtube_id"]) == 11
            start, end = int(row["time_start"]), int(row["time_end"])
            assert (tmp_path / split / row["label"] / f"{row['youtube_id']}_{start:06d}_{end:06d}.mp4").is_file()


def test_same_files_whatever_the_number_of_workers_and_interruptions(tmp_path):
    wanted = {"layout": "ssv2", "num_videos": 24, "classes": FEW, "frame_size": SIZE, "seed": 5}
    for name, workers in (("alone", 0), ("two", 2)):
        synthesize(tmp_path / name, num_workers=workers, **wanted)
    complete = files(tmp_path / "alone")
    assert complete == files(tmp_path / "two")

    videos = tmp_path / "two" / "20bn-something-something-v2"
    for name in ("2.webm", "24.webm"):
        (videos / name).unlink()
    (videos / ".9-abcdefgh.part.webm").write_bytes(b"half a video")
    (tmp_path / "two" / "train.json").unlink()
    untouched = (videos / "1.webm").stat().st_mtime_ns
    summary = synthesize(tmp_path / "two", **wanted)
    assert (summary.num_rendered, summary.num_kept) == (2, 22)
    assert (videos / "1.webm").stat().st_mtime_ns == untouched
    assert files(tmp_path / "two") == complete


def test_interrupted_data_set_has_no_annotations(tmp_path, monkeypatch):
    from gta.synthetic import build

    def interrupted(path, *arguments, **options):
        if path.name == "3":
            raise KeyboardInterrupt
        return write_clip(path, *arguments, **options)

    monkeypatch.setattr(build, "write_clip", interrupted)
    wanted = {"layout": "ssv1", "num_videos": 6, "classes": FEW, "frame_size": SIZE}
    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path, **wanted)
    assert not list(tmp_path.glob("*.csv"))
    monkeypatch.undo()
    assert synthesize(tmp_path, **wanted).num_rendered == 4
    assert len(list(tmp_path.glob("*.csv"))) == 4


def test_other_settings_in_the_same_folder(tmp_path):
    wanted = {"num_videos": 3, "classes": FEW, "frame_size": SIZE, "val_fraction": 0.0}
    synthesize(tmp_path, **wanted)
    before = files(tmp_path)
    with pytest.raises(DataError, match=r"made with seed 0, not 1; repeat with the same options"):
        synthesize(tmp_path, **{**wanted, "seed": 1})
    with pytest.raises(DataError, match=r"made with layout \"folder\", not \"ssv2\""):
        synthesize(tmp_path, **{**wanted, "layout": "ssv2"})
    assert files(tmp_path) == before


def test_folders_that_hold_something_else(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"not empty and holds no synthetic\.json"):
        synthesize(tmp_path)
    with pytest.raises(DataError, match="is a file"):
        synthesize(tmp_path / "notes.txt")
    (tmp_path / "synthetic.json").write_text("{")
    with pytest.raises(DataError, match=r"synthetic\.json: cannot be read"):
        synthesize(tmp_path)
    (tmp_path / "synthetic.json").write_text("[]")
    with pytest.raises(DataError, match="not the record"):
        synthesize(tmp_path)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"num_videos": 31}, "`num_videos` is 31: 16 classes in 2 split"),
        ({"seed": -1}, "`seed` is -1"),
        ({"val_fraction": 1.0}, "`val_fraction` is 1.0"),
        ({"val_fraction": 0.6, "test_fraction": 0.4}, "leave nothing to train on"),
        ({"frame_size": (71, 96)}, "the height is 71 pixels"),
        ({"frame_size": (72, 16)}, "the width is 16 pixels"),
        ({"keyframe_interval": 0}, "`keyframe_interval` is 0"),
        ({"num_workers": -1}, "`num_workers` is -1"),
        ({"classes": ("Juggling",)}, "'Juggling' is not one of"),
        ({"classes": ()}, "at least one class"),
        ({"classes": (FEW[0], FEW[0])}, "each only once"),
    ],
)
def test_settings_that_do_not_fit(tmp_path, settings_, message):
    with pytest.raises(OptionError, match=message):
        synthesize(tmp_path / "d", **settings_)
    assert not (tmp_path / "d").exists()


def test_unknown_layout(tmp_path):  # outside pytest's own type check of the arguments
    code = f"from gta.synthetic import synthesize; synthesize({str(tmp_path / 'd')!r}, layout='avi')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "OptionError: `layout` is avi: it must be one of folder, ssv2, ssv1, kinetics" in done.stderr


@settings(deadline=None, max_examples=60)
@given(
    num_videos=st.integers(1, 200),
    val=st.sampled_from([0.0, 0.01, 0.2, 0.5, 0.9]),
    test=st.sampled_from([0.0, 0.1, 0.45, 0.9]),
    layout=st.sampled_from(["folder", "ssv1", "ssv2", "kinetics"]),
    classes=st.lists(st.sampled_from(CLASSES), min_size=1, unique=True),
)
def test_plan_has_every_class_in_every_split_balanced(num_videos, val, test, layout, classes):
    assume(val + test < 1)
    assume(num_videos >= (1 + (val > 0) + (test > 0)) * len(classes))
    config = SynthesisConfig(
        layout=layout, num_videos=num_videos, val_fraction=val, test_fraction=test, classes=tuple(classes)
    )
    videos = plan_videos(config)
    assert [video.index for video in videos] == list(range(num_videos))
    assert len({video.path for video in videos}) == num_videos
    wanted_splits = {"train"} | ({"val"} if val else set()) | ({"test"} if test else set())
    assert {video.split for video in videos} == wanted_splits
    for split in wanted_splits:
        counts = [sum(v.split == split and v.class_name == name for v in videos) for name in classes]
        assert min(counts) >= 1
        assert max(counts) - min(counts) <= 1


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="reads the list of child processes from /proc")
def test_workers_end_with_a_killed_parent(tmp_path):
    code = (
        "if __name__ == '__main__':\n"
        "    from gta.synthetic import synthesize\n"
        f"    synthesize({str(tmp_path / 'd')!r}, num_videos=50000, num_workers=1)\n"
    )
    (tmp_path / "script.py").write_text(code)
    with subprocess.Popen([sys.executable, str(tmp_path / "script.py")]) as parent:
        wait_until(lambda: any((tmp_path / "d").glob("train/*/*.mp4")))
        listing = f"/proc/{parent.pid}/task/{parent.pid}/children"
        with open(listing) as file:
            children = [int(number) for number in file.read().split()]
        assert children
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(is_running(child) for child in children))
    assert leftovers_are_hidden(tmp_path / "d")


def leftovers_are_hidden(root):
    return all(path.name.startswith(".") for path in root.rglob("*.part.mp4"))


def is_running(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
