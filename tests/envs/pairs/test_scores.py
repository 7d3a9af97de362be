"""Players whose score is known exactly."""

import math
from collections import Counter
from fractions import Fraction
from functools import lru_cache
from itertools import product

import gymnasium as gym
import numpy as np
import pytest

from plastic_rl.envs import reference_levels, register_environments
from plastic_rl.envs.pairs.levels import best_share_of_trials, largest_count, mean_returns, shares
from plastic_rl.envs.pairs.rules import PairsOptions

register_environments()


class Rememberer:
    """Binds answers to cues, from observations alone; tries one answer after the other where none is told."""

    def __init__(self, cue_size, n_answers):
        self.cue_size, self.n_answers = cue_size, n_answers
        self.known, self.tried, self.cue = {}, {}, None

    def act(self, observation):
        cue, answer = observation[: self.cue_size], observation[self.cue_size : -2]
        is_wanted, reward = observation[-2:]
        if cue.any():
            self.cue = cue.tobytes()
        tried = self.tried.setdefault(self.cue, set())
        if answer.any() and (not tried or reward):  # told, or found
            self.known[self.cue] = int(answer.argmax())
        if not is_wanted:
            return 0
        choice = self.known.get(self.cue, min(set(range(self.n_answers)) - tried, default=0))
        if cue.any() and self.cue not in self.known:
            tried.add(choice)
        return choice


def play(player, n_lifetimes, seed=0, **arguments):
    """The return of each lifetime and its number of questions."""
    env = gym.make("PlasticPairs-v0", **arguments)
    returns, questions = [], []
    for number in range(n_lifetimes):
        observation, info = env.reset(seed=seed + number)
        agent, total, asked, terminated = player(env), 0.0, 0, False
        while not terminated:
            asked += "target" in info
            observation, reward, terminated, _, info = env.step(agent(observation, info))
            total += float(reward)
        returns.append(total)
        questions.append(asked)
    return np.array(returns), np.array(questions)


def rememberer(env):
    agent = Rememberer(env.unwrapped.observation_space.shape[0] - env.action_space.n - 2, env.action_space.n)
    return lambda observation, _: agent.act(observation)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"n_pairs": (2, 9), "blank_steps": 2, "n_answers": 3},
        {"n_pairs": 6, "n_changes": 4},
        {"answer_delay": 0, "cues": "fixed", "n_changes": 2},
        {"n_pairs": 64},
    ],
)
def test_who_remembers_what_is_told_is_always_right(arguments):
    returns, questions = play(rememberer, 20, **arguments)
    np.testing.assert_array_equal(returns, questions)
    assert shares(PairsOptions(**arguments))["all"] == 1
    if not isinstance(arguments.get("n_pairs"), tuple):
        assert returns.mean() == mean_returns(PairsOptions(**arguments))["all"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"n_pairs": 4},
        {"n_pairs": 5, "n_answers": 5, "n_rounds": 3},
        {"n_pairs": (1, 6), "n_answers": 2, "n_rounds": 4, "cues": "fixed"},
    ],
)
def test_who_tries_and_remembers_has_the_best_possible_share(arguments):
    options = PairsOptions(feedback="tried", **arguments)
    returns, questions = play(rememberer, 400, feedback="tried", **arguments)
    error = np.std(returns - shares(options)["best possible"] * questions) / np.sqrt(400)
    assert abs(returns.mean() - shares(options)["best possible"] * questions.mean()) < 4 * error
    assert error < 0.2
    assert returns.mean() == pytest.approx(mean_returns(options)["best possible"], rel=0.1)


def best_by_dynamic_programming(n_rounds, n_answers):
    """The best expected number of right answers to one cue, over all policies: tries left, answers left."""
    best = np.zeros((n_rounds + 1, n_answers + 1))
    for left in range(1, n_rounds + 1):
        for possible in range(1, n_answers + 1):
            p = 1 / possible
            trying = p * left + (1 - p) * best[left - 1, possible - 1]  # right: the rest is known
            repeating_a_wrong_one = best[left - 1, possible]
            best[left, possible] = max(trying, repeating_a_wrong_one)
    return best[n_rounds, n_answers]


def test_no_other_way_of_trying_is_better():
    assert best_share_of_trials(6, 4) == 0.75
    assert best_share_of_trials(1, 4) == 0.25
    assert best_share_of_trials(2, 4) == (2 + 1) / 4 / 2
    for n_rounds, n_answers in product(range(1, 8), range(2, 7)):
        expected = best_by_dynamic_programming(n_rounds, n_answers) / n_rounds
        assert best_share_of_trials(n_rounds, n_answers) == pytest.approx(expected, rel=1e-12)


def test_largest_count_is_that_of_all_outcomes():
    for n_pairs, n_answers in [(1, 2), (2, 2), (3, 2), (4, 4), (5, 3), (6, 4), (2, 7)]:
        outcomes = product(range(n_answers), repeat=n_pairs)
        largest = [max(outcome.count(answer) for answer in range(n_answers)) for outcome in outcomes]
        exact = Fraction(sum(largest), len(largest))
        assert largest_count(n_pairs, n_answers) == pytest.approx(float(exact), rel=1e-12)


