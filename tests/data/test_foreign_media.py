"""Files that are not plain videos: lists of other files, covers, several streams, odd names, bombs, foreign errors."""

import os
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.stream import Disposition
from PIL import Image

from gta.datasets.workers import Failure, in_parallel
from gta.errors import DataError, VideoError
from gta.video.file import VideoFile
from gta.video.reading import probe_video, read_video
from video_files import decode_sequentially, encode, pictures


def assert_frames(path: Path, expected: np.ndarray) -> None:
    assert np.array_equal(read_video(path).permute(0, 2, 3, 1).numpy(), expected)


# --- nothing but the file at hand ------------------------------------------------------------------------------------

LISTS = {
    "concat": "ffconcat version 1.0\nfile secret/v.mp4\n",
    "concat with a byte-order mark": "\ufeffffconcat version 1.0\nfile secret/v.mp4\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.2,\nsecret/v.mp4\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet '
    'mimeType="video/mp4"><Representation id="0" bandwidth="1"><BaseURL>secret/v.mp4</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "subtitles": "1\n00:00:00,000 --> 00:00:01,000\nHello\n\n2\n00:00:01,000 --> 00:00:02,000\nthere\n",
    "ansi art": "\x1b[31mred\x1b[0m\n" * 40,
    "ffmetadata": ";FFMETADATA1\ntitle=x\n",
}


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".txt"])
def test_a_list_that_names_other_files_is_refused(tmp_path, kind, suffix):
    encode(tmp_path / "secret" / "v.mp4", num_frames=4)
    path = tmp_path / f"clip{suffix}"
    path.write_text(LISTS[kind], encoding="utf-8")
    with pytest.raises(VideoError, match="cannot be opened as a video") as caught:
        read_video(path)
    assert ("it is a text file" in caught.value.reason) is (kind != "ansi art")


def test_a_pattern_of_picture_names_is_one_name(tmp_path):
    for number, picture in enumerate(pictures(3)):
        Image.fromarray(picture).save(tmp_path / f"img{number:03d}.png")
    with pytest.raises(VideoError, match="no such file"):
        read_video(tmp_path / "img%03d.png")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "clip.mp4")
    with pytest.raises(VideoError, match="a pipe"):
        read_video(tmp_path / "clip.mp4")


@pytest.mark.parametrize(
    "name",
    [
        *("take:1.mp4", "http:clip.mp4", "file:clip.mp4", "concat:a|b.mp4", "pipe:0", "data:video.mp4", "-i.mp4"),
        *("100%.mp4", "a%03d.mp4", "{a,b}*?.mp4", "a\nb.mp4", "crypto+tcp:x.mkv", "vidéo,b.mp4"),
    ],
)
def test_a_local_name_is_never_an_address(plain, tmp_path, name, monkeypatch):
    (tmp_path / name).write_bytes(plain.read_bytes())
    assert_frames(tmp_path / name, decode_sequentially(plain))
    monkeypatch.chdir(tmp_path)
    assert probe_video(name).num_frames == 40


@pytest.mark.parametrize("name", ["a%d.gif", "100%.gif", "[0-9]*.gif", "a{1,2}.gif"])
def test_a_picture_name_is_never_a_pattern(tmp_path, name):
    path = encode(tmp_path / "plain.gif", codec="gif", pix_fmt="rgb8", rate=10, num_frames=5)
    expected = decode_sequentially(path)
    assert_frames(path.rename(tmp_path / name), expected)


def test_an_animated_webp_is_not_supported(tmp_path):
    frames = [Image.fromarray(picture) for picture in pictures(3)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:])
    with pytest.raises(VideoError, match="animated WebP is not supported"):
        read_video(tmp_path / "a.webp")


# --- streams ---------------------------------------------------------------------------------------------------------


def jpeg() -> bytes:
    import io

    file = io.BytesIO()
    Image.fromarray(next(pictures(1, 32, 32))).save(file, "JPEG")
    return file.getvalue()


def write_streams(
    path: Path, sizes: list[tuple[int, int]], cover: int | None = None, default: int = 0, **options
) -> Path:
    """A file with a video stream of each size (height, width); stream number `cover` is a cover of one JPEG."""
    with av.open(str(path), "w", **options) as container:
        streams = []
        for number, (height, width) in enumerate(sizes):
            stream = container.add_stream("mjpeg" if number == cover else "libx264", rate=25)
            stream.height, stream.width = height, width
            stream.pix_fmt = "yuvj420p" if number == cover else "yuv420p"
            stream.disposition = Disposition.default if number == default else Disposition(0)
            if number == cover:
                stream.disposition = Disposition.attached_pic
            streams.append(stream)
        for number, (stream, size) in enumerate(zip(streams, sizes, strict=True)):
            for picture in pictures(1 if number == cover else 12, *size, seed=number):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


