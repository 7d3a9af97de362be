"""A model and its environment in another process go on to the bit: single environments, layers, refusals."""

import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import data_equivalence
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack, VecNormalize

from plastic_rl import GymnasiumVecEnv, PlasticA2C, PlasticPPO, make_vec_env
from plastic_rl.runs.plain_data import read_plain, write_plain
from plastic_rl.training.env_state import get_env_state, set_env_state
from plastic_rl.training.training_state import get_training_state, set_training_state

TASK = {"n_bits": 8, "n_patterns": 2, "show_steps": 2, "blank_steps": 1, "n_passes": 1, "probe_steps": 2}
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "maze": ("PlasticMaze-v0", {"max_episode_steps": 33}),
    "pairs": ("PlasticPairs-v0", {"n_pairs": 2}),
    "bandit": ("PlasticBandit-v0", {"n_pairs": 2}),
    "task": ("PlasticPatternMemory-v0", TASK),
}
SMALL = {"n_steps": 10, "policy_kwargs": {"hidden_size": 5}, "device": "cpu", "seed": 1}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("algorithm", [PlasticA2C, PlasticPPO])
def test_a_training_goes_on(form: str, single: bool, algorithm: type[PlasticA2C], tmp_path: Path) -> None:
    env_id, env_kwargs = FORMS[form]

    def env() -> VecEnv:
        return make_vec_env(env_id, 3, 1, env_kwargs=env_kwargs, vec_env_cls=DummyVecEnv if single else None)

    model = algorithm("MlpPolicy", env(), **SMALL).learn(150)
    model.save(tmp_path / "model")
    state = get_training_state(model)
    assert state is not None
    write_plain(tmp_path / "state", state)
    model.learn(150, reset_num_timesteps=False)
    expected = model.policy.state_dict()

    # What happens meanwhile is of no account.
    torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002
    again = algorithm.load(tmp_path / "model", env=env(), device="cpu")
    set_training_state(again, read_plain(tmp_path / "state"))
    again.learn(150, reset_num_timesteps=False)
    assert again.num_timesteps == model.num_timesteps
    for name, value in again.policy.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert data_equivalence(_returns(again), _returns(model), exact=True)


def _returns(model: PlasticA2C) -> list[float]:
    return [float(info["r"]) for info in model.ep_info_buffer][-3:]


@pytest.mark.parametrize("norm_obs", [True, False])
def test_normalized_environments_go_on(norm_obs: bool) -> None:
    def env() -> VecEnv:
        return VecNormalize(make_vec_env("PlasticMaze-v0", 3, 1), norm_obs=norm_obs)

    model = PlasticA2C("MlpPolicy", env(), **SMALL).learn(150)
    state, parameters = get_training_state(model), model.get_parameters()
    parameters = copy.deepcopy(parameters)
    model.learn(150, reset_num_timesteps=False)
    again = PlasticA2C("MlpPolicy", env(), **SMALL)
    again.set_parameters(parameters)
    again.num_timesteps = 150
    set_training_state(again, state)
    again.learn(150, reset_num_timesteps=False)
    for name, value in again.policy.state_dict().items():
        assert torch.equal(value, model.policy.state_dict()[name]), name
    one, other = model.get_vec_normalize_env(), again.get_vec_normalize_env()
    assert one.ret_rms.var == other.ret_rms.var != 1
    if norm_obs:
        assert np.array_equal(one.obs_rms.mean, other.obs_rms.mean)


def test_a_generator_of_python_or_numpy_goes_on(tmp_path: Path) -> None:
    model = PlasticA2C("MlpPolicy", make_vec_env("PlasticMaze-v0", 2, 0), **SMALL).learn(40)
    state = get_training_state(model)
    expected = random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002
    set_training_state(model, state)
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected  # noqa: NPY002


def test_a_state_is_a_copy() -> None:
    model = PlasticA2C("MlpPolicy", make_vec_env("PlasticMaze-v0", 2, 0), **SMALL).learn(40)
    one, other = get_training_state(model), get_training_state(model)
    model.learn(40)
    assert data_equivalence(one, other, exact=True)


class Slippery(gym.Wrapper):
    pass


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_vec_env("CartPole-v1", 2),
        lambda: VecFrameStack(make_vec_env("PlasticMaze-v0", 2), 3),
        lambda: DummyVecEnv([lambda: Slippery(gym.make("PlasticMaze-v0"))]),
        lambda: GymnasiumVecEnv(gym.make_vec("CartPole-v1", 2)),
    ],
)
def test_an_unknown_layer_has_no_state(make: Callable[[], VecEnv]) -> None:
    env = make()
    env.reset()
    assert get_env_state(env) is None
    model = PlasticA2C("MlpPolicy", env, **SMALL).learn(20)
    assert get_training_state(model) is None


def test_a_state_of_something_else_is_refused() -> None:
    maze, pairs = make_vec_env("PlasticMaze-v0", 2, 0), make_vec_env("PlasticPairs-v0", 2, 0)
    single = make_vec_env("PlasticMaze-v0", 2, 0, vec_env_cls=DummyVecEnv)
    for env in (maze, pairs, single):
        env.reset()
    others: list[Any] = [get_env_state(pairs), get_env_state(single), None, {}, {"layers": [], "envs": []}]
    for other in others:
        with pytest.raises(ValueError, match=r"fit|another environment"):
            set_env_state(maze, other)
    model = PlasticA2C("MlpPolicy", maze, **SMALL).learn(40)
    state: Any = get_training_state(model)
    changes: list[tuple[str, Any]] = [
        ("num_timesteps", 20),
        ("_state", (np.zeros((2, 7)),)),
        ("generators", {}),
        ("generators", {**state["generators"], "torch": np.zeros(3, np.uint8)}),
        ("env", None),
    ]
    for name, value in changes:
        with pytest.raises(ValueError, match="the training's state does not fit"):
            set_training_state(model, {**state, name: value})
    with pytest.raises(ValueError, match="the training's state does not fit"):
        set_training_state(model, None)
