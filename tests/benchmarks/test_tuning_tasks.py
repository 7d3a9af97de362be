"""The T-maze that defaults are chosen on."""

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env

from benchmarks.science import tuning_tasks


def test_the_cue_says_where_to_turn() -> None:
    env = gym.make("TMaze-v0").unwrapped
    check_env(env, skip_render_check=True)
    for seed in range(4):
        observation, _ = env.reset(seed=seed)
        right = int(observation[0] > 0)
        seen = []
        for _ in range(tuning_tasks.TMazeEnv.length - 1):
            observation, reward, ended, _, _ = env.step(0)
            seen.append(observation.tolist())
            assert reward == 0
            assert not ended
        assert seen == [[0, 0]] * 4 + [[0, 1]]
        _, reward, ended, truncated, _ = env.step(right if seed < 2 else 1 - right)
        assert (reward, ended, truncated) == (1 if seed < 2 else -1, True, False)
        assert observation.dtype == np.float32
