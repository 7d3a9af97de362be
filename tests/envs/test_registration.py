import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from plastic_rl.envs import ENVIRONMENTS, PlasticMazeEnv, PlasticMazeVectorEnv, register_environments

register_environments()


def test_every_id_is_registered_once_and_quietly():
    before = {env_id: gym.registry[env_id] for env_id in ENVIRONMENTS}
    register_environments()
    assert all(gym.registry[env_id] is spec for env_id, spec in before.items())
    assert set(ENVIRONMENTS) >= {"PlasticMaze-v0", "PlasticMazePrevAction-v0"}


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_every_id_makes_a_checked_environment_with_a_card(env_id, made_up):
    env = gym.make(env_id, **made_up.get(env_id, {}))
    check_env(env.unwrapped)
    for heading in ("Description", "Action Space", "Observation Space", "Rewards", "Starting State"):
        assert f"## {heading}" in type(env.unwrapped).__doc__
    for heading in ("Episode End", "Information", "Arguments", "Version History"):
        assert f"## {heading}" in type(env.unwrapped).__doc__


@pytest.mark.parametrize(("env_id", "length"), [("PlasticMaze-v0", 10), ("PlasticMazePrevAction-v0", 14)])
def test_maze_ids(env_id, length):
    spec = gym.spec(env_id)
    assert spec.max_episode_steps == 250
    single, batched = gym.make(env_id), gym.make_vec(env_id, num_envs=3)
    assert type(single.unwrapped) is PlasticMazeEnv
    assert type(batched) is PlasticMazeVectorEnv
    assert single.observation_space.shape == (length,)
    assert batched.single_observation_space == single.observation_space
    assert batched.single_action_space == single.action_space
    assert np.isfinite(single.observation_space.low).all()
    assert np.isfinite(single.observation_space.high).all()
