"""Algorithms that train plastic networks, and what feeds and measures them."""

from plastic_rl.training.a2c import PlasticA2C
from plastic_rl.training.evaluation import Evaluation, evaluate, evaluate_episodes
from plastic_rl.training.on_policy import PlasticOnPolicyAlgorithm
from plastic_rl.training.supervised import SupervisedMetaLearner
from plastic_rl.training.vec_env import GymnasiumVecEnv, make_vec_env

__all__ = [
    "Evaluation",
    "GymnasiumVecEnv",
    "PlasticA2C",
    "PlasticOnPolicyAlgorithm",
    "SupervisedMetaLearner",
    "evaluate",
    "evaluate_episodes",
    "make_vec_env",
]
