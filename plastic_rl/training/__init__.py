"""Training: algorithms, vector environments, evaluation and the command line."""

from plastic_rl.training.a2c import PlasticA2C

__all__ = ["PlasticA2C"]
