"""The batched forms of the wrappers against the single ones, on the same episodes."""

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import plastic_rl
from plastic_rl.envs import (
    BatchedEnv,
    BatchedLifetime,
    BatchedPreviousActionReward,
    Lifetime,
    PlasticMazeVectorEnv,
    PreviousActionReward,
)

NUMBER = 3
# Inner episodes' lengths; what is seen and earned follows from them, the step and the action.
LENGTHS = [[3, 4, 2, 1, 1, 2, 3, 4] * 4, [2, 5, 1, 4, 2, 3] * 5, [5, 2, 2, 4, 3] * 6]
OBSERVATIONS = {
    "box": spaces.Box(1, 90, (2,), np.float64),
    "discrete": spaces.Discrete(9, start=1),
    "multidiscrete": spaces.MultiDiscrete([9, 9]),
    "multibinary": spaces.MultiBinary(2),
    "image": spaces.Box(0, 255, (2, 2, 1), np.uint8),
    "dict": spaces.Dict(length=spaces.Discrete(9), steps=spaces.Box(0, 90, (1,), np.float32)),
}
ACTIONS = {
    "discrete": spaces.Discrete(3, start=1),
    "multidiscrete": spaces.MultiDiscrete([2, 3]),
    "multibinary": spaces.MultiBinary(2),
    "box": spaces.Box(-2, 2, (2,), np.float32),
}


def seen(name, steps, length):
    """Observations (B, ...) after so many steps of episodes of these lengths, (B,)."""
    if name == "box":
        return np.stack([length, 1 + steps], axis=1).astype(np.float64)
    if name == "discrete":
        return length
    if name == "multidiscrete":
        return np.stack([length, steps], axis=1)
    if name == "multibinary":
        return np.stack([length % 2, steps % 2], axis=1).astype(np.int8)
    if name == "image":
        return np.broadcast_to((10 * length + steps)[:, None, None, None], (len(steps), 2, 2, 1)).astype(
            np.uint8
        )
    return {"length": length, "steps": steps[:, None].astype(np.float32)}


class Many(BatchedEnv):
    """Episodes of given lengths; the last step earns the action's first entry, times the bonus."""

    def __init__(self, observation="box", action="discrete", limit=None):
        super().__init__(NUMBER, OBSERVATIONS[observation], ACTIONS[action], max_episode_steps=limit)
        self.name, self.lengths = observation, [list(one) for one in LENGTHS]
        self.length, self.bonus = np.ones(NUMBER, np.int64), np.ones(NUMBER, np.int64)

    def _begin(self, which):
        self.length[which] = [self.lengths[i].pop(0) for i in which]

    def _advance(self, actions):
        first = actions.reshape(NUMBER, -1)[:, 0].astype(float)
        return first * self.bonus * 8, self._elapsed() == self.length

    def _observe(self):
        return seen(self.name, self._elapsed(), self.length.copy())

    def _inform(self):
        odd = self._elapsed() % 2 == 1
        return {"steps": self._elapsed(), "odd": self.length.copy(), "_odd": odd, "bonus": self.bonus.copy()}


class One(gym.Env):
    """Row i of `Many`."""

    def __init__(self, i, observation, action):
        self.observation_space, self.action_space = OBSERVATIONS[observation], ACTIONS[action]
        self.name, self.lengths, self.bonus = observation, list(LENGTHS[i]), 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.length = 0, self.lengths.pop(0)
        return self.observe(), self.inform()

    def step(self, action):
        self.steps += 1
        reward = float(np.ravel(action)[0]) * self.bonus * 8
        return self.observe(), reward, self.steps == self.length, False, self.inform()

    def observe(self):
        batch = seen(self.name, np.array([self.steps]), np.array([self.length]))
        return {key: part[0] for key, part in batch.items()} if isinstance(batch, dict) else batch[0]

    def inform(self):
        return {"steps": self.steps, "bonus": self.bonus} | ({"odd": self.length} if self.steps % 2 else {})


def compare(assert_same, batch, model, steps=22, mask_at=9):
    """Play both with the same actions and, once, a reset of some; return the terminations and truncations."""
    for name in ("single_observation_space", "observation_space", "action_space"):
        assert getattr(batch, name) == getattr(model, name)
    batch.action_space.seed(0)
    ends, mask = np.zeros(2, int), np.array([False, True, True])

    def both(what, where):
        results = [what(envs) for envs in (batch, model)]
        for ours, theirs in zip(*results, strict=True):
            assert_same(ours, theirs, where)
        return results[0]

    both(lambda envs: envs.reset(seed=0), "first reset")
    for step in range(steps):
        if step == mask_at:
            both(lambda envs: envs.reset(options={"reset_mask": mask.copy()}), "masked reset")
        actions = batch.action_space.sample()
        _, _, *ended, _ = both(lambda envs: envs.step(actions), f"step {step}")  # noqa: B023
        ends += np.sum(ended, axis=1)
    return ends.tolist()


def model_of(make):
    return SyncVectorEnv([partial(make, i) for i in range(NUMBER)], autoreset_mode=AutoresetMode.SAME_STEP)


