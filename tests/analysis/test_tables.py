"""Tables: intervals of means over seeds."""

import numpy as np
import pytest

from plastic_rl.analysis.tables import bootstrap, markdown_table, with_interval


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


def test_markdown():
    assert markdown_table(["a", "b"], [(1, "x")]) == "| a | b |\n|---|---|\n| 1 | x |"
