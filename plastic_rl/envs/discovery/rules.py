"""The rules of target discovery: whole lifetimes as arrays, and scores that can be computed."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import comb
from typing import Any, NamedTuple, TypedDict

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from plastic_rl.arguments import check_count
from plastic_rl.envs.sampling import draw_cues, draw_distinct


class DiscoveryArguments(TypedDict, total=False):
    """The fields of `DiscoveryOptions` as keyword arguments, as type checkers and editors want them."""

    n_cues: int
    cue_size: int
    n_trials: int
    blank_steps: int


@dataclass(frozen=True, kw_only=True)
class DiscoveryOptions:
    """The arguments that `PlasticTargetDiscoveryEnv` and its batched form share; the former's card has them.

    Raises:
        ValueError: an argument is outside of its range.
    """

    n_cues: int = 4
    cue_size: int = 20
    n_trials: int = 20
    blank_steps: int = 1

    def __post_init__(self) -> None:
        for name, least in (("n_cues", 3), ("cue_size", 2), ("n_trials", 1), ("blank_steps", 0)):
            object.__setattr__(self, name, check_count(name, getattr(self, name), least))
        if self.n_cues > 2**self.cue_size:
            raise ValueError(
                f"n_cues must be at most 2**cue_size = {2**self.cue_size}, so that all cues differ, "
                f"got {self.n_cues}"
            )


class Lifetimes(NamedTuple):
    """n lifetimes of T steps; a step is numbered by what is seen before it.

    Attributes:
        observations: (n, T + 1, D) float32, without what depends on actions: the last three entries.
        answers: (n, T + 1) the right answer at a go signal, -1 at other steps.
        trials: (n, T + 1) the number of the trial.
        cues: (n, n_cues, cue_size) float32.
        targets: (n,) which cue it is.
        shown: (n, n_trials, 2) the cues of each trial in the order in which they are shown.
    """

    observations: NDArray[np.float32]
    answers: NDArray[np.intp]
    trials: NDArray[np.intp]
    cues: NDArray[np.float32]
    targets: NDArray[np.intp]
    shown: NDArray[np.intp]


class Discovery:
    """Draws lifetimes of target discovery.

    Args:
        options: see there.

    Attributes:
        options: as given.
        trial_length: steps of a trial.
        length: T, steps of a lifetime.
        observation_size: D; the go signal is its entry `cue_size`, the previous answer the two after that,
            the reward the last.
        outcome_start: the first of the entries of the previous answer; see `Script`.
    """

    lifetimes = Lifetimes

    def __init__(self, options: DiscoveryOptions):
        self.options = options
        self.trial_length = 3 * (1 + options.blank_steps)
        self.length = options.n_trials * self.trial_length
        self.observation_size = options.cue_size + 4
        self.outcome_start: int | None = options.cue_size + 1

    def observation_space(self) -> spaces.Box:
        """A new (D,) float32 box."""
        return spaces.Box(-1, 1, (self.observation_size,), np.float32)

    def draw(self, rng: np.random.Generator, n: int) -> Lifetimes:
        """Draw n lifetimes, with no other source of chance than `rng`."""
        options = self.options
        cues = draw_cues(rng, n, options.n_cues, options.cue_size)
        targets = rng.integers(options.n_cues, size=n)
        shown = draw_distinct(rng, n * options.n_trials, options.n_cues, 2).reshape(n, options.n_trials, 2)
        among = (shown == targets[:, None, None]).any(axis=2)

        second = 1 + options.blank_steps
        steps = np.zeros((n, options.n_trials, self.trial_length, self.observation_size), np.float32)
        row = np.arange(n)[:, None]
        steps[:, :, 0, : options.cue_size] = cues[row, shown[:, :, 0]]
        steps[:, :, second, : options.cue_size] = cues[row, shown[:, :, 1]]
        steps[:, :, 2 * second, options.cue_size] = 1
        answers = np.full((n, options.n_trials, self.trial_length), -1)
        answers[:, :, 2 * second] = among

        # After the last step nothing is seen but the outcome.
        observations = np.zeros((n, self.length + 1, self.observation_size), np.float32)
        observations[:, :-1] = steps.reshape(n, self.length, -1)
        right = np.full((n, self.length + 1), -1)
        right[:, :-1] = answers.reshape(n, self.length)
        trials = np.minimum(np.arange(self.length + 1) // self.trial_length, options.n_trials - 1)
        return Lifetimes(observations, right, np.broadcast_to(trials, right.shape), cues, targets, shown)


def best_right_answers(n_cues: int, n_trials: int) -> float:
    """How many of the answers are right, on average, for one who infers as well as can be.

    All that is known are the candidates, cues that may still be the target; each with the same probability,
    as trials do not depend on the target. Two of n cues are shown, k of them among the m candidates with the
    hypergeometric probability; the target is one of them with probability k / m. The likelier answer is
    right with probability max(k, m - k) / m, and its outcome, right or wrong, says which it was: k or m - k
    candidates are left. What is answered makes no difference to what is learned, so nothing is better than
    the likelier answer.
    """
    # By the number of candidates: the probability of having so many before the trial.
    having = {n_cues: 1.0}
    expected = 0.0
    for _ in range(n_trials):
        after: dict[int, float] = {}
        for m, chance in having.items():
            for k in range(min(2, m) + 1):
                drawn = comb(m, k) * comb(n_cues - m, 2 - k) / comb(n_cues, 2)
                expected += chance * drawn * max(k, m - k) / m
                for left in {k, m - k} - {0} if k != m - k else {k}:
                    share = 1.0 if k == m - k else left / m
                    after[left] = after.get(left, 0.0) + chance * drawn * share
        having = after
    return expected


def discovery_levels(env_kwargs: Mapping[str, Any]) -> dict[str, float]:
    """The mean returns for an environment made with these arguments; none where its lifetimes are cut off.

    - "chance": always the answer that is right more often.
    - "optimal": see `best_right_answers`.
    """
    own = {field.name for field in fields(DiscoveryOptions)}
    if env_kwargs.keys() - own - {"render_mode"}:
        return {}
    options = DiscoveryOptions(**{name: env_kwargs[name] for name in env_kwargs.keys() & own})
    among = 2 / options.n_cues
    return {
        "chance": options.n_trials * max(among, 1 - among),
        "optimal": best_right_answers(options.n_cues, options.n_trials),
    }
