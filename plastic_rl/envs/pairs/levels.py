"""Scores of paired associates that can be computed: what players earn who know what they are doing."""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from plastic_rl.envs.pairs.rules import PairsOptions, number_of_rounds


def largest_count(n_pairs: int, n_answers: int) -> float:
    """How many of `n_pairs` pairs have the most frequent answer, on average.

    Answers are drawn independently and uniformly, so their counts are multinomial: those of independent
    Poisson numbers, given that these add up to `n_pairs`. With E[max] = sum over m >= 0 of P(max > m) this
    sums over every outcome; no sampling is involved.
    """
    mean = n_pairs / n_answers
    counts = np.arange(n_pairs + 1)
    poisson = np.exp(counts * math.log(mean) - mean - np.array([math.lgamma(j + 1) for j in counts]))
    total = math.exp(n_pairs * math.log(n_pairs) - n_pairs - math.lgamma(n_pairs + 1))
    expected = 0.0
    for most in range(n_pairs):
        # The probability that the counts add up to n_pairs with none of them above `most`.
        bounded = np.ones(1)
        for _ in range(n_answers):
            bounded = np.convolve(bounded, poisson[: most + 1])[: n_pairs + 1]
        within = bounded[n_pairs] if len(bounded) > n_pairs else 0.0
        expected += 1 - within / total
    return float(expected)


def best_share_of_trials(n_rounds: int, n_answers: int) -> float:
    """The largest expected share of right answers where they have to be found by trial.

    For a new cue every answer is right with the same probability, whatever is known about the others: pairs
    do not help each other. A wrong trial rules one answer out and says nothing about the rest, so all ways of
    trying one after the other are alike, and nothing is better than to stay with an answer that was right.
    It is found in round j = 1 ... A with probability 1 / A each, and is right from then on, n_rounds - j + 1
    times.
    """
    right = sum(n_rounds - j + 1 for j in range(1, min(n_answers, n_rounds) + 1)) / n_answers
    return right / n_rounds


def shares(options: PairsOptions) -> dict[str, float]:
    """Levels as shares of all questions of many lifetimes, by name.

    - "chance": any answer.
    - "counts only": to every question the answer that most pairs have at that time; more needs to be bound to
      the cue.
    - "all" (told), "best possible" (tried).
    """
    low, high = options.pairs_range
    numbers = range(low, high + 1)
    n_answers = options.n_answers
    # Lifetimes with more pairs have more questions.
    counts_only = sum(largest_count(number, n_answers) for number in numbers) / sum(numbers)
    levels = {"chance": 1 / n_answers, "counts only": counts_only}
    if options.feedback == "tried":
        return levels | {"best possible": best_share_of_trials(options.n_rounds, n_answers)}
    return levels | {"all": 1.0}


def mean_returns(options: PairsOptions) -> dict[str, float]:
    """The levels of `shares` as mean returns: times the mean number of questions in a lifetime."""
    low, high = options.pairs_range
    rounds = number_of_rounds(options)
    return {name: share * rounds * (low + high) / 2 for name, share in shares(options).items()}


def pairs_levels(env_kwargs: Mapping[str, Any]) -> dict[str, float]:
    """The mean returns for an environment made with these arguments; none where its lifetimes are cut off."""
    own = {field.name for field in fields(PairsOptions)}
    if env_kwargs.keys() - own - {"render_mode"}:
        return {}
    return mean_returns(PairsOptions(**{name: env_kwargs[name] for name in env_kwargs.keys() & own}))
