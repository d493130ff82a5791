"""Intervals and tests against published numbers and scipy."""

import numpy as np
import pytest
from scipy import stats

from helpers.results import intervals


@pytest.mark.parametrize(("correct", "total", "low", "high"), [
    (81, 263, 25.53, 36.62), (15, 148, 6.24, 16.05), (0, 20, 0.0, 16.11), (1, 29, 0.61, 17.18)])
def test_wilson_interval_of_published_examples(correct, total, low, high):
    """Newcombe (1998), Statistics in Medicine 17, table I, method 3."""
    assert intervals.wilson_interval(correct, total) == pytest.approx((low, high), abs=0.0051)


def test_t_interval_is_the_textbooks():
    values = [99.5, 99.6, 99.55, 99.65, 99.45]  # t(0.975, 4) = 2.776; s = 0.0790569
    assert intervals.half_width(values) == pytest.approx(0.0981605, abs=1e-5)
    assert np.isnan(intervals.half_width([1.0])) and intervals.half_width([2.0, 2.0]) == 0


def test_one_further_value_lies_in_the_prediction_interval():
    """95 times in 100, whatever the five values before it were."""
    draws = np.random.default_rng(0).normal(3, 2, (1000, 6))
    half = [intervals.prediction_half_width(row[:5]) for row in draws]
    hits = abs(draws[:, 5] - draws[:, :5].mean(axis=1)) <= half
    assert np.mean(hits) == pytest.approx(0.95, abs=0.02)


def test_mcnemar_is_the_sign_test():
    # Exact two-sided sign test: 1 of 10 has p = 2 * (1 + 10) / 2**10
    assert intervals.mcnemar_p(1, 9) == intervals.mcnemar_p(9, 1) == pytest.approx(22 / 1024)
    assert intervals.mcnemar_p(0, 0) == intervals.mcnemar_p(5, 5) == 1.0


def test_paired_test_is_scipys():
    a = np.array([5.0, 8, 3, 6])
    b = np.array([4.0, 5, 3, 1])
    assert intervals.paired_p(a - b) == pytest.approx(stats.ttest_rel(a, b).pvalue)
    # Differences without spread get the exact sign test
    assert intervals.paired_p([0, 0, 0]) == intervals.paired_p([0, 0], [1.0, 1.0]) == 1.0
    assert intervals.paired_p([2, 2]) == 0.5 and intervals.paired_p([-2] * 5) == 0.0625
    assert intervals.paired_p([9] * 5, [0.001, 0.004] * 2 + [0.002]) == 0.008, "twice 0.004"
    assert intervals.paired_p([9] * 5, [0.5] * 5) == 0.125


def test_holm_is_the_worked_example():
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, never falling: 0.02, 0.03, 0.06, 0.06
    assert intervals.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert intervals.holm([0.9, 0.8]) == [1.0, 1.0] and intervals.holm([]) == []
