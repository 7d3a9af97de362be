"""Target discovery: which of four new cues brings the reward, found out over the trials of a lifetime."""

from typing import Any, ClassVar, Unpack

import numpy as np
from numpy.typing import NDArray

from plastic_rl.envs.discovery.render import Trail, render_trail
from plastic_rl.envs.discovery.rules import Discovery, DiscoveryArguments, DiscoveryOptions, Lifetimes
from plastic_rl.envs.scripted import ScriptedEnv


class PlasticTargetDiscoveryEnv(ScriptedEnv):
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
    state_attributes: ClassVar[tuple[str, ...]] = ()
    answer_key = "answer"

    def __init__(self, *, render_mode: str | None = None, **options: Unpack[DiscoveryArguments]):
        rules = Discovery(DiscoveryOptions(**options))
        super().__init__(rules, 2, Trail(rules), render_mode)

    def _length(self, life: Lifetimes) -> int:
        return life.answers.shape[1] - 1

    def _right_answer(self, life: Lifetimes) -> int:
        return int(life.answers[0, self._steps])

    def _inform(self, life: Lifetimes) -> dict[str, Any]:
        return {"trial": int(life.trials[0, self._steps])}

    def _draw(self, trail: Trail) -> NDArray[np.uint8] | str:
        return render_trail(self.render_mode, trail)
