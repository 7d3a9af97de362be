"""Agents that keep learning after training: differentiable plasticity for Gymnasium and Stable-Baselines3.

Importing the package registers its environments, so that ``gym.make("PlasticMaze-v0")`` works.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from plastic_rl.envs import (
    Episodes,
    EpisodicTask,
    EpisodicTaskEnv,
    ImageCompletionTask,
    Lifetime,
    OmniglotTask,
    PairsTask,
    PatternMemoryTask,
    PlasticImageCompletionEnv,
    PlasticMazeEnv,
    PlasticMazeVectorEnv,
    PlasticOmniglotEnv,
    PlasticPairsEnv,
    PlasticPairsVectorEnv,
    PlasticPatternMemoryEnv,
    PlasticTargetDiscoveryEnv,
    PlasticTargetDiscoveryVectorEnv,
    PreviousActionReward,
    reference_levels,
    register_environments,
)

if TYPE_CHECKING:
    from plastic_rl.export import export_onnx
    from plastic_rl.ops.plastic_rnn import PlasticParams, register_rule
    from plastic_rl.policies import (
        Autoassociator,
        PlasticClassifier,
        PlasticPolicy,
        PlasticRNN,
        SupervisedPolicy,
    )
    from plastic_rl.runs.hyperparams import hyperparams
    from plastic_rl.runs.pretrained import load_pretrained
    from plastic_rl.saving import ModelFileError, UntrustedFileError, register_for_loading
    from plastic_rl.tracking.plasticity import PlasticityCallback
    from plastic_rl.training.a2c import PlasticA2C
    from plastic_rl.training.evaluation import evaluate_episodes
    from plastic_rl.training.ppo import PlasticPPO
    from plastic_rl.training.supervised import SupervisedMetaLearner
    from plastic_rl.training.vec_env import GymnasiumVecEnv, make_vec_env

__version__ = version("plastic-rl")

__all__ = [
    "Autoassociator",
    "Episodes",
    "EpisodicTask",
    "EpisodicTaskEnv",
    "GymnasiumVecEnv",
    "ImageCompletionTask",
    "Lifetime",
    "ModelFileError",
    "OmniglotTask",
    "PairsTask",
    "PatternMemoryTask",
    "PlasticA2C",
    "PlasticClassifier",
    "PlasticImageCompletionEnv",
    "PlasticMazeEnv",
    "PlasticMazeVectorEnv",
    "PlasticOmniglotEnv",
    "PlasticPPO",
    "PlasticPairsEnv",
    "PlasticPairsVectorEnv",
    "PlasticParams",
    "PlasticPatternMemoryEnv",
    "PlasticPolicy",
    "PlasticRNN",
    "PlasticTargetDiscoveryEnv",
    "PlasticTargetDiscoveryVectorEnv",
    "PlasticityCallback",
    "PreviousActionReward",
    "SupervisedMetaLearner",
    "SupervisedPolicy",
    "UntrustedFileError",
    "__version__",
    "evaluate_episodes",
    "export_onnx",
    "hyperparams",
    "load_pretrained",
    "make_vec_env",
    "reference_levels",
    "register_for_loading",
    "register_rule",
]

# Imported when first used: torch takes seconds, which environments and the command line's help do not need.
_LAZY = {
    "Autoassociator": "plastic_rl.policies",
    "GymnasiumVecEnv": "plastic_rl.training.vec_env",
    "ModelFileError": "plastic_rl.saving",
    "PlasticA2C": "plastic_rl.training.a2c",
    "PlasticClassifier": "plastic_rl.policies",
    "PlasticPPO": "plastic_rl.training.ppo",
    "PlasticParams": "plastic_rl.ops.plastic_rnn",
    "PlasticPolicy": "plastic_rl.policies",
    "PlasticRNN": "plastic_rl.policies",
    "PlasticityCallback": "plastic_rl.tracking.plasticity",
    "SupervisedMetaLearner": "plastic_rl.training.supervised",
    "SupervisedPolicy": "plastic_rl.policies",
    "UntrustedFileError": "plastic_rl.saving",
    "evaluate_episodes": "plastic_rl.training.evaluation",
    "export_onnx": "plastic_rl.export.onnx_file",
    "hyperparams": "plastic_rl.runs.hyperparams",
    "load_pretrained": "plastic_rl.runs.pretrained",
    "make_vec_env": "plastic_rl.training.vec_env",
    "register_for_loading": "plastic_rl.saving",
    "register_rule": "plastic_rl.ops.plastic_rnn",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_environments()
