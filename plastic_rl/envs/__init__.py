"""Environments whose episodes each pose a new problem, so that an agent must learn within its lifetime."""

from plastic_rl.envs.episodic import Episodes, EpisodicTask, EpisodicTaskEnv
from plastic_rl.envs.image_completion import ImageCompletionTask, PlasticImageCompletionEnv
from plastic_rl.envs.maze import PlasticMazeEnv, reference_levels
from plastic_rl.envs.maze_vector import PlasticMazeVectorEnv
from plastic_rl.envs.omniglot import OmniglotTask, PlasticOmniglotEnv
from plastic_rl.envs.pattern_memory import PatternMemoryTask, PlasticPatternMemoryEnv
from plastic_rl.envs.registration import ENVIRONMENTS, register_environments
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
