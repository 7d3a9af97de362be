"""Checks of what the user typed: everything wrong with it becomes a `CommandError` or a ValueError."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch as th
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from plastic_rl.arguments import split_env_id
from plastic_rl.cli.errors import CommandError
from plastic_rl.runs.record import MAX_SEED, imports_more
from plastic_rl.training.description import describe
from plastic_rl.training.distributed import Processes
from plastic_rl.training.episode_batches import task_of
from plastic_rl.training.vec_env import make_vec_env

# What a setting of the wrong kind, form or size raises inside Gymnasium, Stable-Baselines3 or torch.
_MISFITS = (AttributeError, ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError)


@contextmanager
def bad_input(*errors: type[Exception]) -> Iterator[None]:
    """Turn the errors that bad input causes inside into the one line that the user sees."""
    try:
        yield
    except BrokenPipeError:
        raise  # whoever reads the output has stopped: `main` knows
    except errors as error:
        raise CommandError(str(error)) from error


@contextmanager
def agreed(processes: Processes) -> Iterator[None]:
    """Around what each of several processes does by itself: a mistake that one has found stops all."""
    error = None
    try:
        yield
    except CommandError as found:
        error = found
    errors = processes.gather(None if error is None else str(error))
    if error is not None:
        raise error
    for text in errors:
        if text is not None:
            raise CommandError(text)


@contextmanager
def arguments_fit(given: Mapping[str, Any], owner: str) -> Iterator[None]:
    """Around what is built from arguments: whatever does not fit there is the user's error.

    An argument that nothing has is a TypeError in Python; where it stands in `given`, or in a mapping
    inside it, tells whose it should have been.

    Args:
        given: the keyword arguments that the user gave.
        owner: what they are called in messages.
    """
    try:
        yield
    except (ValueError, AssertionError, ImportError, FileNotFoundError, gym.error.Error) as error:
        raise CommandError(str(error) or f"the settings do not fit: {type(error).__name__}") from error
    except _MISFITS as error:
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        inner = {key: value for key, value in given.items() if isinstance(value, Mapping)}
        places = {owner: given, **{f"{owner}.{key}": value for key, value in inner.items()}}
        holders = [name for name, place in places.items() if unknown and unknown[1] in place]
        if unknown and len(holders) == 1:
            raise CommandError(f"unknown key {unknown[1]!r} among {holders[0]}") from error
        raise CommandError(f"the settings do not fit: {type(error).__name__}: {error}") from error


_VEC_ENV_CLASSES: dict[str, type[DummyVecEnv | SubprocVecEnv]] = {
    "dummy": DummyVecEnv,
    "subproc": SubprocVecEnv,
}


def make_env(
    env_id: str, env_kwargs: dict[str, Any], n_envs: int, seed: int, vec_env: str | None = None
) -> VecEnv:
    """The vector environment; whatever is wrong with its id or arguments is the user's error."""
    module, name = split_env_id(env_id)
    if ":" in env_id and (not module or module.startswith(".")):
        raise CommandError(f"{env_id!r}: {module!r} is not the full name of a module")
    with bad_input(ImportError):
        if module:
            import_module(module)
    if name not in gym.registry:
        near = get_close_matches(name, gym.registry, n=3)
        hint = f": did you mean {' or '.join(near)}?" if near else ""
        raise CommandError(f"unknown environment {env_id!r}{hint}")
    with arguments_fit(env_kwargs, f"the arguments of {name}"):
        # A single one first: its errors name the argument most clearly.
        gym.make(name, **env_kwargs).close()
        if gym.spec(name).vector_entry_point is not None:
            # Nothing is rendered here; a batch that might be asked to would keep every maze's path.
            env_kwargs = {"render_mode": None, **env_kwargs}
        vec_env_cls = None if vec_env is None else _VEC_ENV_CLASSES[vec_env]
        # A process that cannot make its environment has printed why.
        with bad_input(*([RuntimeError] if vec_env_cls is SubprocVecEnv else [])):
            return make_vec_env(name, n_envs, seed, env_kwargs=env_kwargs, vec_env_cls=vec_env_cls)


def check_import(env_id: str, named: str | None, trust: bool, folder: Path) -> None:
    """Make sure that the user knows of the module that a run's environment would be imported from.

    Args:
        env_id: the environment, as the run's folder names it.
        named: what was typed, if anything.
        trust: whether ``--trust`` was given.
        folder: the run's.

    Raises:
        CommandError: importing the module would run code that nobody asked for.
    """
    if trust or not imports_more(env_id, named):
        return
    module, _ = split_env_id(env_id)
    what, how = (module, f"name it, {env_id}, or ") if module else ("what its arguments say", "")
    raise CommandError(
        f"the run in {folder} is on {env_id}, which would import {what} and run its code: if you trust "
        f"whoever made it, {how}give --trust"
    )


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


def same_env(one: str, other: str) -> bool:
    """Whether two ids name the same environment, with or without its module in front."""
    return split_env_id(one)[1] == split_env_id(other)[1]


def shown_env(env_id: str, env_kwargs: dict[str, Any]) -> str:
    """An environment and its arguments, as messages name them."""
    arguments = ", ".join(f"{key}={value}" for key, value in env_kwargs.items())
    return f"{env_id}({arguments})" if arguments else env_id


def shown_levels(levels: Mapping[str, float]) -> str:
    """Reference levels, as messages name them."""
    return ", ".join(f"{name} {level:.4g}" for name, level in levels.items())


def shows_training_data(model: Any) -> bool:
    """Whether a model's environment draws from the data of the training, where its task has other, too."""
    return describe(model).whole_episodes and getattr(task_of(model.env), "split", None) == "train"
