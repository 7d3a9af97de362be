"""Checks of arguments: one wording for each kind of mistake, the same in every part of the package.

Each names the argument, what was given and what is allowed. This module imports nothing of the package.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from numbers import Integral, Real
from typing import Any, TypeGuard

from gymnasium import spaces

PLAIN_SPACES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
"""What actions and observations may be; observations also a Dict of these."""

_PLAIN_NAMES = "Box, Discrete, MultiDiscrete or MultiBinary"


def is_integer(value: object) -> TypeGuard[int]:
    """Whether the value is an integer, of Python's or NumPy's types; true and false are not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """Whether the value is a real number, of Python's or NumPy's types; true and false are not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_count(name: str, value: object, least: int = 1) -> int:
    """Return the value as an int.

    Raises:
        ValueError: it is no integer of at least ``least``.
    """
    if not is_integer(value) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    return int(value)


def check_positive(name: str, value: object) -> float:
    """Return the value as a float.

    Raises:
        ValueError: it is no finite number above 0.
    """
    if not is_number(value) or not 0 < value < math.inf:
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}")
    return float(value)


def check_scale(name: str, value: object) -> float:
    """Return the value as a float.

    Raises:
        ValueError: it is no finite number of at least 0.
    """
    if not is_number(value) or not 0 <= value < math.inf:
        raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")
    return float(value)


def check_open_fraction(name: str, value: object) -> float:
    """Return the value as a float.

    Raises:
        ValueError: it is no number strictly between 0 and 1.
    """
    if not is_number(value) or not 0 < value < 1:
        raise ValueError(f"{name} must lie strictly between 0 and 1, got {value!r}")
    return float(value)


def check_choice(name: str, value: object, allowed: Collection[str]) -> str:
    """Return the value.

    Raises:
        ValueError: it is none of the allowed texts.
    """
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    return value


def check_flag(name: str, value: object) -> bool:
    """Return the value.

    Raises:
        ValueError: it is neither true nor false.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}")
    return value


def split_env_id(env_id: str) -> tuple[str, str]:
    """The module and the name in an environment's id; the module is empty where the id has none in front.

    ``"plastic_rl:PlasticMaze-v0"`` becomes ``("plastic_rl", "PlasticMaze-v0")``.
    """
    module, _, name = env_id.rpartition(":")
    return module, name


def is_plain(space: spaces.Space[Any]) -> bool:
    """Whether a space of observations is one of `PLAIN_SPACES` or a Dict of those."""
    parts = space.values() if isinstance(space, spaces.Dict) else [space]
    return all(isinstance(part, PLAIN_SPACES) for part in parts)


def check_observation_space(space: spaces.Space[Any]) -> None:
    """Refuse observations that no network here is made for.

    Raises:
        NotImplementedError: the space is none of `PLAIN_SPACES`, nor a Dict of those.
    """
    if not is_plain(space):
        raise NotImplementedError(f"observations must be {_PLAIN_NAMES} or a Dict of those, got {space}")


def check_action_space(space: spaces.Space[Any]) -> None:
    """Refuse actions that no network here is made for.

    Raises:
        NotImplementedError: the space is none of `PLAIN_SPACES`.
    """
    if not isinstance(space, PLAIN_SPACES):
        raise NotImplementedError(f"actions must be {_PLAIN_NAMES}, got {space}")
