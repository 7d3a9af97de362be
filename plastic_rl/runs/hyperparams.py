"""Hyper-parameters of a training: RL-Zoo's file format with plain YAML values, checked before use."""

import copy
import importlib
import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import yaml
from gymnasium.envs.registration import load_env_creator

from plastic_rl.arguments import NUMBERS, check_number, split_env_id
from plastic_rl.envs.tasks.episodic import EpisodicTaskEnv
from plastic_rl.runs.normalize import check_normalize
from plastic_rl.runs.plain_yaml import check_names, load_yaml, merge

ALGORITHMS: dict[str, str] = {
    "plastic_a2c": "plastic_rl.training.a2c:PlasticA2C",
    "plastic_ppo": "plastic_rl.training.ppo:PlasticPPO",
    "supervised": "plastic_rl.training.supervised:SupervisedMetaLearner",
    "a2c": "stable_baselines3:A2C",
    "recurrent_ppo": "sb3_contrib:RecurrentPPO",
}
"""Algorithm ids of the command line, with the class behind each (imported when it is used)."""

RUN_KEYS = ("n_envs", "n_timesteps")
"""RL-Zoo's keys that describe the run rather than the algorithm."""

# Constructor arguments that no file sets: they belong to one run, or are Python classes.
_NOT_HYPERPARAMS = {"self", "env", "seed", "device", "verbose", "tensorboard_log", "_init_setup_model"}
_NOT_HYPERPARAMS |= {"rollout_buffer_class", "rollout_buffer_kwargs", "loss_fn", "distributed"}
_SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf")


_OTHERS = {
    "use_rms_prop": (bool, "true or false"),
    "use_sde": (bool, "true or false"),
    "normalize_advantage": (bool, "true or false"),
    "policy": (str, "a name"),
    "policy_kwargs": (dict, "a mapping"),
}
_MAY_BE_NULL = {"clip_range_vf", "target_kl", "policy_kwargs"}
# What an algorithm hands to its policy itself, beside policy_kwargs.
_RESERVED = ("observation_space", "action_space", "lr_schedule", "use_sde")


@dataclass(frozen=True)
class RunConfig:
    """What a training run needs to know, checked.

    Attributes:
        env_id: the environment's id.
        algo: one of `ALGORITHMS`.
        n_envs: number of environments stepped together, at least 1.
        n_timesteps: environment steps of the whole training, at least 1.
        hyperparams: the algorithm's constructor arguments as plain YAML values (a schedule is a string).
        source: the file they were read from.
        normalize: arguments of `VecNormalize` around the environments, None for none.
    """

    env_id: str
    algo: str
    n_envs: int
    n_timesteps: int
    hyperparams: dict[str, Any]
    source: Path
    normalize: dict[str, Any] | None = None

    def kwargs(self) -> dict[str, Any]:
        """The algorithm's constructor arguments, schedules built; a fresh copy on every call."""
        kwargs = copy.deepcopy(self.hyperparams)
        for key in _SCHEDULES:
            if isinstance(kwargs.get(key), str):
                kwargs[key] = _linear_schedule(kwargs[key])
        return kwargs


