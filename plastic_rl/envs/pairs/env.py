"""Paired associates: cues and their answers, drawn anew for every lifetime, shown once and then asked for."""

from typing import Any, Unpack

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from plastic_rl.envs.arguments import can_render, check_render_mode
from plastic_rl.envs.pairs.render import Trail, render_trail
from plastic_rl.envs.pairs.rules import Lifetimes, Pairs, PairsArguments, PairsOptions
from plastic_rl.envs.state import Stateful


class PlasticPairsEnv(Stateful, gym.Env[NDArray[Any], Any]):
    """Pairs of a cue and an answer that must be bound to each other within one lifetime.

    ## Description
    Every lifetime brings new pairs of a cue and its answer. By default each pair is shown once; then every
    cue is shown again, in another order, and its answer is wanted. Nothing can be learned between lifetimes
    but how to bind an answer to a cue and to recall it: the paired associates of memory research, and what a
    plastic connection is for. With `feedback="tried"` the answers are never shown, but have to be found by
    trial and reward: a contextual bandit whose contexts are new in every lifetime. `PlasticBandit-v0` is
    that form with the same cues in all lifetimes.

    ## Action Space
    `Discrete(n_answers)`: the answer. Without effect where none is wanted.

    ## Observation Space
    `Box(-1, 1, (cue_size + n_answers + 2,), float32)`, in this order:

    | entries | content |
    |---|---|
    | cue_size | the cue; 0 where none is shown |
    | n_answers | the answer that is told, one-hot; tried: the action whose outcome this is |
    | 1 | 1 where an answer is wanted, else 0 |
    | 1 | the reward of the previous step, 0 after a reset |

    ## Rewards
    1 for the right answer where one is wanted, otherwise 0. Mean returns to hold a score against are
    computed, not simulated; as shares of the questions of K pairs with A answers:

    - chance: 1 / A.
    - counts only: to every question the answer that most pairs have, E[largest multinomial count] / K; .531,
      .442, .384, .344 for K = 4, 8, 16, 32 and A = 4. No constant answer does better. Who infers from the
      rewards which answers are used up by now can have .647, .529, .442 for K = 4, 8, 16, again without
      binding; more than that takes binding.
    - all (told): 1.
    - best possible (tried): the pairs are independent, a wrong trial says nothing about the other answers,
      and a right one should be repeated. So the right answer is found in round j = 1 ... A with probability
      1 / A each and is given from then on: the sum over j of (n_rounds - j + 1) / A, divided by n_rounds;
      .75 with four answers and six rounds. (Rounds after the last do not count where n_rounds is less than
      A.)

    ## Starting State
    `n_pairs` cues of `cue_size` random signs, all different, each with an answer drawn uniformly. Then:

    - told: each pair in two steps, its cue and its answer; `blank_steps` steps in which nothing is seen;
      every cue once, in random order, in two steps: the cue, and an empty step at which the answer is
      wanted. With `n_changes` that many pairs, drawn at random, then get another answer and are shown
      again, and after as many blank steps all are asked again, in another order.
    - tried: `n_rounds` times all cues in random order, each in two steps: the cue, at which an answer is
      wanted; and the outcome, the action and its reward. The right answer is never shown.

    ## Episode End
    Terminates after the last step: with K pairs 4 K + blank_steps steps; with `n_changes` another
    2 n_changes + blank_steps + 2 K; with `answer_delay=0` a step less for every question. Tried: 2 K
    n_rounds. The observation after the last step has nothing but the reward.

    ## Information
    `pair`: the index of the pair that is shown or asked for, or whose outcome this is; -1 where there is
    none. `target`: the right answer, there only where one is wanted; an agent must not be shown it.

    ## Arguments
    All by keyword.

    - `n_pairs`: K, at least 1, or (low, high): then drawn uniformly for every lifetime, which ends earlier
      with fewer pairs. At most as many as there are different cues: 2**cue_size drawn ones, cue_size fixed
      ones.
    - `cue_size`: at least 1. `n_answers`: A, at least 2.
    - `blank_steps`: at least 0, how long nothing is seen between showing and asking; told only.
    - `cues`: "drawn" anew for every lifetime; or "fixed", one-hot vectors that are the same in all
      lifetimes, so that only the answers change: much easier, as a place can be kept for each.
    - `answer_delay`: 1, or 0: then an answer is wanted at the cue itself. That is what most environments are
      like, but no network can solve it that recalls one step late. Told only: when tried, it is always 0.
    - `n_changes`: at least 0, at most the (smallest) number of pairs; told only.
    - `feedback`: "told" or "tried". `n_rounds`: at least 1; tried only.
    - `render_mode`: "rgb_array", "ansi" or None. "human" comes from Gymnasium's wrapper and needs pygame.

    ## Version History
    - v0: first version.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "ansi"], "render_fps": 4}  # noqa: RUF012
    state_attributes = ("_life", "_steps", "_trail")

    def __init__(self, *, render_mode: str | None = None, **options: Unpack[PairsArguments]):
        self._rules = Pairs(PairsOptions(**options))
        self.render_mode = check_render_mode(render_mode, self.metadata["render_modes"])
        self.observation_space = self._rules.observation_space()
        self.action_space = spaces.Discrete(self._rules.options.n_answers)
        self._life: Lifetimes | None = None
        self._steps = 0
        self._trail = None if self.render_mode is None else Trail(self._rules)

    def _restored(self) -> None:
        if self._life is not None:
            self._life = Lifetimes(*self._life)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start a lifetime with new pairs; `options` are not used.

        Returns:
            The observation, (D,) float32, and the information described in the class's card.
        """
        super().reset(seed=seed, options=options)
        self._life = self._rules.draw(self.np_random, 1)
        self._steps = 0
        if self._trail is not None:
            self._trail.start(self._life, 0)
        return self._life.observations[0, 0].copy(), self._info(self._life)

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Answer, where an answer is wanted, and go on to the next step.

        Returns:
            The observation, (D,) float32; the reward; `terminated`, true on the last step; `truncated`,
            always false; the information described in the class's card.

        Raises:
            ResetNeeded: there was no `reset` yet, or none since the episode's end.
            ValueError: the action is not an integer from 0 to n_answers - 1.
        """
        if self._life is None:
            raise ResetNeeded("Cannot call env.step() before calling env.reset()")
        life, length = self._life, int(self._life.lengths[0])
        if self._steps == length:
            raise ResetNeeded("Cannot call env.step() after the episode's end: call env.reset() first")
        if not self.action_space.contains(action):
            last = self._rules.options.n_answers - 1
            raise ValueError(f"action must be an integer from 0 to {last}, got {action!r}")
        target = int(life.targets[0, self._steps])
        reward = float(int(action) == target)
        self._steps += 1
        observation = life.observations[0, self._steps].copy()
        observation[-1] = reward
        if self._rules.is_tried and target >= 0:
            observation[self._rules.answer_start + int(action)] = 1
        if self._trail is not None:
            self._trail.record(int(action))
        return observation, reward, self._steps == length, False, self._info(life)

    def _info(self, life: Lifetimes) -> dict[str, Any]:
        info = {"pair": int(life.pairs[0, self._steps])}
        target = int(life.targets[0, self._steps])
        return info if target < 0 else info | {"target": target}

    def render(self) -> NDArray[np.uint8] | str | None:
        """Show the lifetime so far: an (H, W, 3) uint8 picture, or text, depending on `render_mode`.

        Raises:
            ResetNeeded: there was no `reset` yet.
        """
        if not can_render(self.render_mode, self._life is not None):
            return None
        assert self._trail is not None
        return render_trail(self.render_mode, self._trail)
