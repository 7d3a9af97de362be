"""Eight pairs are bound within a lifetime, by a plastic network and not by a plain one."""

import pytest
import torch

import plastic_rl
from plastic_rl.training.evaluation import evaluate

STEPS = 200_000


def answered(model: plastic_rl.PlasticA2C) -> float:
    """Share of right answers in 128 fresh lifetimes, the most probable ones."""
    env = plastic_rl.make_vec_env("PlasticPairs-v0", 32, seed=5000, env_kwargs={"render_mode": None})
    return evaluate(model, env, 128, deterministic=True).mean / 8


@pytest.mark.parametrize("alpha", ["full", "none"])
def test_only_a_trace_binds_eight_pairs(alpha: str) -> None:
    env = plastic_rl.make_vec_env("PlasticPairs-v0", 32, seed=3, env_kwargs={"render_mode": None})
    given = plastic_rl.hyperparams("PlasticPairs-v0", overrides={"policy_kwargs": {"alpha": alpha}})
    model = plastic_rl.PlasticA2C(env=env, seed=3, device="cpu", **given)
    untrained = answered(model)
    with torch.random.fork_rng(devices=[]):
        model.learn(STEPS)
    trained = answered(model)
    # Chance is .25; who counts the answers without knowing to which cue they belong has .44.
    assert untrained < 0.4
    if alpha == "full":
        assert trained >= 0.9
    else:
        assert trained <= 0.5
