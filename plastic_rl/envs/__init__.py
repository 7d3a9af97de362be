"""Environments whose episodes each pose a new problem, so that an agent must learn within its lifetime."""

from plastic_rl.envs.maze import PlasticMazeEnv, PlasticMazeVectorEnv, reference_levels
from plastic_rl.envs.registration import ENVIRONMENTS, register_environments
from plastic_rl.envs.tasks import (
    Episodes,
    EpisodicTask,
    EpisodicTaskEnv,
    ImageCompletionTask,
    OmniglotTask,
    PatternMemoryTask,
    PlasticImageCompletionEnv,
    PlasticOmniglotEnv,
    PlasticPatternMemoryEnv,
)
from plastic_rl.envs.wrappers import Lifetime, PreviousActionReward

__all__ = [
    "ENVIRONMENTS",
    "Episodes",
    "EpisodicTask",
    "EpisodicTaskEnv",
    "ImageCompletionTask",
    "Lifetime",
    "OmniglotTask",
    "PatternMemoryTask",
    "PlasticImageCompletionEnv",
    "PlasticMazeEnv",
    "PlasticMazeVectorEnv",
    "PlasticOmniglotEnv",
    "PlasticPatternMemoryEnv",
    "PreviousActionReward",
    "reference_levels",
    "register_environments",
]