@pytest.mark.parametrize("observe_previous", [False, True])
@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_previous_action_reward_on_every_observation(assert_same, observation, observe_previous):
    arguments: dict[str, Any] = {"reward_range": (-9, 9), "observe_previous": observe_previous}
    compare(
        assert_same,
        BatchedPreviousActionReward(Many(observation, limit=4), **arguments),
        model_of(
            lambda i: PreviousActionReward(
                gym.wrappers.TimeLimit(One(i, observation, "discrete"), 4), **arguments
            )
        ),
    )


@pytest.mark.parametrize("observe_done", [False, True])
@pytest.mark.parametrize("action", ACTIONS)
def test_previous_action_reward_on_every_action(assert_same, action, observe_done):
    compare(
        assert_same,
        BatchedPreviousActionReward(Many(action=action), observe_done=observe_done),
        model_of(lambda i: PreviousActionReward(One(i, "box", action), observe_done=observe_done)),
    )


@pytest.mark.parametrize("observation", ["box", "dict"])
@pytest.mark.parametrize(("limit", "max_steps"), [(None, None), (None, 6), (3, None), (3, 5)])
def test_lifetimes(assert_same, limit, max_steps, observation):
    def single(i):
        env = One(i, observation, "discrete")
        return Lifetime(env if limit is None else gym.wrappers.TimeLimit(env, limit), 2, max_steps)

    terminations, truncations = compare(
        assert_same, BatchedLifetime(Many(observation, limit=limit), 2, max_steps), model_of(single)
    )
    assert terminations >= 4
    assert (truncations >= 3) == (max_steps is not None)


def test_both_together(assert_same):
    compare(
        assert_same,
        BatchedPreviousActionReward(BatchedLifetime(Many("box"), 2, 5), observe_previous=True),
        model_of(
            lambda i: PreviousActionReward(Lifetime(One(i, "box", "discrete"), 2, 5), observe_previous=True)
        ),
    )


def test_tasks_are_drawn_for_the_lifetimes_that_begin():
    drawn = []

    def task(env, np_random, which):
        drawn.append(which.tolist())
        env.bonus[which] = np_random.integers(1, 100, size=len(which))

    envs = BatchedLifetime(Many(), episodes=2, sample_task=task)
    first = envs.reset(seed=0)[1]["bonus"]
    assert drawn == [[0, 1, 2]]
    for _ in range(4):
        *_, terminated, _, infos = envs.step([1, 1, 1])
        assert not terminated.any()
        np.testing.assert_array_equal(infos["bonus"], first)
    # Lengths 3 + 4, 2 + 5 and 5 + 2: all lifetimes end at the seventh step.
    results = [envs.step([1, 1, 1]) for _ in range(3)]
    assert [step[2].tolist() for step in results] == [[False] * 3] * 2 + [[True] * 3]
    assert drawn == [[0, 1, 2]] * 2
    infos = results[-1][4]
    np.testing.assert_array_equal(infos["final_info"]["bonus"], first)
    assert (infos["bonus"] != first).all()
    assert infos["steps"].tolist() == [0, 0, 0]
    same = BatchedLifetime(Many(), episodes=2, sample_task=task)
    np.testing.assert_array_equal(same.reset(seed=0)[1]["bonus"], first)
    assert (same.reset(seed=1)[1]["bonus"] != first).any()
    envs.reset(options={"reset_mask": np.array([False, True, False])})
    assert drawn[-1] == [1]


def test_bad_use_is_refused():
    with pytest.raises(ResetNeeded, match="before calling reset"):
        BatchedLifetime(Many()).step([1, 1, 1])
    for arguments, message in [
        ({"episodes": 0}, "episodes must be an integer of at least 1, got 0"),
        ({"max_steps": 1.5}, "max_steps must be an integer of at least 1, got 1.5"),
        ({"sample_task": "nowhere:nothing"}, 'sample_task must be a function or "package.module:function"'),
    ]:
        with pytest.raises(ValueError, match=message):
            BatchedLifetime(Many(), **arguments)
    with pytest.raises(ValueError, match="must not contain BatchedPreviousActionReward"):
        BatchedLifetime(BatchedPreviousActionReward(Many()))
    with pytest.raises(ValueError, match="sample_task of a batch must return None"):
        BatchedLifetime(Many(), sample_task=lambda *_: {}).reset()
    with pytest.raises(ValueError, match="reward_range must be two finite numbers"):
        BatchedPreviousActionReward(Many(), reward_range=(1, 2))
    other = SyncVectorEnv([partial(One, 0, "box", "discrete")])
    for wrapper in (BatchedPreviousActionReward, BatchedLifetime):
        with pytest.raises(ValueError, match=r"env must reset itself in the mode .*SAME_STEP"):
            wrapper(other)


def test_an_agent_trains_on_them():
    envs = BatchedPreviousActionReward(BatchedLifetime(PlasticMazeVectorEnv(4, max_episode_steps=5), 2))
    env = plastic_rl.GymnasiumVecEnv(envs)
    model = plastic_rl.PlasticA2C("MlpPolicy", env, n_steps=10, policy_kwargs={"hidden_size": 8}, seed=0)
    model.learn(80)
    assert model.num_timesteps == 80
    assert env.observation_space.shape == (10 + 4 + 1 + 1,)
