"""Environments that several tests of the algorithms train on."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces


class Recall(gym.Env):
    """A cue on the first step only; on the last step the action must name it. Without memory: 0.5 at best."""

    def __init__(self):
        self.observation_space = spaces.Box(0, 1, (3,), np.float32)
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cue, self.t = int(self.np_random.integers(2)), 0
        return np.eye(3, dtype=np.float32)[self.cue], {}

    def step(self, action):
        self.t += 1
        over = self.t == 4
        obs = np.array([0, 0, self.t == 3], dtype=np.float32)
        return obs, float(over and action == self.cue), over, False, {}


@pytest.fixture
def recall():
    return Recall
