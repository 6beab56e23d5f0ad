"""Files whose packets do not tell which holds which frame: read in the decoder's order, with and without an index."""

import itertools
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gta.datasets.check import check_videos
from gta.datasets.index import load_index
from gta.datasets.prepare import PrepareSettings, prepare_videos
from gta.errors import VideoError
from gta.video import scan
from gta.video.file import VideoFile
from gta.video.packets import PacketIndex
from gta.video.reading import read_video
from video_files import FORMATS, decode_sequentially, encode

FILES = Path(__file__).parent / "files"


def copy_stream(source: Path, target: Path, *, first: int = 0, change=None, **options) -> Path:
    """Copy the packets of a video from number `first` on, without encoding; `change` may alter the list of them."""
    with av.open(str(source)) as input_, av.open(str(target), "w", **options) as output:
        stream = output.add_stream_from_template(input_.streams.video[0])
        packets = [packet for packet in input_.demux(video=0) if packet.size][first:]
        for packet in packets if change is None else change(packets):
            packet.stream = stream
            output.mux(packet)
    return target


def assert_exact(path: Path, expected: np.ndarray, *, sequential: bool | None = None) -> None:
    count = len(expected)
    with VideoFile(path) as video:
        index = video.index
        assert video.num_frames == count
        if sequential is not None:
            assert video.is_read_sequentially is sequential
        assert np.array_equal(video.read(range(count)).permute(0, 2, 3, 1).numpy(), expected)
    for given_index in (None, index):
        with VideoFile(path, index=given_index) as video:
            for numbers in ([count - 1], [0], [count // 2, 3, 1], *([number] for number in range(1, count, 3))):
                assert np.array_equal(video.read(numbers).permute(0, 2, 3, 1).numpy(), expected[numbers])


# --- MPEG-4 part 2 with packed B-frames (Xvid, DivX: UCF-101, HMDB-51) ------------------------------------------------


def remuxed(tmp_path: Path, suffix: str) -> Path:
    packed = FILES / "xvid_packed.avi"
    return packed if suffix == ".avi" else copy_stream(packed, tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv", ".mov", ".nut"])
def test_packed_b_frames(tmp_path, suffix):
    path = remuxed(tmp_path, suffix)
    assert_exact(path, decode_sequentially(path), sequential=True)


def test_unpacked_b_frames(tmp_path):
    with av.open(str(FILES / "xvid_packed.avi")) as source, av.open(str(tmp_path / "a.avi"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        unpack = av.bitstream.BitStreamFilterContext("mpeg4_unpack_bframes", source.streams.video[0])
        for packet in source.demux(video=0):
            for unpacked in unpack.filter(packet if packet.size else None):
                unpacked.stream = stream
                target.mux(unpacked)
    path = tmp_path / "a.avi"
    assert_exact(path, decode_sequentially(path), sequential=True)


def test_check_names_them_and_prepare_keeps_their_order(tmp_path):
    folder = tmp_path / "set" / "train" / "a"
    folder.mkdir(parents=True)
    (folder / "packed.avi").write_bytes((FILES / "xvid_packed.avi").read_bytes())
    encode(folder / "plain.mp4")
    report = check_videos(tmp_path / "set", num_workers=0)
    assert report.sequential == ["train/a/packed.avi"]
    assert report.num_problems == 0
    assert report.to_json()["sequential"] == report.sequential
    prepare_videos(tmp_path / "set", tmp_path / "copy", PrepareSettings(format="jpeg", quality=95), num_workers=0)
    copy = read_video(tmp_path / "copy" / "train" / "a" / "packed").float()
    original = read_video(folder / "packed.avi").float()
    assert copy.shape == original.shape
    assert (copy - original).abs().mean() < 6  # of neighbours in a scrambled order, it is more than 8
    assert (copy[1:] - original[:-1]).abs().mean() > 8


# --- streams that were cut -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["cut.flv", "cut.wmv"])
def test_a_stream_that_begins_between_keyframes(file):
    """The decoder conceals what is missing with what it has, so it must not have anything from before."""
    assert_exact(FILES / file, decode_sequentially(FILES / file), sequential=True)


@pytest.mark.parametrize("codec", ["mpeg4", "libx264", "mjpeg"])
def test_an_avi_whose_header_counts_more_frames_than_are_left(tmp_path, codec):
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    whole = encode(tmp_path / "whole.avi", codec=codec, num_frames=80, gop=8, pix_fmt=pix_fmt)
    data = whole.read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(data[: len(data) * 7 // 10])
    with pytest.warns(RuntimeWarning, match=r"cut\.avi: its header counts 80 frames, \d+ are left"):
        frames = read_video(path)
    assert 20 < len(frames) < 70
    expected = decode_sequentially(whole)[: len(frames)]
    assert np.array_equal(frames.permute(0, 2, 3, 1).numpy(), expected)


def test_an_avi_cut_without_encoding(tmp_path):
    source = encode(tmp_path / "whole.avi", codec="mpeg4", gop=100)
    path = copy_stream(source, tmp_path / "cut.avi", first=4)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames > 26 + 2  # the gap at the beginning counts
    with pytest.warns(RuntimeWarning, match=r"counts 30 frames, 26 are left"):
        assert_exact(path, decode_sequentially(path), sequential=True)


# --- timestamps that lie ---------------------------------------------------------------------------------------------


def times_of_the_file_order(packets):
    """What copying H.264 with B-frames from AVI to another container leaves."""
    for packet, time in zip(packets, sorted(packet.pts for packet in packets), strict=True):
        packet.pts = packet.dts = time
    return packets


def late(number):
    def change(packets):
        packets[number].pts += 2000
        return packets

    return change


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts", ".flv"])
@pytest.mark.parametrize("change", [times_of_the_file_order, late(3), late(8), late(20)])
def test_wrong_timestamps_do_not_move_frames(tmp_path, change, suffix):
    """FFmpeg puts frames in order by what the codec says, not by the container's times."""
    source = encode(tmp_path / "a.mkv", options={"bf": "2"}, gop=8)
    path = copy_stream(source, tmp_path / f"b{suffix}", change=change)
    expected = decode_sequentially(path)
    assert np.array_equal(expected, decode_sequentially(source))
    assert_exact(path, expected, sequential=True if change is times_of_the_file_order else None)


def test_check_holds_the_times_against_decoding(tmp_path):
    """Two neighbours with each other's time: packets alone cannot tell, decoding all frames for the index does."""

    def swap(packets):
        packets[9].pts, packets[10].pts = packets[10].pts, packets[9].pts
        return packets

    source = encode(tmp_path / "a.mkv", options={"bf": "2"}, gop=8)
    folder = tmp_path / "set" / "train" / "a"
    folder.mkdir(parents=True)
    path = copy_stream(source, folder / "b.mkv", change=swap)
    with VideoFile(path) as video:
        assert not video.is_read_sequentially
    report = check_videos(tmp_path / "set", num_workers=0)
    assert (report.sequential, report.num_problems) == (["train/a/b.mkv"], 0)
    facts = load_index(tmp_path / "set").get(path)
    expected = decode_sequentially(path)
    with VideoFile(path, index=facts.packets) as video:
        for number in range(len(expected)):
            assert np.array_equal(video.read([number])[0].permute(1, 2, 0).numpy(), expected[number])


def test_times_without_b_frames_are_believed_if_decoding_gives_them(tmp_path):
    """A decoder that is told to expect B-frames, and a file that has none."""
    times = [0, 40, 80, 500, 540, 900, 940, 1500]
    path = encode(tmp_path / "a.mkv", num_frames=8, timestamps=times, gop=8, options={"b-adapt": "2", "bf": "2"})
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.reorder_depth
    with VideoFile(path) as video:
        assert video.index.is_in_file_order
        assert not video.is_read_sequentially
        assert video.frame_range(0.5, 1.0) == (3, 7)
    assert_exact(path, decode_sequentially(path), sequential=False)


def packet_index(timestamps, keyframes) -> PacketIndex:
    count = len(timestamps)
    keys = np.isin(np.arange(count), keyframes)
    return PacketIndex(np.array(timestamps, np.int64), keys, np.zeros(count, np.bool_))


@pytest.mark.parametrize(
    ("timestamps", "keyframes", "depth", "expected"),
    [
        ([0, 1, 2, 3], [0], 0, True),
        ([0, 2, 1, 3], [0], 0, False),  # nothing may be reordered
        ([0, 2, 1, 3], [0], 1, True),
        ([0, 3, 1, 2, 4], [0, 4], 1, True),
        ([0, 4, 2, 1, 3], [0], 1, False),  # a pyramid takes two
        ([0, 4, 2, 1, 3], [0], 2, True),
        ([0, 3, 1, 2, 6, 4, 5], [0, 4], 1, True),  # leading pictures of an open group
        ([0, 3, 1, 5, 4, 6], [0, 4], 2, False),  # 5 is before the keyframe 4 in the file, but shown after it
        ([0, 1, 2, 60, 4, 5], [0], 2, True),  # moved back by the whole rest: only its neighbours could tell
        ([0, 1, 2, 60, 4, 5], [0, 4], 2, False),
        ([0, 1, 2, 3, 4, -5], [0], 2, False),
    ],
)
def test_which_timestamps_a_decoder_can_follow(timestamps, keyframes, depth, expected):
    assert packet_index(timestamps, keyframes).is_in_order(depth) is expected


@settings(deadline=None)
@given(st.permutations(range(8)), st.integers(0, 3))
def test_an_order_within_the_depth_is_what_a_decoder_with_that_buffer_gives(times, depth):
    """Reference: a buffer of `depth` frames that gives the earliest when it overflows."""
    buffer, shown = [], []
    for time in times:
        buffer.append(time)
        if len(buffer) > depth:
            buffer.sort()
            shown.append(buffer.pop(0))
    shown += sorted(buffer)
    if shown == sorted(times):
        assert packet_index(times, [0]).is_in_order(depth)


# --- large files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_files_too_large_to_be_held_are_read_by_seeking(videos, name, monkeypatch):
    path = videos[name]
    expected = decode_sequentially(path)
    monkeypatch.setattr(scan, "_HELD_BYTES", 1000)
    with VideoFile(path) as video:
        assert video._reader._held is None
        for numbers in ([3], [28, 7, 15], [0, 29], range(30)):
            assert np.array_equal(video.read(numbers).permute(0, 2, 3, 1).numpy(), expected[list(numbers)])


@pytest.mark.parametrize("name", ["h264_short", "h264_open_ts", "hevc_open", "vp9_altref"])
def test_files_that_cannot_seek_are_read_past_the_unwanted_packets(videos, name, monkeypatch):
    path = videos[name]
    expected = decode_sequentially(path)
    monkeypatch.setattr(scan, "_HELD_BYTES", 0)
    monkeypatch.setattr("gta.video.decoding.PacketReader._seek", lambda *_: None)
    with VideoFile(path) as video:
        for numbers in ([3], [28, 7, 15], [0, 29]):
            assert np.array_equal(video.read(numbers).permute(0, 2, 3, 1).numpy(), expected[numbers])
        assert not video.is_read_sequentially


# --- sizes that change -----------------------------------------------------------------------------------------------


def test_a_stream_that_changes_its_size(tmp_path):
    """Frames of each part are read alone as FFmpeg gives them; a clip over the change is refused."""
    parts = [
        encode(tmp_path / "a.ts", num_frames=12, gop=4),
        encode(tmp_path / "b.ts", num_frames=12, gop=4, width=128),
    ]
    path = tmp_path / "both.ts"
    with av.open(str(path), "w", format="mpegts") as output:
        stream = None
        for number, part in enumerate(parts):
            with av.open(str(part)) as source:
                stream = stream or output.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(video=0):
                    if packet.size:
                        packet.pts, packet.dts = packet.pts + number * 43200, packet.dts + number * 43200
                        packet.stream = stream
                        output.mux(packet)
    with av.open(str(path)) as container:
        expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with VideoFile(path) as video:
        index = video.index
    order = [3, 20, 5, 14, 0, 23]
    for number, given_index in itertools.product(order, (None, index)):
        with VideoFile(path, index=given_index) as video:
            assert np.array_equal(video.read([number])[0].permute(1, 2, 0).numpy(), expected[number])
    with VideoFile(path, index=index) as video:
        for number in order:
            assert np.array_equal(video.read([number])[0].permute(1, 2, 0).numpy(), expected[number])
        with pytest.raises(VideoError, match="changes from 64x48 to 128x48"):
            video.read([3, 20])
