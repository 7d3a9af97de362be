"""The same step as a program of ``torch.export``."""

import numpy as np
import torch
from stable_baselines3.common.env_util import make_vec_env

from plastic_rl import PlasticA2C
from plastic_rl.export import export_program


def test_the_program_acts_as_predict_after_a_file(tmp_path):
    env = make_vec_env("CartPole-v1", n_envs=2, seed=0)
    core = {"hidden_size": 7, "cell": "gru", "rule": "modulated", "alpha_init": 0.3}
    model = PlasticA2C("MlpPolicy", env, seed=0, device="cpu", policy_kwargs=core)
    torch.export.save(export_program(model), tmp_path / "agent.pt2")
    step = torch.export.load(tmp_path / "agent.pt2").module()
    observations = np.random.default_rng(0).normal(size=(200, 5, 4)).astype(np.float32)
    state, own = {"hidden": torch.zeros(5, 7), "trace": torch.zeros(5, 7, 7)}, None
    for t, observation in enumerate(observations):
        starts = np.arange(5) == t % 40
        actions, own = model.predict(observation, own, starts, deterministic=True)
        outputs = step(
            observation=torch.as_tensor(observation), episode_start=torch.as_tensor(starts), state=state
        )
        state = outputs["state"]
        assert (outputs["action"].numpy() == actions).all()
        np.testing.assert_allclose(state["trace"], own.trace, atol=1e-4)
    assert np.abs(own.trace).max() > 0.1
