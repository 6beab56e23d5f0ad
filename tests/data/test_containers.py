"""Every codec in every container that PyAV writes here: whatever is asked for, the frames of sequential decoding."""

import random
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest

from gta.errors import VideoError
from gta.video.file import VideoFile
from video_files import pictures

NUM_FRAMES = 9
# Encoders of graphics cards and other special hardware.
HARDWARE = ("_nvenc", "_qsv", "_amf", "_v4l2m2m", "_vaapi", "_mf", "_videotoolbox", "_vulkan", "_mediacodec")
# Names that write what another one of the list writes, or nothing that is one file of video.
LEFT_OUT = {
    *("vob", "vcd", "svcd", "dvd", "f4v", "ipod", "psp", "3g2", "avm2", "mxf_opatom", "rtp_mpegts", "asf_stream"),
    *("rawvideo", "image2pipe", "image2", "segment", "stream_segment,ssegment", "hls", "hds", "dash", "tee", "fifo"),
    *("smoothstreaming", "rtp", "rtsp", "sap", "whip", "fbdev", "alsa", "oss", "video4linux2,v4l2", "null"),
    *("webm_chunk", "webm_dash_manifest", "crc", "framecrc", "hash", "framehash", "streamhash", "md5", "framemd5"),
    *("uncodedframecrc", "ffmetadata", "mkvtimestamp_v2", "data", "bit"),
}
SIZES = {
    "h261": (176, 144),
    "h263": (176, 144),
    "dvvideo": (720, 576),
    "dnxhd": (256, 128),
    "roqvideo": (64, 64),
    "dxv": (64, 64),
    "xface": (48, 48),
    "a64multi": (320, 200),
    "a64multi5": (320, 200),
}
B_FRAMES = {"mpeg1video", "mpeg2video", "mpeg4", "libx264", "libx265"}
OPTIONS = {
    "libx264": {"preset": "fast", "bf": "2"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:bframes=2:keyint=4:min-keyint=2"},
    "libsvtav1": {"preset": "12"},
    "libvpx": {"cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "4"},
    "libvpx-vp9": {"cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "4"},
    "dnxhd": {"profile": "dnxhr_sq"},
}


def encoders() -> list[str]:
    found = []
    for name in sorted(av.codecs_available):
        if name.endswith(HARDWARE) or name in ("vnull", "wrapped_avframe"):
            continue
        try:
            codec = av.codec.Codec(name, "w")
        except av.codec.codec.UnknownCodecError:
            continue
        if codec.type == "video" and codec.name == name:
            found.append(name)
    return found


@cache
def muxers() -> list[str]:
    found = []
    for name in sorted(av.formats_available - LEFT_OUT):
        try:
            av.format.ContainerFormat(name, "w")
        except ValueError:
            continue
        found.append(name)
    return found


def write(path: Path, muxer: str, encoder: str) -> None:
    with av.open(str(path), "w", format=muxer) as container:
        stream = container.add_stream(encoder, rate=25, options={"strict": "-2", **OPTIONS.get(encoder, {})})
        width, height = SIZES.get(encoder, (64, 48))
        names = [pixel.name for pixel in stream.codec_context.codec.video_formats or ()]
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p" if "yuv420p" in names or not names else names[0]
        stream.codec_context.gop_size = 4
        if encoder in B_FRAMES:
            stream.codec_context.max_b_frames = 2
        num_frames = 4 if encoder == "dvvideo" else NUM_FRAMES  # its pictures are large
        for number, picture in enumerate(pictures(num_frames, height, width)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=stream.pix_fmt)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def can_be_written(path: Path, muxer: str, encoder: str) -> bool:
    try:
        write(path, muxer, encoder)
    except (av.error.FFmpegError, ValueError, TypeError, OverflowError):
        return False
    return True


def reference(path: Path) -> np.ndarray | None:
    """All frames as PyAV's plainest loop gives them, (T, H, W, 3); None where it cannot read what it wrote."""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.best("video")
            if stream is None or stream.codec_context is None:
                return None
            frames = []
            for frame in container.decode(stream):
                if frame.is_corrupt:  # a few combinations only look readable
                    return None
                frames.append(frame.to_ndarray(format="rgb24"))
    except av.error.FFmpegError:
        return None
    return np.stack(frames) if frames else None


def assert_equal(video: VideoFile, expected: np.ndarray, indices) -> None:
    assert np.array_equal(video.read(indices).permute(0, 2, 3, 1).numpy(), expected[list(indices)])


def assert_exact(path: Path, expected: np.ndarray) -> None:
    """All frames, each alone, and any 8, with and without an index."""
    count = len(expected)
    rng = random.Random(0)
    with VideoFile(path) as video:
        index = video.index
        assert video.num_frames == count
        assert_equal(video, expected, range(count))
        for number in rng.sample(range(count), count):
            assert_equal(video, expected, [number])
    with VideoFile(path, index=index) as video:
        assert_equal(video, expected, [rng.randrange(count) for _ in range(8)])
        for number in reversed(range(count)):
            assert_equal(video, expected, [number])
        assert_equal(video, expected, range(count))


@pytest.mark.parametrize("encoder", encoders())
def test_every_container_that_takes_the_codec(encoder, tmp_path):
    for muxer in muxers():
        path = tmp_path / f"{muxer}.bin"
        if not can_be_written(path, muxer, encoder):
            continue
        expected = reference(path)
        if expected is not None:
            assert_exact(path, expected)
        else:
            with pytest.raises(VideoError), VideoFile(path) as video:
                video.read(range(video.num_frames))
        path.unlink()


def test_the_list_is_not_empty():
    assert {"libx264", "libx265", "libvpx-vp9", "mpeg4", "mjpeg", "gif"} <= set(encoders())
    assert {"mp4", "matroska", "webm", "avi", "mpegts", "flv", "asf", "nut", "mov"} <= set(muxers())
