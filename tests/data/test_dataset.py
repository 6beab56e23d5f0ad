"""The data set and its loader: determinism, resuming, ranks, labels, parts of videos, the index."""

import multiprocessing
import os
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from gta.clips.dataset import VideoDataset, clip_views
from gta.clips.loader import ClipSampler, build_loader, collate
from gta.clips.presets import clip_config
from gta.clips.transforms import EvaluationViews
from gta.config import ClipConfig
from gta.datasets.check import check_videos
from gta.datasets.index import DataIndex, VideoFacts, index_path, load_index, save_index, stamp_of
from gta.datasets.listing import VideoList, open_videos
from gta.errors import DataError
from gta.types import VideoRecord
from gta.video.packets import NO_TIMESTAMP, PacketIndex
from gta.video.reading import read_video
from video_files import encode

CLIP = clip_config("paper", num_frames=4, crop_size=28)
CLASSES = ("Holding something", "Pushing something from left to right", "Pushing something from right to left")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    for number in range(12):
        name = CLASSES[number % 3]
        for split in ("train", "val"):
            if split == "train" or number < 7:
                encode(folder / split / name / f"{number}.mp4", num_frames=14 + number, gop=6, seed=number)
    return folder


@pytest.fixture
def training(root):
    return VideoDataset(open_videos(root, "train"), CLIP, training=True, seed=3)


@pytest.fixture
def evaluation(root):
    return VideoDataset(open_videos(root, "val"), replace(CLIP, test_clips=2, test_crops=3), training=False)


def batches(loader):
    return [(batch["clip"].clone(), batch["label"].tolist(), batch["index"].tolist()) for batch in loader]


def same(first, second):
    return len(first) == len(second) and all(
        torch.equal(a[0], b[0]) and a[1:] == b[1:] for a, b in zip(first, second, strict=True)
    )


# --- samples ---------------------------------------------------------------------------------------------------------


def test_a_training_sample(training):
    sample = training[2, 5]
    assert sample.clip.shape == training.sample_shape == (3, 4, 28, 28)
    assert (sample.clip.dtype, sample.index, sample.skipped) == (torch.uint8, 5, ())
    assert sample.label == training.videos.records[5].label


def test_randomness_comes_from_seed_epoch_and_index_only(training, root):
    torch.manual_seed(1)
    first = training[1, 4].clip
    torch.manual_seed(2)
    assert torch.equal(first, training[1, 4].clip)
    assert torch.equal(training[0, 4].clip, training[4].clip)
    others = [training[2, 4].clip, VideoDataset(training.videos, CLIP, training=True, seed=4)[1, 4].clip]
    assert not any(torch.equal(first, other) for other in others)


def test_evaluation_gives_all_views_and_nothing_random(evaluation):
    sample = evaluation[3]
    assert sample.clip.shape == evaluation.sample_shape == (6, 3, 4, 28, 28)
    assert torch.equal(sample.clip, evaluation[9, 3].clip)
    assert torch.equal(sample.clip, clip_views(evaluation.videos.records[3].path, evaluation.clip))


def test_views_are_the_protocols_frames(root):
    clip = ClipConfig(num_frames=2, resize=(48, 64), crop_size=48)
    path = open_videos(root, "val").records[0].path
    views = EvaluationViews(clip)
    frames = read_video(path, [3, 10])  # 14 frames: int(3.5 + 7 i)
    assert torch.equal(clip_views(path, clip), views.finish(frames))


def test_flipped_samples_of_directed_classes(root):
    videos = open_videos(root, "train")
    directed = [i for i, record in enumerate(videos.records) if record.label > 0]
    aware = VideoDataset(videos, CLIP, training=True)
    swapped = VideoDataset(videos, replace(CLIP, flip="swap"), training=True)
    kept, changed = 0, 0
    for index in directed:
        for epoch in range(6):
            plain, swap = aware[epoch, index], swapped[epoch, index]
            assert plain.label == videos.records[index].label
            if swap.label == plain.label:
                kept += 1
            else:
                changed += 1
                assert swap.label == 3 - plain.label  # 1 and 2 are each other's mirror image
    assert min(kept, changed) > 5


def test_a_part_of_a_video_is_a_video_of_its_own(root):
    path = open_videos(root, "train").records[0].path
    clip = ClipConfig(num_frames=2, resize=(48, 64), crop_size=48)
    records = (VideoRecord(path, 0, start_seconds=0.2, end_seconds=0.4),)  # frames 5 to 9 at 25 per second
    dataset = VideoDataset(VideoList(root, "folder", "val", ("a",), records), clip, training=False)
    assert torch.equal(dataset[0].clip, EvaluationViews(clip).finish(read_video(path, [6, 8])))  # 5 + int(1.25 + 2.5 i)


