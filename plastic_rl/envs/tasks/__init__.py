"""Tasks of whole episodes: the supervised ones of the paper, and the form in which to add others."""

from plastic_rl.envs.tasks.episodic import Episodes, EpisodicTask, EpisodicTaskEnv
from plastic_rl.envs.tasks.image_completion import ImageCompletionTask, PlasticImageCompletionEnv
from plastic_rl.envs.tasks.omniglot import OmniglotTask, PlasticOmniglotEnv
from plastic_rl.envs.tasks.pattern_memory import PatternMemoryTask, PlasticPatternMemoryEnv

__all__ = [
    "Episodes",
    "EpisodicTask",
    "EpisodicTaskEnv",
    "ImageCompletionTask",
    "OmniglotTask",
    "PatternMemoryTask",
    "PlasticImageCompletionEnv",
    "PlasticOmniglotEnv",
    "PlasticPatternMemoryEnv",
]
