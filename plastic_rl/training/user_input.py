"""Checks of what the user typed: everything wrong with it becomes a `CommandError` or a ValueError."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import gymnasium as gym
import torch as th
from stable_baselines3.common.vec_env import VecEnv

from plastic_rl.training.cli import CommandError
from plastic_rl.training.vec_env import make_vec_env

MAX_SEED = 2**31


@contextmanager
def bad_input(*errors: type[Exception], owner: str = "") -> Iterator[None]:
    """Turn the errors that bad input causes inside into the one line that the user sees.

    An argument that the `owner` does not have is a TypeError in Python; any other TypeError is a fault of the
    program.
    """
    try:
        yield
    except errors as error:
        raise CommandError(str(error)) from error
    except TypeError as error:
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if not owner or unknown is None:
            raise
        raise CommandError(f"unknown key {unknown[1]!r} among {owner}") from error


def make_env(env_id: str, env_kwargs: dict[str, Any], n_envs: int, seed: int) -> VecEnv:
    """The vector environment; whatever is wrong with its id or arguments is the user's error."""
    module, _, name = env_id.rpartition(":")
    with bad_input(ImportError):
        if module:
            import_module(module)
    if name not in gym.registry:
        near = get_close_matches(name, gym.registry, n=3)
        hint = f": did you mean {' or '.join(near)}?" if near else ""
        raise CommandError(f"unknown environment {env_id!r}{hint}")
    with bad_input(ValueError, gym.error.Error, ImportError, owner=f"the arguments of {name}"):
        # A single one first: its errors name the argument most clearly.
        gym.make(name, **env_kwargs).close()
        if gym.spec(name).vector_entry_point is not None:
            # Nothing is rendered here; a batch that might be asked to would keep every maze's path.
            env_kwargs = {"render_mode": None, **env_kwargs}
        return make_vec_env(name, n_envs, seed, env_kwargs=env_kwargs)


def checked_device(device: str) -> str:
    """The device, once something was computed on it: Stable-Baselines3 would quietly take the CPU instead."""
    if device != "auto":
        try:
            th.zeros(1, device=device).item()
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise ValueError(f"device {device!r} is not available here: {error}") from error
    return device


def checked_seed(seed: int) -> int:
    """The seed, once its range was checked; a vector environment counts on from it."""
    if not 0 <= seed < MAX_SEED:
        raise ValueError(f"--seed must lie between 0 and {MAX_SEED - 1}, not {seed}")
    return seed
