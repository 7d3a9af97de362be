"""Plastic networks: the recurrent layer and the policies built on it."""

from plastic_rl.policies.actor_critic import (
    CnnPolicy,
    MlpPolicy,
    MultiInputPolicy,
    PlasticCnnPolicy,
    PlasticMultiInputPolicy,
    PlasticPolicy,
)
from plastic_rl.policies.autoassociator import Autoassociator
from plastic_rl.policies.classifier import PlasticClassifier
from plastic_rl.policies.core import CoreRecorder, RecurrentCore
from plastic_rl.policies.core_options import CoreOptions
from plastic_rl.policies.episodic import EpisodicNetwork
from plastic_rl.policies.labelled_images import LabelledImages
from plastic_rl.policies.omniglot import OmniglotPolicy
from plastic_rl.policies.plastic_rnn import PlasticRNN
from plastic_rl.policies.readout import PlasticReadout
from plastic_rl.policies.recurrent_baselines import LSTMNetwork, PlasticRNNNetwork, RNNNetwork
from plastic_rl.policies.state import PolicyState
from plastic_rl.policies.supervised import (
    AutoassociatorPolicy,
    ClassifierPolicy,
    LSTMPolicy,
    PlasticRNNPolicy,
    RNNPolicy,
    SupervisedPolicy,
)

__all__ = [
    "Autoassociator",
    "AutoassociatorPolicy",
    "ClassifierPolicy",
    "CnnPolicy",
    "CoreOptions",
    "CoreRecorder",
    "EpisodicNetwork",
    "LSTMNetwork",
    "LSTMPolicy",
    "LabelledImages",
    "MlpPolicy",
    "MultiInputPolicy",
    "OmniglotPolicy",
    "PlasticClassifier",
    "PlasticCnnPolicy",
    "PlasticMultiInputPolicy",
    "PlasticPolicy",
    "PlasticRNN",
    "PlasticRNNNetwork",
    "PlasticRNNPolicy",
    "PlasticReadout",
    "PolicyState",
    "RNNNetwork",
    "RNNPolicy",
    "RecurrentCore",
    "SupervisedPolicy",
]
