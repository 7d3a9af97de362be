"""Paired associates: cues and their answers, drawn anew for every lifetime, shown once and then asked for."""

from typing import Any, ClassVar, Unpack

import numpy as np
from numpy.typing import NDArray

from plastic_rl.envs.pairs.render import Trail, render_trail
from plastic_rl.envs.pairs.rules import Lifetimes, Pairs, PairsArguments, PairsOptions
from plastic_rl.envs.scripted import ScriptedEnv


class PlasticPairsEnv(ScriptedEnv):
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
    state_attributes: ClassVar[tuple[str, ...]] = ()
    answer_key = "target"

    def __init__(self, *, render_mode: str | None = None, **options: Unpack[PairsArguments]):
        rules = Pairs(PairsOptions(**options))
        super().__init__(rules, rules.options.n_answers, Trail(rules), render_mode)

    def _length(self, life: Lifetimes) -> int:
        return int(life.lengths[0])

    def _right_answer(self, life: Lifetimes) -> int:
        return int(life.targets[0, self._steps])

    def _inform(self, life: Lifetimes) -> dict[str, Any]:
        return {"pair": int(life.pairs[0, self._steps])}

    def _draw(self, trail: Trail) -> NDArray[np.uint8] | str:
        return render_trail(self.render_mode, trail)
