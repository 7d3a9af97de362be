"""Agents that keep learning after training: differentiable plasticity for Gymnasium and Stable-Baselines3.

Importing the package registers its environments, so that ``gym.make("PlasticMaze-v0")`` works.
"""

from importlib.metadata import version

from plastic_rl.envs import register_environments
from plastic_rl.policies import PlasticPolicy, PlasticRNN
from plastic_rl.training import PlasticA2C

__version__ = version("plastic-rl")

__all__ = ["PlasticA2C", "PlasticPolicy", "PlasticRNN", "__version__"]

register_environments()
