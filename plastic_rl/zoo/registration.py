"""Making RL-Zoo know the plastic agent."""

from importlib import import_module

from plastic_rl.zoo.sampler import ALGO, convert_plastic_a2c, sample_plastic_a2c


def register(batched: bool = True) -> None:
    """Make RL-Zoo know ``plastic_a2c``; for those who call RL-Zoo from Python.

    Example::

        from plastic_rl.zoo import register

        register()
        from rl_zoo3.train import train

        train()  # reads sys.argv

    Args:
        batched: whether environments that have a batched form are made in it, for training and evaluation.
            Wrappers of single environments (``env_wrapper`` in a file) are never left out: with
            them, environments are single.

    Raises:
        ModuleNotFoundError: RL-Zoo, or a package that it needs, is not installed.
    """
    from rl_zoo3 import ALGOS
    from rl_zoo3.hyperparams_opt import HYPERPARAMS_CONVERTER, HYPERPARAMS_SAMPLER
    from stable_baselines3.common import env_util

    from plastic_rl.training.a2c import PlasticA2C
    from plastic_rl.zoo.manager import experiment_manager, make_zoo_vec_env

    ALGOS[ALGO] = PlasticA2C
    HYPERPARAMS_SAMPLER[ALGO] = sample_plastic_a2c
    HYPERPARAMS_CONVERTER[ALGO] = convert_plastic_a2c
    # RL-Zoo has no other place for these two.
    _replace("rl_zoo3.train", "ExperimentManager", experiment_manager())
    for module in ("rl_zoo3.exp_manager", "rl_zoo3.utils"):
        _replace(module, "make_vec_env", make_zoo_vec_env if batched else env_util.make_vec_env)


def _replace(module: str, name: str, value: object) -> None:
    """Put another value in the place of a global one of RL-Zoo's, which must be there."""
    namespace = vars(import_module(module))
    if name not in namespace:
        raise ImportError(f"cannot work with this version of RL-Zoo: {module} has no {name}")
    namespace[name] = value
