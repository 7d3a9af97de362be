"""Paired associates: cues and answers that have to be bound to each other within a lifetime."""

from plastic_rl.envs.pairs.env import PlasticPairsEnv
from plastic_rl.envs.pairs.rules import PairsOptions
from plastic_rl.envs.pairs.task import PairsTask
from plastic_rl.envs.pairs.vector import PlasticPairsVectorEnv

__all__ = ["PairsOptions", "PairsTask", "PlasticPairsEnv", "PlasticPairsVectorEnv"]