def test_a_split_without_labels_is_refused(root):
    records = (VideoRecord(root / "x.mp4", -1),)
    with pytest.raises(DataError, match="'test' has no labels"):
        VideoDataset(VideoList(root, "ssv2", "test", ("a",), records), CLIP, training=False)


# --- loader ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_workers", [0, 2])
def test_workers_change_nothing(training, num_workers):
    reference = build_loader(training, batch_size=5, num_workers=0, shuffle=True, seed=9)
    loader = build_loader(training, batch_size=5, num_workers=num_workers, shuffle=True, seed=9)
    for epoch in range(2):
        reference.sampler.set_epoch(epoch)
        loader.sampler.set_epoch(epoch)
        assert same(batches(loader), batches(reference))


def test_resuming_in_the_middle_of_an_epoch(training):
    loader = build_loader(training, batch_size=5, num_workers=0, shuffle=True)
    loader.sampler.set_epoch(3)
    whole = batches(loader)
    loader.sampler.set_start(1)
    assert same(batches(loader), whole[1:])
    assert same(batches(loader), whole)  # only the next iteration starts later


def test_epochs_have_different_orders(training):
    sampler = ClipSampler(100, batch_size=5, shuffle=True, seed=1)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        keys = list(sampler)
        assert {key[0] for key in keys} == {epoch}
        assert sorted(index for _, index in keys) == list(range(100))
        orders.append(tuple(index for _, index in keys))
    assert len(set(orders)) == 3


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("num_samples", [1, 12, 20])
def test_ranks_share_the_samples(num_samples, world_size):
    def draw(shuffle):
        samplers = [
            ClipSampler(num_samples, batch_size=4, shuffle=shuffle, seed=1, rank=rank, world_size=world_size)
            for rank in range(world_size)
        ]
        drawn = [[index for _, index in sampler] for sampler in samplers]
        assert [len(part) for part in drawn] == [len(sampler) for sampler in samplers]
        return drawn

    evaluation = draw(shuffle=False)
    assert sorted(index for part in evaluation for index in part) == list(range(num_samples))  # exactly once
    training = draw(shuffle=True)
    assert len({len(part) for part in training}) == 1  # equally many, or ranks would wait for each other
    assert {index for part in training for index in part} == set(range(num_samples))


@pytest.mark.parametrize(("num_samples", "batch_size", "world_size"), [(15, 4, 2), (32, 4, 2), (7, 2, 3), (50, 3, 4)])
def test_full_batches_of_all_ranks_are_those_of_one_process_with_the_global_batch(num_samples, batch_size, world_size):
    def steps(batch, rank, world):
        sampler = ClipSampler(
            num_samples, batch_size=batch, shuffle=True, seed=3, rank=rank, world_size=world, drop_last=True
        )
        indices = [index for _, index in sampler]
        assert len(indices) == len(sampler)
        return [indices[start : start + batch] for start in range(0, len(indices), batch)]

    ranks = [steps(batch_size, rank, world_size) for rank in range(world_size)]
    together = [{index for part in parts for index in part} for parts in zip(*ranks, strict=True)]
    assert together == [set(batch) for batch in steps(batch_size * world_size, 0, 1)]
    assert all(len(batch) == batch_size * world_size for batch in together)  # no sample is counted twice


def test_a_rank_outside_the_world():
    with pytest.raises(ValueError, match="rank is 2: with 2 process"):
        ClipSampler(3, batch_size=1, shuffle=False, rank=2, world_size=2)


def test_unreadable_videos_are_left_out_of_an_evaluation(root, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"")
    good = open_videos(root, "val").records[:3]
    records = (good[0], VideoRecord(tmp_path / "bad.mp4", 0), *good[1:])
    dataset = VideoDataset(VideoList(root, "folder", "val", CLASSES, records), CLIP, training=False)
    first, second, third, fourth = build_loader(dataset, batch_size=1, num_workers=0, shuffle=False)
    assert (first["index"].tolist(), second["index"].tolist(), third["index"].tolist()) == ([0], [], [2])
    assert second["clip"].shape == (0, 1, 3, 4, 28, 28)
    assert [path for path, _ in second["skipped"]] == [str(tmp_path / "bad.mp4")]
    assert fourth["skipped"] == []


