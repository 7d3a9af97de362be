import numpy as np
import pytest

from plastic_rl.envs.sampling import draw_distinct, draw_halves


@pytest.mark.parametrize(("limit", "count"), [(5, 5), (5, 1), (6, 3)])
def test_distinct_draws_are_distinct_and_uniform(limit, count):
    drawn = draw_distinct(np.random.default_rng(0), 20_000, limit, count)
    assert drawn.shape == (20_000, count)
    assert (np.diff(np.sort(drawn, axis=1), axis=1) > 0).all()
    for column in drawn.T:
        np.testing.assert_allclose(np.bincount(column, minlength=limit) / 20_000, 1 / limit, atol=0.015)


@pytest.mark.parametrize("size", [2, 7, 100])
def test_halves_are_exact_and_every_element_is_drawn_alike(size):
    halves = draw_halves(size, 4000, np.random.default_rng(0))
    assert (halves.sum(axis=1) == size // 2).all()
    np.testing.assert_allclose(halves.mean(axis=0), size // 2 / size, atol=0.05)
