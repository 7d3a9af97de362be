"""Tables: intervals of means over seeds."""

import numpy as np
import pytest

from plastic_rl.analysis.tables import bootstrap, difference, error_bars, markdown_table, with_interval


def test_a_bootstrap_of_a_difference_is_near_the_normal_interval():
    rng = np.random.default_rng(0)
    one, two = rng.normal(3, 1, size=50), rng.normal(0, 2, size=80)
    low, high = bootstrap([one, two], lambda a, b: a.mean() - b.mean())
    error = np.sqrt(one.var() / 50 + two.var() / 80)
    middle = one.mean() - two.mean()
    assert [low, high] == pytest.approx([middle - 1.96 * error, middle + 1.96 * error], abs=0.1)
    assert np.isnan(bootstrap([one[:1]], np.mean)).all()


def test_a_single_value_has_no_interval():
    assert with_interval([np.array([2.04])]) == "2.0"
    assert with_interval([np.array([1.0, 1.0])], form=".2f") == "1.00 [1.00, 1.00]"


def test_a_difference_is_that_of_the_first_mean_from_all_others():
    one, two, three = np.array([5.0, 7.0]), np.array([1.0, 2.0, 3.0]), np.array([0.5])
    assert difference(one) == 6.0
    assert difference(one, two) == 4.0
    assert difference(one, two, three) == 3.5


def test_error_bars_reach_to_the_ends_of_the_intervals():
    rng = np.random.default_rng(1)
    one, two = rng.normal(3, 1, size=5), rng.normal(0, 2, size=8)
    values, bars = error_bars([[one, two], [one]], difference)
    assert values == pytest.approx([difference(one, two), one.mean()])
    for value, bar, samples in zip(values, bars.T, ([one, two], [one]), strict=True):
        low, high = bootstrap(samples, difference)
        assert [value - bar[0], value + bar[1]] == pytest.approx([low, high])
    assert (error_bars([[one[:1]]])[1] == 0).all()


def test_markdown():
    assert markdown_table(["a", "b"], [(1, "x")]) == "| a | b |\n|---|---|\n| 1 | x |"