def hyperparams(
    env_id: str,
    algo: str | None = None,
    config: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The hyper-parameters that ``plastic-rl train`` uses, as constructor arguments.

    Example::

        env = plastic_rl.make_vec_env("PlasticMaze-v0", n_envs=16)
        model = plastic_rl.PlasticA2C(env=env, **plastic_rl.hyperparams("PlasticMaze-v0"))

    Args:
        env_id: the environment's id; without an entry of its own it takes the file's ``default`` entry.
        algo: ``"plastic_a2c"``, ``"plastic_ppo"``, ``"supervised"``, ``"a2c"`` or ``"recurrent_ppo"``; None
            is that of `default_algorithm`.
        config: a file in RL-Zoo's format to read instead of the algorithm's, or the name of another one that
            comes with the package: ``"paper"`` has the maze network of Miconi, Stanley & Clune (ICML 2018),
            ``"ungated"`` one without gates.
        overrides: values that beat the file's; mappings such as ``policy_kwargs`` are merged into the file's.

    Returns:
        The arguments, ``policy`` among them; not ``env``, ``seed`` and ``device``, nor the keys of the run
        (``n_envs``, ``n_timesteps``, ``normalize``: see `load_config`).

    Raises:
        ValueError: an unknown algorithm or key, or a value of the wrong type or outside its range.
        FileNotFoundError: the file `config` does not exist.
    """
    return load_config(env_id, algo, config, overrides).kwargs()


def load_config(
    env_id: str,
    algo: str | None = None,
    config: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> RunConfig:
    """Read and check the hyper-parameters of a run; arguments and errors as in `hyperparams`."""
    algo = algo or default_algorithm(env_id)
    if algo not in ALGORITHMS:
        raise ValueError(f"unknown algorithm {algo!r}: choose one of {', '.join(ALGORITHMS)}")
    path = default_config_path(algo) if config is None else _given_path(config)
    _, name = split_env_id(env_id)
    entry, values = _read_entry(path, name)
    allowed = allowed_keys(algo)
    _check_keys(values, allowed, f"in entry {entry!r} of {path}")
    _check_keys(overrides or {}, allowed, "among the given hyper-parameters")
    values = merge(values, overrides or {})
    values = {key: _checked(key, value) for key, value in values.items()}
    for key in (*RUN_KEYS, "policy"):
        if key not in values:
            raise ValueError(f"{key} is missing in entry {entry!r} of {path}")
    policies = algorithm_class(algo).policy_aliases
    if values["policy"] not in policies:
        raise ValueError(f"unknown policy {values['policy']!r}: choose one of {', '.join(policies)}")
    _check_policy_kwargs(values.get("policy_kwargs") or {})
    normalize = check_normalize(values.pop("normalize", None))
    run = {key: values.pop(key) for key in RUN_KEYS}
    return RunConfig(env_id=env_id, algo=algo, hyperparams=values, source=path, normalize=normalize, **run)


def default_algorithm(env_id: str, env_kwargs: Mapping[str, Any] | None = None) -> str:
    """What an environment is trained with if nobody says: ``supervised`` for an `EpisodicTaskEnv`.

    All others, and ids that are not registered, get ``plastic_a2c``, or ``plastic_ppo`` where that file of
    ``zoo_configs/`` alone has an entry of their own.

    Args:
        env_id: the environment's id.
        env_kwargs: its arguments. An environment that is registered as a function is made with them, to see
            what it is.

    Raises:
        ImportError: the module that the id names cannot be imported.
    """
    module, name = split_env_id(env_id)
    if module and not module.startswith("."):
        importlib.import_module(module)
    if name not in gym.registry:
        return _reinforcement(name)
    entry_point = gym.spec(name).entry_point
    creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    if isinstance(creator, type):
        # The class says it, without the data that making one may need.
        episodic = issubclass(creator, EpisodicTaskEnv)
    else:
        env = gym.make(name, **(env_kwargs or {}))
        episodic = isinstance(env.unwrapped, EpisodicTaskEnv)
        env.close()
    return "supervised" if episodic else _reinforcement(name)


def _reinforcement(name: str) -> str:
    """The algorithm whose file has an entry for this environment, ``plastic_a2c`` if both or neither."""

    def has_entry(algo: str) -> bool:
        return name in _read_entries(default_config_path(algo))

    return "plastic_ppo" if has_entry("plastic_ppo") and not has_entry("plastic_a2c") else "plastic_a2c"


def algorithm_class(algo: str) -> Any:
    """The class behind an algorithm id of `ALGORITHMS`."""
    module, _, name = ALGORITHMS[algo].partition(":")
    return getattr(importlib.import_module(module), name)


def allowed_keys(algo: str) -> list[str]:
    """The keys an entry for this algorithm may have: the run's and its constructor's arguments."""
    arguments = inspect.signature(algorithm_class(algo).__init__).parameters
    # Whole episodes are drawn from a task, past every wrapper of its environment.
    run = RUN_KEYS if algo == "supervised" else (*RUN_KEYS, "normalize")
    return [*run, *(name for name in arguments if name not in _NOT_HYPERPARAMS)]


def default_config_path(algo: str) -> Path:
    """An algorithm's hyper-parameter file: the checkout's where there is one, else the package's."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent
    # Beside an installed package, or beside a copy of it in another project, the two never lie together.
    is_checkout = (checkout / "pyproject.toml").is_file() and (checkout / "zoo_configs").is_dir()
    folder = checkout if is_checkout else package
    return folder / "zoo_configs" / f"{algo}.yml"


def _given_path(config: str | Path) -> Path:
    """The file that is meant: one that is there, or one of the package's by its name alone."""
    path = Path(config)
    own = default_config_path(path.name)
    return own if path.name == str(config) and not path.is_file() and own.is_file() else path


def _read_entries(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"no hyper-parameter file {path}")
    try:
        entries = load_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(entries, dict):
        raise ValueError(f"{path} must map environment ids to hyper-parameters")
    return entries


def _read_entry(path: Path, name: str) -> tuple[str, dict[str, Any]]:
    entries = _read_entries(path)
    entry = name if name in entries else "default"
    if entry not in entries:
        raise ValueError(f"{path} has neither an entry {name!r} nor an entry 'default'")
    if not isinstance(entries[entry], dict):
        raise ValueError(f"entry {entry!r} of {path} must map keys to values")
    return entry, entries[entry]


def _check_keys(values: Mapping[str, Any], allowed: list[str], where: str) -> None:
    for key in values:
        if key not in allowed:
            raise ValueError(f"unknown key {key!r} {where}: choose from {', '.join(allowed)}")


def _check_policy_kwargs(policy_kwargs: Mapping[str, Any]) -> None:
    inner = {key: value for key, value in policy_kwargs.items() if isinstance(value, Mapping)}
    check_names(policy_kwargs, "policy_kwargs")
    for key, value in inner.items():
        check_names(value, f"policy_kwargs.{key}")
    for key, value in policy_kwargs.items():
        if key in _RESERVED:
            raise ValueError(f"policy_kwargs.{key} cannot be given: the algorithm sets it")
        if isinstance(value, str) and (key.endswith("_class") or key == "activation_fn"):
            raise ValueError(f"policy_kwargs.{key} is a Python class: it can be set from Python only")


def _checked(key: str, value: Any) -> Any:
    """The value in its proper type, or a ValueError that says what is allowed."""
    if value is None and key in _MAY_BE_NULL:
        return value
    if key in _SCHEDULES and isinstance(value, str):
        _linear_schedule(value)
        return value
    if key in _OTHERS:
        kind, name = _OTHERS[key]
        if not isinstance(value, kind):
            raise ValueError(f"{key} must be {name}; got {value!r}")
        return value
    if key in NUMBERS:
        return check_number(key, value)
    return value


def _linear_schedule(text: str) -> Any:
    """RL-Zoo's ``lin_0.001``: from 0.001 at the start linearly to 0 at the end of the training."""
    from stable_baselines3.common.utils import LinearSchedule

    prefix, _, number = text.partition("_")
    try:
        start = float(number)
    except ValueError:
        start = float("nan")
    if prefix != "lin" or not 0 < start < math.inf:
        raise ValueError(f"{text!r} is neither a number nor a linear schedule such as lin_0.001")
    return LinearSchedule(start, 0.0, 1.0)
