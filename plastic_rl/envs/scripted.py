"""A base for environments whose lifetimes are drawn as arrays: all but what depends on the actions."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from plastic_rl.envs.arguments import can_render, check_render_mode
from plastic_rl.envs.state import Stateful


class Script(Protocol):
    """The rules of such an environment.

    Attributes:
        lifetimes: the named tuple that `draw` returns; its first field are the observations, (n, T + 1, D)
            float32, the last entry of which is left for the reward of the step before.
        outcome_start: the first of the entries of an observation that show, one-hot, the answer of the step
            before where one was wanted; None where it is not shown.
    """

    lifetimes: type[Any]
    outcome_start: int | None

    def observation_space(self) -> spaces.Box:
        """A new (D,) float32 box."""

    def draw(self, rng: np.random.Generator, n: int) -> Any:
        """Draw n lifetimes, with no other source of chance than `rng`."""


class Trail(Protocol):
    """One lifetime and what was answered in it so far: what pictures are made from."""

    def start(self, lifetimes: Any, row: int) -> None:
        """Begin the lifetime with this number; its arrays must not change any more."""

    def record(self, action: int) -> None:
        """Add a step with this action."""


class ScriptedEnv(Stateful, gym.Env[NDArray[Any], Any], ABC):
    """One lifetime at a time; the reward is 1 for the right answer where one is wanted, otherwise 0.

    A family writes four methods on the lifetime, row 0 of arrays, and its step `_steps`:

    - `_length(life)`: T.
    - `_right_answer(life)`: of this step, -1 where none is wanted.
    - `_inform(life)`: what the infos say, beside the right answer under the name `answer_key`.
    - `_draw(trail)`: the picture or text of now.

    Args:
        rules: what draws the lifetimes.
        n_answers: how many actions there are.
        trail: of this environment; used with a render mode only.
        render_mode: one of the class's `metadata["render_modes"]`, or None.
    """

    state_attributes: ClassVar[tuple[str, ...]] = ("_life", "_steps", "_trail")
    answer_key: ClassVar[str]

    def __init__(self, rules: Script, n_answers: int, trail: Trail, render_mode: str | None):
        self._rules = rules
        self.render_mode = check_render_mode(render_mode, self.metadata["render_modes"])
        self.observation_space = rules.observation_space()
        self.action_space = spaces.Discrete(n_answers)
        self._life: Any = None
        self._steps = 0
        self._trail = None if self.render_mode is None else trail

    @abstractmethod
    def _right_answer(self, life: Any) -> int:
        """The right answer at this step, -1 where none is wanted."""

    @abstractmethod
    def _length(self, life: Any) -> int:
        """T, the steps of the lifetime."""

    @abstractmethod
    def _inform(self, life: Any) -> dict[str, Any]:
        """New infos of this step, without the right answer."""

    @abstractmethod
    def _draw(self, trail: Any) -> NDArray[np.uint8] | str:
        """An (H, W, 3) uint8 picture, or text, depending on `render_mode`."""

    def _restored(self) -> None:
        if self._life is not None:
            self._life = self._rules.lifetimes(*self._life)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start a new lifetime; `options` are not used.

        Returns:
            The observation, (D,) float32, and the information described in the class's card.
        """
        super().reset(seed=seed, options=options)
        self._life = self._rules.draw(self.np_random, 1)
        self._steps = 0
        if self._trail is not None:
            self._trail.start(self._life, 0)
        return self._life.observations[0, 0].copy(), self._infos()

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Answer, where an answer is wanted, and go on to the next step.

        Returns:
            The observation, (D,) float32; the reward; `terminated`, true on the last step; `truncated`,
            always false; the information described in the class's card.

        Raises:
            ResetNeeded: there was no `reset` yet, or none since the episode's end.
            ValueError: the action is not an integer from 0 to the number of answers - 1.
        """
        if self._life is None:
            raise ResetNeeded("Cannot call env.step() before calling env.reset()")
        length = self._length(self._life)
        if self._steps == length:
            raise ResetNeeded("Cannot call env.step() after the episode's end: call env.reset() first")
        if not self.action_space.contains(action):
            last = int(self.action_space.n) - 1  # type: ignore[attr-defined]
            raise ValueError(f"action must be an integer from 0 to {last}, got {action!r}")
        answer = self._right_answer(self._life)
        reward = float(int(action) == answer)
        self._steps += 1
        observation = self._life.observations[0, self._steps].copy()
        observation[-1] = reward
        if answer >= 0 and self._rules.outcome_start is not None:
            observation[self._rules.outcome_start + int(action)] = 1
        if self._trail is not None:
            self._trail.record(int(action))
        return observation, reward, self._steps == length, False, self._infos()

    def _infos(self) -> dict[str, Any]:
        infos, answer = self._inform(self._life), self._right_answer(self._life)
        return infos if answer < 0 else infos | {self.answer_key: answer}

    def render(self) -> NDArray[np.uint8] | str | None:
        """Show the lifetime so far: an (H, W, 3) uint8 picture, or text, depending on `render_mode`.

        Raises:
            ResetNeeded: there was no `reset` yet.
        """
        if not can_render(self.render_mode, self._life is not None):
            return None
        return self._draw(self._trail)
