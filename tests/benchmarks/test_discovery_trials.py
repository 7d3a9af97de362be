"""Target discovery trial by trial: who infers exactly, and a figure of agents that do not."""

from pathlib import Path

import numpy as np
import pytest

import plastic_rl
from benchmarks.science import discovery_trials
from plastic_rl.analysis.lifetime import Lifetimes


def test_exact_inference_ends_with_all_answers_right() -> None:
    shares = discovery_trials.optimal_by_trial()
    assert shares.sum() == pytest.approx(plastic_rl.envs.reference_levels(discovery_trials.ENV_ID)["optimal"])
    assert shares[0] == 0.5
    assert shares[-1] > 0.999
    assert (np.diff(shares) > -1e-12).all()


def test_answers_are_counted_in_the_trial_they_belong_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = plastic_rl.make_vec_env(discovery_trials.ENV_ID, 2, env_kwargs={"render_mode": None})
    model = plastic_rl.PlasticPPO("MlpPolicy", env, n_steps=8, device="cpu", policy_kwargs={"hidden_size": 8})
    shares = discovery_trials.right_by_trial(model, seed=0, episodes=64)
    assert shares.shape == (20,)
    assert shares.mean() == pytest.approx(0.5, abs=0.1)

    # Lifetimes in which the third trial alone was answered rightly.
    rewards = np.zeros((20, 6, 4))
    rewards[2, 4] = 1
    lives = Lifetimes(rewards=rewards.reshape(120, 4))
    monkeypatch.setattr(discovery_trials, "record_lifetimes", lambda *_, **__: lives)
    assert discovery_trials.right_by_trial(model, seed=0, episodes=4).tolist() == np.eye(20)[2].tolist()

    discovery_trials.draw(tmp_path / "trials.png", {"untrained": shares[None]})
    assert (tmp_path / "trials.png").stat().st_size > 10_000
