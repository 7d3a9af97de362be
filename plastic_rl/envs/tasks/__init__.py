"""Tasks of whole episodes: the supervised ones of the paper, and the form in which to add others."""

from plastic_rl.envs.tasks.episodic import EpisodicTaskEnv
from plastic_rl.envs.tasks.image_completion import (
    ImageCompletionTask,
    PlasticImageCompletionEnv,
    PlasticImageCompletionVectorEnv,
)
from plastic_rl.envs.tasks.omniglot import OmniglotTask, PlasticOmniglotEnv, PlasticOmniglotVectorEnv
from plastic_rl.envs.tasks.pattern_memory import (
    PatternMemoryTask,
    PlasticPatternMemoryEnv,
    PlasticPatternMemoryVectorEnv,
)
from plastic_rl.envs.tasks.task import DrawnTask, Episodes, EpisodicTask, MeasuredTask
from plastic_rl.envs.tasks.vector import EpisodicTaskVectorEnv

__all__ = [
    "DrawnTask",
    "Episodes",
    "EpisodicTask",
    "EpisodicTaskEnv",
    "EpisodicTaskVectorEnv",
    "ImageCompletionTask",
    "MeasuredTask",
    "OmniglotTask",
    "PatternMemoryTask",
    "PlasticImageCompletionEnv",
    "PlasticImageCompletionVectorEnv",
    "PlasticOmniglotEnv",
    "PlasticOmniglotVectorEnv",
    "PlasticPatternMemoryEnv",
    "PlasticPatternMemoryVectorEnv",
]
