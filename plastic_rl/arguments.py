"""Checks of arguments: one wording for each kind of mistake, the same in every part of the package.

Each names the argument, what was given and what is allowed. This module imports nothing of the package.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection
from numbers import Integral, Real
from typing import Any, NamedTuple, TypeGuard

from gymnasium import spaces

PLAIN_SPACES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
"""What actions and observations may be; observations also a Dict of these."""

_PLAIN_NAMES = "Box, Discrete, MultiDiscrete or MultiBinary"


class Number(NamedTuple):
    """The values a number may take, all of them finite; ``above`` excludes the lower bound itself."""

    kind: type[int] | type[float]
    low: float = -math.inf
    high: float = math.inf
    above: bool = False

    def allows(self, value: object) -> bool:
        """Whether the value is such a number; as a whole number, 5.0 is one, too."""
        if not is_number(value):
            return False
        try:
            finite = math.isfinite(value)
        except OverflowError:  # a whole number beyond the largest float
            return False
        if not finite or (self.kind is int and value != int(value)):
            return False
        return self.low <= value <= self.high and not (self.above and value == self.low)

    def __str__(self) -> str:
        what = "an integer" if self.kind is int else "a finite number"
        if self.low > -math.inf and self.high < math.inf:
            return f"{what} from {self.low} to {self.high}"
        return what + (
            f" {'above' if self.above else 'of at least'} {self.low}" if self.low > -math.inf else ""
        )


NUMBERS = {
    "n_envs": Number(int, 1),
    "n_timesteps": Number(int, 1),
    "total_timesteps": Number(int, 0),
    "n_steps": Number(int, 1),
    "batch_size": Number(int, 1),
    "n_epochs": Number(int, 1),
    "stats_window_size": Number(int, 1, sys.maxsize),  # a deque's
    "sde_sample_freq": Number(int, -1),
    "learning_rate": Number(float, 0, above=True),
    "gamma": Number(float, 0, 1),
    "gae_lambda": Number(float, 0, 1),
    "ent_coef": Number(float),
    "vf_coef": Number(float),
    "max_grad_norm": Number(float, 0, above=True),
    "rms_prop_eps": Number(float, 0, above=True),
    "clip_range": Number(float, 0, above=True),
    "clip_range_vf": Number(float, 0, above=True),
    "target_kl": Number(float, 0, above=True),
}
"""What the algorithms' numbers may be, in Python as on the command line."""


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


def check_number(name: str, value: Any) -> Any:
    """Return the value as the int or float that the name has in `NUMBERS`.

    Raises:
        ValueError: it is none, or outside the range there.
    """
    number = NUMBERS[name]
    if not number.allows(value):
        raise ValueError(f"{name} must be {number}, got {value!r}")
    return number.kind(value)


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


def check_starts_at_zero(name: str, space: spaces.Space[Any]) -> None:
    """Refuse integers that do not count from 0: networks, buffers and losses here do.

    Raises:
        ValueError: a Discrete or MultiDiscrete starts elsewhere; also as a part of a Dict.
    """
    parts = space.items() if isinstance(space, spaces.Dict) else [("", space)]
    for key, part in parts:
        if isinstance(part, spaces.Discrete | spaces.MultiDiscrete) and (part.start != 0).any():
            wrapper = "TransformAction" if "action" in name else "TransformObservation"
            where = f" part {key!r}" if key else ""
            raise ValueError(
                f"{name}{where} must start at 0, got {part} with start={part.start}: shift it, as with "
                f"gymnasium.wrappers.{wrapper}"
            )
