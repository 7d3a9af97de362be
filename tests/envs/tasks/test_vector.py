"""The batched form of a task against the single one: the same episodes give the same everything."""

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from plastic_rl.envs import (
    Episodes,
    EpisodicTaskEnv,
    EpisodicTaskVectorEnv,
    ImageCompletionTask,
    OmniglotTask,
    PatternMemoryTask,
)

SMALL = {"show_steps": 2, "blank_steps": 1, "n_passes": 1, "probe_steps": 2}


class NestedTask:
    """Spaces inside spaces, integers, and a target that is a single number."""

    observation_space = spaces.Dict(
        digit=spaces.Discrete(5),
        inner=spaces.Dict(bits=spaces.MultiBinary(3), pixels=spaces.Box(0, 9, (2, 2))),
    )
    action_space = spaces.Box(-1, 1, ())
    episode_length = 4

    def sample_episodes(self, batch, rng):
        lead = (4, batch)
        inner = {
            "bits": rng.integers(2, size=(*lead, 3), dtype=np.int8),
            "pixels": rng.uniform(0, 9, (*lead, 2, 2)).astype(np.float32),
        }
        observations = {"digit": rng.integers(5, size=lead), "inner": inner}
        return Episodes(observations, rng.uniform(-1, 1, batch).astype(np.float32))

    def score(self, episodes, actions):
        return -np.abs(actions - episodes.targets)


def pick(values, row):
    if isinstance(values, dict):
        return {key: pick(part, row) for key, part in values.items()}
    return values[:, row : row + 1]


class Recorded:
    """A task that keeps the episodes that it draws; and one that draws those it is given."""

    def __init__(self, task, given=None):
        self.task, self.given, self.drawn = task, given, []

    def __getattr__(self, name):
        return getattr(self.task, name)

    def sample_episodes(self, batch, rng):
        if self.given:
            return self.given.pop(0)
        self.drawn.append(self.task.sample_episodes(batch, rng))
        return self.drawn[-1]


@pytest.fixture
def tasks(omniglot_data, cifar10_data):
    return {
        "pattern": PatternMemoryTask(6, 2, **SMALL),
        "image": ImageCompletionTask(data=cifar10_data, n_images=2, **SMALL),
        "omniglot": OmniglotTask(data=omniglot_data, n_validation=10, n_test=10),
        "nested": NestedTask(),
    }


@pytest.mark.parametrize("limit", [None, 3])
@pytest.mark.parametrize("name", ["pattern", "image", "omniglot", "nested"])
def test_every_row_is_what_the_single_environment_gives(assert_same, tasks, name, limit):
    number, steps = 3, 25
    recorded = Recorded(tasks[name])
    batch = EpisodicTaskVectorEnv(recorded, number, max_episode_steps=limit)
    recorded.drawn.clear()
    batch.action_space.seed(0)
    mask = np.array([False, True, True])
    ours: list[tuple[Any, ...]] = []
    actions: list[Any] = []
    queues: list[list[Episodes]] = [[], [], []]

    def start(rows):
        episodes = recorded.drawn.pop()
        for position, row in enumerate(rows):
            one = pick(episodes.observations, position), episodes.targets[position : position + 1]
            queues[row].append(Episodes(*one))

    for step in range(steps):
        if step in (0, 5):
            rows = range(3) if step == 0 else np.flatnonzero(mask)
            ours.append(batch.reset(seed=7, options={} if step == 0 else {"reset_mask": mask.copy()}))
            actions.append(None)
            start(rows)
        actions.append(batch.action_space.sample())
        ours.append(batch.step(actions[-1]))
        ended = ours[-1][2] | ours[-1][3]
        if ended.any():
            start(np.flatnonzero(ended))

    def single(row):
        env = EpisodicTaskEnv(tasks[name])
        env.task = Recorded(tasks[name], queues[row])
        return env if limit is None else gym.wrappers.TimeLimit(env, limit)

    model = SyncVectorEnv([partial(single, row) for row in range(3)], autoreset_mode=AutoresetMode.SAME_STEP)
    assert batch.single_observation_space == model.single_observation_space
    assert batch.action_space == model.action_space
    resets, ends = 0, np.zeros(2, int)
    other: tuple
    for i, (one, action) in enumerate(zip(ours, actions, strict=True)):
        if action is None:
            other = model.reset(options={} if resets == 0 else {"reset_mask": mask.copy()})
            resets += 1
        else:
            other = model.step(action)
            ends += np.sum(one[2:4], axis=1)
        for ours_part, theirs_part in zip(one, other, strict=True):
            assert_same(ours_part, theirs_part, f"step {i}")
    assert ends[int(limit is not None)] >= 6
    assert not any(queues)


