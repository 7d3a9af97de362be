"""Several episodes as one lifetime, for a batch of environments."""

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import ArrayLike, NDArray

from plastic_rl.arguments import check_count, is_integer
from plastic_rl.envs.wrappers.lifetime import load_function
from plastic_rl.envs.wrappers.previous import BatchedPreviousActionReward, check_same_step

SampleTasks = Callable[[Any, np.random.Generator, NDArray[np.intp]], None]


class BatchedLifetime(VectorWrapper):
    """`Lifetime` for a batch of environments: lifetimes of several inner episodes, at the batch's speed.

    Observations, rewards, ends and infos of each environment are those of `Lifetime`; where a lifetime ends,
    the next one begins in the same step. What stays the same through a lifetime is kept by the environment,
    since its inner episodes follow one another without further options: there is no `repeat_seed`.

    Args:
        env: a batched environment that resets in the same step and takes `options["reset_mask"]`, as all of
            this package do; its episodes must end.
        episodes: number of inner episodes, at least 1.
        max_steps: of the lifetime, at least 1; None for no limit.
        sample_task: called as `sample_task(env.unwrapped, np_random, which)` before new lifetimes begin in
            the environments with the indices `which`, (n,). It may set what the batched environment holds
            for these. A function, or "package.module:function".

    Raises:
        ValueError: an argument outside its range, the environment resets in another mode, or
            `BatchedPreviousActionReward` inside, which would forget the last reward at every inner reset.
    """

    def __init__(
        self,
        env: VectorEnv,
        episodes: int = 10,
        max_steps: int | None = None,
        sample_task: SampleTasks | str | None = None,
    ) -> None:
        super().__init__(env)
        check_same_step(env)
        self.episodes = check_count("episodes", episodes)
        self.max_steps = None if max_steps is None else check_count("max_steps", max_steps)
        self._sample_task = load_function("sample_task", sample_task)
        layer: VectorEnv = env
        while isinstance(layer, VectorWrapper):
            if isinstance(layer, BatchedPreviousActionReward):
                raise ValueError("env must not contain BatchedPreviousActionReward: put that around instead")
            layer = layer.env
        self._random: np.random.Generator | None = None
        self._running = False
        self._episode, self._steps, self._inner_steps = np.zeros((3, self.num_envs), np.int64)
        self._inner_return = np.zeros(self.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start lifetimes with new tasks in all environments, or in those of `options["reset_mask"]`."""
        if seed is not None or self._random is None:
            # Spawned: the environment seeds a generator of its own with the same numbers.
            seeds = [seed] if seed is None or is_integer(seed) else list(seed)
            entropy = [int(one) for one in seeds if one is not None]
            sequence = np.random.SeedSequence(entropy or None)
            self._random = np.random.default_rng(sequence.spawn(1)[0])
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, dtype=bool))
        self._draw_tasks(np.flatnonzero(mask))
        observations, infos = self.env.reset(seed=seed, options=options)
        self._running = True
        self._begin(mask)
        return observations, {
            **infos,
            "inner_episode": np.zeros(self.num_envs, int),
            "_inner_episode": mask.copy(),
        }

    def step(self, actions: ArrayLike) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step, into the next inner episode where one ends and into the next lifetime where that ends.

        Raises:
            ResetNeeded: there was no `reset` yet.
        """
        if not self._running:
            raise ResetNeeded("Cannot call step() before calling reset()")
        observations, rewards, inner_terminated, inner_truncated, infos = self.env.step(actions)
        inner_ended = inner_terminated | inner_truncated
        self._steps += 1
        self._inner_steps += 1
        self._inner_return += rewards
        episode = self._episode.copy()
        everyone = np.ones(self.num_envs, dtype=bool)
        numbers: dict[str, Any] = {"inner_episode": episode, "_inner_episode": everyone}
        if not np.count_nonzero(inner_ended):
            infos = {**infos, **numbers}
            if self.max_steps is None or not np.count_nonzero(self._steps == self.max_steps):
                return (
                    observations,
                    rewards,
                    np.zeros(self.num_envs, bool),
                    np.zeros(self.num_envs, bool),
                    infos,
                )
        final = infos.get("final_info", {})
        numbers |= {"inner_return": self._inner_return.copy(), "inner_length": self._inner_steps.copy()}
        numbers |= {"_inner_return": inner_ended, "_inner_length": inner_ended}
        self._episode += inner_ended
        terminated = self._episode == self.episodes
        truncated = ~terminated & (self._steps == (self.max_steps or -1))
        ended, goes_on = terminated | truncated, inner_ended & (self._episode < self.episodes)
        now = {
            key: value for key, value in infos.items() if key.lstrip("_") not in ("final_obs", "final_info")
        }
        # What happened in this step stands in the final infos where an inner episode ended; its successor's
        # first infos then take the place of the present ones.
        happened = {
            **_choose(now, ~inner_ended, final, inner_ended),
            **_choose(numbers, everyone, {}, ~everyone),
        }
        if np.count_nonzero(goes_on):
            happened["inner_reset_info"] = _choose(now, goes_on, {}, ~everyone)
            happened["_inner_reset_info"] = goes_on
        self._inner_steps[inner_ended] = 0
        self._inner_return[inner_ended] = 0
        if not np.count_nonzero(ended):
            return observations, rewards, terminated, truncated, happened
        last = np.full(self.num_envs, None)
        for i in np.flatnonzero(ended):
            # A lifetime that is cut off would have gone on from what is seen now.
            last[i] = infos["final_obs"][i] if terminated[i] else _row(observations, i)
        observations, fresh = self._next_lifetimes(observations, now, ended, truncated)
        fresh |= {"inner_episode": np.zeros(self.num_envs, int), "_inner_episode": ended}
        infos = _choose(happened, ~ended, fresh, ended)
        infos |= {"final_obs": last, "_final_obs": ended.copy()}
        infos |= {"final_info": _choose(happened, ended, {}, ~everyone), "_final_info": ended.copy()}
        return observations, rewards, terminated, truncated, infos

    def _next_lifetimes(
        self, observations: Any, now: dict[str, Any], ended: NDArray[np.bool_], truncated: NDArray[np.bool_]
    ) -> tuple[Any, dict[str, Any]]:
        """Begin lifetimes where one has ended; but for those cut off, an inner episode has begun there."""
        self._draw_tasks(np.flatnonzero(ended))
        # Those that have begun know nothing of the new tasks.
        again = ended if self._sample_task is not None else truncated
        fresh = now
        if np.count_nonzero(again):
            observations, infos = self.env.reset(options={"reset_mask": again.copy()})
            fresh = _choose(now, ~again, infos, again)
        self._begin(ended)
        return observations, dict(fresh)

    def _draw_tasks(self, which: NDArray[np.intp]) -> None:
        if self._sample_task is None:
            return
        task = self._sample_task(self.env.unwrapped, self._random, which)
        if task is not None:
            raise ValueError(f"sample_task of a batch must return None, got {task!r}: set attributes instead")

    def _begin(self, which: NDArray[np.bool_]) -> None:
        for counts in (self._episode, self._steps, self._inner_steps, self._inner_return):
            counts[which] = 0


def _row(batch: Any, i: Any) -> Any:
    if isinstance(batch, dict):
        return {key: _row(part, i) for key, part in batch.items()}
    return batch[i].copy()


def _choose(
    one: dict[str, Any], rows: NDArray[np.bool_], other: dict[str, Any], other_rows: NDArray[np.bool_]
) -> dict[str, Any]:
    """Infos of a batch: those of `one` in some rows, those of `other` in others, nothing in the rest."""
    chosen: dict[str, Any] = {}
    for infos, mask in ((one, rows), (other, other_rows)):
        for key, column in infos.items():
            if key.startswith("_") and key[1:] in infos:
                continue
            has = mask & infos.get(f"_{key}", True)
            if not np.count_nonzero(has):
                continue
            if isinstance(column, dict):
                column = _choose(column, has, {}, ~has)
                if key in chosen:
                    column = _choose(chosen[key], ~has, column, has)
                chosen[key] = column
            elif key not in chosen:
                chosen[key] = np.full_like(column, None if column.dtype == object else 0)
            if not isinstance(column, dict):
                chosen[key][has] = column[has]
            chosen[f"_{key}"] = has | chosen.get(f"_{key}", False)
    return chosen
