"""The classes and functions that a model file may name: a fixed table, and what a program adds to it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from plastic_rl.saving.errors import ModelFileError

_KNOWN: dict[str, str] = {
    "plastic_rl.policies": (
        "PlasticPolicy PlasticCnnPolicy PlasticMultiInputPolicy OmniglotPolicy AutoassociatorPolicy "
        "ClassifierPolicy LSTMPolicy RNNPolicy PlasticRNNPolicy LabelledImages"
    ),
    "plastic_rl.training": "PlasticA2C PlasticPPO SupervisedMetaLearner",
    "plastic_rl.training.optimizers": "WarmRMSprop",
    "plastic_rl.training.episode_batches": "squared_error cross_entropy",
    "stable_baselines3": "A2C PPO",
    "stable_baselines3.common.policies": (
        "ActorCriticPolicy ActorCriticCnnPolicy MultiInputActorCriticPolicy"
    ),
    "stable_baselines3.common.torch_layers": "FlattenExtractor NatureCNN CombinedExtractor",
    "stable_baselines3.common.buffers": "RolloutBuffer DictRolloutBuffer",
    "stable_baselines3.common.sb2_compat.rmsprop_tf_like": "RMSpropTFLike",
    "sb3_contrib": "RecurrentPPO",
    "sb3_contrib.common.recurrent.policies": (
        "RecurrentActorCriticPolicy RecurrentActorCriticCnnPolicy RecurrentMultiInputActorCriticPolicy"
    ),
    "sb3_contrib.common.recurrent.buffers": "RecurrentRolloutBuffer RecurrentDictRolloutBuffer",
    "torch.nn": (
        "CELU ELU GELU Hardsigmoid Hardswish Hardtanh Identity LeakyReLU LogSigmoid Mish PReLU ReLU ReLU6 "
        "RReLU SELU SiLU Sigmoid Softplus Softsign Tanh Tanhshrink"
    ),
    "torch.optim": "ASGD Adadelta Adagrad Adam AdamW Adamax NAdam RAdam RMSprop Rprop SGD",
}
"""Names by the module that they are imported from."""

_TABLE = {f"{module}.{name}": (module, name) for module, names in _KNOWN.items() for name in names.split()}
_registered: dict[str, Any] = {}


def register_for_loading(*objects: type | Callable[..., Any]) -> None:
    """Let model files name these classes or functions of yours, such as a policy or a features extractor.

    Call it where they are defined, so that they are known wherever that module is imported. A file names an
    object by its module and name; it is looked up among those that the running program has registered, and
    nothing is imported for it.

    Example::

        class MyExtractor(BaseFeaturesExtractor): ...

        register_for_loading(MyExtractor)

    Args:
        objects: named ones: of lambdas and partial functions nobody can say which is which.

    Raises:
        ValueError: one has no name of its own.
    """
    for value in objects:
        name = qualified_name(value)
        if not callable(value) or "<lambda>" in name or not hasattr(value, "__qualname__"):
            raise ValueError(f"only classes and functions that have a name can be registered, not {value!r}")
        _registered[name] = value


def qualified_name(value: object) -> str:
    """The module and the name of a class or function."""
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def name_of(value: object) -> str | None:
    """The name under which files may name a class or function; None if they may not."""
    for name, (module, attribute) in _TABLE.items():
        # What is in hand was imported before.
        if module in sys.modules and getattr(sys.modules[module], attribute, None) is value:
            return name
    name = qualified_name(value)
    return name if _registered.get(name) is value else None


def in_table(value: object) -> bool:
    """Whether a class or function is in the fixed table."""
    return name_of(value) in _TABLE


def by_name(name: object) -> Any:
    """The class or function of this name.

    Raises:
        ModelFileError: files may not name it, or its package is not installed.
    """
    if not isinstance(name, str):
        raise ModelFileError(f"a class must be a name, got {name!r}")
    if name in _TABLE:
        module, attribute = _TABLE[name]
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ModelFileError(f"{name} is not installed: {error}") from error
    if name in _registered:
        return _registered[name]
    raise ModelFileError(
        f"it names {name[:100]}, which is not registered here: import the module that registers it "
        "(plastic_rl.register_for_loading), or give it in custom_objects"
    )


def known_algorithm(algorithm: type) -> str | None:
    """The name of the first class in the table that an algorithm inherits from, itself included."""
    names = (name_of(base) for base in algorithm.__mro__)
    return next((name for name in names if name in _TABLE), None)
