"""Many lifetimes of target discovery at once, batched with NumPy."""

from collections.abc import Iterator
from typing import Any, ClassVar, Unpack

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from plastic_rl.envs.batched import BatchedEnv
from plastic_rl.envs.discovery.render import Trail, render_trail
from plastic_rl.envs.discovery.rules import Discovery, DiscoveryArguments, DiscoveryOptions


class PlasticTargetDiscoveryVectorEnv(BatchedEnv):
    """A batch of B lifetimes of target discovery, which `gymnasium.make_vec` gives for its id.

    Rules, arguments, observations and information are those of `PlasticTargetDiscoveryEnv`, each with cues
    of its own; for seeds, resets and the ends of episodes see `BatchedEnv`.

    Args:
        num_envs: B, at least 1.
        max_episode_steps: episodes are truncated after so many steps, at least 1; None, the default, for no
            limit but their own end.
        render_mode: "rgb_array", "ansi" or None.
        options: the other arguments of `PlasticTargetDiscoveryEnv`.

    Raises:
        ValueError: an argument is outside of its range.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        **BatchedEnv.metadata,
        "render_modes": ["rgb_array", "ansi"],
        "render_fps": 6,
    }

    state_attributes: ClassVar[tuple[str, ...]] = ("_seen", "_answers", "_now", "_right", "_given", "_trails")

    def __init__(
        self,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        **options: Unpack[DiscoveryArguments],
    ):
        self._rules = rules = Discovery(DiscoveryOptions(**options))
        super().__init__(
            num_envs,
            rules.observation_space(),
            spaces.Discrete(2),
            max_episode_steps=max_episode_steps,
            render_mode=render_mode,
        )
        # Row i of the batch has the entries from i (T + 1) on of these, one for each step.
        n_steps = rules.length + 1
        self._seen = np.zeros((self.num_envs * n_steps, rules.observation_size), np.float32)
        self._answers = np.full(self.num_envs * n_steps, -1)
        self._first = np.arange(self.num_envs) * n_steps
        self._now = self._first.copy()
        self._right = np.zeros(self.num_envs, np.bool_)
        # The answer that each row has just given at a go signal, -1 where it was at none.
        self._given = np.full(self.num_envs, -1)
        self._trails = [] if render_mode is None else [Trail(rules) for _ in range(self.num_envs)]

    def _begin(self, which: NDArray[np.intp]) -> None:
        life = self._rules.draw(self.np_random, len(which))
        n_steps = self._rules.length + 1
        self._seen.reshape(-1, n_steps, self._rules.observation_size)[which] = life.observations
        self._answers.reshape(-1, n_steps)[which] = life.answers
        self._now[which] = self._first[which]
        self._right[which], self._given[which] = False, -1
        for row, i in enumerate(which if self._trails else ()):
            self._trails[i].start(life, row)

    def _advance(self, actions: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        answers = self._answers.take(self._now)
        self._right = answers == actions
        self._given = np.where(answers >= 0, actions, -1)
        self._now += 1
        for trail, action in zip(self._trails, actions, strict=False):
            trail.record(int(action))
        return self._right.astype(np.float64), self._now - self._first == self._rules.length

    def _observe(self) -> NDArray[np.float32]:
        observations = self._seen.take(self._now, axis=0)
        told = (self._given >= 0).nonzero()[0]
        observations[told, self._rules.options.cue_size + 1 + self._given[told]] = 1
        observations[:, -1] = self._right
        return observations

    def _inform(self) -> dict[str, NDArray[Any]]:
        trial = (self._now - self._first) // self._rules.trial_length
        infos: dict[str, NDArray[Any]] = {"trial": np.minimum(trial, self._rules.options.n_trials - 1)}
        answers = self._answers.take(self._now)
        is_wanted = answers >= 0
        if np.count_nonzero(is_wanted):
            infos["answer"], infos["_answer"] = answers, is_wanted
        return infos

    def _draw(self) -> Iterator[Any]:
        for trail in self._trails:
            yield render_trail(self.render_mode, trail)
