"""Lists of videos in files of the user's own, and lists of other code bases."""

import json
import os
import re
from pathlib import Path

import pytest
from layout_files import listed, touch

from gta.datasets.listing import detect_layout, open_videos
from gta.errors import DataError


def test_csv_manifest(tmp_path):
    for name in ("a.mp4", "sub/b ü.mp4", "c.mp4"):
        touch(tmp_path / name)
    (tmp_path / "mine.csv").write_bytes(
        '\ufeffpath,label,start,end,split\r\na.mp4,wave,1.5,3,train\r\nsub/b ü.mp4,"jump, high",,,train\r\n'
        "c.mp4,wave,,2,val\r\ngone.mp4,wave,,,train\r\n".encode()
    )
    videos = open_videos(tmp_path / "mine.csv", "train")
    assert videos.layout == "manifest"
    assert videos.classes == ("jump, high", "wave")
    first, second = videos.records
    assert (first.path, first.label, first.start_seconds, first.end_seconds) == (tmp_path / "a.mp4", 1, 1.5, 3.0)
    assert (second.path.name, second.label, second.start_seconds, second.end_seconds) == ("b ü.mp4", 0, None, None)
    assert [path.name for path in videos.missing] == ["gone.mp4"]
    (only,) = open_videos(tmp_path / "mine.csv", "val").records
    assert (only.path.name, only.label, only.end_seconds) == ("c.mp4", 1, 2.0)


def test_only_line_ends_end_a_line(tmp_path):
    """Unicode knows more separators; inside a name they are characters like others."""
    name = "clap\u2028your\x85hands"
    touch(tmp_path / "a.mp4")
    (tmp_path / "m.jsonl").write_text(
        json.dumps({"path": "a.mp4", "label": name}, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    assert listed(tmp_path / "m.jsonl", "train") == {"a.mp4": name}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_manifests_per_split_in_a_folder(tmp_path, delimiter):
    touch(tmp_path / "a.mp4")
    touch(tmp_path / "b.mp4")
    (tmp_path / "train.csv").write_text(delimiter.join(("Path", "Label")) + f"\na.mp4{delimiter}x\nb.mp4{delimiter}y\n")
    (tmp_path / "val.jsonl").write_text('{"path": "b.mp4", "label": "y", "start": 0.5}\n\n')
    assert detect_layout(tmp_path) == "manifest"
    assert listed(tmp_path, "train") == {"a.mp4": "x", "b.mp4": "y"}
    videos = open_videos(tmp_path, "val")
    assert videos.classes == ("x", "y")
    assert (videos.records[0].label, videos.records[0].start_seconds) == (1, 0.5)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.csv", "file,class\na.mp4,x\n", "must name the columns path and label"),
        ("m.csv", "path,label,start\na.mp4,x,soon\n", "line 2 has start 'soon', not a number"),
        ("m.csv", "path,label,start,end\na.mp4,x,3,2\n", "line 2 ends at 2 s, not after its start at 3 s"),
        ("m.csv", "path,label\n,x\n", "line 2 has no 'path'"),
        ("m.csv", "path,label,split\na.mp4,x,val\n", "no videos of the split 'train'"),
        ("m.csv", "path,label\nb.mp4,x\n", "none of its 1 videos exist"),
        ("m.jsonl", '{"path": "a.mp4", "label": "x"\n', "line 1: not valid JSON"),
        ("m.jsonl", '["a.mp4", "x"]\n', "line 1 is not an object"),
        ("m.jsonl", '{"label": "x"}\n', "line 1 has no 'path'"),
    ],
)
def test_manifest_mistakes(tmp_path, name, text, message):
    touch(tmp_path / "a.mp4")
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        open_videos(tmp_path / name, "train")
    assert "\n" not in str(caught.value)


