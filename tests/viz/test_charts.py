"""Charts and shaded matrices: their ticks, gaps and shades say what the numbers say."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gta.viz.charts import Series, bars, confusion_table, legend, line_chart, shaded_table, ticks


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 8))
def test_ticks_are_evenly_spaced_and_cover_the_range(low, span, count):
    values = ticks(low, low + span, count)
    tolerance = 1e-6 * max(abs(low), span)
    assert values[0] <= low + tolerance
    assert values[-1] >= low + span - tolerance
    assert len(values) <= 2 * count + 2
    np.testing.assert_allclose(np.diff(values), (values[-1] - values[0]) / (len(values) - 1), rtol=1e-4, atol=tolerance)


@given(st.integers(2, 5000))
def test_epochs_have_whole_ticks_within_the_run(epochs):
    values = ticks(1, epochs, 6, whole=True)
    assert all(value == int(value) and 1 <= value <= epochs for value in values)
    assert 1 <= len(values) <= 8


def test_a_flat_line_has_a_scale():
    assert ticks(0, 0)[0] == 0
    assert ticks(3, 3) == sorted(set(ticks(3, 3)))


@pytest.mark.parametrize("epochs", [1, 2, 3, 14])
def test_epoch_labels_of_a_chart_are_whole_numbers(epochs):
    chart = line_chart([Series("a", [0.5] * epochs)], x_label="epoch", y_label="loss")
    below = re.findall(r'text-anchor="middle">([^<]+)</text>', chart)
    assert below[-1] == "epoch"
    assert [int(label) for label in below[:-1]]
    assert chart.count("<circle") == epochs


def test_a_gap_in_the_values_is_a_gap_in_the_line():
    chart = line_chart([Series("a", [1.0, None, float("nan"), 2.0, 3.0])], x_label="epoch", y_label="loss")
    (path,) = re.findall(r'class="line"[^>]* d="([^"]+)"', chart)
    assert [part[0] for part in path.split() if part[0] in "ML"] == ["M", "M", "L"]
    assert "NaN" not in chart
    assert "nan" not in chart


def test_lines_of_the_same_colour_differ_in_their_dashes():
    names = [f"row {number}" for number in range(16)]
    series = [Series(name, [0.1 * number, 0.2]) for number, name in enumerate(names)]
    drawn = re.findall(r'class="(line[^"]*)" style="stroke:([^"]+)"', line_chart(series, x_label="epoch", y_label="%"))
    assert len(set(drawn)) == 16
    shown = re.findall(r'class="key([^"]*)" style="--colour:([^"]+)"', legend(names))
    assert [("line" + dash, colour) for dash, colour in shown] == drawn


def test_nothing_measured_gives_an_empty_chart():
    assert "<circle" not in line_chart([Series("a", [None])], x_label="epoch", y_label="loss")
    assert "<svg" in line_chart([], x_label="epoch", y_label="loss")


def test_names_are_escaped_everywhere():
    evil = "<b>\"'&"
    page = line_chart([Series(evil, [1.0])], x_label=evil, y_label=evil) + legend([evil], limit=evil)
    page += bars({evil: 1.0}) + shaded_table([[1.0]], rows=[evil], columns=[evil], texts=[[evil]], corner=evil)
    assert "<b>" not in page
    assert 'b>"' not in page


def test_shades_go_up_to_the_largest_value_and_tell_signs_apart():
    page = shaded_table([[0.01, -0.04]], rows=["a"], columns=["x", "y"], texts=[["1", "-4"]])
    assert re.findall(r'<td( class="[^"]*")? style="--s:([\d.]+)"', page) == [
        ("", "0.250"),
        (' class="neg deep"', "1.000"),
    ]
    fixed = shaded_table([[0.01, -0.04]], rows=["a"], columns=["x", "y"], texts=[["1", "-4"]], strongest=1.0)
    assert "--s:0.010" in fixed


def test_confusions_are_shaded_by_the_share_of_their_row():
    page = confusion_table([[1, 3], [0, 2]], ["a", "b"])
    assert re.findall(r"--s:([\d.]+)\">([^<]*)<", page) == [
        ("0.250", "1"),
        ("0.750", "3"),
        ("0.000", ""),
        ("1.000", "2"),
    ]


def test_sizes_that_disagree_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 2\).*3 classes"):
        confusion_table(np.zeros((2, 2)), list("abc"))
    with pytest.raises(ValueError, match="1 rows and 3 columns"):
        shaded_table([[1.0, 2.0]], rows=["a"], columns=list("xyz"), texts=[["1", "2"]])


def test_a_bar_without_a_value_is_empty():
    page = bars({"a": None, "b": 2.0, "c": 1.0})
    assert re.findall(r"width:([\d.]+)%", page) == ["0.00", "100.00", "50.00"]
