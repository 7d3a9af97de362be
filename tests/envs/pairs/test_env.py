import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

from plastic_rl.envs import PlasticPairsEnv, register_environments

register_environments()

VARIANTS = [
    {},
    {"n_pairs": (2, 5), "cue_size": 3, "n_answers": 2},
    {"n_pairs": 3, "blank_steps": 2, "n_changes": 2, "cue_size": 70},
    {"answer_delay": 0, "cues": "fixed", "n_changes": 1},
    {"feedback": "tried", "n_rounds": 2},
    {"feedback": "tried", "cues": "fixed", "n_pairs": (1, 4), "n_answers": 7},
]


def lifetime(seed=0, action=0, **arguments):
    """All steps of a lifetime: a list of (observation, reward, terminated, info), the reset's first."""
    env = PlasticPairsEnv(**arguments)
    observation, info = env.reset(seed=seed)
    steps = [(observation, None, False, info)]
    while not steps[-1][2]:
        answer = action(steps) if callable(action) else action
        observation, reward, terminated, truncated, info = env.step(answer)
        assert truncated is False
        assert observation in env.observation_space
        steps.append((observation, reward, terminated, info))
    return steps


def parts(observation, cue_size=16):
    """Cue, answer, flag and reward; cue and answer are None where they are not there."""
    cue, answer = observation[:cue_size], observation[cue_size:-2]
    return (
        tuple(cue) if cue.any() else None,
        int(answer.argmax()) if answer.any() else None,
        observation[-2],
        observation[-1],
    )


@pytest.mark.parametrize("arguments", VARIANTS)
def test_checkers_have_nothing_to_say(arguments):
    check_env(gym.make("PlasticPairs-v0", **arguments).unwrapped)
    check_env_of_sb3(gym.make("PlasticPairs-v0", **arguments))


def test_told_pairs_are_shown_then_asked_in_another_order():
    steps = lifetime(action=2)
    assert len(steps) == 4 * 8 + 1
    cues, answers = {}, {}
    for pair in range(8):
        (cue, answer, flag, _), info = parts(steps[2 * pair][0]), steps[2 * pair][3]
        assert (answer, flag, info) == (None, 0, {"pair": pair})
        assert set(cue) == {-1, 1}
        assert len(cue) == 16
        (told_cue, answers[pair], flag, _), info = parts(steps[2 * pair + 1][0]), steps[2 * pair + 1][3]
        assert (told_cue, flag, info) == (None, 0, {"pair": pair})
        assert steps[2 * pair + 1][0][16:20].sum() == 1
        cues[pair] = cue
    assert len(set(cues.values())) == 8

    order = []
    for step in range(16, 32, 2):
        pair = steps[step][3]["pair"]
        order.append(pair)
        assert parts(steps[step][0])[:3] == (cues[pair], None, 0)
        assert steps[step][3] == {"pair": pair}
        assert parts(steps[step + 1][0])[:3] == (None, None, 1)
        assert steps[step + 1][3] == {"pair": pair, "target": answers[pair]}
        right = float(answers[pair] == 2)
        assert steps[step + 2][1] == right
        assert steps[step + 2][0][-1] == right
        assert steps[step + 1][1] == steps[step + 1][0][-1] == 0
    assert sorted(order) == list(range(8))
    assert order != sorted(order)
    assert steps[-1][3] == {"pair": -1}
    assert not steps[-1][0][:-1].any()
    assert 0 < sum(reward for _, reward, _, _ in steps[1:]) < 8


def test_an_action_counts_only_where_an_answer_is_wanted():
    always = lifetime(seed=1, action=1)
    only = lifetime(seed=1, action=lambda steps: 1 if "target" in steps[-1][3] else 3)
    assert data_equivalence(always, only, exact=True)
    assert {reward for _, reward, _, _ in always[1:]} == {0.0, 1.0}


def test_without_delay_the_answer_is_wanted_at_the_cue():
    steps = lifetime(answer_delay=0)
    assert len(steps) == 3 * 8 + 1
    cues = [parts(steps[2 * pair][0])[0] for pair in range(8)]
    answers = [parts(steps[2 * pair + 1][0])[1] for pair in range(8)]
    for step in range(16, 24):
        pair = steps[step][3]["pair"]
        assert parts(steps[step][0])[:3] == (cues[pair], None, 1)
        assert steps[step][3]["target"] == answers[pair]
        assert steps[step + 1][1] == (answers[pair] == 0)


def test_nothing_is_seen_in_blank_steps():
    steps = lifetime(n_pairs=2, blank_steps=3)
    assert len(steps) == 4 * 2 + 3 + 1
    for step in range(4, 7):
        assert not steps[step][0].any()
        assert steps[step][3] == {"pair": -1}
    assert steps[7][0][:16].all()
    assert data_equivalence(steps[:4], lifetime(n_pairs=2)[:4], exact=True)


