"""Environments whose episodes each pose a new problem, so that an agent must learn within its lifetime."""

from plastic_rl.envs.batched import BatchedEnv
from plastic_rl.envs.maze import PlasticMazeEnv, PlasticMazeVectorEnv
from plastic_rl.envs.pairs import PairsTask, PlasticPairsEnv, PlasticPairsVectorEnv
from plastic_rl.envs.registration import (
    ENVIRONMENTS,
    Environment,
    evaluates_sampled,
    reference_levels,
    register_environments,
    register_levels,
)
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
    "BatchedEnv",
    "Environment",
    "Episodes",
    "EpisodicTask",
    "EpisodicTaskEnv",
    "ImageCompletionTask",
    "Lifetime",
    "OmniglotTask",
    "PairsTask",
    "PatternMemoryTask",
    "PlasticImageCompletionEnv",
    "PlasticMazeEnv",
    "PlasticMazeVectorEnv",
    "PlasticOmniglotEnv",
    "PlasticPairsEnv",
    "PlasticPairsVectorEnv",
    "PlasticPatternMemoryEnv",
    "PreviousActionReward",
    "evaluates_sampled",
    "reference_levels",
    "register_environments",
    "register_levels",
]
