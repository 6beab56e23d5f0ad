"""Pictures: right sizes, right shapes refused, and really drawn."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from gta.viz.figures import png_bytes
from gta.viz.frames import frame_strip, image_png
from gta.viz.study import CostPoint, cost_figure, seed_curve_figure, sensitivity_figure


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


def test_frame_strip_reduces_large_frames():
    assert frame_strip(np.zeros((2, 1080, 1920, 3), np.uint8), gap_pixels=0, height_pixels=96).shape == (192, 682, 3)


def test_pictures_change_with_their_data():
    first, second = (
        _decode(png_bytes(sensitivity_figure("abc", ("x", "y"), values))) for values in (np.eye(3, 2), np.ones((3, 2)))
    )
    assert first.shape == second.shape
    assert (first != second).any()


def test_a_weak_model_s_sensitivities_are_told_apart():
    """The scale goes to the largest value: of a fixed one, all that a weak model does would have the same shade."""
    values = np.array([[0.01, 0.04], [0.02, 0.0]])
    axis = sensitivity_figure("ab", ("x", "y"), values).axes[0]
    assert axis.images[0].get_clim() == (0.0, pytest.approx(4.0))
    assert [text.get_text() for text in axis.texts] == ["1.0", "4.0", "2.0", "0.0"]


def test_cost_over_accuracy_has_every_row_in_its_legend_and_plain_numbers_on_its_axes():
    points = [CostPoint(f"row {n}", (0.5, 0.6), 0.03 + n * 1e-5, 100.0 * (1 + n), sees_order=n > 0) for n in range(10)]
    figure = cost_figure(points, ceiling=0.5625, title="Costs $1")
    assert figure.get_suptitle().splitlines()[0] == r"Costs \$1"
    assert len(figure.get_suptitle().splitlines()) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [point.label for point in points]
    flops, speed = figure.axes
    assert (flops.get_xscale(), speed.get_xscale()) == ("linear", "log")  # the costs differ little, the speeds tenfold
    figure.canvas.draw()
    shown = [text.get_text() for axis in (flops, speed) for text in axis.get_xticklabels()]
    assert shown
    assert not any("times" in text for text in shown)
    styles = {(line.get_color(), line.get_marker()) for line in flops.get_lines()[:10]}
    assert len(styles) == 10


def test_labels_of_a_wide_range_of_costs_do_not_overlap():
    points = [CostPoint(f"{n}", (0.5,), flops, None, sees_order=True) for n, flops in enumerate((0.011, 0.03, 0.095))]
    figure = cost_figure(points, ceiling=None, title="t")
    figure.canvas.draw()
    (axis,) = figure.axes
    low, high = axis.get_xlim()
    ticks = [
        (label.get_window_extent(), tick) for tick, label in zip(axis.get_xticks(), axis.get_xticklabels(), strict=True)
    ]
    shown = [extent for extent, tick in ticks if low <= tick <= high]
    assert len(shown) >= 4
    assert all(first.x1 < second.x0 for first, second in itertools.pairwise(shown))


def test_every_curve_of_a_large_study_has_its_own_look():
    curves = {f"row {n}": [[0.1, 0.2 + n / 100]] for n in range(26)}
    figure = seed_curve_figure(curves, ceiling=None, title="t", y_label="y")
    looks = [(line.get_color(), line.get_linestyle()) for line in figure.axes[0].get_lines()]
    assert len(set(looks)) == len(looks) == 26
