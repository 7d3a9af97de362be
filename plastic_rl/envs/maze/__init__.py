"""The maze: an invisible goal that has to be found, remembered and reached again."""

from plastic_rl.envs.maze.env import PlasticMazeEnv
from plastic_rl.envs.maze.vector import PlasticMazeVectorEnv

__all__ = ["PlasticMazeEnv", "PlasticMazeVectorEnv"]
