import dataclasses

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence

from plastic_rl.envs import PlasticPairsEnv, PlasticPairsVectorEnv, register_environments
from plastic_rl.envs.pairs.rules import Lifetimes, PairsOptions

register_environments()

VARIANTS = [
    {},
    {"n_pairs": (2, 5), "cue_size": 3, "n_answers": 2, "blank_steps": 1},
    {"n_pairs": (3, 4), "n_changes": 2, "answer_delay": 0},
    {"feedback": "tried", "n_rounds": 2, "n_pairs": 3},
    {"feedback": "tried", "cues": "fixed", "n_pairs": (1, 4), "n_answers": 7, "max_episode_steps": 30},
    {"max_episode_steps": 21},
]


def entry(infos, i):
    """The infos of row i, as the single environment gives them."""
    assert infos["_pair"][i]
    own = {"pair": infos["pair"][i]}
    if "target" in infos and infos["_target"][i]:
        own["target"] = infos["target"][i]
    return own


def recorded(batch):
    """Lists, one for each row of the batch, to which the lifetimes are added that begin there."""
    begun: list[list[Lifetimes]] = [[] for _ in range(batch.num_envs)]
    begin = batch._begin

    def begin_and_record(which):
        begin(which)
        for i, row in zip(which, range(batch._n_used - len(which), batch._n_used), strict=True):
            begun[i].append(Lifetimes(*(part[row : row + 1] for part in batch._store)))

    batch._begin = begin_and_record
    return begun


def give(env, lives):
    """Let an environment play these lifetimes, each of which is taken from the list."""
    env._rules.draw = lambda rng, n: lives.pop(0)


@pytest.mark.parametrize("arguments", VARIANTS)
def test_every_row_obeys_the_single_environments_rules(arguments):
    """Each row is replayed by the single environment, which is given the row's lifetimes."""
    num_envs, steps = 5, 300
    batch = gym.make_vec("PlasticPairs-v0", num_envs=num_envs, **arguments)
    begun = recorded(batch)
    actions = np.random.default_rng(1).integers(batch.single_action_space.n, size=(steps, num_envs))
    observations, infos = batch.reset(seed=5)
    first = (observations, infos)
    record = [batch.step(action) for action in actions]
    ends = 0
    for i in range(num_envs):
        env = gym.make("PlasticPairs-v0", **arguments)
        give(env.unwrapped, begun[i])
        expected, info = env.reset()
        np.testing.assert_array_equal(first[0][i], expected)
        assert entry(first[1], i) == info
        for action, (observations, rewards, terminated, truncated, infos) in zip(
            actions, record, strict=True
        ):
            expected, *rest, info = env.step(action[i])
            assert rest == [rewards[i], terminated[i], truncated[i]]
            if terminated[i] or truncated[i]:
                np.testing.assert_array_equal(infos["final_obs"][i], expected)
                assert entry(infos["final_info"], i) == info
                expected, info = env.reset()
                ends += 1
            np.testing.assert_array_equal(observations[i], expected)
            assert entry(infos, i) == info
        assert begun[i] == []
    assert ends >= 5 * 300 // (batch._rules.longest + 1)
    assert sum(step[1].sum() for step in record) > 30


def test_no_lifetime_is_played_twice():
    batch = PlasticPairsVectorEnv(4, n_pairs=(2, 4))
    begun = recorded(batch)
    batch.reset(seed=0)
    for _ in range(200):
        batch.step(np.zeros(4, int))
    batch.reset(options={"reset_mask": np.array([True, False, True, False])})
    cues = {life.cues.tobytes() for lives in begun for life in lives}
    assert len(cues) == sum(map(len, begun)) > 50


def test_a_batch_of_one_is_the_single_environment_until_its_end():
    """Seeds have no promise across the two forms, but the same rules draw from the same generator."""
    single, batch = PlasticPairsEnv(), PlasticPairsVectorEnv(1)
    observations = [single.reset(seed=4)[0]] + [single.step(0)[0] for _ in range(31)]
    batched = [batch.reset(seed=4)[0][0]] + [batch.step([0])[0][0] for _ in range(31)]
    np.testing.assert_array_equal(observations, batched)


def test_a_seed_drops_the_lifetimes_in_store():
    cues = []
    for seed in (1, 2):
        envs = PlasticPairsVectorEnv(3)
        envs.reset(seed=seed)
        options = {"reset_mask": np.array([True, False, False])}
        envs.reset(options=options)
        cues.append(envs.reset(seed=5, options=options)[0][0])
    np.testing.assert_array_equal(cues[0], cues[1])


def test_masked_reset_leaves_the_others_alone():
    envs = PlasticPairsVectorEnv(3, feedback="tried", n_pairs=2, cue_size=5, n_rounds=3)
    envs.reset(seed=0)
    for _ in range(3):
        before, *_, infos = envs.step([0, 1, 2])
    assert before[:, 5:9].any(axis=1).all()  # outcomes
    after, fresh = envs.reset(options={"reset_mask": np.array([True, False, True])})
    np.testing.assert_array_equal(after[1], before[1])
    assert after[[0, 2], :5].any(axis=1).all()
    assert not after[[0, 2], 5:9].any()
    assert fresh["_pair"].tolist() == [True, False, True]
    assert fresh["_target"].tolist() == [True, False, True]
    assert infos["_pair"].all()
    ends = [envs.step([0, 0, 0])[2].tolist() for _ in range(12)]
    assert ends[8] == [False, True, False]
    assert ends[11] == [True, False, True]
    assert sum(map(sum, ends)) == 3


def test_make_vec_uses_the_batch():
    for env_id in ("PlasticPairs-v0", "PlasticBandit-v0"):
        envs = gym.make_vec(env_id, num_envs=2)
        assert type(envs) is PlasticPairsVectorEnv
        assert envs.max_episode_steps is None
    assert envs._rules.options == PairsOptions(cues="fixed", feedback="tried")


OTHERS = {"cues": "fixed", "feedback": "tried"}


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(PairsOptions)])
def test_single_and_batched_environment_take_the_same_arguments(name):
    default = getattr(PairsOptions(), name)
    arguments = {name: OTHERS[name] if isinstance(default, str) else 0 if name == "answer_delay" else 3}
    single, batch = PlasticPairsEnv(**arguments), PlasticPairsVectorEnv(2, **arguments)
    assert single._rules.options == batch._rules.options == PairsOptions(**arguments) != PairsOptions()
    assert batch.single_observation_space == single.observation_space
    assert batch.single_action_space == single.action_space


@pytest.mark.parametrize("kind", ["rgb_array", "ansi"])
def test_the_batch_renders_what_the_single_environment_does(kind):
    arguments = {"n_pairs": (2, 3), "render_mode": kind}
    batch = PlasticPairsVectorEnv(3, **arguments)
    begun = recorded(batch)
    batch.reset(seed=0)
    singles = [PlasticPairsEnv(**arguments) for _ in range(3)]
    for env, lives in zip(singles, begun, strict=True):
        give(env, lives)
        env.reset()
    for actions in np.random.default_rng(0).integers(4, size=(20, 3)):
        batch.step(actions)
        for env, action in zip(singles, actions, strict=True):
            if env.step(action)[2]:
                env.reset()
        shown = [env.render() for env in singles]
        assert data_equivalence(list(batch.render()), shown, exact=True)
