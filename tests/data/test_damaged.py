"""Damaged input of every kind: a VideoError that names the file and why, soon, and runs that go on without the file."""

import csv
import itertools
import os
import random
import shutil
import signal
import time
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from gta.clips.dataset import VideoDataset
from gta.clips.loader import build_loader
from gta.clips.presets import clip_config
from gta.datasets.listing import VideoList, open_videos
from gta.datasets.workers import Failure, in_parallel
from gta.errors import DataError, VideoError
from gta.skipped import SkippedVideos
from gta.types import VideoRecord
from gta.video.file import VideoFile
from gta.video.folder import FrameFolder
from gta.video.reading import probe_video, read_video
from video_files import encode, pictures


def truncated_mp4(target: Path) -> None:
    """The index at the front, half of the frames cut off: an interrupted download."""
    whole = target.with_name("whole.mp4")
    with av.open(str(whole), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for picture in pictures(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    data = whole.read_bytes()
    whole.unlink()
    target.write_bytes(data[: len(data) * 6 // 10])


def truncated_webm(target: Path) -> None:
    encode(target, codec="libvpx-vp9", num_frames=60, options={"cpu-used": "8"})
    data = target.read_bytes()
    target.write_bytes(data[: len(data) // 2])


def zero_bytes(target: Path) -> None:
    target.write_bytes(b"")


def missing_index(target: Path) -> None:
    """An MP4 whose index, which comes last, was never written."""
    encode(target)
    data = target.read_bytes()
    target.write_bytes(data[: data.index(b"moov") - 4])


def audio_only(target: Path) -> None:
    with av.open(str(target), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        for number in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, number * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def no_video_at_all(target: Path) -> None:
    target.write_text("<html><body>404 Not Found</body></html>\n" * 20)


def noise(target: Path) -> None:
    target.write_bytes(random.Random(0).randbytes(30_000))


def header_without_frames(target: Path) -> None:
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()


def absurd_size(target: Path) -> None:
    """A header that claims 16,000 x 16,000 pixels."""
    encode(target, codec="ffv1", num_frames=4, height=300, width=320)
    data = target.read_bytes()
    for element, size in ((b"\xb0\x82", 320), (b"\xba\x82", 300)):  # PixelWidth and PixelHeight of two bytes
        assert element + size.to_bytes(2, "big") in data
        data = data.replace(element + size.to_bytes(2, "big"), element + (16_000).to_bytes(2, "big"), 1)
    target.write_bytes(data)


def changing_size(target: Path) -> None:
    """Two streams of different size joined, as broadcasts have it."""
    first, second = target.with_name("a.ts"), target.with_name("b.ts")
    encode(first, num_frames=20, gop=5)
    encode(second, num_frames=20, gop=5, height=96, width=128)
    with av.open(str(target), "w", format="mpegts") as output:
        stream = None
        shift = 0
        for part in (first, second):
            with av.open(str(part)) as source:
                stream = stream or output.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(video=0):
                    if packet.dts is not None:
                        packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                        output.mux(packet)
            shift += 20 * 3600
    first.unlink()
    second.unlink()


def broken_middle(target: Path) -> None:
    """All bytes of the frames overwritten, the headers sound: a failing disk."""
    encode(target, codec="libvpx-vp9", options={"cpu-used": "8"}, num_frames=30)
    with av.open(str(target)) as container:
        sizes = [packet.size for packet in container.demux(video=0)]
    data = bytearray(target.read_bytes())
    start = len(data) - sum(sizes[5:])
    data[start:-200] = bytes(len(data) - 200 - start)
    target.write_bytes(bytes(data))


DAMAGE = {
    "truncated.mp4": (truncated_mp4, r"truncated: \d+ of 40 frames"),
    "truncated.webm": (truncated_webm, r"truncated: it ends after .* of 2.4 s"),
    "zero.mp4": (zero_bytes, "empty"),
    "no_index.mp4": (missing_index, "cannot be opened"),
    "audio.mp4": (audio_only, "no video stream, only audio"),
    "page.mp4": (no_video_at_all, "cannot be opened"),
    "noise.mp4": (noise, "cannot be opened"),
    "header.mp4": (header_without_frames, "no video stream$"),
    "absurd.mkv": (absurd_size, "16000x16000 pixels"),
    "changing.ts": (changing_size, "changes from 64x48 to 128x96"),
    "broken.webm": (broken_middle, "damaged|truncated"),
}


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    for name, (make, _) in DAMAGE.items():
        make(folder / name)
    return folder


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_a_video_error_with_file_and_reason(damaged, name):
    start = time.monotonic()
    with pytest.raises(VideoError, match=DAMAGE[name][1]) as caught:
        read_video(damaged / name)
    assert time.monotonic() - start < 10
    assert str(caught.value).startswith(str(damaged / name))
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder_in_place_of_a_file(tmp_path):
    with pytest.raises(VideoError, match=r"gone.mp4: no such file"):
        read_video(tmp_path / "gone.mp4")
    with pytest.raises(VideoError, match="no numbered images"):
        read_video(tmp_path)
    with pytest.raises(VideoError, match="folder, not a video file"):
        VideoFile(tmp_path)


def test_random_damage_never_gives_anything_but_frames_or_a_video_error(plain, tmp_path):
    original = plain.read_bytes()
    rng = random.Random(5)
    outcomes = set()
    for number in range(120):
        data = bytearray(original)
        for _ in range(rng.choice([1, 5, 60])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(bytes(data))
        try:
            with VideoFile(path, time_limit_seconds=20.0) as video:
                frames = video.read([0, video.num_frames // 2, video.num_frames - 1])
            assert frames.shape[0] == 3
            outcomes.add("frames")
        except VideoError:
            outcomes.add("error")
    assert outcomes == {"frames", "error"}


def test_a_file_that_takes_too_long_is_given_up(plain):
    with pytest.raises(VideoError, match="took longer than 0 s"):
        VideoFile(plain, time_limit_seconds=0.0)
    with VideoFile(plain) as video:
        video._limit = -100.0  # the time was up before decoding began
        with pytest.raises(VideoError, match="took longer than"):
            video.read([3])


# --- folders of pictures ---------------------------------------------------------------------------------------------


@pytest.fixture
def jpegs(tmp_path):
    folder = tmp_path / "17"
    folder.mkdir()
    for number, picture in enumerate(pictures(12), start=1):
        Image.fromarray(picture).save(folder / f"{number:05d}.jpg", quality=95)
    return folder


def test_pictures_are_read_in_the_order_of_their_numbers(tmp_path, jpegs):
    for number in range(1, 13):  # 1.jpg ... 12.jpg: no padding, so the names sort differently
        (jpegs / f"{number:05d}.jpg").rename(jpegs / f"img_{number}.jpg")
    expected = np.stack([np.asarray(Image.open(jpegs / f"img_{n}.jpg")) for n in (1, 3, 11)])
    result = read_video(jpegs, [0, 2, 10]).permute(0, 2, 3, 1).numpy()
    assert np.abs(result.astype(int) - expected).max() <= 2  # two JPEG decoders may round differently
    info = probe_video(jpegs)
    assert (info.num_frames, info.width, info.height, info.codec, info.fps) == (12, 64, 48, "mjpeg", 12.0)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "00004.jpg").unlink(), r"image number 4 is missing \(11 of 1..12\)"),
        (lambda folder: (folder / "00004.jpg").write_bytes(b""), r"00004.jpg is empty"),
        (lambda folder: (folder / "00004.jpg").write_bytes(b"no picture"), r"00004.jpg is damaged"),
        (
            lambda folder: (folder / "00004.jpg").write_bytes((folder / "00004.jpg").read_bytes()[:900]),
            r"00004.jpg is damaged .*truncated",
        ),
        (lambda folder: Image.new("RGB", (32, 32)).save(folder / "00004.jpg"), r"changes from 64x48 to 32x32"),
        (lambda folder: shutil.copy(folder / "00004.jpg", folder / "x_4.jpg"), "same number"),
        (lambda folder: [file.unlink() for file in folder.iterdir()], "no numbered images"),
    ],
)
def test_damaged_folders(jpegs, damage, reason):
    damage(jpegs)
    with pytest.raises(VideoError, match=reason) as caught:
        read_video(jpegs)
    assert str(caught.value).startswith(str(jpegs))


def test_a_picture_that_vanished_since_the_folder_was_listed(jpegs):
    names = FrameFolder(jpegs).names
    (jpegs / names[3]).unlink()
    with pytest.raises(VideoError, match=r"00004.jpg is missing"):
        FrameFolder(jpegs, names=names).read([3])


def test_parts_of_folders_by_seconds(jpegs):
    folder = FrameFolder(jpegs)
    assert folder.frame_range(None, None) == (0, 12)
    assert folder.frame_range(0.25, 0.5) == (3, 6)
    with pytest.raises(VideoError, match="no image lies between"):
        folder.frame_range(3.0, None)


# --- runs ------------------------------------------------------------------------------------------------------------


def test_a_pass_over_200_files_reports_exactly_the_20_damaged(damaged, plain, tmp_path):
    root = tmp_path / "set"
    expected = set()
    ways = itertools.cycle(name for name in DAMAGE if name != "noise.mp4")  # ten ways, each twice
    for number in range(200):
        folder = root / "train" / f"class {number % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        if number % 10 == 3:
            name = next(ways)
            target = folder / f"{number}{Path(name).suffix}"
            shutil.copy(damaged / name, target)
            expected.add(str(target))
        else:
            os.link(plain, folder / f"{number}.mp4")
    dataset = VideoDataset(open_videos(root, "train"), clip_config("paper", crop_size=28), training=True)
    skipped = SkippedVideos(tmp_path / "skipped.csv", num_videos=len(dataset), max_share=0.2)
    clips = 0
    for batch in build_loader(dataset, batch_size=16, num_workers=2, shuffle=True):
        clips += len(batch["label"])
        skipped.add(batch["skipped"])
    assert clips == 200  # others took the place of the damaged ones
    assert set(skipped.reasons) == expected
    assert len(expected) == 20
    with (tmp_path / "skipped.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["path"] for row in rows) == sorted(expected)
    assert all(row["reason"] for row in rows)


def test_too_many_failures_stop_the_run(tmp_path):
    skipped = SkippedVideos(tmp_path / "skipped.csv", num_videos=10, max_share=0.2)
    assert skipped.add([("a", "bad"), ("b", "bad"), ("a", "bad")]) == [("a", "bad"), ("b", "bad")]
    assert skipped.add([("b", "bad")]) == []
    again = SkippedVideos(tmp_path / "skipped.csv", num_videos=10, max_share=0.2)  # a resumed run
    assert len(again) == 2
    with pytest.raises(DataError, match=r"3 of 10 videos could not be read, more than the allowed share of 0.2"):
        again.add([("c", "worse")])


def test_a_data_set_of_damaged_files_only_gives_up(damaged, tmp_path):
    records = tuple(VideoRecord(damaged / "zero.mp4", 0) for _ in range(3))
    dataset = VideoDataset(VideoList(tmp_path, "folder", "train", ("a",), records), clip_config(), training=True)
    with pytest.raises(DataError, match=r"20 videos in a row could not be read; .*zero.mp4: .*empty"):
        dataset[0]


def die_over_seven(number: int) -> int:
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)  # what a crash of the decoder library looks like
    return number * number


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_crash_loses_only_the_guilty_file(num_workers):
    results = dict(in_parallel(die_over_seven, range(20), num_workers=num_workers))
    crash = Failure("reading it crashes the decoder")
    assert results == {number: crash if number == 7 else number * number for number in range(20)}
