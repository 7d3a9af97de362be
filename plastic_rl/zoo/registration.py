"""Making RL-Zoo know the plastic agent."""

import inspect
from importlib import import_module
from typing import Any

from plastic_rl.zoo.sampler import ALGORITHMS, convert_plastic, sample_plastic


def register(batched: bool = True, trust: bool = False) -> None:
    """Make RL-Zoo know ``plastic_a2c`` and ``plastic_ppo``; for those who call RL-Zoo from Python.

    Example::

        from plastic_rl.zoo import register

        register()
        from rl_zoo3.train import train

        train()  # reads sys.argv

    Args:
        batched: whether environments that have a batched form are made in it, for training and evaluation.
            Wrappers of single environments (``env_wrapper`` in a file) are never left out: with
            them, environments are single.
        trust: whether files are read that can run any code: models with pickled objects, and what RL-Zoo
            keeps in the folder of a run, where it is no plain YAML. Otherwise these raise
            ``plastic_rl.UntrustedFileError``.

    Raises:
        ModuleNotFoundError: RL-Zoo, or a package that it needs, is not installed.
    """
    from rl_zoo3 import ALGOS
    from rl_zoo3.hyperparams_opt import HYPERPARAMS_CONVERTER, HYPERPARAMS_SAMPLER
    from rl_zoo3.utils import create_test_env, get_saved_hyperparams

    import plastic_rl
    from plastic_rl.zoo.manager import batched_test_env, experiment_manager
    from plastic_rl.zoo.trust import checked, trusting

    for algo, name in ALGORITHMS.items():
        algorithm = getattr(plastic_rl, name)
        ALGOS[algo] = trusting(algorithm) if trust else algorithm
        HYPERPARAMS_SAMPLER[algo] = sample_plastic
        HYPERPARAMS_CONVERTER[algo] = convert_plastic
    # RL-Zoo has no other place for these.
    for module in ("rl_zoo3.exp_manager", "rl_zoo3.utils"):
        _global(module, "make_vec_env")
    _replace("rl_zoo3.train", "ExperimentManager", experiment_manager(batched))
    # What is there may be ours, of an earlier call.
    test_env, saved = inspect.unwrap(create_test_env), inspect.unwrap(get_saved_hyperparams)
    for module in ("rl_zoo3", "rl_zoo3.utils", "rl_zoo3.enjoy"):
        _replace(module, "create_test_env", batched_test_env(test_env) if batched else test_env)
        _replace(module, "get_saved_hyperparams", saved if trust else checked(saved))


def _global(module: str, name: str) -> dict[str, Any]:
    """The namespace of a module of RL-Zoo, which must have this name."""
    namespace = vars(import_module(module))
    if name not in namespace:
        raise ImportError(f"cannot work with this version of RL-Zoo: {module} has no {name}")
    return namespace


def _replace(module: str, name: str, value: object) -> None:
    """Put another value in the place of a global one of RL-Zoo's."""
    _global(module, name)[name] = value
