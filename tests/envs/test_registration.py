import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from plastic_rl.envs import (
    ENVIRONMENTS,
    PlasticMazeEnv,
    PlasticMazeVectorEnv,
    evaluates_sampled,
    reference_levels,
    register_environments,
    register_levels,
    registration,
)

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
    card = type(env.unwrapped).__doc__
    assert card is not None
    for heading in ("Description", "Action Space", "Observation Space", "Rewards", "Starting State"):
        assert f"## {heading}" in card
    for heading in ("Episode End", "Information", "Arguments", "Version History"):
        assert f"## {heading}" in card


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


@pytest.fixture
def own_id(monkeypatch):
    """An id of one's own, forgotten afterwards."""
    monkeypatch.setattr(gym.envs.registration, "registry", dict(gym.registry))
    monkeypatch.setattr(gym, "registry", gym.envs.registration.registry)
    monkeypatch.setattr(registration, "_EVALUATION", dict(registration._EVALUATION))
    gym.register("Own-v0", PlasticMazeEnv, kwargs={"size": 5})
    return "Own-v0"


def test_environments_of_ones_own_have_levels_too(own_id):
    assert reference_levels(own_id) == {}
    assert not evaluates_sampled(own_id)
    register_levels(f"module:{own_id}", {"chance": 0.25, "perfect": 1}, sampled_evaluation=True)
    for name in (own_id, f"module:{own_id}"):
        assert reference_levels(name) == {"chance": 0.25, "perfect": 1}
        assert evaluates_sampled(name)
    assert reference_levels(own_id, {"render_mode": "ansi"}) == {"chance": 0.25, "perfect": 1}
    assert reference_levels(own_id, {"size": 7}) == {}, "a mapping is about the environment as registered"
    reference_levels(own_id)["chance"] = 0
    assert reference_levels(own_id)["chance"] == 0.25


def test_levels_may_be_a_function_of_the_arguments(own_id):
    register_levels(own_id, lambda arguments: {"squares": arguments["size"] ** 2})
    assert reference_levels(own_id) == {"squares": 25}
    assert reference_levels(own_id, {"size": 7}) == {"squares": 49}
    register_levels(own_id, lambda arguments: {"size": float("nan")})
    with pytest.raises(ValueError, match=r"levels of Own-v0 must be finite numbers by name, got .*nan"):
        reference_levels(own_id)
    for bad in ({"chance": "low"}, {1: 2.0}, [0.5], {"chance": float("inf")}):
        with pytest.raises(ValueError, match="levels of Own-v0 must be finite numbers by name"):
            register_levels(own_id, bad)
    with pytest.raises(ValueError, match="sampled_evaluation must be true or false"):
        register_levels(own_id, {}, sampled_evaluation=1)


def test_mazes_are_scored_with_sampled_actions():
    sampled = {env_id for env_id in ENVIRONMENTS if evaluates_sampled(env_id)}
    assert sampled >= {"PlasticMaze-v0", "PlasticMazePrevAction-v0"}
    assert not evaluates_sampled("PlasticOmniglot-v0")
    assert not evaluates_sampled("CartPole-v1")
