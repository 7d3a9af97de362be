"""Environments whose episodes each pose a new problem, so that an agent must learn within its lifetime."""

from plastic_rl.envs.batched import BatchedEnv
from plastic_rl.envs.discovery import PlasticTargetDiscoveryEnv, PlasticTargetDiscoveryVectorEnv
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
from plastic_rl.envs.state import Stateful
from plastic_rl.envs.tasks import (
    DrawnTask,
    Episodes,
    EpisodicTask,
    EpisodicTaskEnv,
    EpisodicTaskVectorEnv,
    ImageCompletionTask,
    MeasuredTask,
    OmniglotTask,
    PatternMemoryTask,
    PlasticImageCompletionEnv,
    PlasticImageCompletionVectorEnv,
    PlasticOmniglotEnv,
    PlasticOmniglotVectorEnv,
    PlasticPatternMemoryEnv,
    PlasticPatternMemoryVectorEnv,
)
from plastic_rl.envs.wrappers import (
    BatchedLifetime,
    BatchedPreviousActionReward,
    Lifetime,
    PreviousActionReward,
)

__all__ = [
    "ENVIRONMENTS",
    "BatchedEnv",
    "BatchedLifetime",
    "BatchedPreviousActionReward",
    "DrawnTask",
    "Environment",
    "Episodes",
    "EpisodicTask",
    "EpisodicTaskEnv",
    "EpisodicTaskVectorEnv",
    "ImageCompletionTask",
    "Lifetime",
    "MeasuredTask",
    "OmniglotTask",
    "PairsTask",
    "PatternMemoryTask",
    "PlasticImageCompletionEnv",
    "PlasticImageCompletionVectorEnv",
    "PlasticMazeEnv",
    "PlasticMazeVectorEnv",
    "PlasticOmniglotEnv",
    "PlasticOmniglotVectorEnv",
    "PlasticPairsEnv",
    "PlasticPairsVectorEnv",
    "PlasticPatternMemoryEnv",
    "PlasticPatternMemoryVectorEnv",
    "PlasticTargetDiscoveryEnv",
    "PlasticTargetDiscoveryVectorEnv",
    "PreviousActionReward",
    "Stateful",
    "evaluates_sampled",
    "reference_levels",
    "register_environments",
    "register_levels",
]
