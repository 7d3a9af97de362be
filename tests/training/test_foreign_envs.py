"""Environments of other packages: they train as they are, with no more than their own wrappers."""

import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.evaluation import evaluate_policy

import plastic_rl
from plastic_rl.training.a2c import PlasticA2C

SMALL: dict[str, Any] = {"n_steps": 16, "seed": 0, "device": "cpu", "policy_kwargs": {"hidden_size": 8}}


def minigrid_memory() -> gym.Env:
    wrappers = pytest.importorskip("minigrid.wrappers")
    return wrappers.ImgObsWrapper(gym.make("MiniGrid-MemoryS7-v0", max_steps=20))


def minigrid_memory_with_mission() -> gym.Env:
    wrappers = pytest.importorskip("minigrid.wrappers")
    return wrappers.FlatObsWrapper(gym.make("MiniGrid-MemoryS7-v0", max_steps=20))


def popgym_repeat() -> gym.Env:
    pytest.importorskip("popgym")
    return gym.make("popgym-RepeatPreviousEasy-v0")


def popgym_pendulum() -> gym.Env:
    pytest.importorskip("popgym")
    return gym.make("popgym-PositionOnlyPendulumEasy-v0", max_episode_steps=20)


def neurogym_delayed_match() -> gym.Env:
    neurogym = pytest.importorskip("neurogym")
    # Its tasks never end, and step while they are reset, which Gymnasium's checker cannot follow; their
    # metadata has none of the keys that Gymnasium asks for.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*doesn't include `render_modes`")
        env = gym.make("DelayMatchSample-v0", dt=100, max_episode_steps=40, disable_env_checker=True)
    return neurogym.wrappers.PassAction(env)


ENVIRONMENTS: list[tuple[Callable[[], gym.Env], str]] = [
    (minigrid_memory, "MlpPolicy"),
    (minigrid_memory_with_mission, "MlpPolicy"),
    (popgym_repeat, "MlpPolicy"),
    (popgym_pendulum, "MlpPolicy"),
    (neurogym_delayed_match, "MlpPolicy"),
]


@pytest.mark.parametrize(("make", "policy"), ENVIRONMENTS, ids=lambda item: getattr(item, "__name__", item))
def test_learns_predicts_and_comes_back(make: Callable[[], gym.Env], policy: str, tmp_path: Any) -> None:
    env = plastic_rl.make_vec_env(make, n_envs=2, seed=0)
    model = PlasticA2C(policy, env, **SMALL)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(128)
    after = model.policy.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    assert not after["core.w"].equal(before["core.w"])
    assert model.ep_info_buffer, "no episode ended"

    returns, lengths = evaluate_policy(model, env, n_eval_episodes=2, return_episode_rewards=True)
    assert np.isfinite(returns).all()
    assert max(lengths) <= 60

    model.save(tmp_path / "model")
    env.seed(5)
    obs = env.reset()
    loaded = PlasticA2C.load(tmp_path / "model", device="cpu")
    state = same = None
    for _ in range(3):
        actions, state = model.predict(obs, state, deterministic=True)
        again, same = loaded.predict(obs, same, deterministic=True)
        assert all(env.action_space.contains(action) for action in actions)
        np.testing.assert_array_equal(actions, again)
        np.testing.assert_array_equal(state.trace, same.trace)
        obs = env.step(actions)[0]
    assert np.abs(state.trace).max() > 0
    env.close()
