"""Pictures: right sizes, right shapes refused, and really drawn."""

import io

import numpy as np
import pytest
from PIL import Image

from gta.viz.figures import (
    confusion_figure,
    curve_figure,
    data_uri,
    frame_strip,
    image_png,
    mixing_figure,
    png_bytes,
)


def _decode(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_frame_strip_picks_evenly_and_lays_side_by_side():
    frames = np.arange(16, dtype=np.uint8)[:, None, None, None] * np.ones((1, 10, 12, 3), np.uint8)
    strip = frame_strip(frames, count=4, gap_pixels=2, height_pixels=10)
    assert strip.shape == (10, 4 * 12 + 3 * 2, 3)
    assert [int(strip[0, i * 14, 0]) for i in range(4)] == [0, 5, 10, 15]
    assert (strip[:, 12:14] == 255).all()


def test_frame_strip_enlarges_small_frames_by_a_whole_factor_and_takes_short_videos():
    frames = np.zeros((2, 30, 40, 3), np.uint8)
    assert frame_strip(frames, count=8, gap_pixels=0, height_pixels=96).shape == (120, 320, 3)


def test_image_png_round_trips():
    image = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    assert (_decode(image_png(image)) == image).all()
    assert data_uri(b"abc") == "data:image/png;base64,YWJj"


def test_confusion_figure_refuses_other_sizes():
    with pytest.raises(ValueError, match=r"\(2, 2\).*3 classes"):
        confusion_figure(np.zeros((2, 2)), ["a", "b", "c"], "x")


def test_mixing_figure_refuses_other_shapes():
    with pytest.raises(ValueError, match="expected"):
        mixing_figure(np.zeros((2, 2, 4, 5)), "x")


def test_pictures_change_with_their_data():
    first = _decode(png_bytes(confusion_figure(np.eye(3), list("abc"), "x")))
    second = _decode(png_bytes(confusion_figure(np.ones((3, 3)), list("abc"), "x")))
    assert first.shape == second.shape
    assert (first != second).any()
    assert _decode(png_bytes(mixing_figure(np.random.default_rng(0).normal(size=(2, 2, 4, 4)), "x"))).std() > 0
    curves = {"2D": {"loss": [1.0, float("nan"), 0.5]}, "GTA": {"loss": [1.0, 0.5], "top1": [0.5, 0.9]}}
    assert _decode(png_bytes(curve_figure(curves, {"loss": "loss", "top1": "top-1"}, "epoch"))).std() > 0
