"""What the settings in a file may be: those that every algorithm has, each of its kind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import BasePolicy

from plastic_rl.arguments import NUMBERS, check_number, is_integer, is_number
from plastic_rl.saving.errors import ModelFileError

_NEEDED = ("policy_class", "observation_space", "action_space")
# What a model makes itself: its class, its networks, its surroundings.
_NEVER = {"env", "policy", "device", "rollout_buffer", "replay_buffer", "_logger", "_vec_normalize_env"}


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


def _is_class(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, type) and issubclass(value, kind)


def _count(value: Any) -> bool:
    return is_integer(value) and value >= 0


def _episodes(value: Any) -> bool:
    """What the logged means run over: of every episode its return and its length, and other numbers."""
    if value is None:
        return True
    return isinstance(value, deque) and all(
        isinstance(info, dict) and is_number(info.get("r")) and is_number(info.get("l")) for info in value
    )


def _observation(value: Any) -> bool:
    parts = value.values() if isinstance(value, dict) else [value]
    return value is None or all(isinstance(part, np.ndarray) for part in parts)


_NONE = type(None)
_KINDS: dict[str, Callable[[Any], bool]] = {
    "policy_class": _is_class(BasePolicy),
    "observation_space": _is(spaces.Space),
    "action_space": _is(spaces.Space),
    "policy_kwargs": _is(dict),
    "rollout_buffer_class": lambda value: value is None or _is_class(RolloutBuffer)(value),
    "rollout_buffer_kwargs": _is(dict, _NONE),
    "sample_kwargs": _is(dict, _NONE),
    "loss_fn": lambda value: value is None or callable(value),
    "episode_rng": _is(np.random.Generator, _NONE),
    "verbose": is_integer,
    "seed": lambda value: value is None or is_integer(value),
    "tensorboard_log": _is(str, Path, _NONE),
    "num_timesteps": _count,
    "logged_episodes": _count,
    "start_time": is_number,
    "use_sde": _is(bool),
    "use_rms_prop": _is(bool),
    "normalize_advantage": _is(bool),
    "ep_info_buffer": _episodes,
    "ep_success_buffer": _is(deque, _NONE),
    "_last_obs": _observation,
    "_last_original_obs": _observation,
    "_last_episode_starts": _is(np.ndarray, _NONE),
    "_total_timesteps": _count,
    "_num_timesteps_at_start": _count,
    "_episode_num": _count,
    "_n_updates": _count,
    "_current_progress_remaining": is_number,
    "_stats_window_size": _count,
}
# These may also be schedules.
_SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf")


def check_settings(
    where: str, settings: Mapping[str, Any], algorithm: type, given: Mapping[str, Any]
) -> None:
    """Make sure that a file's settings are attributes of a model, each of its kind.

    Args:
        where: what the file is called in messages.
        settings: by name.
        algorithm: the model's class, whose methods and properties no setting may hide.
        given: those of the user's, which are as they are.

    Raises:
        ModelFileError: one is not.
    """
    for name in _NEEDED:
        if name not in settings:
            raise ModelFileError(f"{where}: {name} is missing in its settings")
    for name, value in settings.items():
        if name in given and name not in _NEEDED:
            continue
        hidden = getattr(algorithm, name, None)
        if name.startswith("__") or name in _NEVER or callable(hidden) or isinstance(hidden, property):
            raise ModelFileError(f"{where}: {name[:100]!r} is no setting of a model")
        if name in _KINDS and not _KINDS[name](value):
            raise ModelFileError(f"{where}: {name} cannot be {str(value)[:100]!r}")
        if name in NUMBERS and value is not None and not (name in _SCHEDULES and callable(value)):
            try:
                check_number(name, value)
            except ValueError as error:
                raise ModelFileError(f"{where}: {error}") from error
