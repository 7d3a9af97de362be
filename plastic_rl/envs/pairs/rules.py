"""The rules of paired associates: whole lifetimes as arrays, shared by every form of the environment."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from plastic_rl.arguments import check_choice, check_count, is_integer
from plastic_rl.envs.sampling import draw_cues


class PairsArguments(TypedDict, total=False):
    """The fields of `PairsOptions` as keyword arguments, as type checkers and editors want them."""

    n_pairs: int | tuple[int, int]
    cue_size: int
    n_answers: int
    blank_steps: int
    cues: Literal["drawn", "fixed"]
    answer_delay: Literal[0, 1]
    n_changes: int
    feedback: Literal["told", "tried"]
    n_rounds: int


@dataclass(frozen=True, kw_only=True)
class PairsOptions:
    """The arguments that `PlasticPairsEnv` and `PlasticPairsVectorEnv` share; the former's card has them.

    Raises:
        ValueError: an argument is outside of its range.
    """

    n_pairs: int | tuple[int, int] = 8
    cue_size: int = 16
    n_answers: int = 4
    blank_steps: int = 0
    cues: Literal["drawn", "fixed"] = "drawn"
    answer_delay: Literal[0, 1] = 1
    n_changes: int = 0
    feedback: Literal["told", "tried"] = "told"
    n_rounds: int = 6

    def __post_init__(self) -> None:
        fewest, most = self.pairs_range
        for name, least in (
            ("cue_size", 1),
            ("n_answers", 2),
            ("n_rounds", 1),
            ("blank_steps", 0),
            ("n_changes", 0),
        ):
            object.__setattr__(self, name, check_count(name, getattr(self, name), least))
        check_choice("cues", self.cues, ("drawn", "fixed"))
        check_choice("feedback", self.feedback, ("told", "tried"))
        if not is_integer(self.answer_delay) or self.answer_delay not in (0, 1):
            raise ValueError(f"answer_delay must be 0 or 1, got {self.answer_delay!r}")
        formula = "2**cue_size" if self.cues == "drawn" else "cue_size"
        limit = 2**self.cue_size if self.cues == "drawn" else self.cue_size
        if most > limit:
            raise ValueError(
                f"n_pairs must be at most {formula} = {limit} with cues={self.cues!r}, so that all "
                f"cues differ, got {self.n_pairs!r}"
            )
        if self.n_changes > fewest:
            raise ValueError(
                f"n_changes must be at most {fewest}, the pairs of a lifetime, got {self.n_changes}"
            )
        for name in ("blank_steps", "n_changes") if self.feedback == "tried" else ():
            if getattr(self, name):
                raise ValueError(
                    f"{name} must be 0 with feedback='tried', which shows nothing before it asks, "
                    f"got {getattr(self, name)}"
                )

    @property
    def pairs_range(self) -> tuple[int, int]:
        """The smallest and the largest number of pairs of a lifetime."""
        given: Any = self.n_pairs
        bounds = (given, given) if is_integer(given) else given
        if (
            not isinstance(bounds, tuple | list)
            or len(bounds) != 2
            or not all(is_integer(bound) for bound in bounds)
            or not 1 <= bounds[0] <= bounds[1]
        ):
            raise ValueError(
                "n_pairs must be an integer of at least 1, or two of them (low, high) with low <= high, "
                f"got {given!r}"
            )
        return int(bounds[0]), int(bounds[1])


def number_of_rounds(options: PairsOptions) -> int:
    """How often each pair is asked for in a lifetime."""
    if options.feedback == "tried":
        return options.n_rounds
    return 2 if options.n_changes else 1


class Lifetimes(NamedTuple):
    """n lifetimes of at most T steps with at most K pairs; a step is numbered by what is seen before it.

    Attributes:
        observations: (n, T + 1, D) float32, what is seen; without what depends on actions, which is the last
            entry (the reward) and the outcome of a trial. All 0 from a lifetime's end on.
        pairs: (n, T + 1) the pair that is shown or asked, -1 where there is none.
        targets: (n, T + 1) the right answer where one is wanted, -1 where none is.
        lengths: (n,) the steps of each lifetime.
        counts: (n,) the pairs of each lifetime.
        cues: (n, K, cue_size) float32.
        answers: (n, V, K): the answers at first and, with `n_changes`, those after the change.
    """

    observations: NDArray[np.float32]
    pairs: NDArray[np.intp]
    targets: NDArray[np.intp]
    lengths: NDArray[np.intp]
    counts: NDArray[np.intp]
    cues: NDArray[np.float32]
    answers: NDArray[np.intp]


# What is seen at a step. `_OUTCOME` is empty until an action fills it.
_CUE, _ANSWER, _NOTHING = 0, 1, 2


class Pairs:
    """Draws lifetimes of paired associates.

    Args:
        options: see there.
        n_asked: how many of the pairs are asked for, at most as many as there are; None for all of them.

    Attributes:
        options: as given.
        longest: T, the steps of the longest lifetime.
        observation_size: D.
        answer_start: the first of the entries of an observation that hold an answer; that of the flag "an
            answer is wanted now" is `observation_size - 2`, that of the reward the last one.
        is_tried: whether answers have to be found by trial.
        outcome_start: `answer_start` if they have; see `Script`.
    """

    lifetimes = Lifetimes

    def __init__(self, options: PairsOptions, n_asked: int | None = None):
        self.options = options
        self.answer_start = options.cue_size
        self.observation_size = options.cue_size + options.n_answers + 2
        self.is_tried = options.feedback == "tried"
        self.outcome_start = self.answer_start if self.is_tried else None
        self._fewest, self._most = options.pairs_range
        scripts = [self._script(count, n_asked) for count in range(self._fewest, self._most + 1)]
        self.longest = max(len(script) for script in scripts)
        # One row for each possible number of pairs, filled up with empty steps to one more than the longest.
        end = (self._order_length() - 1, _NOTHING, False, 0)
        rows = np.array([script + [end] * (self.longest + 1 - len(script)) for script in scripts])
        self._places, self._kinds, wanted, self._versions = np.moveaxis(rows, 2, 0).copy()
        self._wanted = wanted > 0
        self._lengths = np.array([len(script) for script in scripts])

    def observation_space(self) -> spaces.Box:
        """A new (D,) float32 box."""
        return spaces.Box(-1, 1, (self.observation_size,), np.float32)

    def draw(self, rng: np.random.Generator, n: int) -> Lifetimes:
        """Draw n lifetimes, with no other source of chance than `rng`."""
        options, most, fewest = self.options, self._most, self._fewest
        n_answers = options.n_answers
        # Which script each lifetime follows; one row serves all where they do not differ.
        extra = rng.integers(len(self._lengths), size=n) if len(self._lengths) > 1 else np.zeros(1, np.intp)
        row = np.arange(n)[:, None]
        counts = fewest + extra if len(extra) == n else np.full(n, fewest)
        cues = self._draw_cues(rng, n)
        answers = rng.integers(n_answers, size=(n, 1, most))
        order = self._draw_order(rng, counts)
        if options.n_changes:
            changed = order[:, 2 * most : 2 * most + options.n_changes]
            answers = np.repeat(answers, 2, axis=1)
            answers[row, 1, changed] += rng.integers(1, n_answers, size=changed.shape)
            answers %= n_answers

        # For each lifetime and step: which pair, its answer at that time, and what of them is seen.
        kinds, wanted = self._kinds[extra], self._wanted[extra]
        pairs = order[row, self._places[extra]]
        answer = answers[row, self._versions[extra], pairs]
        # What can be seen, as rows of a table: the cues, the answers, nothing.
        table = np.zeros((n, most + n_answers + 1, self.observation_size), np.float32)
        table[:, :most, : self.answer_start] = cues
        table[:, most:-1, self.answer_start : -2] = np.eye(n_answers)
        seen = np.where(kinds == _CUE, pairs, np.where(kinds == _ANSWER, most + answer, most + n_answers))
        seen += row * table.shape[1]
        observations = table.reshape(-1, self.observation_size).take(seen, axis=0)
        observations[..., -2] = wanted
        targets = np.where(wanted, answer, -1)
        lengths = self._lengths[extra] if len(extra) == n else np.full(n, self.longest)
        return Lifetimes(observations, pairs, targets, lengths, counts, cues, answers)

    def _order_length(self) -> int:
        """The length of `_draw_order`'s rows."""
        if self.is_tried:
            return self.options.n_rounds * self._most + 1
        return (4 if self.options.n_changes else 2) * self._most + 1

    def _draw_order(self, rng: np.random.Generator, counts: NDArray[np.intp]) -> NDArray[np.intp]:
        """Orders in which a lifetime goes through its pairs, one after the other, and -1 for no pair.

        Each takes K places, of which the first are used where a lifetime has fewer pairs. Told: the pairs as
        numbered, for showing them; in random order, for asking; and if some change then two more random
        orders, in the first of which the first ones are those that change. Tried: one for each round.
        """
        n, most = len(counts), self._most
        n_shuffles = (self._order_length() - 1) // most - (not self.is_tried)
        keys = rng.random((n, n_shuffles, most))
        if len(self._lengths) > 1:
            keys += np.arange(most) >= counts[:, None, None]  # pairs that are not there come last
        order = np.full((n, self._order_length()), -1)
        order[:, -1 - n_shuffles * most : -1] = keys.argsort(axis=2).reshape(n, -1)
        if not self.is_tried:
            order[:, :most] = np.arange(most)
        return order

    def _script(self, count: int, n_asked: int | None) -> list[tuple[int, int, bool, int]]:
        """The steps of a lifetime with so many pairs.

        For each: the place of the pair in `_draw_order`, what is seen, whether an answer is wanted, and
        whether it is that after the change.
        """
        options, most = self.options, self._most
        nowhere = self._order_length() - 1

        def show(first: int, number: int, version: int) -> list[tuple[int, int, bool, int]]:
            steps = [(first + i, kind, False, version) for i in range(number) for kind in (_CUE, _ANSWER)]
            return steps + [(nowhere, _NOTHING, False, 0)] * options.blank_steps

        def ask(first: int, version: int) -> list[tuple[int, int, bool, int]]:
            steps = []
            for place in range(first, first + (count if n_asked is None else n_asked)):
                steps.append((place, _CUE, self.is_tried or options.answer_delay == 0, version))
                if self.is_tried or options.answer_delay == 1:
                    steps.append((place, _NOTHING, not self.is_tried, version))
            return steps

        if self.is_tried:
            return [step for number in range(options.n_rounds) for step in ask(number * most, 0)]
        script = show(0, count, 0) + ask(most, 0)
        if options.n_changes:
            script += show(2 * most, options.n_changes, 1) + ask(3 * most, 1)
        return script

    def _draw_cues(self, rng: np.random.Generator, n: int) -> NDArray[np.float32]:
        """The cues of n lifetimes, (n, K, cue_size): different within each."""
        size, most = self.options.cue_size, self._most
        if self.options.cues == "fixed":
            return np.broadcast_to(np.eye(most, size, dtype=np.float32), (n, most, size))
        return draw_cues(rng, n, most, size)
