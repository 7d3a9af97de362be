"""A base for batched environments: all of Gymnasium's vector interface that is not about one task."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from plastic_rl.arguments import check_count, is_integer
from plastic_rl.envs.arguments import can_render, check_render_mode
from plastic_rl.envs.state import Stateful

_SIGNED, _UNSIGNED = np.dtype(np.intp), np.dtype(np.uintp)


class BatchedEnv(Stateful, VectorEnv[Any, Any, NDArray[Any]], ABC):
    """B environments of one kind that are stepped together with NumPy; a family of them writes five methods.

    An episode that ends is followed by the next one in the same step (`AutoresetMode.SAME_STEP`): the
    observation is the new episode's first, and `infos["final_obs"]` and `infos["final_info"]` hold the old
    one's last. The infos are laid out as by `gymnasium.vector.SyncVectorEnv`.

    One random generator, `np_random`, serves the whole batch: the same seed gives the same batch again, but
    an environment of the batch does not repeat the single one of the same seed. Arrays that were returned
    are never written to again.

    What a family writes (`_draw` only if its `metadata` has render modes):

    - `_begin(which)`: start new episodes in the environments with these indices.
    - `_advance(actions)`: take one step in every environment; return rewards and terminations.
    - `_observe()`: what is seen now.
    - `_inform()`: the infos of now.
    - `_draw()`: the B pictures or texts of now.

    `_elapsed()` says how many steps each episode has taken; during `_advance` the present one is counted.

    A family that names in `state_attributes` what else changes in an episode has `get_state` and `set_state`:
    a training can then be stopped in the middle of its episodes and go on to the bit.

    Args:
        num_envs: B, at least 1.
        observation_space: of one environment.
        action_space: of one environment.
        max_episode_steps: episodes are truncated after so many steps, at least 1; None for no limit.
        render_mode: one of the class's `metadata["render_modes"]`, or None.

    Raises:
        ValueError: an argument is outside of its range.
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012
    state_attributes: ClassVar[tuple[str, ...]] = ("_started", "_clock", "_began", "_next_limit")

    def __init__(
        self,
        num_envs: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        *,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
    ):
        self.num_envs = check_count("num_envs", num_envs)
        self.max_episode_steps = (
            None if max_episode_steps is None else check_count("max_episode_steps", max_episode_steps)
        )
        self.render_mode = check_render_mode(render_mode, self.metadata["render_modes"])
        self.single_observation_space = observation_space
        self.single_action_space = action_space
        self.observation_space = batch_space(observation_space, self.num_envs)
        self.action_space = batch_space(action_space, self.num_envs)
        self._first_action, self._too_large = 0, None
        if isinstance(action_space, spaces.Discrete):
            self._first_action = int(action_space.start)
            # Once per environment: NumPy compares two arrays more quickly than an array and a number.
            self._too_large = np.full(self.num_envs, action_space.n, _UNSIGNED)
        self._all = np.ones(self.num_envs, dtype=bool)
        self._started = False
        # One clock for the batch and the time at which each episode began: that no episode is cut off at an
        # ordinary step is then known from comparing two integers.
        self._clock = 0
        self._began = np.zeros(self.num_envs, dtype=np.int64)
        self._next_limit = -1

    @abstractmethod
    def _begin(self, which: NDArray[np.intp]) -> None:
        """Start new episodes in the environments with these indices, (n,), drawing from `np_random` only."""

    @abstractmethod
    def _advance(self, actions: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Take one step in every environment.

        Args:
            actions: (B, *action shape), checked; an array of the caller, not to be kept or written to.

        Returns:
            New arrays: rewards, (B,) float64, and whether each episode has terminated, (B,) bool.
        """

    @abstractmethod
    def _observe(self) -> Any:
        """What is seen now: a new array, (B, *observation shape), or a dict of such for a Dict space."""

    @abstractmethod
    def _inform(self) -> dict[str, NDArray[Any]]:
        """The infos of now: new arrays with B entries by key.

        With a key that only some environments have, add a bool array (B,) of which do as `"_" + key`; what
        stands at the others is overwritten.
        """

    def _draw(self) -> Iterable[Any]:
        """One picture, (H, W, 3) uint8, or text per environment, depending on `render_mode`."""
        raise NotImplementedError(f"{type(self).__name__} does not render")

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Start new episodes in all environments, or in those of `options["reset_mask"]`.

        Args:
            seed: an integer or B integers that seed the batch's one generator; None (or B times None) lets it
                run on.
            options: may hold `reset_mask`, (B,) bool. The other environments then keep their episodes, and
                their entries of the observations their last ones.

        Returns:
            Observations, (B, *observation shape), and the infos of the environments that were reset.

        Raises:
            ValueError: the number of seeds is not B, only some are None; the mask is not (B,) or all false.
            TypeError: the mask is not an array of bool.
            ResetNeeded: a mask leaves out environments that never had a first reset.
        """
        self._seed(seed)
        mask = self._all
        if options is not None and "reset_mask" in options:
            mask = self._checked_mask(options["reset_mask"])
        self._start(mask.nonzero()[0])
        return self._observe(), self._infos(mask)

    def step(
        self, actions: ArrayLike
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Take one step in every environment, into the next episode where one ends.

        Args:
            actions: (B, *action shape), each in the action space; those of a Box are clipped to it.

        Returns:
            Observations, (B, *observation shape); rewards, (B,) float64; terminations and truncations, (B,)
            bool; infos.

        Raises:
            ResetNeeded: there was no `reset` yet.
            ValueError: the actions are not B of the action space.
        """
        if not self._started:
            raise ResetNeeded("Cannot call step() before calling reset()")
        actions = self._checked_actions(actions)
        self._clock += 1
        rewards, terminated = self._advance(actions)
        truncated = np.zeros(self.num_envs, dtype=bool)
        at_limit = self._clock == self._next_limit
        if at_limit:
            truncated = self._elapsed() == self.max_episode_steps
        final = (
            self._next_episodes(terminated | truncated) if at_limit or np.count_nonzero(terminated) else None
        )
        infos = self._infos(self._all)
        if final is not None:
            infos |= final
        return self._observe(), rewards, terminated, truncated, infos

    def render(self) -> tuple[Any, ...] | None:
        """Show every environment: B pictures, (H, W, 3) uint8, or B texts, depending on `render_mode`.

        Raises:
            ResetNeeded: there was no `reset` yet.
        """
        if not can_render(self.render_mode, self._started):
            return None
        return tuple(self._draw())

    def _elapsed(self) -> NDArray[np.int64]:
        """The steps that every episode has taken, (B,)."""
        return self._clock - self._began

    def _start(self, which: NDArray[np.intp]) -> None:
        self._started = True
        self._began[which] = self._clock
        if self.max_episode_steps is not None:
            self._next_limit = int(self._began.min()) + self.max_episode_steps
        self._begin(which)

    def _next_episodes(self, ended: NDArray[np.bool_]) -> dict[str, Any]:
        """Begin the next episodes where one has ended; return what the infos say of the old ones."""
        which = ended.nonzero()[0]
        observations, last = np.full(self.num_envs, None), self._observe()
        for i in which:
            observations[i] = _row(last, i)
        final = {"final_obs": observations, "final_info": self._infos(ended)}
        self._start(which)
        return final | {"_final_obs": ended.copy(), "_final_info": ended.copy()}

    def _infos(self, mask: NDArray[np.bool_]) -> dict[str, Any]:
        """New infos of the environments in the mask, with the blanks that Gymnasium gives the others."""
        infos = self._inform()
        for name in tuple(infos):
            if name[0] == "_":
                continue
            key = "_" + name
            if key not in infos and mask is self._all:
                infos[key] = mask.copy()
                continue
            owners = infos[key] & mask if key in infos else mask.copy()
            infos[key] = owners
            infos[name][~owners] = None if infos[name].dtype == object else 0
            if not np.count_nonzero(owners):
                del infos[name], infos[key]
        return infos

    def _seed(self, seed: int | Sequence[int | None] | None) -> None:
        if seed is None or isinstance(seed, (int, np.integer)):
            super().reset(seed=None if seed is None else int(seed))
            return
        seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(
                f"seed must be an integer, None or {self.num_envs} integers, got {len(seeds)} of them"
            )
        if all(one is None for one in seeds):
            return
        entropy = [int(one) for one in seeds if one is not None and is_integer(one) and one >= 0]
        if len(entropy) < self.num_envs:
            raise ValueError(f"seed must hold integers of at least 0 only, or None only, got {seeds}")
        self.np_random = np.random.default_rng(entropy)

    def _checked_mask(self, mask: Any) -> NDArray[np.bool_]:
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError(f"options['reset_mask'] must be a NumPy array of bool, got {mask!r}")
        if mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(
                f"options['reset_mask'] must have shape ({self.num_envs},) and a true entry, got {mask!r}"
            )
        if not self._started and not mask.all():
            raise ResetNeeded(
                "The first reset() must reset every environment: options['reset_mask'] leaves some out"
            )
        return mask

    def _checked_actions(self, actions: ArrayLike) -> NDArray[Any]:
        space, number = self.single_action_space, self.num_envs
        array = np.asarray(actions)
        if self._too_large is not None:
            if array.shape != (number,) or array.dtype.kind not in "iu":
                raise ValueError(
                    f"actions must be {number} integers, got shape {array.shape} and dtype {array.dtype}"
                )
            array = array.astype(_SIGNED, copy=False)
            counted = array - self._first_action if self._first_action else array
            # Read as unsigned, a negative number is beyond every bound: one comparison does.
            if np.count_nonzero(np.greater_equal(counted.view(_UNSIGNED), self._too_large)):
                last = self._first_action + int(self._too_large[0]) - 1
                raise ValueError(f"actions must be from {self._first_action} to {last}, got {array}")
            return array
        if isinstance(space, spaces.Box):
            array = array.astype(space.dtype, copy=False)
            if array.shape != (number, *space.shape) or not np.isfinite(array).all():
                raise ValueError(
                    f"actions must be finite numbers of shape {(number, *space.shape)}, got shape "
                    f"{array.shape}: {array}"
                )
            return np.clip(array, space.low, space.high)
        if array.shape[:1] != (number,) or not all(space.contains(one) for one in array):
            raise ValueError(f"actions must be {number} of {space}, got {actions!r}")
        return array


def _row(batch: Any, i: Any) -> Any:
    """A copy of entry i, of every part if the batch is a dict."""
    if isinstance(batch, dict):
        return {key: _row(part, i) for key, part in batch.items()}
    return batch[i].copy()
