"""Videos at an address of fsspec are read in ranges, with the same frames as from a file, wherever a path is taken."""

import io
import json
from pathlib import Path

import pytest
import torch
from bulk_files import write_model, write_video

import gta
from gta.bulk.manifest import read_manifest
from gta.cli import run
from gta.datasets.listing import open_videos
from gta.errors import DataError, VideoError
from gta.video import remote
from gta.video.reading import probe_video, read_video
from gta.video.remote import RemoteFile, remote_address

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")


@pytest.fixture
def bucket(tmp_path):
    system = fsspec.filesystem("memory")
    for seed, name in enumerate(("a.mp4", "b.mp4")):
        system.pipe_file(f"/bucket/{name}", write_video(tmp_path / name, seed).read_bytes())
    system.pipe_file("/bucket/notes.txt", b"no video")
    system.pipe_file("/bucket/bad.mp4", b"this is no video")
    yield system
    system.rm("/bucket", recursive=True)


def test_the_frames_are_those_of_the_file(bucket, tmp_path):
    for address in ("memory://bucket/a.mp4", Path("memory://bucket/a.mp4")):
        assert torch.equal(read_video(address), read_video(tmp_path / "a.mp4"))
    assert probe_video("memory://bucket/a.mp4").num_frames == 10


def test_ranges_are_fetched_once_and_counted(bucket, monkeypatch):
    monkeypatch.setattr(remote, "BLOCK_BYTES", 100)
    content = bytes(range(256)) * 4
    bucket.pipe_file("/bucket/numbers", content)
    before = (remote.TRAFFIC.requests, remote.TRAFFIC.bytes)
    file = io.BufferedReader(RemoteFile("memory://bucket/numbers"), buffer_size=16)
    for start, length in ((250, 20), (1000, 50), (255, 10), (0, 1)):
        file.seek(start)
        assert file.read(length) == content[start : start + length]
    file.seek(-24, io.SEEK_END)
    assert file.read(100) == content[1000:1024]
    assert file.read(10) == b""
    assert remote.TRAFFIC.requests - before[0] == 3  # blocks 2, 10 and 0, none twice
    assert remote.TRAFFIC.bytes - before[1] <= len(content)
    blocks = RemoteFile("memory://bucket/numbers")
    assert b"".join(iter(lambda: blocks.read(64), b"")) == content


def test_what_cannot_be_read_is_a_video_error(bucket):
    with pytest.raises(VideoError, match=r"memory://bucket/none\.mp4: no such file"):
        read_video("memory://bucket/none.mp4")
    with pytest.raises(VideoError, match=r"memory://bucket/bad\.mp4: it cannot be opened"):
        read_video("memory://bucket/bad.mp4")
    with pytest.raises(VideoError, match="memory://bucket: this is a folder"):
        read_video("memory://bucket")
    with pytest.raises(DataError, match="no video at this address"):
        read_manifest("memory://bucket/*.avi")


def test_predict_evaluate_and_bulk_take_addresses(bucket, tmp_path, capsys):
    model = write_model(tmp_path / "model.ckpt")
    assert run(["predict", str(model), "memory://bucket/a.mp4", "--json", "--device", "cpu"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)[0]["predictions"]
    expected = gta.Predictor.from_checkpoint(model, device="cpu").predict(tmp_path / "a.mp4")
    assert [entry["label"] for entry in found] == list(expected.labels)
    assert "fetched" in said.err
    output = tmp_path / "scores.jsonl"
    words = ["--manifest", "memory://bucket/*.mp4", "--output", str(output), "--num-workers", "1", "--device", "cpu"]
    assert run(["predict", str(model), *words]) == 0
    assert "3 requests" in capsys.readouterr().out
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["path"] for row in rows] == [f"memory:///bucket/{name}.mp4" for name in ("a", "b", "bad")]
    assert rows[0]["labels"] == list(expected.labels)
    assert rows[2]["error"]


def test_evaluate_reads_addresses_and_says_what_came_in_its_workers_too(bucket, tmp_path, capsys):
    model = write_model(tmp_path / "model.ckpt")
    listed = tmp_path / "val.csv"
    listed.write_text("path,label\nmemory://bucket/a.mp4,left\nmemory://bucket/b.mp4,right\n")
    told = []
    for workers in ("0", "2"):
        words = ["--num-workers", workers, "--device", "cpu", "--output", str(tmp_path / "out.json")]
        assert run(["evaluate", str(model), str(listed), *words]) == 0
        assert json.loads((tmp_path / "out.json").read_text())["num_videos"] == 2
        told += [line for line in capsys.readouterr().err.splitlines() if "fetched" in line]
    assert len(told) == 2
    assert told[0] == told[1]
    ranges, size = int(told[0].split()[3]), float(told[0].split()[5])
    sizes = sum(bucket.info(f"/bucket/{name}.mp4")["size"] for name in "ab")
    assert 2 <= ranges <= 4  # each video, and those again whose frames the report shows
    assert sizes / 1e6 - 0.06 <= size <= 2 * sizes / 1e6 + 0.06
    assert run(["evaluate", str(model), str(tmp_path / "none.csv")]) == 2
    assert "fetched" not in capsys.readouterr().err


def test_lists_of_a_data_set_may_name_addresses(bucket, tmp_path):
    listed = tmp_path / "val.csv"
    listed.write_text("path,label\nmemory://bucket/a.mp4,left\nmemory://bucket/b.mp4,right\n")
    videos = open_videos(listed, "val")
    assert [remote_address(record.path) for record in videos.records] == [
        "memory://bucket/a.mp4",
        "memory://bucket/b.mp4",
    ]


def test_local_files_stay_local(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:").mkdir()
    (tmp_path / "s3:" / "clip.mp4").touch()
    for path in ("s3:/clip.mp4", "take:1.mp4", "a/b.mp4", "file:///a.mp4", "unknown://a.mp4", "C:/a.mp4"):
        assert remote_address(path) is None
    assert remote_address("s3:/other.mp4") == remote_address("S3://other.mp4") == "s3://other.mp4"
