"""Stored frames stand in for the files bit for bit, and are noticed to be stale."""

import os
from types import SimpleNamespace

import pytest
import torch

from gta.clips.dataset import VideoDataset
from gta.config import ClipConfig
from gta.datasets.frame_store import FrameStore, build_store, missing_room, store_size
from gta.datasets.listing import open_videos
from gta.errors import DataError
from gta.synthetic import synthesize
from gta.types import VideoRecord


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("stored") / "videos"
    synthesize(root, num_videos=32, val_fraction=0.5, frame_size=(36, 48))
    return open_videos(root, "train")


@pytest.mark.parametrize("training", [True, False])
def test_samples_are_the_same_as_from_the_files(videos, tmp_path, training):
    store = build_store(tmp_path / "store", videos.records)
    clip = ClipConfig(num_frames=8, resize=(34, 38), crop_size=32, crop="random", flip="random", test_crops=3)
    from_files = VideoDataset(videos, clip, training=training, seed=3)
    from_store = VideoDataset(videos, clip, training=training, seed=3, opener=store.open)
    for key in [(0, 0), (0, 5), (1, 5), (2, 15)]:
        expected, sample = from_files[key], from_store[key]
        assert torch.equal(sample.clip, expected.clip)
        assert (sample.label, sample.index) == (expected.label, expected.index)


def test_store_is_kept_and_renewed(videos, tmp_path):
    decoded = []
    build_store(tmp_path / "store", videos.records, on_video=lambda: decoded.append(1))
    build_store(tmp_path / "store", videos.records, on_video=lambda: decoded.append(1))
    assert len(decoded) == len(videos)
    changed = videos.records[0]
    os.utime(changed.path, ns=(1, 1))
    assert FrameStore(tmp_path / "store").open(changed) is None
    store = build_store(tmp_path / "store", videos.records, on_video=lambda: decoded.append(1))
    assert len(decoded) == 2 * len(videos)
    assert store.open(changed) is not None


def test_videos_are_known_by_relative_and_by_absolute_path(videos, tmp_path, monkeypatch):
    monkeypatch.chdir(videos.root.parent)
    relative = open_videos("videos", "train")
    assert not relative.records[0].path.is_absolute()
    store = build_store(tmp_path / "store", relative.records)
    assert all(store.open(record) is not None for record in [*videos.records, *relative.records])


def test_a_disk_without_room_is_known_before_any_decoding(videos, tmp_path, monkeypatch):
    build_store(tmp_path / "store", videos.records)
    size = (tmp_path / "store" / "frames.bin").stat().st_size
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    assert missing_room(tmp_path / "store", size) == 0  # it is there already
    assert missing_room(tmp_path / "new", size) == size - 1000
    assert store_size(videos.records, sample=99) == size
    assert store_size(videos.records, sample=4) == pytest.approx(size, rel=0.5)


def test_a_video_that_cannot_be_read_is_left_to_its_file(videos, tmp_path):
    bad = VideoRecord(tmp_path / "bad.mp4", 0)
    bad.path.write_bytes(b"no video")
    decoded = []
    for _ in range(2):
        store = build_store(tmp_path / "store", [bad, *videos.records], on_video=lambda: decoded.append(1))
    assert len(decoded) == len(videos) + 1  # the store is kept
    assert store.open(bad) is None
    assert store.open(videos.records[0]) is not None


def test_parts_of_videos_and_strangers_are_left_to_the_reader(videos, tmp_path):
    store = build_store(tmp_path / "store", videos.records)
    first = videos.records[0]
    assert store.open(VideoRecord(first.path, 0, start_seconds=0.2)) is None
    assert store.open(VideoRecord(tmp_path / "other.mp4", 0)) is None


def test_frame_numbers_are_checked(videos, tmp_path):
    with build_store(tmp_path / "store", videos.records).open(videos.records[0]) as video:
        with pytest.raises(IndexError, match=str(video.num_frames)):
            video.read([video.num_frames])
        with pytest.raises(ValueError, match="no frame"):
            video.read([])
        repeated = video.read([1, 0, 1])
    assert torch.equal(repeated[0], repeated[2])
    assert not torch.equal(repeated[0], repeated[1])


def test_damaged_store(videos, tmp_path):
    build_store(tmp_path / "store", videos.records)
    (tmp_path / "store" / "frames.json").write_text("{")
    with pytest.raises(DataError, match=r"frames\.json"):
        FrameStore(tmp_path / "store")
    assert len(build_store(tmp_path / "store", videos.records)) == len(videos)
