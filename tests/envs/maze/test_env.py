import copy
import pickle
from collections import deque

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

from plastic_rl.envs import PlasticMazeEnv, register_environments
from plastic_rl.envs.maze.rules import CLOCK_LIMIT, Maze, MazeOptions

register_environments()

UP, RIGHT, DOWN, LEFT = range(4)
OPTIONS = [
    {},
    {"observe_previous_action": True},
    {"observe_time": True},
    {"observe_previous_action": True, "observe_time": True, "time_scale": 1000, "size": 5},
    {"size": 11, "start": "random", "wall_penalty": 0, "goal_reward": 1},
]
NINE = """
###########
#.........#
#.#.#.#.#.#
#.........#
#.#.#.#.#.#
#.........#
#.#.#.#.#.#
#.........#
#.#.#.#.#.#
#.........#
###########
"""
SEVEN = """
#########
#.......#
#.#.#.#.#
#.......#
#.#...#.#
#.......#
#.#.#.#.#
#.......#
#########
"""


def maze(**arguments) -> Maze:
    return Maze(MazeOptions(**arguments))


def env_with_goal(goal, **arguments):
    """An environment in a fresh episode whose goal is the given square."""
    env = PlasticMazeEnv(**arguments)
    for seed in range(2000):
        _, info = env.reset(seed=seed)
        if info["goal"] == goal:
            return env
    raise AssertionError(f"no seed gives the goal {goal}")


def distances(walls, goal):
    """Steps to the goal from every free square, by breadth-first search."""
    found, queue = {goal: 0}, deque([goal])
    while queue:
        row, column = queue.popleft()
        for nearby in ((row - 1, column), (row, column + 1), (row + 1, column), (row, column - 1)):
            if not walls[nearby] and nearby not in found:
                found[nearby] = found[row, column] + 1
                queue.append(nearby)
    return found


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("env_id", ["PlasticMaze-v0", "PlasticMazePrevAction-v0"])
def test_both_environment_checkers_pass(env_id, options):
    gymnasium_check(gym.make(env_id, **options).unwrapped)
    sb3_check(gym.make(env_id, render_mode="rgb_array", **options), skip_render_check=False)


@pytest.mark.parametrize(("size", "picture"), [(9, NINE), (7, SEVEN)])
def test_walls_are_where_they_are_drawn(size, picture):
    drawn = np.array([[character == "#" for character in line] for line in picture.split()])
    np.testing.assert_array_equal(maze(size=size).walls, drawn)


def test_counts_of_the_papers_maze():
    walls = maze().walls
    assert walls[1:-1, 1:-1].sum() == 16
    assert (~walls).sum() == len(maze().squares) == 65