def test_the_best_of_several_streams_is_read_and_named(tmp_path):
    path = write_streams(tmp_path / "two.mkv", [(48, 64), (96, 128)], default=1)
    with av.open(str(path)) as container:
        best = container.streams.best("video")
        expected = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(best)])
        assert best.index == 1
    assert_frames(path, expected)
    info = probe_video(path)
    assert (info.stream_index, info.num_video_streams, info.width) == (1, 2, 128)
    with VideoFile(path) as video:
        index = video.index
    with VideoFile(path, index=index) as video:
        assert np.array_equal(video.read([7])[0].permute(1, 2, 0).numpy(), expected[7])


@pytest.mark.parametrize("file", ["cover.mp4", "cover.m4v"])
def test_a_cover_before_the_video_is_passed_over(tmp_path, file):
    path = write_streams(tmp_path / file, [(32, 32), (48, 64)], cover=0, default=1, format="mp4")
    info = probe_video(path)
    assert (info.num_frames, info.codec, info.num_video_streams, info.width) == (12, "h264", 1, 64)
    assert read_video(path).shape == (12, 3, 48, 64)


def test_an_attached_cover_in_matroska_is_passed_over(tmp_path):
    path = tmp_path / "cover.mkv"
    with av.open(str(path), "w") as container:
        container.add_attachment("cover.jpg", "image/jpeg", jpeg())
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for picture in pictures(12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    info = probe_video(path)
    assert (info.num_frames, info.codec, info.num_video_streams) == (12, "h264", 1)


def sound(path: Path, codec: str) -> bytes:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=44100)
        for number in range(20):
            form = stream.codec_context.codec.audio_formats[0].name
            samples = np.zeros((1, 1152), np.int16 if form.startswith("s16") else np.int32)
            frame = av.AudioFrame.from_ndarray(samples, format=form, layout="mono")
            frame.sample_rate, frame.pts = 44100, number * 1152
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def mp3_with_cover(path: Path) -> None:
    body = b"\0image/jpeg\0\x03\0" + jpeg()
    frame = b"APIC" + struct.pack(">I", len(body)) + b"\0\0" + body
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\x03\0\0" + size + frame + sound(path.with_name("plain.mp3"), "mp3"))


def flac_with_cover(path: Path) -> None:
    data = sound(path.with_name("plain.flac"), "flac")
    mime, picture = b"image/jpeg", jpeg()
    block = struct.pack(">II", 3, len(mime)) + mime + struct.pack(">IIIIII", 0, 32, 32, 24, 0, len(picture)) + picture
    # After `fLaC` and the 34 bytes of stream information, whose header takes four.
    path.write_bytes(data[:42] + b"\x06" + len(block).to_bytes(3, "big") + block + data[42:])


@pytest.mark.parametrize(("file", "make"), [("a.mp3", mp3_with_cover), ("a.flac", flac_with_cover)])
def test_sound_with_a_cover_is_no_video(tmp_path, file, make):
    make(tmp_path / file)
    with av.open(str(tmp_path / file)) as container:
        assert container.streams.video  # the cover is there
    with pytest.raises(VideoError, match="no video, only cover art"):
        read_video(tmp_path / file)


# --- memory ----------------------------------------------------------------------------------------------------------


def test_a_small_file_with_a_huge_canvas_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    frames = [Image.new("P", (64, 48), shade) for shade in range(2)]
    frames[0].save(tmp_path / "bomb.gif", save_all=True, append_images=frames[1:], duration=40)
    data = bytearray((tmp_path / "bomb.gif").read_bytes())
    data[6:10] = struct.pack("<HH", 8000, 8000)
    (tmp_path / "bomb.gif").write_bytes(data)
    monkeypatch.setattr("gta.video.file.decode_in_order", lambda *_: pytest.fail("a picture was decoded"))
    with pytest.raises(VideoError, match="pictures of 8000x8000 takes 1099 MiB, more than the 1024 MiB"):
        read_video(tmp_path / "bomb.gif", [0])


