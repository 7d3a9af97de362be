"""What RL-Zoo's experiments need to know of plastic agents and batched environments."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from importlib import import_module
from typing import Any

import gymnasium as gym
from stable_baselines3.common import env_util
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from plastic_rl.envs import ENVIRONMENTS, evaluates_sampled
from plastic_rl.runs.hyperparams import default_config_path
from plastic_rl.runs.plain_yaml import load_yaml, merge
from plastic_rl.training.vec_env import has_batched_form, make_vec_env
from plastic_rl.zoo.sampler import ALGORITHMS, sample_plastic

# Hyper-parameter files by RL-Zoo's names of the algorithms.
_FILES = {**{algo: algo for algo in ALGORITHMS}, "a2c": "a2c", "ppo_lstm": "recurrent_ppo"}


def default_config(algo: str, env_id: str) -> str | None:
    """The hyper-parameter file: ours, or None for RL-Zoo's.

    Ours is for our algorithm, and for others on environments of this package and those that the file names.
    """
    if algo not in _FILES:
        return None
    path = default_config_path(_FILES[algo])
    known = (
        algo in ALGORITHMS or env_id in ENVIRONMENTS or env_id in load_yaml(path.read_text(encoding="utf-8"))
    )
    return str(path) if known else None


def make_zoo_vec_env(env_id: str, make_env: Callable[..., gym.Env], n_envs: int, **arguments: Any) -> VecEnv:
    """Make a vector environment for RL-Zoo, which calls Stable-Baselines3's function of this name.

    Args:
        env_id: what `make_env` makes, which it does not tell.
        make_env: makes one environment.
        n_envs: how many.
        arguments: the others of Stable-Baselines3's function. Where they need single environments, or there
            is no batched form, it is that function that makes them.
    """
    env_kwargs = {"render_mode": None, **(arguments.get("env_kwargs") or {})}
    needs_single = (
        arguments.get("wrapper_class") is not None
        or arguments.get("vec_env_cls") not in (DummyVecEnv, SubprocVecEnv)
        or arguments.get("vec_env_kwargs")
        or set(arguments.get("monitor_kwargs") or {}) - {"info_keywords"}
        or not has_batched_form(env_id, env_kwargs["render_mode"])
    )
    if needs_single:
        return env_util.make_vec_env(make_env, n_envs, **arguments)
    return make_vec_env(env_id, n_envs, **{**arguments, "env_kwargs": env_kwargs, "vec_env_cls": None})


@contextmanager
def batched(module: str, env_id: str) -> Iterator[None]:
    """Inside, what a module of RL-Zoo makes of an environment is its batched form, where there is one."""
    namespace = vars(import_module(module))
    before = namespace["make_vec_env"]
    namespace["make_vec_env"] = partial(make_zoo_vec_env, env_id)
    try:
        yield
    finally:
        namespace["make_vec_env"] = before


def batched_test_env(create_test_env: Callable[..., VecEnv]) -> Callable[..., VecEnv]:
    """RL-Zoo's ``create_test_env``, which makes what is played and filmed, with batched environments."""

    @wraps(create_test_env)
    def create(env_id: str, *others: Any, **kwargs: Any) -> VecEnv:
        with batched("rl_zoo3.utils", env_id):
            return create_test_env(env_id, *others, **kwargs)

    return create


def _whole_path(storage: str | None) -> str | None:
    """The storage of a study, with the whole path of a journal file.

    Optuna's lock on it is a link to that path beside it. The lock of a killed worker is released only if the
    link leads to the file; a path that is relative to the current folder does not.
    """
    return os.path.abspath(storage) if storage is not None and storage.endswith(".log") else storage


def experiment_manager(in_batches: bool = True) -> type:
    """RL-Zoo's ``ExperimentManager`` with our files; a trial keeps the rest of their policy_kwargs.

    Args:
        in_batches: whether environments are made in their batched form, where they have one.

    Raises:
        ModuleNotFoundError: RL-Zoo is not installed.
    """
    from rl_zoo3.exp_manager import ExperimentManager
    from rl_zoo3.hyperparams_opt import HYPERPARAMS_SAMPLER

    class PlasticExperimentManager(ExperimentManager):
        def __init__(self, args: Any, algo: str, env_id: str, *others: Any, **kwargs: Any) -> None:
            kwargs["config"] = kwargs.get("config") or default_config(algo, env_id)
            super().__init__(args, algo, env_id, *others, **kwargs)
            self.storage = _whole_path(self.storage)
            if evaluates_sampled(env_id):  # as plastic-rl does, and RL-Zoo in MiniGrid
                self.deterministic_eval = False
            self._tuned: dict[str, Any] = {}

        def create_envs(self, *args: Any, **kwargs: Any) -> VecEnv:
            if not in_batches:
                return super().create_envs(*args, **kwargs)
            with batched("rl_zoo3.exp_manager", self.env_name.gym_id):
                return super().create_envs(*args, **kwargs)

        def objective(self, trial: Any) -> float:
            # RL-Zoo puts what is drawn in the place of the file's policy_kwargs, unseen by the sampler.
            if self.algo in ALGORITHMS:
                kept = self._hyperparams.get("policy_kwargs")
                HYPERPARAMS_SAMPLER[self.algo] = partial(sample_plastic, policy_kwargs=kept)
            return super().objective(trial)

        def load_trial(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
            hyperparams = super().load_trial(*args, **kwargs)
            if self.algo in ALGORITHMS:
                self._tuned = hyperparams.pop("policy_kwargs", {})
            return hyperparams

        def read_hyperparameters(self) -> tuple[dict[str, Any], dict[str, Any]]:
            hyperparams, saved = super().read_hyperparameters()
            if self._tuned:
                kept = hyperparams.get("policy_kwargs") or {}
                if not isinstance(kept, dict):
                    raise ValueError(f"a trial needs policy_kwargs that are a mapping, not {kept!r}")
                given = (self.custom_hyperparams or {}).get("policy_kwargs") or {}
                hyperparams["policy_kwargs"] = saved["policy_kwargs"] = merge(merge(kept, self._tuned), given)
            return hyperparams, saved

    return PlasticExperimentManager
