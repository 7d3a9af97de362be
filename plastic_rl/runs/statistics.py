"""Observations and rewards on one scale: SB3's `VecNormalize` around a run's environments, as RL-Zoo has it.

The statistics lie beside the model, in plain JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from plastic_rl.files import atomic, read_text

STATISTICS = "normalize.json"
_LARGEST = 2**24  # bytes


def normalized(env: VecEnv, options: Mapping[str, Any] | None, gamma: float = 0.99) -> VecEnv:
    """The environments for a training, with `VecNormalize` around them where ``options`` is not None.

    Args:
        env: monitored ones, so that logged returns are those of the environments.
        options: as `check_normalize` returns them.
        gamma: the discount of the returns by whose spread rewards are divided.

    Raises:
        ValueError: the observations are not numbers that can be normalized.
    """
    return env if options is None else VecNormalize(env, gamma=gamma, **options)


def normalized_like(trained: VecEnv | None, env: VecEnv) -> VecEnv:
    """Environments to show an agent what it was trained on.

    Args:
        trained: the environments of the training.
        env: others; observations come out normalized by the statistics of those, which stay as they are, and
            rewards as they are.
    """
    source = find_normalize(trained)
    if source is None or not source.norm_obs:
        return env
    wrapped = VecNormalize(
        env,
        training=False,
        norm_reward=False,
        clip_obs=source.clip_obs,
        epsilon=source.epsilon,
        norm_obs_keys=source.norm_obs_keys,
    )
    wrapped.obs_rms = source.obs_rms
    return wrapped


def find_normalize(env: VecEnv | None) -> VecNormalize | None:
    """The `VecNormalize` around environments, if there is one."""
    while env is not None and not isinstance(env, VecNormalize):
        env = getattr(env, "venv", None)
    return env


def normalized_as_trained(env: VecEnv, options: Mapping[str, Any] | None, folder: Path) -> VecEnv:
    """Environments for the agent of a run, observations normalized as at the end of its training.

    Where only rewards were, nothing is: an agent that plays does not see them.

    Args:
        env: monitored ones.
        options: the run's, as `check_normalize` returns them.
        folder: the run's.

    Raises:
        OSError: the statistics cannot be read.
        ValueError: they are damaged, or of other observations.
    """
    if options is None or not options.get("norm_obs", True):
        return env
    wrapped = VecNormalize(env, training=False, **{**options, "norm_reward": False})
    load_statistics(wrapped, folder)
    return wrapped


def save_statistics(env: VecEnv | None, folder: Path) -> None:
    """Write the statistics of observations and returns into a run's folder; nothing without normalization.

    Raises:
        OSError: the folder cannot be written.
    """
    source = find_normalize(env)
    if source is None:
        return
    statistics: dict[str, Any] = {
        "returns": _plain(source.ret_rms),
        "discounted_returns": source.returns.tolist(),
    }
    if source.norm_obs:
        statistics["observations"] = (
            {key: _plain(part) for key, part in source.obs_rms.items()}
            if isinstance(source.obs_rms, dict)
            else _plain(source.obs_rms)
        )
    with atomic(folder / STATISTICS) as partial:
        partial.write_text(json.dumps(statistics), encoding="utf-8")


def load_statistics(env: VecEnv, folder: Path) -> None:
    """Take over what `save_statistics` wrote; nothing where the environments are not normalized.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or of other observations.
    """
    target = find_normalize(env)
    if target is None:
        return
    path = folder / STATISTICS
    try:
        statistics = json.loads(read_text(path, _LARGEST))
        _restore(target.ret_rms, statistics["returns"])
        if target.norm_obs and isinstance(target.obs_rms, dict):
            for key, part in target.obs_rms.items():
                _restore(part, statistics["observations"][key])
        elif target.norm_obs:
            _restore(target.obs_rms, statistics["observations"])
        returns = np.asarray(statistics["discounted_returns"], dtype=np.float64)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path} is missing: the model was trained on normalized observations or rewards"
        ) from error
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path} does not hold the statistics of these environments: {error}") from error
    if returns.shape == target.returns.shape:
        # Of as many environments as in the training: their episodes may go on.
        target.returns = returns


def _plain(statistics: RunningMeanStd) -> dict[str, Any]:
    return {
        "mean": np.asarray(statistics.mean).tolist(),
        "var": np.asarray(statistics.var).tolist(),
        "count": float(statistics.count),
    }


def _restore(statistics: RunningMeanStd, values: Mapping[str, Any]) -> None:
    for name in ("mean", "var"):
        array = np.asarray(values[name], dtype=np.float64)
        shape = np.shape(statistics.mean)
        if array.shape != shape or not np.isfinite(array).all() or (name == "var" and (array < 0).any()):
            raise ValueError(f"{name} must be finite numbers of shape {shape}, got {values[name]!r}")
        setattr(statistics, name, array)
    count = float(values["count"])
    if not 0 < count < np.inf:
        raise ValueError(f"count must be a number above 0, got {count}")
    statistics.count = count