def test_some_pairs_get_another_answer_and_are_asked_again():
    steps = lifetime(n_pairs=4, n_changes=2, blank_steps=1, action=lambda s: s[-1][3].get("target", 0))
    assert len(steps) == (2 * 4 + 1 + 2 * 4) + (2 * 2 + 1 + 2 * 4) + 1
    cues = {steps[2 * pair][3]["pair"]: parts(steps[2 * pair][0])[0] for pair in range(4)}
    answers = {pair: parts(steps[2 * pair + 1][0])[1] for pair in range(4)}
    assert {steps[i][3]["pair"]: steps[i][3]["target"] for i in range(10, 17, 2)} == answers
    before = dict(answers)
    for step in (17, 19):
        pair = steps[step][3]["pair"]
        assert parts(steps[step][0])[0] == cues[pair]
        assert steps[step + 1][3]["pair"] == pair
        answers[pair] = parts(steps[step + 1][0])[1]
    assert sum(answers[pair] != before[pair] for pair in range(4)) == 2
    assert not steps[21][0].any()
    assert {steps[i][3]["pair"]: steps[i][3]["target"] for i in range(23, 30, 2)} == answers
    assert sum(reward for _, reward, _, _ in steps[1:]) == 8


def test_tried_answers_are_seen_with_their_outcome_only():
    rng = np.random.default_rng(0)
    actions = rng.integers(4, size=2 * 3 * 5).tolist()
    steps = lifetime(feedback="tried", n_pairs=5, n_rounds=3, action=lambda s: actions[len(s) - 1])
    assert len(steps) == 2 * 3 * 5 + 1
    targets: dict[int, int] = {}
    cues: dict[int, bytes] = {}
    orders = []
    for step in range(0, 30, 2):
        info = steps[step][3]
        cue, answer, flag, _ = parts(steps[step][0])
        assert (answer, flag) == (None, 1)
        assert cues.setdefault(info["pair"], cue) == cue
        assert targets.setdefault(info["pair"], info["target"]) == info["target"]
        right = float(actions[step] == info["target"])
        assert steps[step + 1][1] == right
        assert parts(steps[step + 1][0]) == (None, actions[step], 0, right)
        assert steps[step + 1][3] == {"pair": info["pair"]}
        assert steps[step + 2][1] == 0
        orders.append(info["pair"])
    rounds = [orders[0:5], orders[5:10], orders[10:]]
    assert all(sorted(one) == list(range(5)) for one in rounds)
    assert rounds[0] != rounds[1] != rounds[2]
    assert not steps[-1][0].any()


def test_fixed_cues_are_the_same_in_every_lifetime():
    for seed in range(3):
        steps = lifetime(seed, cues="fixed", n_pairs=4, cue_size=5)
        for pair in range(4):
            np.testing.assert_array_equal(steps[2 * pair][0][:5], np.eye(5)[pair])


def test_drawn_cues_answers_and_orders_change_with_the_lifetime():
    env = PlasticPairsEnv()
    drawn = []
    for seed in (0, None, None):
        observation, info = env.reset(seed=seed)
        cues, answers, order = [], [], []
        for _ in range(32):
            cues.append(observation[:16])
            answers.append(info.get("target"))
            order.append(info["pair"])
            observation, *_, info = env.step(0)
        drawn.append((np.array(cues).tolist(), answers, order[16:]))
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert all(left != right for left, right in zip(drawn[one], drawn[other], strict=True))


@pytest.mark.parametrize("arguments", VARIANTS)
def test_the_seed_decides_the_lifetime(arguments):
    one, two, other = (lifetime(seed, **arguments) for seed in (1, 1, 2))
    assert data_equivalence(one, two, exact=True)
    assert not data_equivalence(one, other, exact=True)


def test_a_range_of_pairs_makes_lifetimes_of_different_lengths():
    env, lengths = PlasticPairsEnv(n_pairs=(2, 4)), []
    for seed in range(300):
        _, info = env.reset(seed=seed)
        pairs, terminated, steps = {info["pair"]}, False, 0
        while not terminated:
            _, _, terminated, _, info = env.step(0)
            pairs.add(info["pair"])
            steps += 1
        assert pairs == {-1, *range(steps // 4)}
        lengths.append(steps)
    counts = np.bincount(lengths, minlength=17)
    assert counts[[8, 12, 16]].sum() == 300
    assert all(abs(count - 100) < 5 * np.sqrt(300 * 2 / 9) for count in counts[[8, 12, 16]])


def test_registered_ids():
    env = gym.make("PlasticPairs-v0", n_pairs=4)
    assert type(env.unwrapped) is PlasticPairsEnv
    assert env.observation_space == gym.spaces.Box(-1, 1, (16 + 4 + 2,), np.float32)
    assert env.action_space == gym.spaces.Discrete(4)
    bandit, same = gym.make("PlasticBandit-v0"), PlasticPairsEnv(cues="fixed", feedback="tried")
    assert data_equivalence(bandit.reset(seed=3), same.reset(seed=3), exact=True)
    for action in [0, 1, 2, 3] * 24:
        assert data_equivalence(bandit.step(action), same.step(action), exact=True)
    assert bandit.spec.max_episode_steps is None


def test_arguments_may_come_from_yaml_or_numpy():
    one = PlasticPairsEnv(n_pairs=[np.int64(2), 3], n_answers=np.int32(3), n_changes=np.int64(1))
    other = PlasticPairsEnv(n_pairs=(2, 3), n_answers=3, n_changes=1)
    assert data_equivalence(one.reset(seed=0), other.reset(seed=0), exact=True)
