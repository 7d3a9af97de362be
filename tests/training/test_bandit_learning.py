"""Answers that nobody tells are found by trial and kept, if the core runs twice for each observation."""

import pytest
import torch

import plastic_rl
from plastic_rl.training.evaluation import evaluate

CUES = {"n_pairs": 4, "cues": "drawn", "render_mode": None}
# Four cues, six rounds.
QUESTIONS = 24


def answered(model: plastic_rl.PlasticA2C) -> float:
    """Share of right answers in 256 fresh lifetimes, the most probable ones."""
    env = plastic_rl.make_vec_env("PlasticBandit-v0", 32, seed=5000, env_kwargs=CUES)
    return evaluate(model, env, 256, deterministic=True).mean / QUESTIONS


@pytest.mark.slow
@pytest.mark.parametrize("core_steps", [1, 2])
def test_two_core_steps_solve_a_bandit_whose_cues_are_new_in_every_lifetime(core_steps: int) -> None:
    env = plastic_rl.make_vec_env("PlasticBandit-v0", 32, seed=3, env_kwargs=CUES)
    overrides = {"policy_kwargs": {"core_steps": core_steps}}
    model = plastic_rl.PlasticA2C(
        env=env, seed=3, device="cpu", **plastic_rl.hyperparams("PlasticBandit-v0", overrides=overrides)
    )
    untrained = answered(model)
    with torch.random.fork_rng(devices=[]):
        model.learn(600_000)
    trained = answered(model)
    # Chance is .25, the best possible .75.
    assert untrained < 0.35
    if core_steps == 2:
        assert trained >= 0.68
    else:
        assert trained <= 0.5
