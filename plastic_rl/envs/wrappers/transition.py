"""The entries that the previous step adds to observations."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from plastic_rl.arguments import PLAIN_SPACES, check_flag


class Transition:
    """The entries that the previous step adds to observations: their space, and their values for a batch.

    Args:
        given: the space of one observation.
        actions: the space of one action.
        reward_range, observe_done, observe_previous: as for `PreviousActionReward`.

    Attributes:
        observation_space: that of one observation with the entries.

    Raises:
        ValueError: as for `PreviousActionReward`.
    """

    def __init__(
        self,
        given: spaces.Space,
        actions: spaces.Space,
        reward_range: Sequence[float],
        observe_done: bool,
        observe_previous: bool,
    ) -> None:
        self.low, self.high = _check_range(reward_range)
        self._observe_done = check_flag("observe_done", observe_done)
        self._observe_previous = check_flag("observe_previous", observe_previous)
        self._given, self._actions = given, actions
        self._n_actions = n = _action_size(actions)
        low = np.zeros(n + 1 + observe_done, np.float32)
        high = np.ones_like(low)
        low[:n] = -1 if isinstance(actions, spaces.Box) else 0
        low[n], high[n] = self.low, self.high
        self.size = len(low)
        large = isinstance(given, spaces.Box) and len(given.shape) > 2
        self.is_flat = isinstance(given, PLAIN_SPACES) and not large
        if self.is_flat:
            own = _flat_box(given)
            parts = [own, spaces.Box(low, high)] + ([_with_zero(own)] if observe_previous else [])
            self.observation_space: spaces.Space = spaces.Box(
                np.concatenate([part.low for part in parts]), np.concatenate([part.high for part in parts])
            )
        elif isinstance(given, spaces.Dict | spaces.Box):
            keys, lows, highs = self._by_key(given), self._named(low), self._named(high)
            added: dict[str, spaces.Space] = {key: spaces.Box(lows[key], highs[key]) for key in lows}
            if observe_previous:
                if not all(isinstance(part, PLAIN_SPACES) for part in keys.values()):
                    raise ValueError(f"with observe_previous a Dict must not hold another Dict, got {given}")
                added |= {
                    f"previous_{key}": _with_zero(part if isinstance(part, spaces.Box) else _flat_box(part))
                    for key, part in keys.items()
                }
            if taken := keys.keys() & added:
                raise ValueError(f"the observation must not have the keys {sorted(taken)}: they are added")
            self.observation_space = spaces.Dict(keys | added)
        else:
            allowed = "Box, Discrete, MultiDiscrete, MultiBinary or Dict"
            raise ValueError(f"observations must be {allowed}, got {given}")

    def added(self, actions: Any, rewards: Any, dones: Any) -> NDArray[np.float32]:
        """Action, reward and done of a step in B environments, (B, size)."""
        entries = np.zeros((len(rewards), self.size), np.float32)
        entries[:, : self._n_actions] = _encode_actions(self._actions, actions)
        entries[:, self._n_actions] = np.minimum(np.maximum(rewards, self.low), self.high)
        if self._observe_done:
            entries[:, -1] = dones
        return entries

    def kept(self, observations: Any) -> Any:
        """What is shown of B observations one step later: (B, n), or a dict of arrays; a copy."""
        if not self._observe_previous:
            return {}
        if self.is_flat:
            return _encode(self._given, observations)
        named = self._by_key(observations)
        return {
            f"previous_{key}": np.array(named[key])
            if isinstance(part, spaces.Box)
            else _encode(part, named[key])
            for key, part in self._by_key(self._given).items()
        }

    def join(self, observations: Any, added: NDArray[np.float32], kept: Any) -> Any:
        """B observations with what is added to each; the parts of a Dict stay the arrays they are."""
        if not self.is_flat:
            return self._by_key(observations) | self._named(added) | kept
        parts = [_encode(self._given, observations), added] + ([kept] if self._observe_previous else [])
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def _by_key(self, whole: Any) -> dict[str, Any]:
        return dict(whole) if isinstance(self._given, spaces.Dict) else {"observation": whole}

    def _named(self, added: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The parts of what is added, by the keys that they have in a Dict."""
        n = self._n_actions
        parts = {"previous_action": added[..., :n], "previous_reward": added[..., n : n + 1]}
        return {**parts, "previous_done": added[..., n + 1 :]} if self._observe_done else parts


def _flat_box(space: spaces.Space) -> spaces.Box:
    """The float32 Box of `_encode`."""
    flat = spaces.utils.flatten_space(space)
    assert isinstance(flat, spaces.Box)
    with np.errstate(over="ignore"):  # float64 bounds beyond float32 become infinite
        return spaces.Box(flat.low.astype(np.float32), flat.high.astype(np.float32))


def _with_zero(space: spaces.Box) -> spaces.Box:
    """The same Box with 0 inside its bounds."""
    low, high = np.minimum(space.low, 0), np.maximum(space.high, 0)
    return spaces.Box(low.astype(space.dtype), high.astype(space.dtype), dtype=space.dtype.type)


@lru_cache(maxsize=64)
def _classes(n: int) -> NDArray[np.float32]:
    """The one-hot form of n classes, (n, n)."""
    return np.eye(n, dtype=np.float32)


def _encode(space: spaces.Space, values: Any) -> NDArray[np.float32]:
    """B elements of a plain space in one row each, (B, n) float32; classes one-hot."""
    array = np.asarray(values)
    if isinstance(space, spaces.Discrete):
        return _classes(int(space.n))[array - int(space.start)]
    if isinstance(space, spaces.MultiDiscrete):
        classes = (array - space.start).reshape(len(array), -1)
        parts = [_classes(int(n))[classes[:, i]] for i, n in enumerate(space.nvec.ravel())]
        return np.concatenate(parts, axis=1)
    with np.errstate(over="ignore"):  # as for the bounds
        return array.reshape(len(array), -1).astype(np.float32)


def _action_size(space: spaces.Space) -> int:
    if isinstance(space, spaces.Box) and not space.is_bounded():
        raise ValueError(f"actions of a Box must have finite bounds, got {space}")
    if not isinstance(space, PLAIN_SPACES):
        raise ValueError(f"actions must be Box, Discrete, MultiDiscrete or MultiBinary, got {space}")
    return spaces.utils.flatdim(space)


def _encode_actions(space: spaces.Space, actions: Any) -> NDArray[Any]:
    """B actions as numbers in [-1, 1], (B, A)."""
    if not isinstance(space, spaces.Box):
        return _encode(space, actions)
    flat = np.asarray(actions).reshape(len(actions), -1)
    low, high = space.low.ravel().astype(np.float64), space.high.ravel().astype(np.float64)
    half = high / 2 - low / 2
    return np.clip((flat - low - half) / np.where(half > 0, half, 1), -1, 1)


def _check_range(value: Sequence[float]) -> tuple[float, float]:
    try:
        low, high = (float(bound) for bound in value)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (-math.inf < low <= 0 <= high < math.inf and low < high):
        raise ValueError(f"reward_range must be two finite numbers, low <= 0 <= high, got {value!r}")
    return low, high
