import dataclasses

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence

from plastic_rl.envs import PlasticMazeEnv, PlasticMazeVectorEnv, register_environments
from plastic_rl.envs.maze.rules import Maze, MazeOptions

register_environments()


class Script:
    """Stands in for a random generator: hands out the numbers it is given."""

    def __init__(self):
        self.numbers = []

    def random(self, count):
        return np.array([self.numbers.pop(0) for _ in range(count)])

    def choose(self, wanted, other_than=None, among=65):
        """Make the next draw pick the square numbered `wanted` from `among`, one of which may be left out."""
        if other_than is None:
            self.numbers.append((wanted + 0.5) / among)
        else:
            self.numbers.append((wanted - (wanted > other_than) + 0.5) / (among - 1))


def entry(infos, i):
    """The infos of maze i, as the single environment gives them."""
    assert infos["_goal"][i]
    assert infos["_position"][i]
    assert infos["_hits"][i]
    return {key: infos[key][i] for key in ("goal", "position", "hits")}


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"observe_previous_action": True, "observe_time": True, "time_scale": 7},
        {"size": 5, "start": "random", "goal_reward": 2.0, "wall_penalty": 0.3, "observe_time": True},
        {"size": 7, "observe_previous_action": True},
    ],
)
def test_every_trajectory_obeys_the_single_environments_rules(arguments):
    """Each maze is replayed by the single environment, with its random draws set to what happened."""
    num_envs, steps, length = 5, 700, 120
    number = {square: i for i, square in enumerate(Maze(MazeOptions(**arguments)).squares)}
    actions = np.random.default_rng(1).integers(4, size=(steps, num_envs))
    batch = gym.make_vec("PlasticMaze-v0", num_envs=num_envs, max_episode_steps=length, **arguments)
    first = batch.reset(seed=5)
    record = [batch.step(action) for action in actions]
    hits = 0

    for i in range(num_envs):
        env = gym.make("PlasticMaze-v0", max_episode_steps=length, **arguments)
        script = Script()
        env.unwrapped.np_random = script  # type: ignore[assignment]

        def reset(observation, infos, env=env, script=script, i=i):
            start, goal = number[infos["position"][i]], number[infos["goal"][i]]
            if arguments.get("start") == "random":
                script.choose(start, among=len(number))
            script.choose(goal, other_than=start, among=len(number))
            expected, info = env.reset()
            np.testing.assert_array_equal(observation[i], expected)
            assert entry(infos, i) == info

        reset(*first)
        total_hits = 0
        for action, (observations, rewards, terminated, truncated, infos) in zip(
            actions, record, strict=True
        ):
            own = infos["final_info"] if truncated[i] else infos
            if own["hits"][i] > total_hits:
                landing, goal = number[own["position"][i]], number[own["goal"][i]]
                script.choose(landing, other_than=goal, among=len(number))
                hits += 1
            observation, *expected, info = env.step(action[i])
            seen = infos["final_obs"][i] if truncated[i] else observations[i]
            np.testing.assert_array_equal(seen, observation)
            assert [rewards[i], terminated[i], truncated[i]] == expected
            assert entry(own, i) == info
            assert script.numbers == []
            total_hits = info["hits"]
            if truncated[i]:
                reset(observations, infos)
                total_hits = 0
    assert hits > 10


def test_reset_without_a_seed_goes_on():
    for again in (None, [None] * 16):
        envs = PlasticMazeVectorEnv(16)
        first = envs.reset(seed=0)[1]["goal"].tolist()
        second = envs.reset(seed=again)[1]["goal"].tolist()
        assert first != second
        envs.reset(seed=0)
        assert envs.reset(seed=again)[1]["goal"].tolist() == second


def test_masked_reset_leaves_the_others_alone():
    envs = PlasticMazeVectorEnv(3, size=5, max_episode_steps=50, observe_time=True)
    envs.reset(seed=0)
    for _ in range(10):
        before, *_, infos = envs.step([0, 1, 2])
    mask = np.array([True, False, True])
    options = {"reset_mask": mask}
    after, fresh = envs.reset(options=options)
    assert options == {"reset_mask": mask}
    np.testing.assert_array_equal(after[1], before[1])
    np.testing.assert_array_equal(after[mask, -2:], 0)
    assert fresh["_position"].tolist() == mask.tolist()
    assert fresh["position"].tolist() == [(3, 3), None, (3, 3)]
    infos = envs.step([0, 0, 0])[4]
    assert infos["_position"].all()
    ends = [envs.step([0, 0, 0])[3].tolist() for _ in range(49)]
    assert ends[38] == [False, True, False]
    assert ends[48] == [True, False, True]
    assert sum(map(sum, ends)) == 3


def test_make_vec_uses_the_batch_and_the_registered_limit():
    envs = gym.make_vec("PlasticMazePrevAction-v0", num_envs=2)
    assert type(envs) is PlasticMazeVectorEnv
    assert envs.spec.kwargs["vectorization_mode"] == "vector_entry_point"
    assert (envs.num_envs, envs.max_episode_steps) == (2, 250)
    assert envs.observation_space.shape == (2, 14)
    assert gym.make_vec("PlasticMaze-v0", max_episode_steps=10).max_episode_steps == 10
    envs.reset(seed=0)
    ends = [envs.step(envs.action_space.sample())[3].tolist() for _ in range(500)]
    assert [step for step, end in enumerate(ends) if end == [True, True]] == [249, 499]
    assert sum(map(sum, ends)) == 4
    envs.close()
    envs.close()
    assert envs.closed


def test_observations_lie_in_the_space():
    envs = PlasticMazeVectorEnv(8, observe_previous_action=True, observe_time=True, time_scale=1)
    observations, _ = envs.reset(seed=0)
    assert observations in envs.observation_space
    for actions in np.random.default_rng(0).integers(4, size=(300, 8)):
        assert envs.step(actions)[0] in envs.observation_space


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.uint64, list])
def test_actions_of_any_integer_type(kind):
    actions = [0, 1, 2, 3]
    envs, same = PlasticMazeVectorEnv(4), PlasticMazeVectorEnv(4)
    envs.reset(seed=0)
    same.reset(seed=0)
    given = kind(actions) if kind is list else np.array(actions, dtype=kind)
    assert data_equivalence(envs.step(given), same.step(np.array(actions)), exact=True)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(MazeOptions)])
def test_single_and_batched_environment_take_the_same_arguments(name):
    other = {"size": 5, "start": "random", "goal_reward": 3.0, "wall_penalty": 0.5, "time_scale": 40.0}
    arguments = {name: other.get(name, True)}
    single, batch = PlasticMazeEnv(**arguments), PlasticMazeVectorEnv(2, **arguments)
    assert single._maze.options == batch._maze.options == MazeOptions(**arguments) != MazeOptions()
    assert batch.single_observation_space == single.observation_space
    for maker in (PlasticMazeEnv, PlasticMazeVectorEnv):
        with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
            maker(colour=1)  # type: ignore[call-arg]
