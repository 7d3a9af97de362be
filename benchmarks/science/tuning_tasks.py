"""Tasks that defaults are chosen on, beside those of other packages.

Importing it registers `TMaze-v0`.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


class TMazeEnv(gym.Env[NDArray[np.float32], Any]):
    """A corridor of six steps: a cue at the first says which way to turn at the last.

    Observation: (cue, end), the cue -1 or 1 at the first step and 0 after it, the end 1 at the last. Reward:
    1 for the turn that the cue says, -1 for the other one; what is done before the end has no effect.
    """

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)
    length = 6

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Draw the cue."""
        super().reset(seed=seed)
        self._right, self._steps = int(self.np_random.integers(2)), 0
        return np.array([2 * self._right - 1, 0], np.float32), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Go on; turn at the end."""
        self._steps += 1
        ended = self._steps == self.length
        reward = (1.0 if action == self._right else -1.0) if ended else 0.0
        return np.array([0, self._steps == self.length - 1], np.float32), reward, ended, False, {}


gym.register("TMaze-v0", f"{__name__}:TMazeEnv")
