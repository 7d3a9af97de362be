"""The main job learns, and what it learns lives in the trace."""

import numpy as np
import pytest

import plastic_rl
from plastic_rl.analysis.playback import play

ENV_ID = "PlasticMazePrevAction-v0"
EPISODES = 128


def without_trace(state):
    return state._replace(trace=np.zeros_like(state.trace))


def play_lifetimes(model, wipe, seed):
    """Returns of EPISODES lifetimes, acting as in training, and how much the trace decides.

    The second number is the share of probed steps, every tenth, at which wiping the trace changes the most
    probable action.
    """
    env = plastic_rl.make_vec_env(ENV_ID, n_envs=EPISODES, seed=seed, env_kwargs={"render_mode": None})
    model.set_random_seed(seed)
    env.seed(seed)
    total, changed = np.zeros(EPISODES), []

    def probe(t, obs, state):
        if state is not None and wipe:
            state.trace[:] = 0
        if t % 10 == 9:
            starts = np.zeros(EPISODES, dtype=bool)
            intact, _ = model.predict(obs, state, starts, deterministic=True)
            wiped, _ = model.predict(obs, without_trace(state), starts, deterministic=True)
            changed.append(np.mean(intact != wiped))

    for step in play(model, env, 250, before=probe):
        total += step.rewards
    assert step.starts.all()
    return total, np.mean(changed)


@pytest.mark.slow
@pytest.mark.long
def test_learns_the_maze_with_its_trace():
    env = plastic_rl.make_vec_env(ENV_ID, n_envs=32, seed=0, env_kwargs={"render_mode": None})
    model = plastic_rl.PlasticA2C(env=env, **plastic_rl.hyperparams(ENV_ID), seed=0)
    model.learn(2_000_000)
    training = np.mean([info["r"] for info in model.ep_info_buffer])
    assert len(model.ep_info_buffer) == 100
    assert training > 80

    seeds = (1000, 2000, 3000, 4000)
    intact, changed = zip(*(play_lifetimes(model, False, seed) for seed in seeds), strict=True)
    wiped, unchanged = zip(*(play_lifetimes(model, True, seed) for seed in seeds), strict=True)
    assert min(changed) > 0.01
    assert max(unchanged) == 0
    difference = np.mean(intact) - np.mean(wiped)
    error = np.sqrt((np.var(intact) + np.var(wiped)) / np.size(intact))
    print(f"training {training:.1f}, intact {np.mean(intact):.1f}, wiped {np.mean(wiped):.1f} +- {error:.1f}")
    assert difference > max(2 * error, 0.3 * np.mean(intact))
