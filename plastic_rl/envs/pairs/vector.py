"""Many lifetimes of paired associates at once: the rules of `PlasticPairsEnv`, batched with NumPy."""

from collections.abc import Iterator
from typing import Any, ClassVar, Unpack

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from plastic_rl.envs.batched import BatchedEnv
from plastic_rl.envs.pairs.render import Trail, render_trail
from plastic_rl.envs.pairs.rules import Lifetimes, Pairs, PairsArguments, PairsOptions


class PlasticPairsVectorEnv(BatchedEnv):
    """A batch of B lifetimes of paired associates; `gymnasium.make_vec` gives it for the ids of the pairs.

    Rules, arguments, observations and information are those of `PlasticPairsEnv`, each with pairs of its own;
    for seeds, resets and the ends of episodes see `BatchedEnv`.

    Args:
        num_envs: B, at least 1.
        max_episode_steps: episodes are truncated after so many steps, at least 1; None, the default, for no
            limit but their own end.
        render_mode: "rgb_array", "ansi" or None.
        options: the other arguments of `PlasticPairsEnv`.

    Raises:
        ValueError: an argument is outside of its range.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        **BatchedEnv.metadata,
        "render_modes": ["rgb_array", "ansi"],
        "render_fps": 4,
    }
    state_attributes: ClassVar[tuple[str, ...]] = (
        "_store", "_n_used", "_seen", "_pairs", "_targets", "_now", "_end", "_target", "_right", "_outcomes",
        "_trails",
    )  # fmt: skip

    def __init__(
        self,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        **options: Unpack[PairsArguments],
    ):
        self._rules = rules = Pairs(PairsOptions(**options))
        super().__init__(
            num_envs,
            rules.observation_space(),
            spaces.Discrete(rules.options.n_answers),
            max_episode_steps=max_episode_steps,
            render_mode=render_mode,
        )
        # Lifetimes are drawn for a whole batch, and those that are not needed yet kept in store.
        self._store: Lifetimes | None = None
        self._store_rng: np.random.Generator | None = None
        self._n_used = 0
        # Row i of the batch has the entries i (T + 1) to (i + 1) (T + 1) - 1 of these, one for each step.
        n_steps, size = rules.longest + 1, rules.observation_size
        self._seen = np.zeros((self.num_envs * n_steps, size), np.float32)
        self._pairs = np.zeros(self.num_envs * n_steps, np.int64)
        self._targets = np.zeros(self.num_envs * n_steps, np.int64)
        self._first = np.arange(self.num_envs) * n_steps
        self._now = self._first.copy()
        self._end = self._first.copy()
        self._target = np.zeros(self.num_envs, np.int64)
        self._right = np.zeros(self.num_envs, np.bool_)
        # Where in the observations the outcomes of trials stand: row, and entry by action.
        self._outcome_entries = np.arange(self.num_envs) * size + rules.answer_start
        self._outcomes: NDArray[np.intp] | None = None
        self._trails = [] if render_mode is None else [Trail(rules) for _ in range(self.num_envs)]

    def _restored(self) -> None:
        if self._store is not None:
            self._store, self._store_rng = Lifetimes(*self._store), self.np_random

    def _begin(self, which: NDArray[np.intp]) -> None:
        n = len(which)
        if self._store is None or self._store_rng is not self.np_random or self._n_used + n > self.num_envs:
            self._store, self._store_rng = self._rules.draw(self.np_random, self.num_envs), self.np_random
            self._n_used = 0
        life, rows = self._store, slice(self._n_used, self._n_used + n)
        self._n_used += n
        n_steps = self._rules.longest + 1
        self._seen.reshape(-1, n_steps, self._rules.observation_size)[which] = life.observations[rows]
        self._pairs.reshape(-1, n_steps)[which] = life.pairs[rows]
        self._targets.reshape(-1, n_steps)[which] = life.targets[rows]
        self._now[which] = self._first[which]
        self._end[which] = self._first[which] + life.lengths[rows]
        self._target[which] = life.targets[rows, 0]
        self._right[which] = False
        if self._outcomes is not None:
            self._outcomes[which] = -1
        for row, i in enumerate(which if self._trails else (), start=rows.start):
            self._trails[i].start(life, row)

    def _advance(self, actions: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        self._right = self._target == actions
        if self._rules.is_tried:
            self._outcomes = np.where(self._target >= 0, actions, -1)
        self._now += 1
        self._target = self._targets.take(self._now)
        for trail, action in zip(self._trails, actions, strict=False):
            trail.record(int(action))
        return self._right.astype(np.float64), self._now == self._end

    def _observe(self) -> NDArray[np.float32]:
        observations = self._seen.take(self._now, axis=0)
        observations[:, -1] = self._right
        if self._outcomes is not None:
            entries = (self._outcome_entries + self._outcomes)[self._outcomes >= 0]
            observations.reshape(-1)[entries] = 1
        return observations

    def _inform(self) -> dict[str, NDArray[Any]]:
        infos: dict[str, NDArray[Any]] = {"pair": self._pairs.take(self._now)}
        is_wanted = self._target >= 0
        if np.count_nonzero(is_wanted):
            infos["target"], infos["_target"] = self._target.copy(), is_wanted
        return infos

    def _draw(self) -> Iterator[Any]:
        for trail in self._trails:
            yield render_trail(self.render_mode, trail)