@pytest.mark.parametrize("size", [5, 7, 9, 11, 13, 15, 21, 51])
def test_the_centre_is_free_and_every_free_square_can_be_reached(size):
    rules = maze(size=size)
    centre = (size // 2 + 1, size // 2 + 1)
    assert rules.squares[rules.centre] == centre
    assert rules.walls.shape == (size + 2, size + 2)
    assert set(distances(rules.walls, centre)) == set(rules.squares)
    freed = 1 if (size // 2) % 2 else 0
    assert rules.walls[1:-1, 1:-1].sum() == (size // 2) ** 2 - freed


def test_observations_at_known_squares():
    env = env_with_goal((9, 9), observe_previous_action=True, observe_time=True)
    seed = env.np_random_seed
    observation, info = env.reset(seed=seed)
    crossing, corridor = [1, 0, 1, 0, 0, 0, 1, 0, 1], [0, 0, 0, 1, 0, 1, 0, 0, 0]
    assert info == {"goal": (9, 9), "position": (5, 5), "hits": 0}
    np.testing.assert_array_equal(observation, [*crossing, 0, 0, 0, 0, 0, 0])

    observation, reward, *_, info = env.step(UP)
    assert (reward, info["position"]) == (0.0, (4, 5))
    np.testing.assert_array_equal(observation, np.float32([*corridor, 0, 1, 0, 0, 0, 1 / 250]))

    observation, reward, *_, info = env.step(LEFT)
    assert (reward, info["position"]) == (-0.1, (4, 5))
    np.testing.assert_array_equal(observation, np.float32([*corridor, -0.1, 0, 0, 0, 1, 2 / 250]))

    for action in (UP, UP, UP, LEFT, LEFT, LEFT, LEFT):
        observation, reward, *_, info = env.step(action)
    assert (reward, info["position"]) == (0.0, (1, 1))
    np.testing.assert_array_equal(
        observation, np.float32([1, 1, 1, 1, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 9 / 250])
    )
    for action in (DOWN, RIGHT):
        observation, reward, *_, info = env.step(action)
    assert (reward, info["position"]) == (-0.1, (2, 1))
    np.testing.assert_array_equal(
        observation, np.float32([1, 0, 0, 1, 0, 1, 1, 0, 0, -0.1, 0, 1, 0, 0, 11 / 250])
    )


def test_options_only_add_entries():
    plain = PlasticMazeEnv(wall_penalty=0.5)
    full = PlasticMazeEnv(wall_penalty=0.5, observe_previous_action=True, observe_time=True, time_scale=10)
    assert (plain.observation_space.shape, full.observation_space.shape) == ((10,), (15,))
    one, other = plain.reset(seed=1)[0], full.reset(seed=1)[0]
    for step, action in enumerate(np.random.default_rng(0).integers(4, size=300)):
        np.testing.assert_array_equal(one, other[:10])
        assert one in plain.observation_space
        assert other in full.observation_space
        assert other[-1] == np.float32(step / 10)
        one, other = plain.step(action)[0], full.step(action)[0]


def test_bounds_of_the_observation():
    space = PlasticMazeEnv(
        wall_penalty=0.5, goal_reward=3, observe_previous_action=True, observe_time=True, time_scale=100
    ).observation_space
    np.testing.assert_array_equal(space.low, np.float32([0] * 9 + [-0.5] + [0] * 5))
    np.testing.assert_array_equal(space.high, np.float32([1] * 9 + [3] + [1] * 4 + [100]))


def test_the_clock_stops_at_its_bound():
    env = PlasticMazeEnv(observe_time=True, time_scale=3)
    env.reset(seed=0)
    for _ in range(CLOCK_LIMIT + 5):
        observation = env.step(UP)[0]
    assert observation[-1] == env.observation_space.high[-1] == np.float32(CLOCK_LIMIT / 3)
    assert observation in env.observation_space


def test_a_hit_is_rewarded_and_moves_the_agent_at_once():
    env = env_with_goal((5, 6), goal_reward=7, observe_previous_action=True)
    env.reset(seed=env.np_random_seed)
    observation, reward, terminated, truncated, info = env.step(RIGHT)
    assert (reward, terminated, truncated) == (7.0, False, False)
    assert (info["goal"], info["hits"]) == ((5, 6), 1)
    row, column = info["position"]
    assert (row, column) != (5, 6)
    around = maze().walls[row - 1 : row + 2, column - 1 : column + 2]
    np.testing.assert_array_equal(observation, [*around.ravel(), 7, 0, 1, 0, 0])
    info = env.step(UP)[4]
    assert info["position"] in ((row, column), (row - 1, column))
    assert info["goal"] == (5, 6)
    assert env.reset()[1]["hits"] == 0


def test_types_of_what_step_returns():
    env = PlasticMazeEnv()
    env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(np.int64(2))
    assert observation.dtype == np.float32
    assert type(reward) is float
    assert terminated is False
    assert truncated is False
    assert set(info) == {"goal", "position", "hits"}
    assert [type(number) for number in (*info["goal"], *info["position"], info["hits"])] == [int] * 5


def test_returned_observations_are_the_callers_own():
    env = PlasticMazeEnv()
    first = env.reset(seed=0)[0]
    kept = first.copy()
    first[:] = 99
    np.testing.assert_array_equal(env.reset(seed=0)[0], kept)


def rollout(env, seed, steps=400):
    actions = np.random.default_rng(seed).integers(4, size=steps)
    trajectory = [env.reset(seed=seed)]
    for action in actions:
        trajectory.append(env.step(action))
    observations = np.array([entry[0] for entry in trajectory])
    return observations, [entry[1:] for entry in trajectory]


def test_seeds_decide_everything():
    arguments = {"size": 5, "start": "random", "observe_previous_action": True}
    observations, rest = rollout(PlasticMazeEnv(**arguments), seed=7)
    again, rest_again = rollout(PlasticMazeEnv(**arguments), seed=7)
    np.testing.assert_array_equal(observations, again)
    assert rest == rest_again
    assert rest[-1][-1]["hits"] > 3
    other = rollout(PlasticMazeEnv(**arguments), seed=8)[1]
    assert rest != other
    env = PlasticMazeEnv()
    assert len({env.reset(seed=None if episode else 7)[1]["goal"] for episode in range(20)}) > 10


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copies_go_on_alike(duplicate):
    env = gym.make("PlasticMaze-v0", size=5, render_mode="ansi")
    env.reset(seed=3)
    for _ in range(20):
        env.step(RIGHT)
    twin = duplicate(env)
    for action in np.random.default_rng(0).integers(4, size=200):
        one, other = env.step(action), twin.step(action)
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1:] == other[1:]
    assert env.render() == twin.render()
    assert one[4]["hits"] > 0


@pytest.mark.parametrize(("arguments", "length"), [({}, 250), ({"max_episode_steps": 7}, 7)])
def test_episodes_are_truncated_by_the_registered_limit(arguments, length):
    env = gym.make("PlasticMaze-v0", **arguments)
    env.reset(seed=0)
    ends = [env.step(UP)[2:4] for _ in range(length)]
    assert ends == [(False, False)] * (length - 1) + [(False, True)]


def chi_square(counts):
    return float(((counts - counts.mean()) ** 2 / counts.mean()).sum())


def test_goals_starts_and_landings_are_uniform():
    env = PlasticMazeEnv(start="random", size=5)
    squares = maze(size=5).squares
    goals, starts = dict.fromkeys(squares, 0), dict.fromkeys(squares, 0)
    landings = np.zeros(20)  # by the landing's place among the 20 squares that are not the goal
    env.reset(seed=0)
    for _ in range(8000):
        _, info = env.reset()
        assert info["goal"] != info["position"]
        goals[info["goal"]] += 1
        starts[info["position"]] += 1
        for action in (UP, RIGHT, DOWN, LEFT):
            *_, info = env.step(action)
            if info["hits"]:
                others = [square for square in squares if square != info["goal"]]
                landings[others.index(info["position"])] += 1
                break
    # A chi-square of k degrees of freedom has mean k and variance 2 k: five standard deviations.
    assert chi_square(np.array(list(goals.values()))) < 20 + 5 * np.sqrt(2 * 20)
    assert chi_square(np.array(list(starts.values()))) < 20 + 5 * np.sqrt(2 * 20)
    assert landings.sum() > 500
    assert chi_square(landings) < 19 + 5 * np.sqrt(2 * 19)

    env = PlasticMazeEnv()
    goals = dict.fromkeys(maze().squares, 0)
    env.reset(seed=0)
    for _ in range(6400):
        _, info = env.reset()
        assert info["position"] == (5, 5)
        goals[info["goal"]] += 1
    assert goals.pop((5, 5)) == 0
    assert chi_square(np.array(list(goals.values()))) < 63 + 5 * np.sqrt(2 * 63)
