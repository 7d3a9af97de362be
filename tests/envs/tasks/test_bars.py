"""The picture of tasks that have none of their own."""

from itertools import pairwise

import numpy as np
import pytest
from gymnasium import spaces

from plastic_rl.envs import Episodes, EpisodicTaskEnv
from plastic_rl.envs.tasks.bars import draw_bars
from plastic_rl.envs.tasks.render import EMPTY, ERASED, NOW, RIGHT


class ShapeTask:
    """Random elements of any spaces."""

    def __init__(self, observation_space, action_space, episode_length=3):
        self.observation_space, self.action_space = observation_space, action_space
        self.episode_length = episode_length

    def sample_episodes(self, batch, rng):
        for space in (self.observation_space, self.action_space):
            space.seed(int(rng.integers(1000)))
        observations = [
            [self.observation_space.sample() for _ in range(batch)] for _ in range(self.episode_length)
        ]
        targets = np.array([self.action_space.sample() for _ in range(batch)])
        if not isinstance(self.observation_space, spaces.Dict):
            return Episodes(np.array(observations), targets)
        parts = {
            key: np.array([[one[key] for one in row] for row in observations]) for key in observations[0][0]
        }
        return Episodes(parts, targets)

    def score(self, episodes, actions):
        return np.zeros(len(episodes.targets))


def rows_and_columns(picture, colour):
    return [axis.tolist() for axis in np.nonzero((picture == colour).all(axis=-1))]


SPACES = [
    (spaces.Box(-1, 1, (1,)), spaces.Box(-3, 3, (1,))),
    (spaces.Discrete(5), spaces.Discrete(3)),
    (spaces.Box(0, 255, (30, 20), np.uint8), spaces.Box(-np.inf, np.inf, (150,))),
    (spaces.Dict(a=spaces.Box(0, 1, (70,)), b=spaces.MultiBinary(4)), spaces.Box(-1, 1, ())),
    (spaces.MultiDiscrete([2, 3]), spaces.Discrete(200)),
]


@pytest.mark.parametrize(("observation_space", "action_space"), SPACES)
@pytest.mark.parametrize("length", [1, 3])
def test_every_space_gives_pictures_of_one_size_that_change(observation_space, action_space, length):
    env = EpisodicTaskEnv(ShapeTask(observation_space, action_space, length), render_mode="rgb_array")
    _, info = env.reset(seed=0)
    pictures = [env.render()]
    for _ in range(length):
        env.step(info["target"])
        pictures.append(env.render())
    assert {(picture.shape, picture.dtype) for picture in pictures} == {
        (pictures[0].shape, np.dtype(np.uint8))
    }
    assert pictures[0].shape[2] == 3
    assert [side % 16 for side in pictures[0].shape[:2]] == [0, 0]
    assert all((one != other).any() for one, other in pairwise(pictures))


def test_bars_are_as_long_as_their_values():
    task = ShapeTask(spaces.Box(-1, 1, (2,)), spaces.Box(-2, 2, (2,)), 1)
    observations = np.array([[0.25, -0.5]], np.float32)
    heights = {}
    for name, colour in (("observation", NOW), ("answer", ERASED), ("target", RIGHT)):
        picture = draw_bars(task, observations, np.array([1.0, -2.0]), np.array([-2.0, 0.5]))
        rows, columns = (np.array(axis) for axis in rows_and_columns(picture, colour))
        left = columns < picture.shape[1] / 2
        heights[name] = [len(set(rows[side])) for side in (left, ~left)]
        assert (rows[left].mean() < rows[~left].mean()) == (name != "target"), "the positive bar is above"
    full = heights["answer"][1]
    assert full > 30
    for name, shares in (("observation", [0.25, 0.5]), ("answer", [0.5, 1]), ("target", [1, 0.25])):
        np.testing.assert_allclose(heights[name], np.array(shares) * full, atol=2)


def test_an_open_answer_is_empty_and_a_class_has_its_place():
    task = ShapeTask(spaces.Box(-1, 1, (200,)), spaces.Discrete(4), 1)
    observations = np.zeros((1, 200), np.float32)
    opened, answered = (draw_bars(task, observations, action, 2) for action in (None, 0))
    assert len(rows_and_columns(opened, EMPTY)[0]) >= 480 * 80
    assert rows_and_columns(answered, EMPTY) == [[], []]
    middle = opened.shape[1] / 2
    assert min(rows_and_columns(answered, RIGHT)[1]) > middle > max(rows_and_columns(answered, ERASED)[1])