def test_levels_of_the_documentation():
    for n_pairs, share in [(4, 0.531), (8, 0.442), (16, 0.384), (32, 0.344)]:
        levels = shares(PairsOptions(n_pairs=n_pairs))
        assert list(levels) == ["chance", "counts only", "all"]
        assert levels["chance"] == 0.25
        assert levels["counts only"] == pytest.approx(share, abs=0.0005)
        assert mean_returns(PairsOptions(n_pairs=n_pairs))["counts only"] == levels["counts only"] * n_pairs
    assert shares(PairsOptions(n_pairs=300))["counts only"] < 0.3
    tried = shares(PairsOptions(feedback="tried", cues="fixed"))
    assert tried == {"chance": 0.25, "counts only": pytest.approx(0.4423, abs=1e-4), "best possible": 0.75}
    assert mean_returns(PairsOptions(feedback="tried"))["best possible"] == 0.75 * 8 * 6
    assert mean_returns(PairsOptions(n_changes=1))["all"] == 16


def test_a_range_of_pairs_is_weighted_by_its_questions():
    levels, returns = shares(PairsOptions(n_pairs=(2, 3))), mean_returns(PairsOptions(n_pairs=(2, 3)))
    both = largest_count(2, 4) + largest_count(3, 4)
    assert levels["counts only"] == pytest.approx(both / 5)
    assert returns["counts only"] == pytest.approx(both / 2)
    assert (returns["chance"], returns["all"]) == (0.625, 2.5)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"n_pairs": 4, "n_changes": 3}, {"n_pairs": (2, 6), "n_answers": 2}, {"feedback": "tried"}],
)
@pytest.mark.parametrize("level", ["chance", "counts only"])
def test_who_does_not_bind_has_the_computed_level(level, arguments):
    """Which answer most pairs have is read from the environment."""
    rng = np.random.default_rng(0)

    def player(env):
        def act(_, __):
            if level == "chance":
                return rng.integers(env.action_space.n)
            life, now = env.unwrapped._life, env.unwrapped._steps
            has_changed = len(life.answers[0]) > 1 and now >= life.lengths[0] - 2 * life.counts[0]
            return np.bincount(life.answers[0, int(has_changed), : life.counts[0]]).argmax()

        return act

    returns, questions = play(player, 400, seed=1000, **arguments)
    expected = shares(PairsOptions(**arguments))[level]
    error = np.std(returns - expected * questions) / np.sqrt(400)
    assert abs(returns.mean() - expected * questions.mean()) < 4 * error
    assert error < 0.35


def best_without_binding(n_pairs, n_answers):
    """The best share of who knows how many pairs have which answer, and sees whether each answer was right.

    A state is (answers left by kind, questions to which this kind was no answer by kind, questions to come):
    all arrangements of the answers left that respect the wrong ones are as likely.
    """

    def less(numbers, kind, by=1):
        return (*numbers[:kind], numbers[kind] - by, *numbers[kind + 1 :])

    @lru_cache(None)
    def arrangements(left, wrong, to_come):
        if min(left) < 0:
            return 0
        for kind in range(n_answers):
            if wrong[kind]:
                others = [other for other in range(n_answers) if other != kind]
                return sum(arrangements(less(left, other), less(wrong, kind), to_come) for other in others)
        return math.factorial(to_come) // math.prod(map(math.factorial, left))

    @lru_cache(None)
    def value(left, wrong, to_come):
        if to_come == 0:
            return 0.0
        best = 0.0
        for kind in range(n_answers):
            after = less(left, kind)
            p = arrangements(after, wrong, to_come - 1) / arrangements(left, wrong, to_come)
            right = 1 + value(after, wrong, to_come - 1) if p > 0 else 0
            no = value(left, less(wrong, kind, -1), to_come - 1) if p < 1 else 0
            best = max(best, p * right + (1 - p) * no)
        return best

    nothing_wrong = (0,) * n_answers
    counts = Counter(
        tuple(sorted(answers.count(kind) for kind in range(n_answers)))
        for answers in product(range(n_answers), repeat=n_pairs)
    )
    total = sum(number * value(left, nothing_wrong, n_pairs) for left, number in counts.items())
    return total / n_answers**n_pairs / n_pairs


def test_rewards_tell_which_answers_are_used_up():
    assert best_without_binding(1, 4) == 1  # the only count says it all
    # Two equal answers: both right. Two different ones: both right, or the first wrong and the second right.
    assert best_without_binding(2, 2) == (2 / 2 + (2 + 1) / 4) / 2
    assert best_without_binding(4, 4) == pytest.approx(0.647, abs=5e-4)
    assert best_without_binding(8, 4) == pytest.approx(0.529, abs=5e-4)


def test_reference_levels_follow_the_arguments():
    levels = reference_levels("plastic_rl:PlasticPairs-v0")
    assert levels == {"chance": 2, "counts only": pytest.approx(8 * 0.44226, abs=1e-4), "all": 8}
    arguments = {"n_pairs": [2, 4], "n_changes": 1, "render_mode": "ansi"}
    assert reference_levels("PlasticPairs-v0", arguments)["all"] == 6
    bandit = reference_levels("PlasticBandit-v0", {"n_pairs": 4})
    assert bandit == {"chance": 6, "counts only": pytest.approx(12.75), "best possible": 18}
    assert reference_levels("PlasticBandit-v0", {"feedback": "told"})["all"] == 8
    for other in ({"max_episode_steps": 10}, {"unknown": 1}):
        assert reference_levels("PlasticPairs-v0", other) == {}
