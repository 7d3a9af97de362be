"""The environments' ids: one row per id, handed to Gymnasium by `register_environments`."""

from typing import Any

import gymnasium as gym

_MAZE = {
    "entry_point": "plastic_rl.envs.maze:PlasticMazeEnv",
    "vector_entry_point": "plastic_rl.envs.maze:PlasticMazeVectorEnv",
    "max_episode_steps": 250,
}

ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "PlasticMaze-v0": {**_MAZE},
    "PlasticMazePrevAction-v0": {**_MAZE, "kwargs": {"observe_previous_action": True}},
    "PlasticPatternMemory-v0": {"entry_point": "plastic_rl.envs.tasks:PlasticPatternMemoryEnv"},
    "PlasticImageCompletion-v0": {"entry_point": "plastic_rl.envs.tasks:PlasticImageCompletionEnv"},
    "PlasticOmniglot-v0": {"entry_point": "plastic_rl.envs.tasks:PlasticOmniglotEnv"},
}
"""Arguments of `gymnasium.register`, by environment id."""


def register_environments() -> None:
    """Register every id of `ENVIRONMENTS` with Gymnasium; ids that are already there are left alone."""
    for env_id, arguments in ENVIRONMENTS.items():
        if env_id not in gym.registry:
            gym.register(env_id, **arguments)