def test_metrics_come_with_the_last_step_alone(tasks):
    batch = EpisodicTaskVectorEnv(tasks["pattern"], 4)
    _, infos = batch.reset(seed=0)
    for _ in range(tasks["pattern"].episode_length):
        assert set(infos) == {"target", "_target"}
        targets = infos["target"]
        _, rewards, terminated, _, infos = batch.step(targets)
    assert terminated.all()
    np.testing.assert_array_equal(rewards, 0)
    assert {"bit_error", "_bit_error", "squared_error"} < set(infos["final_info"])
    np.testing.assert_array_equal(infos["final_info"]["target"], targets)
    assert set(infos) == {"target", "_target", "final_obs", "_final_obs", "final_info", "_final_info"}


def test_seeds_and_pictures(tasks):
    batch = EpisodicTaskVectorEnv(tasks["pattern"], 2, render_mode="rgb_array")
    single = EpisodicTaskEnv(tasks["pattern"], render_mode="rgb_array")
    targets = [batch.reset(seed=seed)[1]["target"] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(targets[0], targets[1])
    assert (targets[0] != targets[2]).any()
    observations = batch._episodes.observations
    assert isinstance(observations, np.ndarray)
    single._episode = Episodes(observations[:, 1:], batch._episodes.targets[1:])

    def second_picture() -> np.ndarray:
        pictures = batch.render()
        assert pictures is not None
        return pictures[1]

    for _ in range(tasks["pattern"].episode_length - 1):
        np.testing.assert_array_equal(second_picture(), single.render())
        batch.step(np.full((2, 6), 0.5))
        single.step(np.full(6, 0.5))
    np.testing.assert_array_equal(second_picture(), single.render())


def test_returned_arrays_are_the_callers(assert_same, tasks):
    batch, vandalised = (EpisodicTaskVectorEnv(tasks["nested"], 2) for _ in range(2))
    results: list[tuple[Any, ...]] = [envs.reset(seed=0) for envs in (batch, vandalised)]
    for _ in range(9):
        for ours, theirs in zip(*results, strict=True):
            assert_same(ours, theirs)
        results[1][-1]["target"][:] = 5
        results[1][0]["digit"][:] = 0
        results[1][0]["inner"]["pixels"][:] = 0
        results = [envs.step(np.zeros(2, np.float32)) for envs in (batch, vandalised)]


@pytest.mark.parametrize(
    "env_id", ["PlasticPatternMemory-v0", "PlasticImageCompletion-v0", "PlasticOmniglot-v0"]
)
def test_make_vec_gives_the_batched_form(env_id, made_up):
    arguments = made_up.get(env_id, {})
    batch = gym.make_vec(env_id, num_envs=3, max_episode_steps=2, **arguments)
    single = gym.make(env_id, render_mode="rgb_array", **arguments)
    assert isinstance(batch, EpisodicTaskVectorEnv)
    assert batch.single_observation_space == single.observation_space
    assert batch.metadata == {**single.metadata, "autoreset_mode": AutoresetMode.SAME_STEP}
    batch.reset(seed=0)
    assert [batch.step(batch.action_space.sample())[3].tolist() for _ in range(2)] == [
        [False] * 3,
        [True] * 3,
    ]


def test_bad_arguments_are_refused(tasks):
    with pytest.raises(TypeError, match="must have the attribute observation_space"):
        EpisodicTaskVectorEnv(object())
    with pytest.raises(ValueError, match="num_envs must be an integer of at least 1, got 0"):
        EpisodicTaskVectorEnv(tasks["pattern"], 0)
    with pytest.raises(ValueError, match="render_mode must be None or one of"):
        EpisodicTaskVectorEnv(tasks["pattern"], render_mode="ansi")