def test_the_global_random_state_is_left_alone(training):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    batches(build_loader(training, batch_size=5, num_workers=2, shuffle=True))
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_are_single_threaded_and_end(training):
    loader = build_loader(training, batch_size=5, num_workers=2, shuffle=True)
    others = set(multiprocessing.active_children())
    iterator = iter(loader)
    next(iterator)
    pids = [worker.pid for worker in set(multiprocessing.active_children()) - others]
    assert len(pids) == 2
    del iterator, loader
    deadline = time.monotonic() + 20
    while any(os.path.exists(f"/proc/{pid}") for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_collate_of_nothing_keeps_the_shape():
    assert collate([], sample_shape=(3, 4, 8, 8))["clip"].shape == (0, 3, 4, 8, 8)


# --- index -----------------------------------------------------------------------------------------------------------


def test_an_index_changes_no_pixel_and_is_used(root, tmp_path, monkeypatch):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    without = VideoDataset(open_videos(copy, "train"), CLIP, training=True)
    expected = [without[1, index] for index in range(len(without))]
    check_videos(copy, num_workers=0)
    videos = open_videos(copy, "train")
    assert len(videos.index) == 19
    dataset = VideoDataset(videos, CLIP, training=True)
    monkeypatch.setattr("gta.video.file.scan_packets", lambda *_: pytest.fail("read the packets again"))
    for index, sample in enumerate(expected):
        assert torch.equal(dataset[1, index].clip, sample.clip)


def test_a_changed_file_is_not_taken_from_the_index(root, tmp_path):
    path = tmp_path / "train" / "a" / "1.mp4"
    encode(path, num_frames=20)
    encode(tmp_path / "train" / "a" / "2.mp4", num_frames=20)
    check_videos(tmp_path, num_workers=0)
    assert load_index(tmp_path).get(path).num_frames == 20
    encode(path, num_frames=31)
    assert load_index(tmp_path).get(path) is None
    path.unlink()
    assert load_index(tmp_path).get(path) is None


def test_a_file_known_to_be_damaged_is_not_opened_again(tmp_path, monkeypatch):
    encode(tmp_path / "train" / "a" / "1.mp4", num_frames=10)
    bad = tmp_path / "train" / "a" / "2.mp4"
    bad.write_bytes(b"nothing")
    check_videos(tmp_path, num_workers=0)
    opened = []
    monkeypatch.setattr("gta.clips.dataset.open_video", lambda path, **_: opened.append(path))
    dataset = VideoDataset(open_videos(tmp_path, "train"), CLIP, training=False)
    sample = dataset[1]
    assert sample.clip is None
    assert "cannot be opened" in sample.skipped[0][1]
    assert opened == []


def test_the_index_survives_its_file(tmp_path):
    packets = PacketIndex(
        np.array([0, 3000, 1000, NO_TIMESTAMP, 2**40], np.int64),
        np.array([True, False, False, True, False]),
        np.array([False, False, True, False, False]),
        counted_frames=4,
    )
    facts = {
        "a/ü 1.mp4": VideoFacts(7, 8, 5, 29.97, 640, 360, "h264", 2, packets=packets, digest="ff", decoded=True),
        "b/17": VideoFacts(0, 9, 2, 12.0, 64, 48, "mjpeg", 2, names=("1.jpg", "2.jpg")),
        "c.mp4": VideoFacts(1, 2, problem="it is damaged"),
    }
    assert save_index(tmp_path, facts) == index_path(tmp_path)
    stored = dict(load_index(tmp_path).items())
    assert list(stored) == list(facts)
    for name, entry in facts.items():
        assert replace(stored[name], packets=None) == replace(entry, packets=None)
    again = stored["a/ü 1.mp4"].packets
    for field in ("timestamps", "keyframes", "discarded"):
        assert np.array_equal(getattr(again, field), getattr(packets, field))
    assert again.counted_frames == 4
    assert save_index(tmp_path, {}).exists()
    assert len(load_index(tmp_path)) == 0


def test_a_damaged_index_is_announced_and_not_used(tmp_path):
    assert load_index(tmp_path) is None
    index_path(tmp_path).write_bytes(b"PK\x03\x04 nonsense")
    with pytest.warns(UserWarning, match=r"the index is damaged .* and is not used; gta data check rebuilds it"):
        assert load_index(tmp_path) is None


def test_stamps(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert stamp_of(tmp_path / "a")[0] == 5
    assert stamp_of(tmp_path)[0] == 0
    assert isinstance(load_index(tmp_path), DataIndex | None)
