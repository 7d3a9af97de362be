"""The main job learns, and what it learns lives in the trace."""

import numpy as np
import pytest

import plastic_rl
from plastic_rl.ops.plastic_rnn import PlasticState

ENV_ID = "PlasticMazePrevAction-v0"
EPISODES = 64


def play(model, wipe):
    """Returns of EPISODES lifetimes of fixed seeds, and the most probable action at every step."""
    env = plastic_rl.make_vec_env(ENV_ID, n_envs=EPISODES, seed=1000, env_kwargs={"render_mode": None})
    model.set_random_seed(0)
    env.seed(1000)
    obs, state, starts = env.reset(), None, np.ones(EPISODES, dtype=bool)
    total = np.zeros(EPISODES)
    changed = 0
    for _ in range(250):
        intact, _ = model.predict(obs, state, starts, deterministic=True)
        if wipe and state is not None:
            state = PlasticState(state.hidden, np.zeros_like(state.trace))
        probable, _ = model.predict(obs, state, starts, deterministic=True)
        changed += (intact != probable).sum()
        actions, state = model.predict(obs, state, starts)
        obs, rewards, starts, _ = env.step(actions)
        total += rewards
    assert starts.all()
    return total, changed


@pytest.mark.slow
def test_learns_the_maze_with_its_trace():
    env = plastic_rl.make_vec_env(ENV_ID, n_envs=16, seed=0, env_kwargs={"render_mode": None})
    model = plastic_rl.PlasticA2C(env=env, **plastic_rl.hyperparams(ENV_ID), seed=0)
    model.learn(3_000_000)
    training = np.mean([info["r"] for info in model.ep_info_buffer])
    assert len(model.ep_info_buffer) == 100
    assert training > 20

    intact, unchanged = play(model, wipe=False)
    wiped, changed = play(model, wipe=True)
    assert unchanged == 0
    assert changed > 0.05 * 250 * EPISODES
    # Five standard errors of the difference of the means.
    error = np.sqrt((intact.var() + wiped.var()) / EPISODES)
    assert intact.mean() - wiped.mean() > 5 * error