def _videos(folder, *names):
    for name in names:
        touch(folder / name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "path,label\na.mp4,wave\nb.mp4,jump, high\n",
            "line 3 has 3 values for 2 columns; put a label",
        ),
        (
            "path,label,split\na.mp4,wave,train\nb.mp4,jump,trian\n",
            "line 3 has the split 'trian': did you mean",
        ),
        ("path,label\na.mp4,wave\nb.mp4,\n", "line 3 has no label (b.mp4); 1 other rows have one"),
        ('path,label\na.mp4,"wave\nb.mp4,jump\n', "is not CSV"),
        ("a.mp4 0\nb.mp4 one\n", "line 2 is 'b.mp4 one', expected <path> <class number>"),
    ],
)
def test_rows_that_cannot_be_placed_are_named(tmp_path, text, words):
    _videos(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(DataError, match=re.escape(words)) as caught:
        open_videos(tmp_path, "train", layout="manifest")
    assert "train.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train.csv", "a b/1.mp4 0\n2.mp4 1\n"),
        ("train.csv", "a b/1.mp4,0\n2.mp4, 1\n"),
        ("train.txt", "a b/1.mp4\t0\n\n2.mp4\t1\n"),
        ("toy_train_list_videos.txt", "a b/1.mp4 0\n2.mp4 1\n"),
        ("toy_train_list_rawframes.txt", "a b/1.mp4 30 0\n2.mp4 12 1\n"),
    ],
)
def test_lists_of_other_code_bases(tmp_path, name, text):
    _videos(tmp_path, "a b/1.mp4", "2.mp4")
    (tmp_path / name).write_text(text)
    videos = open_videos(tmp_path, "train")
    assert videos.layout == "manifest"
    assert videos.classes == ("0", "1")
    assert [(str(r.path.relative_to(tmp_path)), r.label) for r in videos.records] == [("a b/1.mp4", 0), ("2.mp4", 1)]
    named = open_videos(tmp_path, "train", classes=["wave", "jump"])
    assert [record.label for record in named.records] == [0, 1]
    (tmp_path / "label_map.txt").write_text("wave\njump\nrun\n")
    assert open_videos(tmp_path, "train").classes == ("wave", "jump", "run")
    assert [r.label for r in open_videos(tmp_path, "train", classes=["jump", "wave"]).records] == [1, 0]
    (tmp_path / "label_map.txt").write_text("wave\n")
    with pytest.raises(DataError, match=r"line \d has class 1, but .*label_map.txt names only 1"):
        open_videos(tmp_path, "train")


def test_videos_of_such_lists_lie_in_a_folder_beside_them(tmp_path):
    _videos(tmp_path, "videos_val/x/1.mp4", "videos_train/x/2.mp4")
    (tmp_path / "toy_train_list_videos.txt").write_text("x/2.mp4 0\n")
    (tmp_path / "toy_val_list_videos.txt").write_text("x/1.mp4 0\n")
    assert open_videos(tmp_path, "val").records[0].path == tmp_path / "videos_val" / "x" / "1.mp4"
    assert open_videos(tmp_path, "train").records[0].path == tmp_path / "videos_train" / "x" / "2.mp4"


def test_notes_beside_class_folders_are_no_list(tmp_path):
    _videos(tmp_path, "train/a/1.mp4")
    (tmp_path / "train.txt").write_text("these are mine\n")
    assert open_videos(tmp_path, "train").layout == "folder"


def test_spaces_and_case_of_headers(tmp_path):
    _videos(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "train.csv").write_text("Path, Label, Split\na.mp4, wave, Train\nb.mp4, jump, TRAIN\n")
    assert open_videos(tmp_path, "train").classes == ("jump", "wave")


def test_listing_looks_at_each_folder_once(tmp_path, monkeypatch):
    _videos(tmp_path, "x/0.mp4")
    rows = "".join(f"x/{number}.mp4,wave\n" for number in range(500))
    (tmp_path / "train.csv").write_text("path,label\n" + rows)
    looks = []
    original = os.scandir

    def counted(path="."):
        looks.append(path)
        return original(path)

    stats = []
    monkeypatch.setattr(os, "scandir", counted)
    monkeypatch.setattr(Path, "exists", lambda path: stats.append(path) or os.path.exists(path))
    videos = open_videos(tmp_path, "train", layout="manifest")
    assert (len(videos), len(videos.missing)) == (1, 499)
    assert len(looks) <= 10  # of 500 rows
    assert len(stats) <= 5
