"""Folders of numbered pictures: every kind of picture, numbering and orientation."""

import numpy as np
import pytest
from PIL import Image

from gta.datasets.layouts.common import holds_pictures
from gta.errors import VideoError
from gta.video.folder import FrameFolder
from gta.video.reading import probe_video, read_video
from video_files import pictures


@pytest.mark.parametrize(
    ("suffix", "options", "codec"),
    [
        (".bmp", {}, "bmp"),
        (".webp", {"lossless": True}, "webp"),
        (".tif", {}, "tiff"),
        (".TIFF", {"compression": "tiff_lzw"}, "tiff"),
        (".png", {}, "png"),
    ],
)
def test_lossless_pictures(tmp_path, suffix, options, codec):
    for number, picture in enumerate(pictures(4)):
        Image.fromarray(picture).save(tmp_path / f"img_{number}{suffix}", **options)
    assert holds_pictures(tmp_path)
    assert probe_video(tmp_path).codec == codec
    assert np.array_equal(read_video(tmp_path).permute(0, 2, 3, 1).numpy(), np.stack(list(pictures(4))))


def ramp(top: float) -> np.ndarray:
    return np.linspace(0, top, 48 * 64).reshape(48, 64)


@pytest.mark.parametrize(
    ("name", "values", "top"),
    [
        ("1.png", ramp(65535).astype(np.uint16), 65535),
        ("1.tif", ramp(65535).astype(np.uint16), 65535),
        ("1.tif", ramp(65535).astype(np.int32), 65535),
        ("1.tif", ramp(2**31 - 1).astype(np.int32), 2**31 - 1),
        ("1.tif", ramp(1).astype(np.float32), 1),
        ("1.tif", ramp(255).astype(np.float32), 255),
        ("1.tif", ramp(65535).astype(np.float32), 65535),
        ("1.png", ramp(2000).astype(np.uint16), 65535),  # a dark picture stays dark
    ],
)
def test_grey_of_more_than_8_bits_is_scaled_by_its_range(tmp_path, name, values, top):
    Image.fromarray(values).save(tmp_path / name)
    frame = read_video(tmp_path)[0].numpy()
    assert np.array_equal(frame, np.broadcast_to(np.floor(values.astype(float) * 255 / top + 0.5), frame.shape))


def test_big_endian_grey(tmp_path):
    values = ramp(65535).astype(">u2")
    Image.frombytes("I;16B", (64, 48), values.tobytes()).save(tmp_path / "1.tif")
    frame = read_video(tmp_path)[0].numpy()
    assert np.abs(frame - values.astype(float) / 257).max() <= 0.51


@pytest.mark.parametrize("values", [[[np.nan]], [[np.inf]], [[1e30]]])
def test_numbers_that_are_no_shades(tmp_path, values):
    Image.fromarray(np.array(values, np.float32)).save(tmp_path / "1.tif")
    with pytest.raises(VideoError, match=r"1\.tif is damaged \(it (contains NaN or infinite|holds) values"):
        read_video(tmp_path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_that_a_camera_notes_is_honoured(tmp_path, suffix, orientation):
    """The upright picture has one bright quarter; the stored one is what the camera's note turns into it."""
    upright = np.full((48, 64, 3), 20, np.uint8)
    upright[:24, :32] = 230
    # What undoes the turn of each value (EXIF 2.3, tag 0x0112), on the array.
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(undo(upright))).save(tmp_path / f"1{suffix}", exif=exif)
    frame = read_video(tmp_path)[0].permute(1, 2, 0).numpy()
    assert frame.shape == upright.shape
    assert np.abs(frame.astype(int) - upright).mean() < 3


@pytest.mark.parametrize("numbers", [[0, 5, 10, 15], [3, 6, 9], [7], [10, 20], [1, 2, 3]])
def test_numbers_may_go_up_in_steps(tmp_path, numbers):
    for number in numbers:
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    assert read_video(tmp_path)[:, 0, 0, 0].tolist() == numbers


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ([0, 5, 15, 20], r"image number 10 is missing \(4 of 0..20 in steps of 5\)"),
        ([0, 5, 12], r"image number 10 is missing \(3 of 0..12 in steps of 5\)"),
        ([1, 2, 4], r"image number 3 is missing \(3 of 1..4\)"),
        ([1, 3, 4], r"image number 2 is missing \(3 of 1..4\)"),
    ],
)
def test_gaps_are_still_named(tmp_path, numbers, reason):
    for number in numbers:
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    with pytest.raises(VideoError, match=reason):
        FrameFolder(tmp_path)


def test_hidden_files_are_passed_over(tmp_path):
    for number in range(12):
        (tmp_path / f"._{number:05d}.jpg").write_bytes(b"\0\5\x16\7 not a picture")
        (tmp_path / f".{number:05d}.jpg").write_bytes(b"")
    assert not holds_pictures(tmp_path)
    with pytest.raises(VideoError, match="no numbered images"):
        FrameFolder(tmp_path)
    for number in range(3):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number:05d}.png")
    assert holds_pictures(tmp_path)
    assert read_video(tmp_path)[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_a_folder_of_huge_pictures_is_refused(tmp_path):
    for number in range(3):
        Image.new("1", (9000, 9000)).save(tmp_path / f"{number}.png")
    with pytest.raises(VideoError, match=r"pictures of 9000x9000 takes .* more than the 1024 MiB"):
        read_video(tmp_path)
    with pytest.raises(VideoError, match="keeping 30 frames"):
        FrameFolder(tmp_path, memory_limit_bytes=2 << 30).read([0] * 30)


@pytest.mark.parametrize("error", [IndexError("a"), KeyError("b"), AssertionError(), OverflowError("c\nd")], ids=repr)
def test_no_foreign_error_leaves_a_folder(tmp_path, monkeypatch, error):
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")

    def fail(*_):
        raise error

    monkeypatch.setattr("gta.video.still.Image.open", fail)
    with pytest.raises(VideoError, match=r"1\.png is damaged") as caught:
        read_video(tmp_path)
    assert "\n" not in str(caught.value)