def test_a_small_file_whose_frames_take_too_much_is_refused_before_they_are_kept(tmp_path, monkeypatch):
    frames = [Image.new("L", (5000, 5000), shade) for shade in (0, 200)]
    frames[0].save(tmp_path / "bomb.apng", format="PNG", save_all=True, append_images=frames[1:], duration=40)
    assert (tmp_path / "bomb.apng").stat().st_size < 100_000
    monkeypatch.setattr("gta.video.file.to_rgb", lambda *_, **__: pytest.fail("a picture was converted"))
    with pytest.raises(VideoError, match=r"pictures of 5000x5000 takes 215 MiB and keeping 12 frames 858 MiB"):
        read_video(tmp_path / "bomb.apng", [0, 1] * 6)


def test_frames_that_are_kept_count(plain):
    with VideoFile(plain, memory_limit_bytes=1 << 20) as video:
        assert video.read(range(40), fit=lambda frame: frame[:, :8, :8]).shape == (40, 3, 8, 8)
        with pytest.raises(VideoError, match=r"keeping 1000 frames 9 MiB, more than the 1 MiB .* fewer frames"):
            video.read([1] * 1000)
        with pytest.raises(VideoError, match="keeping 1000 frames"):
            video.read([1] * 1000, fit=lambda frame: frame.clone())


# --- the boundary ----------------------------------------------------------------------------------------------------

FOREIGN = [IndexError("a"), AssertionError(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), ValueError("b\nc")]


@pytest.mark.parametrize("error", [*FOREIGN, KeyError("k"), struct.error("d"), MemoryError()], ids=repr)
@pytest.mark.parametrize("place", ["container.av.open", "scan.np.array", "decoding.np.sort", "file.to_rgb"])
def test_no_foreign_error_crosses_the_boundary(plain, monkeypatch, error, place):
    """The library functions and a few of our own, wherever a damaged file may lead."""

    def fail(*_args, **_options):
        raise error

    monkeypatch.setattr(f"gta.video.{place}", fail)
    with pytest.raises(VideoError, match=r"plain\.mp4: ") as caught:
        read_video(plain, [3])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", FOREIGN, ids=repr)
def test_an_error_of_the_caller_is_not_the_files(plain, error):
    def fit(frame):
        raise error

    with VideoFile(plain) as video, pytest.raises(type(error)):
        video.read([3], fit=fit)


def test_a_stream_that_begins_late(tmp_path):
    """One byte of a program table changed: PyAV cannot flush the stream that appears, after it has read everything."""
    path = Path(__file__).parent / "files" / "late_stream.ts"
    frames = []
    with av.open(str(path)) as container, pytest.raises(IndexError):
        frames.extend(container.decode(video=0))
    assert_frames(path, np.stack([frame.to_ndarray(format="rgb24") for frame in frames]))


def fails_over_seven(number: int) -> int:
    if number == 7:
        raise IndexError("list index\nout of range")
    if number == 100:
        raise DataError("ours")
    if number == 101:
        raise OSError(28, "No space left on device")
    return number * number


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_unexpected_error_costs_one_file(num_workers):
    results = dict(in_parallel(fails_over_seven, range(12), num_workers=num_workers))
    failure = Failure("reading it fails (IndexError: list index out of range)")
    assert results == {number: failure if number == 7 else number * number for number in range(12)}
    for number, kind in ((100, DataError), (101, OSError)):
        with pytest.raises(kind):
            list(in_parallel(fails_over_seven, [number], num_workers=num_workers))


# --- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "indices",
    [torch.tensor([3, 1, 3]), np.array([3, 1, 3]), [np.int32(3), torch.tensor(1), 3], iter([3, 1, 3])],
    ids=["tensor", "array", "mixed", "iterator"],
)
def test_indices_of_any_integer_kind(plain, tmp_path, indices):
    expected = decode_sequentially(plain)[[3, 1, 3]]
    indices = list(indices) if not isinstance(indices, torch.Tensor | np.ndarray) else indices
    assert np.array_equal(read_video(plain, indices).permute(0, 2, 3, 1).numpy(), expected)
    for number, picture in enumerate(pictures(5)):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    folder = read_video(tmp_path, indices).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(folder, np.stack(list(pictures(5)))[[3, 1, 3]])


def test_indices_that_are_no_integers(plain):
    with pytest.raises(TypeError):
        read_video(plain, [1.5])
    with pytest.raises(TypeError):
        read_video(plain, torch.tensor([1.0]))
