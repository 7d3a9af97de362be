"""Plastic networks: the recurrent layer and the policies built on it."""

from plastic_rl.policies.actor_critic import (
    CnnPolicy,
    MlpPolicy,
    MultiInputPolicy,
    PlasticCnnPolicy,
    PlasticMultiInputPolicy,
    PlasticPolicy,
)
from plastic_rl.policies.plastic_rnn import PlasticRNN
from plastic_rl.policies.state import PolicyState

__all__ = [
    "CnnPolicy",
    "MlpPolicy",
    "MultiInputPolicy",
    "PlasticCnnPolicy",
    "PlasticMultiInputPolicy",
    "PlasticPolicy",
    "PlasticRNN",
    "PolicyState",
]
