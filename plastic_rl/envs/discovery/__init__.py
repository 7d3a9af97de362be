"""Target discovery: which of some new cues brings the reward, found out over many trials of a lifetime."""

from plastic_rl.envs.discovery.env import PlasticTargetDiscoveryEnv
from plastic_rl.envs.discovery.rules import DiscoveryOptions
from plastic_rl.envs.discovery.vector import PlasticTargetDiscoveryVectorEnv

__all__ = ["DiscoveryOptions", "PlasticTargetDiscoveryEnv", "PlasticTargetDiscoveryVectorEnv"]
