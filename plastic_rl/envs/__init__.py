"""Environments whose episodes each pose a new problem, so that an agent must learn within its lifetime."""

from plastic_rl.envs.maze import PlasticMazeEnv, reference_levels
from plastic_rl.envs.maze_vector import PlasticMazeVectorEnv
from plastic_rl.envs.registration import ENVIRONMENTS, register_environments
from plastic_rl.envs.wrappers import Lifetime, PreviousActionReward

__all__ = [
    "ENVIRONMENTS",
    "Lifetime",
    "PlasticMazeEnv",
    "PlasticMazeVectorEnv",
    "PreviousActionReward",
    "reference_levels",
    "register_environments",
]
