"""Algorithms that train plastic networks, and what feeds and measures them."""

from plastic_rl.training.a2c import PlasticA2C
from plastic_rl.training.evaluation import Evaluation, evaluate, evaluate_episodes
from plastic_rl.training.learner import GradientLearner
from plastic_rl.training.masks import MaskedAgent, MaskedEvalCallback
from plastic_rl.training.on_policy import PlasticOnPolicyAlgorithm
from plastic_rl.training.ppo import PlasticPPO
from plastic_rl.training.rollout_data import Rollout
from plastic_rl.training.supervised import SupervisedMetaLearner
from plastic_rl.training.vec_env import GymnasiumVecEnv, make_vec_env

__all__ = [
    "Evaluation",
    "GradientLearner",
    "GymnasiumVecEnv",
    "MaskedAgent",
    "MaskedEvalCallback",
    "PlasticA2C",
    "PlasticOnPolicyAlgorithm",
    "PlasticPPO",
    "Rollout",
    "SupervisedMetaLearner",
    "evaluate",
    "evaluate_episodes",
    "make_vec_env",
]
