"""EnvPool's batches of environments behind Gymnasium's vector interface, reset one by one."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

# What EnvPool tells of its own workings.
_OWN_INFOS = ("env_id", "players")


def is_envpool(env: VectorEnv) -> bool:
    """Whether a batch comes from EnvPool, which need not be installed."""
    return any(base.__module__.partition(".")[0] == "envpool" for base in type(env).__mro__)


class EnvPoolVectorEnv(VectorEnv[Any, Any, NDArray[Any]]):
    """A synchronous EnvPool as `GymnasiumVecEnv` needs it: `reset` takes a mask and returns every row.

    EnvPool resets an environment at the step after its episode's end. Here whoever steps it resets those
    that have ended with `options={"reset_mask": mask}`, so that no step is lost.

    Args:
        env: from ``envpool.make_gymnasium(..., seed=...)``; its seeds are those that it was made with.

    Raises:
        ValueError: it hands out the environments in smaller batches as they are ready.
    """

    def __init__(self, env: Any) -> None:
        self.env = env  # what is refused is closed, too, when it goes
        config = env.config
        if config["batch_size"] != config["num_envs"]:
            raise ValueError(
                "env must step all of its environments together, batch_size = num_envs, got "
                f"{config['batch_size']} of {config['num_envs']}"
            )
        self.num_envs = int(config["num_envs"])
        # What EnvPool calls its spaces are those of one environment.
        self.single_observation_space = env.observation_space
        self.single_action_space = env.action_space
        self.observation_space = batch_space(env.observation_space, self.num_envs)
        self.action_space = batch_space(env.action_space, self.num_envs)
        self.metadata = {**env.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}
        self.spec = None
        self._observations: Any = None
        self._infos: dict[str, Any] = {}

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start new episodes in all environments, or in those of `options["reset_mask"]`, (B,) bool.

        Returns:
            The observations (B, ...) and infos of all, also of those that were not reset.
        """
        if seed is not None:
            warnings.warn(
                f"the seed {seed} has no effect: EnvPool draws its own, give it to envpool.make", stacklevel=2
            )
        mask = None if options is None else options.get("reset_mask")
        if mask is None or self._observations is None:
            self._observations, infos = self.env.reset()
            self._infos = _kept(infos)
        else:
            rows = np.flatnonzero(mask)
            observations, infos = self.env.reset(rows.astype(np.int32))
            self._observations = _with_rows(self._observations, rows, observations)
            self._infos = _with_rows(self._infos, rows, _kept(infos))
        return self._observations, dict(self._infos)

    def step(
        self, actions: ArrayLike
    ) -> tuple[Any, NDArray[Any], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Take one step in every environment. actions: (B, *action shape)."""
        space = self.single_action_space
        kind = np.int32 if isinstance(space, spaces.Discrete) else space.dtype
        observations, rewards, terminated, truncated, infos = self.env.step(np.asarray(actions, dtype=kind))
        self._observations, self._infos = observations, _kept(infos)
        return observations, rewards, terminated, truncated, dict(self._infos)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the pool."""
        self.env.close()


def _kept(infos: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in infos.items() if key not in _OWN_INFOS}


def _with_rows(batch: Any, rows: NDArray[np.intp], new: Any) -> Any:
    """A copy of a batch, or of a dictionary of batches, with other rows; what has no such rows stays."""
    if isinstance(batch, Mapping):
        return {key: _with_rows(part, rows, new[key]) if key in new else part for key, part in batch.items()}
    copied = np.array(batch)
    copied[rows] = new
    return copied
