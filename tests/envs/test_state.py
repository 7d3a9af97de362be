"""The state of environments: another one that takes it over goes on as the first one does."""

import copy
from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence

from plastic_rl.envs import (
    ENVIRONMENTS,
    EpisodicTaskEnv,
    EpisodicTaskVectorEnv,
    PairsTask,
    PlasticMazeEnv,
    PlasticMazeVectorEnv,
    PlasticPairsVectorEnv,
    register_environments,
)

register_environments()

TASK = {"n_bits": 8, "n_patterns": 2, "show_steps": 2, "blank_steps": 1, "n_passes": 1, "probe_steps": 2}
FORMS = [
    ("PlasticMaze-v0", {"size": 5, "max_episode_steps": 9, "observe_time": True, "start": "random"}),
    ("PlasticMazePrevAction-v0", {"size": 5, "max_episode_steps": 9}),
    ("PlasticPairs-v0", {"n_pairs": (1, 3), "n_changes": 1}),
    ("PlasticTargetDiscovery-v0", {"n_trials": 2}),
    ("PlasticBandit-v0", {"n_pairs": 3, "n_rounds": 2}),
    ("PlasticPatternMemory-v0", TASK),
]
every_form = pytest.mark.parametrize(("env_id", "arguments"), FORMS, ids=[env_id for env_id, _ in FORMS])


def play(env, steps: int, seed: int, single: bool) -> list:
    """What so many steps return, and what is drawn at their end."""
    rng = np.random.default_rng(seed)
    space = env.action_space
    seen = []
    action: np.ndarray | int
    for _ in range(steps):
        if isinstance(space, gym.spaces.Box):
            action = rng.uniform(-1, 1, space.shape).astype(space.dtype)
        else:
            action = int(rng.integers(space.n)) if single else rng.integers(space.nvec)
        seen.append(env.step(action))
        if single and (seen[-1][2] or seen[-1][3]):
            seen.append(env.reset())
    return [*seen, env.render_mode and env.render()]


@every_form
@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("steps", [0, 7, 13, 18])
def test_another_environment_goes_on(env_id, arguments, render_mode, single, steps):
    def make():
        if single:
            return gym.make(env_id, render_mode=render_mode, **arguments).unwrapped
        return gym.make_vec(env_id, num_envs=5, render_mode=render_mode, **arguments)

    one, other = make(), make()
    one.reset(seed=1)
    other.reset(seed=2)
    play(one, steps, 0, single)
    play(other, 4, 1, single)
    state = one.get_state()
    kept = copy.deepcopy(state)
    other.set_state(state)
    expected = play(one, 40, 2, single)
    assert data_equivalence(play(other, 40, 2, single), expected, exact=True)
    # What was got and given is nobody's own.
    assert data_equivalence(state, kept, exact=True)
    # The first one can be set back.
    one.set_state(state)
    assert data_equivalence(play(one, 40, 2, single), expected, exact=True)


@every_form
@pytest.mark.parametrize("single", [True, False])
def test_nothing_that_changes_is_left_out(env_id, arguments, single):
    arguments = {**arguments, "render_mode": "rgb_array"}
    env = gym.make(env_id, **arguments) if single else gym.make_vec(env_id, num_envs=5, **arguments)
    env = env.unwrapped
    env.reset(seed=1)
    before = copy.deepcopy(vars(env))
    play(env, 25, 2, single)
    named = {name for base in type(env).__mro__ for name in vars(base).get("state_attributes", ())}
    changed = {
        name
        for name, value in vars(env).items()
        if name in before and not data_equivalence(_flat(value), _flat(before[name]), exact=True)
    }
    assert changed
    # The generators' states are part of the state, the places of the goals follow from it.
    assert changed - named <= {"_np_random", "_store_rng", "_goal_place"}


def _flat(value):
    """What can be compared of an attribute."""
    if isinstance(value, np.random.Generator):
        return str(value.bit_generator.state)
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [_flat(part) for part in value]
    if isinstance(value, list | tuple):
        return [_flat(part) for part in value]
    if hasattr(value, "__dict__") and not isinstance(value, gym.Space):
        return {name: _flat(part) for name, part in vars(value).items()}
    return value


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_every_registered_environment_says_what_its_state_is(env_id):
    spec = gym.spec(env_id)
    for path in (spec.entry_point, spec.vector_entry_point):
        assert "state_attributes" in vars(gym.envs.registration.load_env_creator(path))


def test_tasks_of_ones_own_have_a_state():
    for env, single in ((EpisodicTaskEnv(PairsTask()), True), (EpisodicTaskVectorEnv(PairsTask(), 3), False)):
        env.reset(seed=0)
        state = env.get_state()
        expected = play(env, 30, 0, single)
        env.set_state(state)
        assert data_equivalence(play(env, 30, 0, single), expected, exact=True)


def test_whoever_changes_the_rules_says_so():
    class Drift(PlasticMazeEnv):
        pass

    class Wind(PlasticMazeEnv):
        state_attributes: ClassVar = ("wind",)
        wind = 3

    with pytest.raises(NotImplementedError, match="Drift does not say in state_attributes"):
        Drift().get_state()
    env = Wind()
    env.reset(seed=0)
    assert env.get_state()["wind"] == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_goal": np.zeros(2, np.intp)}, r"_goal must be int64 of shape \(3,\), got int64 of shape \(2,\)"),
        ({"_goal": np.zeros(3)}, "_goal must be int64 of shape"),
        ({"_clock": "many"}, "_clock must be a int, got 'many'"),
        ({"_trails": [{}]}, "_trails must have 3 entries"),
        ({"np_random": {}}, "np_random"),
        ({"np_random": {"bit_generator": "MT19937"}}, "np_random"),
        ({"more": 1}, "does not fit a PlasticMazeVectorEnv"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(change, message):
    env = PlasticMazeVectorEnv(3, render_mode="ansi")
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.set_state({**env.get_state(), **change})


def test_a_state_of_another_kind_is_refused():
    maze, pairs = PlasticMazeVectorEnv(3), PlasticPairsVectorEnv(3)
    maze.reset(seed=0)
    pairs.reset(seed=0)
    with pytest.raises(ValueError, match="does not fit a PlasticMazeVectorEnv"):
        maze.set_state(pairs.get_state())
