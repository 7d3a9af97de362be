"""Target discovery: which of four new cues brings the reward, found out over the trials of a lifetime."""

from typing import Any, Unpack

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from plastic_rl.envs.arguments import can_render, check_render_mode
from plastic_rl.envs.discovery.render import Trail, render_trail
from plastic_rl.envs.discovery.rules import Discovery, DiscoveryArguments, DiscoveryOptions, Lifetimes
from plastic_rl.envs.state import Stateful


class PlasticTargetDiscoveryEnv(Stateful, gym.Env[NDArray[Any], Any]):
    """Find out which of some cues is the target, from trials none of which says it.

    ## Description
    The stimulus-response task of Miconi, Rawal, Clune & Stanley ("Backpropamine", ICLR 2019), whose
    repository calls it `sr`. Every lifetime brings new cues, one of them secretly the target. In each trial
    two of them, drawn at random, are shown one after the other; then comes a go signal, at which the agent
    answers whether the target was among the two. A right answer earns 1, which is seen at the next step. As
    cues come in pairs, no single trial says which one it is: what was shown has to be kept until the outcome
    is known, and then to be bound to it.

    ## Action Space
    `Discrete(2)`: 1 for "the target was among them", 0 for "it was not". Without effect but at a go signal.

    ## Observation Space
    `Box(-1, 1, (cue_size + 4,), float32)`, in this order:

    | entries | content |
    |---|---|
    | cue_size | the cue, signs; 0 where none is shown |
    | 1 | the go signal: 1 where an answer is wanted, else 0 |
    | 2 | at the step after a go signal the answer that was given, one-hot; else 0 |
    | 1 | the reward of the previous step, 0 after a reset |

    ## Rewards
    1 for a right answer at a go signal, otherwise 0. Mean returns to hold a score against are computed, not
    simulated:

    - chance: always the likelier answer, max(2 / n_cues, 1 - 2 / n_cues) of the trials; 10 of 20.
    - optimal: exact Bayesian inference over which cue is the target. Every outcome, right or wrong, says
      whether it was one of the two; with four cues, one answer on average is wrong: 19.0 of 20.

    ## Starting State
    `n_cues` cues of `cue_size` random signs, all different, one of them the target. A trial is: a cue,
    another cue, the go signal, each followed by `blank_steps` steps in which no cue is seen.

    ## Episode End
    Terminates after `n_trials` trials of 3 (1 + blank_steps) steps each; 120 steps.

    ## Information
    `trial`: its number, from 0. `answer`: the right one, there only at a go signal; an agent must not be
    shown it.

    ## Arguments
    All by keyword.

    - `n_cues`: at least 3, at most 2**cue_size.
    - `cue_size`: at least 2.
    - `n_trials`: at least 1.
    - `blank_steps`: at least 0. With 0 the outcome is seen together with the next trial's first cue.
    - `render_mode`: "rgb_array", "ansi" or None. "human" comes from Gymnasium's wrapper and needs pygame.

    ## Version History
    - v0: first version.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "ansi"], "render_fps": 6}  # noqa: RUF012

    state_attributes = ("_life", "_steps", "_trail")

    def __init__(self, *, render_mode: str | None = None, **options: Unpack[DiscoveryArguments]):
        self._rules = Discovery(DiscoveryOptions(**options))
        self.render_mode = check_render_mode(render_mode, self.metadata["render_modes"])
        self.observation_space = self._rules.observation_space()
        self.action_space = spaces.Discrete(2)
        self._life: Lifetimes | None = None
        self._steps = 0
        self._trail = None if self.render_mode is None else Trail(self._rules)

    def _restored(self) -> None:
        self._life = None if self._life is None else Lifetimes(*self._life)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start a lifetime with new cues; `options` are not used.

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
        """Answer at a go signal, and go on to the next step.

        Returns:
            The observation, (D,) float32; the reward; `terminated`, true on the last step; `truncated`,
            always false; the information described in the class's card.

        Raises:
            ResetNeeded: there was no `reset` yet, or none since the episode's end.
            ValueError: the action is neither 0 nor 1.
        """
        if self._life is None:
            raise ResetNeeded("Cannot call env.step() before calling env.reset()")
        life = self._life
        if self._steps == self._rules.length:
            raise ResetNeeded("Cannot call env.step() after the episode's end: call env.reset() first")
        if not self.action_space.contains(action):
            raise ValueError(f"action must be an integer from 0 to 1, got {action!r}")
        answer = int(life.answers[0, self._steps])
        reward = float(int(action) == answer)
        self._steps += 1
        observation = life.observations[0, self._steps].copy()
        if answer >= 0:
            observation[self._rules.options.cue_size + 1 + int(action)] = 1
            observation[-1] = reward
        if self._trail is not None:
            self._trail.record(int(action))
        return observation, reward, self._steps == self._rules.length, False, self._info(life)

    def _info(self, life: Lifetimes) -> dict[str, Any]:
        info = {"trial": int(life.trials[0, self._steps])}
        answer = int(life.answers[0, self._steps])
        return info if answer < 0 else info | {"answer": answer}

    def render(self) -> NDArray[np.uint8] | str | None:
        """Show the lifetime so far: an (H, W, 3) uint8 picture, or text, depending on `render_mode`.

        Raises:
            ResetNeeded: there was no `reset` yet.
        """
        if not can_render(self.render_mode, self._life is not None):
            return None
        assert self._trail is not None
        return render_trail(self.render_mode, self._trail)
