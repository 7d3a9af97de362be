"""The setting `normalize`: SB3's `VecNormalize` around a run's environments, as RL-Zoo has it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from plastic_rl.arguments import Number

_FLAGS = ("norm_obs", "norm_reward")
_BOUNDS = ("clip_obs", "clip_reward")
_POSITIVE = Number(float, 0, above=True)


def check_normalize(value: Any) -> dict[str, Any] | None:
    """The arguments for `VecNormalize` that a setting means; None for no normalization.

    Args:
        value: true for its defaults, false or null for none, or a mapping with ``norm_obs``, ``norm_reward``,
            ``clip_obs``, ``clip_reward`` and ``norm_obs_keys``; RL-Zoo writes it as Python in a string, too.

    Raises:
        ValueError: something else.
    """
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise ValueError(f"normalize must be true, false or a mapping, got {value!r}") from error
    if value is None or value is False:
        return None
    if value is True:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"normalize must be true, false or a mapping, got {value!r}")
    for key, given in value.items():
        if key in _FLAGS:
            wanted, fine = "true or false", isinstance(given, bool)
        elif key in _BOUNDS:
            wanted, fine = str(_POSITIVE), _POSITIVE.allows(given)
        elif key == "norm_obs_keys":
            wanted = "a list of keys of a Dict observation"
            fine = isinstance(given, list) and all(isinstance(one, str) for one in given)
        else:
            allowed = ", ".join((*_FLAGS, *_BOUNDS, "norm_obs_keys"))
            raise ValueError(f"unknown key {key!r} in normalize: choose from {allowed}")
        if not fine:
            raise ValueError(f"normalize.{key} must be {wanted}; got {given!r}")
    return dict(value)
