"""What `BatchedEnv` does for a family, on one that is written here: counters of different lengths."""

from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from plastic_rl.envs.batched import BatchedEnv

SPACE = spaces.Dict({"count": spaces.Box(0, 99, (1,), np.float32), "length": spaces.Discrete(9)})


class Counters(BatchedEnv):
    """Counts up to a length, drawn from 2 to 5 or handed in by `lengths`; the reward is the action."""

    def __init__(self, num_envs=1, action_space=None, lengths=(), **arguments):
        super().__init__(num_envs, SPACE, action_space or spaces.Discrete(3, start=1), **arguments)
        self.lengths = list(lengths)
        self.length = np.zeros(num_envs, np.int64)

    def _begin(self, which):
        drawn = self.np_random.integers(2, 6, size=len(which))
        self.length[which] = [self.lengths.pop(0) for _ in which] if self.lengths else drawn

    def _advance(self, actions):
        self.last = actions.astype(float).reshape(self.num_envs, -1)[:, 0]
        return self.last.copy(), self._elapsed() == self.length

    def _observe(self):
        return {"count": self._elapsed()[:, None].astype(np.float32), "length": self.length.copy()}

    def _inform(self):
        odd = self._elapsed() % 2 == 1
        return {"elapsed": self._elapsed(), "odd": np.full(self.num_envs, "odd", object), "_odd": odd}


class Counter(gym.Env):
    """The single form, which gets its lengths from a list."""

    observation_space, action_space = SPACE, spaces.Discrete(3, start=1)

    def __init__(self, lengths):
        self.lengths = list(lengths)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.length = 0, self.lengths.pop(0)
        return self.observe(), self.inform()

    def step(self, action):
        self.steps += 1
        return self.observe(), float(action), self.steps == self.length, False, self.inform()

    def observe(self):
        return {"count": np.array([self.steps], np.float32), "length": np.int64(self.length)}

    def inform(self):
        return {"elapsed": self.steps} | ({"odd": "odd"} if self.steps % 2 else {})


LENGTHS = [[3, 4, 2, 5, 3, 3, 3, 3], [2, 5, 5, 4, 2, 3, 3, 3], [5, 2, 2, 4, 3, 3, 3, 3]]


class Ordered(Counters):
    """Takes each environment's lengths from its own list, in the order of its episodes."""

    def _begin(self, which):
        for i in which:
            self.length[i] = self.lengths[i].pop(0)


@pytest.mark.parametrize("limit", [None, 4])
def test_it_behaves_as_gymnasiums_vector_environment(limit):
    """Terminations at different steps, a time limit, masked resets and infos that only some have."""

    def single(i):
        env = Counter(LENGTHS[i])
        return env if limit is None else gym.wrappers.TimeLimit(env, limit)

    model = SyncVectorEnv([partial(single, i) for i in range(3)], autoreset_mode=AutoresetMode.SAME_STEP)
    batch = Ordered(3, lengths=[list(one) for one in LENGTHS], max_episode_steps=limit)
    for name in ("observation_space", "action_space", "single_observation_space", "single_action_space"):
        assert getattr(batch, name) == getattr(model, name)

    def same(ours, theirs):
        assert data_equivalence(list(ours), list(theirs), exact=True)

    same(batch.reset(seed=0), model.reset(seed=0))
    ends = np.zeros((2, 3), int)
    for step, actions in enumerate(np.random.default_rng(0).integers(1, 4, size=(14, 3))):
        if step == 5:
            mask = np.array([False, True, True])
            same(*(envs.reset(options={"reset_mask": mask.copy()}) for envs in (batch, model)))
        ours, theirs = batch.step(actions), model.step(actions)
        same(ours, theirs)
        ends += np.array(ours[2:4])
    assert (ends[0] >= 2).all()
    assert (ends[1] >= 1).any() == (limit is not None)


def test_infos_that_nobody_has_are_left_out():
    batch = Counters(2, lengths=[4, 4])
    assert set(batch.reset(seed=0)[1]) == {"elapsed", "_elapsed"}
    assert set(batch.step([1, 1])[4]) == {"elapsed", "_elapsed", "odd", "_odd"}


def test_one_generator_serves_the_batch():
    lengths = [Counters(40).reset(seed=seed)[0]["length"].tolist() for seed in (0, 0, 1, [0] * 40)]
    assert lengths[0] == lengths[1] != lengths[2]
    assert lengths[3] != lengths[0]


def test_arguments_are_checked_for_every_family():
    for arguments, message in [
        ({"num_envs": 0}, "num_envs must be an integer of at least 1, got 0"),
        ({"max_episode_steps": 0}, "max_episode_steps must be an integer of at least 1, got 0"),
        ({"render_mode": "rgb_array"}, r"render_mode must be None or one of \[\], got 'rgb_array'"),
    ]:
        with pytest.raises(ValueError, match=message):
            Counters(**arguments)
    batch = Counters(2)
    with pytest.raises(ResetNeeded, match="before calling reset"):
        batch.step([1, 1])
    with pytest.raises(ResetNeeded, match="must reset every environment"):
        batch.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(TypeError, match="abstract"):
        BatchedEnv(1, SPACE, spaces.Discrete(2))  # type: ignore[abstract]


BOX = spaces.Box(-1, 1, (2,), np.float32)


@pytest.mark.parametrize(
    ("space", "actions", "message"),
    [
        (None, [0, 1], r"actions must be from 1 to 3, got \[0 1\]"),
        (None, [1, 4], r"actions must be from 1 to 3, got \[1 4\]"),
        (None, [1.0, 2.0], "actions must be 2 integers"),
        (None, [1], r"actions must be 2 integers, got shape \(1,\)"),
        (BOX, [[0, 0]], r"finite numbers of shape \(2, 2\), got shape \(1, 2\)"),
        (BOX, [[0, np.nan], [0, 0]], "finite numbers"),
        (spaces.MultiDiscrete([2, 3]), [[0, 3], [0, 0]], "actions must be 2 of MultiDiscrete"),
        (spaces.MultiDiscrete([2, 3]), [[0, 2]], "actions must be 2 of MultiDiscrete"),
    ],
)
def test_invalid_actions_are_refused(space, actions, message):
    batch = Counters(2, space)
    batch.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        batch.step(actions)


@pytest.mark.parametrize(
    ("space", "actions", "first"),
    [
        (None, np.array([3, 1], np.uint8), [3, 1]),
        (BOX, [[5, 0], [-3, 0]], [1, -1]),
        (spaces.MultiDiscrete([2, 3]), [[1, 2], [0, 0]], [1, 0]),
        (spaces.MultiBinary(2), np.array([[0, 1], [1, 1]], np.int8), [0, 1]),
    ],
)
def test_actions_reach_the_family(space, actions, first):
    batch = Counters(2, space)
    batch.reset(seed=0)
    assert batch.step(actions)[1].tolist() == first
