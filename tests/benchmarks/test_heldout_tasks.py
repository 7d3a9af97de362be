"""Tasks of other packages, wrapped for a comparison."""

import gymnasium as gym
import numpy as np
import pytest


def test_minigrids_memory_shows_its_view_as_one_vector():
    pytest.importorskip("minigrid")
    from benchmarks.science import heldout_tasks  # noqa: F401

    env = gym.make("MemoryS7-v0")
    observation, _ = env.reset(seed=0)
    assert observation.shape == env.observation_space.shape == (7 * 7 * 3,)
    assert env.observation_space.contains(observation)
    # The agent stands at the middle of the lower edge of what it sees.
    view = observation.reshape(7, 7, 3)
    assert np.count_nonzero(view[:, :, 0]) > 7
    env.close()


def test_neurogyms_task_ends_after_a_hundred_steps():
    pytest.importorskip("neurogym")
    from benchmarks.science import heldout_tasks  # noqa: F401

    env = gym.make("DelayMatchSample100-v0")
    env.reset(seed=0)
    ends = [any(env.step(env.action_space.sample())[2:4]) for _ in range(100)]
    assert ends == [False] * 99 + [True]
