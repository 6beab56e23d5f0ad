"""Means, deviations and intervals, against the standard library and a table of Student's t."""

import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gta.evaluation.statistics import paired_gap, proportion_error, ranks, summarise, t_quantile

values = st.lists(st.floats(0, 1, allow_nan=False), min_size=2, max_size=12)


@settings(deadline=None, max_examples=50)
@given(values)
def test_summary_is_mean_and_sample_deviation(numbers):
    summary = summarise(numbers)
    assert summary.mean == pytest.approx(statistics.fmean(numbers), abs=1e-12)
    assert summary.deviation == pytest.approx(statistics.stdev(numbers), abs=1e-9)
    assert summary.count == len(numbers)


def test_few_values():
    assert summarise([]) is None
    one = summarise([0.4])
    assert (one.mean, one.deviation, one.half_width) == (0.4, None, None)


def test_half_width_of_three_runs():
    # t of 2 degrees of freedom at 95 % is 4.303: wide, as three runs deserve.
    assert summarise([0.1, 0.2, 0.3]).half_width == pytest.approx(4.303 * 0.1 / math.sqrt(3))


@pytest.mark.parametrize(("degrees", "quantile"), [(1, 12.706), (2, 4.303), (30, 2.042), (40, 2.021), (120, 1.980)])
def test_t_quantile(degrees, quantile):
    assert t_quantile(degrees) == pytest.approx(quantile, abs=1e-3)


def test_t_needs_a_degree_of_freedom():
    with pytest.raises(ValueError, match="0 degrees"):
        t_quantile(0)


def test_paired_gap_uses_shared_seeds_only():
    gap = paired_gap({0: 0.5, 1: 0.7, 5: 0.0}, {0: 0.4, 1: 0.4, 2: 1.0})
    assert gap.mean == pytest.approx(0.2)
    assert gap.deviation == pytest.approx(statistics.stdev([0.1, 0.3]))
    assert paired_gap({0: 1.0}, {1: 1.0}) is None


def test_proportion_error():
    assert proportion_error(0.5, 100) == pytest.approx(0.05)
    with pytest.raises(ValueError, match="0 videos"):
        proportion_error(0.5, 0)


def test_equal_means_share_a_rank():
    assert ranks({"a": 0.5, "b": 0.9, "c": 0.5}) == {"b": 1, "a": 2, "c": 2}
