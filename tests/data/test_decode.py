"""The reader: whatever the file, the frames are those of sequential decoding."""

import itertools
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gta.errors import VideoError
from gta.video.decoding import decode_run
from gta.video.file import VideoFile
from gta.video.packets import NO_TIMESTAMP, PacketIndex, Run, plan_runs
from gta.video.reading import open_video, probe_video, read_video
from video_files import FORMATS, decode_sequentially, encode, pictures

_oracles: dict[Path, np.ndarray] = {}


def oracle(path: Path) -> np.ndarray:
    if path not in _oracles:
        _oracles[path] = decode_sequentially(path)
    return _oracles[path]


def assert_exact(frames: torch.Tensor, path: Path, indices) -> None:
    assert frames.dtype == torch.uint8
    assert np.array_equal(frames.permute(0, 2, 3, 1).numpy(), oracle(path)[list(indices)])


# --- exactness -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_frames_equal_sequential_decoding(videos, name):
    path = videos[name]

    @settings(deadline=None, max_examples=15)
    @given(st.lists(st.integers(0, len(oracle(path)) - 1), min_size=1, max_size=8))
    def check(indices):
        with VideoFile(path) as video:
            assert video.num_frames == len(oracle(path))
            assert_exact(video.read(indices), path, indices)

    check()


@pytest.mark.parametrize("name", FORMATS)
def test_each_frame_alone_and_all_together(videos, name):
    path = videos[name]
    count = len(oracle(path))
    with VideoFile(path) as video:
        for index in reversed(range(count)):
            assert_exact(video.read([index]), path, [index])
    assert_exact(read_video(path), path, range(count))


@pytest.mark.parametrize("name", FORMATS)
def test_a_known_index_changes_nothing(videos, name):
    path = videos[name]
    with VideoFile(path) as video:
        index = video.index
    for indices in ([25, 3, 14], [29], [0, 1, 2], [8, 17]):
        with VideoFile(path, index=index) as video:
            assert_exact(video.read(indices), path, indices)
            assert_exact(video.read(indices[:1]), path, indices[:1])


def test_seeking_is_used_where_it_works(videos):
    with VideoFile(videos["h264_short"]) as video:
        index = video.index
    with VideoFile(videos["h264_short"], index=index) as video:
        video.read([20])
        assert video._reader._can_seek  # the file was never read from the beginning
        assert video._reader._held is None


def test_the_planned_way_decodes_only_what_is_needed(plain, monkeypatch):
    fed = []

    def remember(opened, index, run, packets, deadline):
        fed.append(run)
        return decode_run(opened, index, run, packets, deadline)

    monkeypatch.setattr("gta.video.file.decode_run", remember)
    with VideoFile(plain) as video:
        video.read([1, 33])
        keys = set(video.index.keyframe_packets.tolist())
    assert [run.wanted for run in fed] == [(1,), (33,)]
    assert all(run.first_packet in keys for run in fed)
    assert sum(run.last_packet - run.first_packet + 1 for run in fed) < 20


def test_a_wrong_index_is_noticed(plain, videos):
    with VideoFile(plain) as video:
        right = video.index
    shifted = PacketIndex(right.timestamps + 7, right.keyframes, right.discarded)
    with VideoFile(plain, index=shifted) as video:
        assert_exact(video.read([5, 30]), plain, [5, 30])
    with VideoFile(videos["h264_long"]) as video:
        other = video.index
    with VideoFile(plain, index=other) as video:
        assert_exact(video.read([5, 20]), plain, [5, 20])


# --- what the file says of itself ------------------------------------------------------------------------------------


def test_probe(plain):
    info = probe_video(plain)
    assert (info.num_frames, info.width, info.height, info.codec) == (40, 64, 48, "h264")
    assert info.fps == pytest.approx(25)
    assert info.duration_seconds == pytest.approx(1.6)


def test_variable_frame_rate_goes_by_timestamps(tmp_path):
    times = [0, 40, 80, 500, 520, 540, 1500, 1540, 3000, 3040]
    path = encode(tmp_path / "vfr.mkv", num_frames=10, timestamps=times, gop=3)
    with VideoFile(path) as video:
        assert video.num_frames == 10
        assert_exact(video.read([2, 7]), path, [2, 7])
        assert video.frame_range(None, None) == (0, 10)
        assert video.frame_range(0.5, 1.5) == (3, 6)
        assert video.frame_range(0.6, 1.6) == (5, 8)  # the frame of 0.54 s is still on screen at 0.6 s
        assert video.frame_range(2.0, None) == (7, 10)
        with pytest.raises(VideoError, match="no frame lies between 5 s"):
            video.frame_range(5.0, 5.0)


