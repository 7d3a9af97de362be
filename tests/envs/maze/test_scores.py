from collections import deque

import gymnasium as gym
import numpy as np
import pytest

from plastic_rl.envs import PlasticMazeVectorEnv, reference_levels, register_environments
from plastic_rl.envs.maze.rules import Maze, MazeOptions

register_environments()

RULES = Maze(MazeOptions())


def test_random_walkers_earn_nothing():
    """The reference: mean -0.06, standard deviation of one episode 10.7."""
    envs = PlasticMazeVectorEnv(500)
    envs.reset(seed=0)
    rng = np.random.default_rng(1)
    returns = np.concatenate(
        [sum(envs.step(rng.integers(4, size=500))[1] for _ in range(250)) for _ in range(8)]
    )
    assert -5 < returns.mean() < 5
    assert abs(returns.mean() + 0.06) < 5 * 10.7 / np.sqrt(len(returns))
    assert 9.5 < returns.std() < 12


def test_the_oracle_scores_what_it_should():
    env = gym.make("PlasticMaze-v0")
    best = best_actions(RULES.walls, RULES.squares)
    returns = []
    for episode in range(100):
        _, info = env.reset(seed=episode)
        total, truncated = 0.0, False
        while not truncated:
            _, reward, _, truncated, info = env.step(best[info["goal"], info["position"]])
            total += float(reward)
        returns.append(total)
        assert total == 10 * info["hits"]
    assert np.mean(returns) > 395
    assert abs(np.mean(returns) - 407) < 5 * np.std(returns) / np.sqrt(len(returns))


def test_the_oracle_scores_the_same_in_a_batch():
    envs = PlasticMazeVectorEnv(400)
    best = best_actions(RULES.walls, RULES.squares)
    _, infos = envs.reset(seed=0)
    returns = np.zeros(400)
    for _ in range(250):
        actions = [best[pair] for pair in zip(infos["goal"], infos["position"], strict=True)]
        _, rewards, _, truncated, infos = envs.step(actions)
        returns += rewards
    assert truncated.all()
    np.testing.assert_array_equal(returns, 10.0 * infos["final_info"]["hits"])
    assert returns.mean() > 395
    assert abs(returns.mean() - 407) < 5 * returns.std() / np.sqrt(400)


def best_actions(walls, squares):
    """For each goal and square, an action on a shortest path, by breadth-first search from the goal."""
    moves = [(-1, 0), (0, 1), (1, 0), (0, -1)]
    best = {}
    for goal in squares:
        queue, seen = deque([goal]), {goal}
        while queue:
            row, column = queue.popleft()
            for action, (down, right) in enumerate(moves):
                origin = (row - down, column - right)
                if not walls[origin] and origin not in seen:
                    best[goal, origin] = action
                    seen.add(origin)
                    queue.append(origin)
    return best


@pytest.mark.parametrize("env_id", ["PlasticMaze-v0", "plastic_rl:PlasticMazePrevAction-v0"])
def test_reference_levels_of_the_default_maze(env_id):
    levels = {
        "random": 0,
        "paper non-plastic": 55,
        "paper plastic": 150,
        "bayes-optimal": 293,
        "oracle": 407,
    }
    assert reference_levels(env_id) == levels
    same = {"size": 9, "wall_penalty": 0.1, "max_episode_steps": 250, "observe_time": True, "time_scale": 9}
    assert reference_levels(env_id, same) == levels
    reference_levels(env_id)["oracle"] = 0
    assert reference_levels(env_id, {}) == levels


@pytest.mark.parametrize(
    ("env_id", "arguments"),
    [
        ("CartPole-v1", {}),
        ("PlasticMaze-v1", None),
        ("PlasticMaze-v0", {"size": 11}),
        ("PlasticMaze-v0", {"start": "random"}),
        ("PlasticMaze-v0", {"goal_reward": 1.0}),
        ("PlasticMaze-v0", {"wall_penalty": 0}),
        ("PlasticMaze-v0", {"max_episode_steps": 100}),
        ("PlasticMaze-v0", {"unknown": 1}),
    ],
)
def test_no_reference_levels_for_other_tasks(env_id, arguments):
    assert reference_levels(env_id, arguments) == {}
