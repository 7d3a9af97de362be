"""Which of four cues brings the reward is found out within a lifetime, by a plastic network."""

import pytest

import plastic_rl
from plastic_rl.training.evaluation import evaluate


@pytest.mark.slow
def test_the_target_is_discovered() -> None:
    env_id = "PlasticTargetDiscovery-v0"
    env = plastic_rl.make_vec_env(env_id, 32, seed=3, env_kwargs={"render_mode": None})
    model = plastic_rl.PlasticPPO(env=env, seed=3, device="cpu", **plastic_rl.hyperparams(env_id))
    test = plastic_rl.make_vec_env(env_id, 32, seed=5000, env_kwargs={"render_mode": None})
    # Chance is 10 of 20, who infers as well as can be has 19.
    assert evaluate(model, test, 128, deterministic=True).mean < 12
    model.learn(600_000)
    assert evaluate(model, test, 128, deterministic=True).mean > 16
