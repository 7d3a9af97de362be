"""Scores and their intervals."""

import numpy as np
import pytest

from plastic_rl.training.a2c import PlasticA2C
from plastic_rl.training.evaluation import evaluate, mean_interval
from plastic_rl.training.vec_env import make_vec_env


@pytest.fixture(scope="module")
def model() -> PlasticA2C:
    return PlasticA2C("MlpPolicy", "PlasticMaze-v0", seed=0, device="cpu", policy_kwargs={"hidden_size": 6})


def test_interval_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(1).normal(size=400)
    error = values.std(ddof=1) / np.sqrt(len(values))
    for level, quantile in ((0.95, 1.960), (0.5, 0.674)):
        low, high = mean_interval(values, level)
        assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.2 * error)
        assert high - low == pytest.approx(2 * quantile * error, rel=0.07)


def test_interval_covers_the_mean_of_skewed_values() -> None:
    rng = np.random.default_rng(1)
    intervals = [mean_interval(rng.exponential(size=60)) for _ in range(200)]
    assert 0.88 <= np.mean([low <= 1.0 <= high for low, high in intervals]) <= 0.98


def test_interval_of_one_value_is_unknown() -> None:
    assert np.isnan(mean_interval([3.0])).all()
    with pytest.raises(ValueError, match="level"):
        mean_interval([1.0, 2.0], level=1.0)


def test_evaluate_reports_whole_episodes(model: PlasticA2C) -> None:
    env = make_vec_env("PlasticMaze-v0", 2, seed=0, env_kwargs={"max_episode_steps": 30})
    result = evaluate(model, env, episodes=5)
    assert result.returns.shape == (5,)
    assert result.mean == pytest.approx(result.returns.mean())
    assert result.std == pytest.approx(result.returns.std(ddof=1))
    assert result.interval == mean_interval(result.returns)
    with pytest.raises(ValueError, match="episodes"):
        evaluate(model, env, episodes=0)
    env.close()