def test_a_part_begins_with_the_frame_shown_at_that_second(plain):
    """1.16 as a binary number is a little less than 1.16; the part still begins with frame 29, at 29 / 25 s."""
    with VideoFile(plain) as video:
        assert [video.frame_range(number / 25, None)[0] for number in range(40)] == list(range(40))


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_rotation_is_honoured(tmp_path, angle):
    upright = encode(tmp_path / "a.mp4", num_frames=6, gop=3)
    turned = encode(tmp_path / "b.mp4", num_frames=6, gop=3, rotation=angle)
    expected = np.rot90(oracle(upright), angle // 90, axes=(1, 2))
    result = read_video(turned, [1, 4])
    assert np.array_equal(result.permute(0, 2, 3, 1).numpy(), expected[[1, 4]])
    info = probe_video(turned)
    assert info.rotation_degrees == angle
    assert (info.width, info.height) == ((64, 48) if angle == 180 else (48, 64))


def test_an_mp4_edit_list_hides_frames(tmp_path, plain):
    """A file whose first frames are decoded but not shown: what cutting without encoding again leaves."""
    path = tmp_path / "cut.mp4"
    with av.open(str(plain)) as source, av.open(str(path), "w", options={"use_editlist": "1"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is None:
                continue
            packet.stream = stream
            packet.pts -= 3 * 512  # the first three frames get negative times
            packet.dts -= 3 * 512
            target.mux(packet)
    with VideoFile(path) as video:
        assert video.num_frames == len(oracle(path))
        hidden = int(video.index.discarded.sum())
        assert_exact(video.read([0, 5, 30]), path, [0, 5, 30])
    assert hidden > 0


@pytest.mark.parametrize("name", ["hevc_open", "h264_open"])
def test_a_stream_cut_in_an_open_group(videos, tmp_path, name):
    """The leading pictures of the first group may not be decodable: packets and frames do not map one to one."""
    path = tmp_path / "cut.mkv"
    with av.open(str(videos[name])) as source:
        packets = [packet for packet in source.demux(video=0) if packet.dts is not None]
        first = next(
            number
            for number, (packet, following) in enumerate(itertools.pairwise(packets))
            if number and packet.is_keyframe and following.pts < packet.pts
        )
        with av.open(str(path), "w") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in packets[first:]:
                packet.stream = stream
                target.mux(packet)
    with VideoFile(path) as video:
        assert not video.index.is_one_to_one
        assert video.num_frames == len(oracle(path)) <= len(video.index.order)
        assert_exact(video.read([0, 3, video.num_frames - 1]), path, [0, 3, video.num_frames - 1])


# --- unusual but sound -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "arguments"),
    [
        ("one.mp4", {"num_frames": 1}),
        ("odd.mkv", {"codec": "ffv1", "pix_fmt": "yuv444p", "height": 47, "width": 63}),
        ("odd.webm", {"codec": "libvpx-vp9", "height": 47, "width": 63, "options": {"cpu-used": "8"}}),
        ("ten_bit.mp4", {"codec": "libx265", "pix_fmt": "yuv420p10le", "options": {"x265-params": "log-level=none"}}),
        ("ten_bit.mkv", {"pix_fmt": "yuv422p10le"}),
        ("alpha.webm", {"codec": "libvpx-vp9", "pix_fmt": "yuva420p", "options": {"cpu-used": "8"}}),
        ("alpha.mkv", {"codec": "ffv1", "pix_fmt": "bgra"}),
        ("grey.mkv", {"codec": "ffv1", "pix_fmt": "gray"}),
        ("animation.gif", {"codec": "gif", "pix_fmt": "rgb8", "rate": 10}),
    ],
)
def test_unusual_pictures_are_read(tmp_path, file, arguments):
    path = encode(tmp_path / file, **{"num_frames": 9, **arguments})
    count = len(oracle(path))
    frames = read_video(path, [count - 1, 0])
    assert frames.shape[1:] == (3, arguments.get("height", 48), arguments.get("width", 64))
    assert_exact(frames, path, [count - 1, 0])


def test_the_name_does_not_matter(plain, tmp_path):
    renamed = shutil.copy(plain, tmp_path / "really an mp4.webm")
    assert probe_video(renamed).num_frames == 40
    odd = shutil.copy(plain, tmp_path / "vidéo 視頻 %d [x].mp4")
    assert_exact(read_video(odd, [3]), plain, [3])


# --- arguments -------------------------------------------------------------------------------------------------------


def test_indices_may_repeat_and_come_in_any_order(plain):
    indices = [30, 2, 2, 39, 0]
    assert_exact(read_video(plain, indices), plain, indices)


@pytest.mark.parametrize("index", [-1, 40])
def test_indices_outside_the_video(plain, index):
    with pytest.raises(IndexError, match=rf"frame {index} is out of range: .*plain.mp4 has 40 frames"):
        read_video(plain, [3, index])


def test_no_indices(plain):
    with pytest.raises(ValueError, match="no frame indices"):
        read_video(plain, [])


def test_fit_is_applied_to_every_frame(plain):
    with open_video(plain) as video:
        frames = video.read([3, 9], fit=lambda frame: frame[:, ::2, ::2])
    assert np.array_equal(frames.permute(0, 2, 3, 1).numpy(), oracle(plain)[[3, 9], ::2, ::2])


def test_frames_are_the_callers_own(plain):
    first, second = read_video(plain, [4, 4])
    first.zero_()
    assert second.any()


# --- planning, by hand -----------------------------------------------------------------------------------------------


def packet_index(timestamps, keyframes, discarded=()):
    count = len(timestamps)
    return PacketIndex(
        np.array(timestamps, np.int64),
        np.isin(np.arange(count), keyframes),
        np.isin(np.arange(count), discarded),
    )


# Decoding order I0 P3 B1 B2 | I4 P7 B5 B6 | I8: the numbers are the times of presentation.
CLOSED = packet_index([0, 3, 1, 2, 4, 7, 5, 6, 8], [0, 4, 8])
# Decoding order I0 P3 B1 B2 | I6 B4 B5 P9 B7 B8: frames 4 and 5 come after the keyframe and are shown before it.
OPEN = packet_index([0, 3, 1, 2, 6, 4, 5, 9, 7, 8], [0, 4])


@pytest.mark.parametrize(
    ("index", "frames", "expected"),
    [
        (CLOSED, [0], [Run(0, 0, (0,))]),
        (CLOSED, [1], [Run(0, 2, (1,))]),
        (CLOSED, [3], [Run(0, 1, (3,))]),
        (CLOSED, [1, 8], [Run(0, 2, (1,)), Run(8, 8, (8,))]),
        (CLOSED, [2, 4], [Run(0, 4, (2, 4))]),  # the second group follows at once: one run
        (CLOSED, [3, 5], [Run(0, 1, (3,)), Run(4, 6, (5,))]),
        (OPEN, [6], [Run(4, 4, (6,))]),
        (OPEN, [4], [Run(0, 5, (4,))]),  # leading picture: from one keyframe earlier
        (OPEN, [1, 7], [Run(0, 2, (1,)), Run(4, 8, (7,))]),
    ],
)
def test_plan(index, frames, expected):
    assert plan_runs(index, frames) == expected


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 8), min_size=1, unique=True).map(sorted))
def test_a_plan_covers_every_wanted_frame_once(frames):
    for index in (CLOSED, OPEN):
        runs = plan_runs(index, frames)
        assert sorted(frame for run in runs for frame in run.wanted) == frames
        for before, after in itertools.pairwise(runs):
            assert before.last_packet < after.first_packet
        for run in runs:
            assert index.keyframes[run.first_packet]
            assert all(run.first_packet <= index.order[frame] <= run.last_packet for frame in run.wanted)


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (CLOSED, True),
        (OPEN, True),
        (packet_index([0, 1, 1, 2], [0]), False),  # a time occurs twice
        (packet_index([0, NO_TIMESTAMP, 2], [0]), False),
        (packet_index([0, 1, 2], [1]), False),  # does not begin with a keyframe
        (packet_index([2, 0, 1, 3], [0]), False),  # leading pictures of a cut group
        (packet_index([2, 0, 1, 3], [0], [1, 2]), True),  # which an edit list hides
        (PacketIndex(CLOSED.timestamps, CLOSED.keyframes, CLOSED.discarded, counted_frames=8), False),
    ],
)
def test_which_files_may_be_planned(index, expected):
    assert index.is_one_to_one is expected


def test_the_pictures_of_these_tests_all_differ():
    seen = {picture.tobytes() for picture in pictures(30)}
    assert len(seen) == 30
