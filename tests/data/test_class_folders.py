"""Data sets with a folder for each class: splits, names and mistakes."""

import pytest
from layout_files import listed, touch

from gta.datasets.listing import detect_layout, open_videos
from gta.errors import DataError


def test_folder_with_splits(tmp_path):
    for split, name, file in (("train", "b", "1.mp4"), ("train", "a", "2.webm"), ("validation", "a", "3.avi")):
        touch(tmp_path / split / name / file)
    touch(tmp_path / "train" / "a" / "notes.txt")
    touch(tmp_path / "train" / "a" / "17" / "00001.jpg")  # a video as pictures
    assert detect_layout(tmp_path) == "folder"
    videos = open_videos(tmp_path, "train")
    assert videos.classes == ("a", "b")
    assert [(record.path.name, record.label) for record in videos.records] == [("17", 0), ("2.webm", 0), ("1.mp4", 1)]
    assert listed(tmp_path, "val") == {"3.avi": "a"}
    with pytest.raises(DataError, match="no folder for the split 'test', only for train, val"):
        open_videos(tmp_path, "test")


def test_folder_without_splits_is_split_by_name(tmp_path):
    for name in ("a", "b"):
        for number in range(200):
            touch(tmp_path / name / f"{number}.mp4")
    train, val = (open_videos(tmp_path, split) for split in ("train", "val"))
    assert len(train) + len(val) == 400
    assert 50 <= len(val) <= 110  # a fifth, give or take chance
    assert {record.path for record in train.records}.isdisjoint(record.path for record in val.records)
    assert {record.label for record in val.records} == {0, 1}
    assert open_videos(tmp_path, "val") == val
    with pytest.raises(DataError, match="no folder for the split 'test'"):
        open_videos(tmp_path, "test")


def test_a_made_split_depends_on_each_video_alone(tmp_path):
    names = [f"clip {number}" for number in range(40)]
    for name in names:
        touch(tmp_path / "whole" / "a" / f"{name}.webm")
    for name in names[::3]:  # another container, most videos gone, a class more, a folder of pictures
        touch(tmp_path / "other" / "a" / f"{name}.avi")
        touch(tmp_path / "other" / "b" / f"{name}.mp4")
    for name in names[1::3]:
        touch(tmp_path / "other" / "a" / name / "00001.jpg")

    def parts(root):
        return {
            record.path.stem if record.path.suffix else record.path.name: split
            for split in ("train", "val")
            for record in open_videos(root, split).records
            if record.path.parent.name == "a"
        }

    whole, other = parts(tmp_path / "whole"), parts(tmp_path / "other")
    assert len(other) == 27
    assert other.items() <= whole.items()
    assert set(other.values()) == {"train", "val"}


def test_split_folders_are_found_in_any_case(tmp_path):
    touch(tmp_path / "Train" / "a" / "1.mp4")
    touch(tmp_path / "VAL" / "a" / "2.mp4")
    assert [record.path.name for record in open_videos(tmp_path, "train").records] == ["1.mp4"]
    assert [record.path.name for record in open_videos(tmp_path, "val").records] == ["2.mp4"]
    touch(tmp_path / "train" / "a" / "1.mp4")
    with pytest.raises(DataError, match="Train and train are both folders of the split 'train'"):
        open_videos(tmp_path, "train")


def test_two_unicode_forms_of_a_class_name_are_one_class(tmp_path):
    touch(tmp_path / "train" / "caf\u00e9" / "1.mp4")
    touch(tmp_path / "train" / "bar" / "1.mp4")
    touch(tmp_path / "val" / "cafe\u0301" / "2.mp4")
    train, val = (open_videos(tmp_path, split) for split in ("train", "val"))
    assert train.classes == val.classes == ("bar", "caf\u00e9")
    assert [record.label for record in val.records] == [1]
    assert [r.label for r in open_videos(tmp_path, "val", classes=("cafe\u0301", "bar")).records] == [0]


@pytest.mark.parametrize("suffix", ["rmvb", "vob", "mxf", "m2v", "ogv", "asf", "y4m", "nut", "ivf", "265", "dv", "MP4"])
def test_files_of_every_container_count_as_videos(tmp_path, suffix):
    touch(tmp_path / "train" / "a" / f"1.{suffix}")
    touch(tmp_path / "train" / "a" / f"._1.{suffix}")
    assert len(open_videos(tmp_path, "train")) == 1


def test_folder_mistakes(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such folder"):
        open_videos(tmp_path / "nowhere", "train")
    with pytest.raises(DataError, match="the folder is empty"):
        open_videos(tmp_path, "train")
    touch(tmp_path / "a.mp4")
    with pytest.raises(DataError, match="the videos lie in no class folders"):
        open_videos(tmp_path, "train")
    (tmp_path / "a.mp4").unlink()
    touch(tmp_path / "train" / "a" / "1.mp4")
    (tmp_path / "train" / "b").mkdir()
    with pytest.raises(DataError, match=r"train/b: the class 'b' has no videos"):
        open_videos(tmp_path, "train")
    touch(tmp_path / "train" / "b" / "1.mp4")
    touch(tmp_path / "val" / "c" / "1.mp4")
    with pytest.raises(DataError, match=r"the label 'c' of 1.mp4 is not among the 2 classes"):
        open_videos(tmp_path, "val")


def test_nothing_like_a_data_set(tmp_path):
    touch(tmp_path / "thesis.docx")
    with pytest.raises(DataError, match="does not look like a data set"):
        open_videos(tmp_path, "train")
    with pytest.raises(DataError, match=r"must be a .csv or .jsonl file"):
        open_videos(tmp_path / "thesis.docx", "train")
