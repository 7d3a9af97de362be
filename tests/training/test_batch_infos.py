"""The infos of a batch: a list of dictionaries to whoever uses it, of which few are ever made."""

import json
import operator
import pickle
from copy import copy, deepcopy

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import VecMonitor

import plastic_rl
from plastic_rl.training.batch_infos import BatchInfos, BatchMonitor, split_infos
from plastic_rl.training.vec_env import GymnasiumVecEnv

N = 5


def batch_info():
    """Numbers, an entry that some have, arrays, objects that can change, an info within the info."""
    return {
        "number": np.arange(N),
        "some": np.arange(N) * 0.5,
        "_some": np.array([True, False, False, True, False]),
        "row": np.arange(2 * N).reshape(N, 2),
        "place": np.array([[i] for i in range(N)] + [None], dtype=object)[:N],
        "deep": {"level": np.arange(N)},
    }


def as_plain(info):
    return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in info.items()}


def expected():
    plain = [{"number": i, "row": [2 * i, 2 * i + 1], "place": [i], "deep": {"level": i}} for i in range(N)]
    plain[0]["some"], plain[3]["some"] = 0.0, 1.5
    return plain


def simple():
    return split_infos({"number": np.arange(N)}, N), [{"number": i} for i in range(N)]


def test_each_info_is_made_of_its_columns():
    by_index, whole = split_infos(batch_info(), N), split_infos(batch_info(), N)
    assert [as_plain(by_index[i]) for i in range(N)] == expected()
    assert [as_plain(info) for info in whole] == expected()
    assert type(whole[0]["deep"]) is dict


def test_none_is_made_before_it_is_asked_for_and_each_only_once():
    infos = split_infos(batch_info(), N)
    assert infos._made == set()
    infos[3]["extra"] = 1
    assert infos._made == {3}
    assert infos[3] is infos[-2] is list(infos)[3]
    assert [info.get("extra") for info in infos] == [None, None, None, 1, None]
    infos[2]["place"].append(7)
    assert infos[1]["place"] == [1]


@pytest.mark.parametrize("look", [[], [3]])
@pytest.mark.parametrize(
    "use",
    [
        list,
        tuple,
        lambda infos: infos[1:3],
        lambda infos: infos[:],
        lambda infos: infos[-1],
        lambda infos: infos[np.int64(2)],
        lambda infos: infos.copy(),
        copy,
        deepcopy,
        lambda infos: pickle.loads(pickle.dumps(infos)),
        json.dumps,
        repr,
        len,
        lambda infos: infos + infos,
        lambda infos: operator.add([1], infos),
        lambda infos: operator.iadd([1], infos),
        lambda infos: operator.setitem([1], slice(0, 1), infos),
        lambda infos: infos * 2,
        lambda infos: list(reversed(infos)),
        lambda infos: {"number": 4} in infos,
        lambda infos: infos.index({"number": 4}),
        lambda infos: infos.count({"number": 4}),
        lambda infos: infos == [{"number": i} for i in range(N)],
        lambda infos: [{"number": i} for i in range(N)] == infos,
        lambda infos: infos != [{}] * N,
        lambda infos: [infos.pop(), infos.pop(0), infos.append(2), infos[-1], infos[0], list(infos)],
        lambda infos: [infos.__setitem__(1, 5), infos.__setitem__(slice(3, 5), [6]), infos[1], list(infos)],
        lambda infos: np.array(infos, dtype=object).tolist(),
        lambda infos: sorted(infos, key=lambda info: -info["number"]),
        lambda infos: [*infos],
        lambda infos: list(zip(infos, range(N), strict=True)),
    ],
)
def test_a_list_of_dictionaries_to_whoever_uses_it(use, look):
    infos, plain = simple()
    for i in look:
        infos[i]["number"] += 0
    assert isinstance(infos, list)
    assert use(infos) == use(plain)


@pytest.mark.parametrize("index", [N, -N - 1])
def test_there_are_no_more(index):
    with pytest.raises(IndexError):
        simple()[0][index]
    with pytest.raises(IndexError):
        simple()[0][index] = {}


def test_who_has_an_entry():
    infos, _ = simple()
    assert infos.having("episode", "is_success") == []
    assert infos._made == set()
    infos[4]["episode"] = {}
    infos[1] = {"is_success": True}
    infos[0]["other"] = 1
    assert infos.having("episode", "is_success") == [1, 4]
    assert infos.having("number") == [0, 2, 3, 4]
    assert split_infos(batch_info(), N).having("some", "nothing") == [0, 3]


def test_an_entry_for_all():
    infos, plain = simple()
    infos[2]["number"] = 7
    infos.put("cut", [i == 2 for i in range(N)])
    for i, info in enumerate(plain):
        info["cut"] = i == 2
    plain[2]["number"] = 7
    assert infos == plain
    infos.put("late", list(range(N)))
    assert [info["late"] for info in infos] == list(range(N))


def test_the_monitor_is_stable_baselines3s(tmp_path):
    """Episodes of different lengths, entries of the infos, and the file that is written."""

    def make(kind, name):
        env = kind(
            GymnasiumVecEnv(gym.make_vec("CartPole-v1", num_envs=N)),
            str(tmp_path / name),
            info_keywords=("k",),
        )
        step_wait = env.venv.step_wait

        def with_keyword():
            *rest, infos = step_wait()
            for i, info in enumerate(infos):
                info["k"] = i
            return *rest, infos

        env.venv.step_wait = with_keyword
        env.seed(0)
        env.reset()
        return env

    ours, theirs = make(BatchMonitor, "ours"), make(VecMonitor, "theirs")
    ended = 0
    for actions in np.random.default_rng(0).integers(2, size=(200, N)):
        (obs, rewards, dones, infos), wanted = ours.step(actions), theirs.step(actions)
        for one, other in zip((obs, rewards, dones), wanted, strict=False):
            np.testing.assert_array_equal(one, other)
        for info, other in zip(infos, wanted[3], strict=True):
            assert info.keys() == other.keys()
            if "episode" in info:
                ended += 1
                assert {**info["episode"], "t": 0} == {**other["episode"], "t": 0}
                assert type(info["episode"]["r"]) is type(other["episode"]["r"])
        np.testing.assert_array_equal(ours.episode_returns, theirs.episode_returns)
        np.testing.assert_array_equal(ours.episode_lengths, theirs.episode_lengths)
    assert ours.episode_count == theirs.episode_count == ended > 10
    ours.close()
    theirs.close()
    written = [
        [line.split(",")[:2] + line.split(",")[3:] for line in path.read_text().splitlines()[1:]]
        for path in sorted(tmp_path.iterdir())
    ]
    assert written[0] == written[1]
    assert len(written[0]) == ended + 1


def test_a_training_looks_at_few_and_misses_no_episode():
    """Returns reach the model's list, and no info is made at a step at which no episode ends."""
    env = plastic_rl.make_vec_env(
        "PlasticMaze-v0", n_envs=3, seed=0, env_kwargs={"max_episode_steps": 7, "render_mode": None}
    )
    small = {"hidden_size": 4, "backend": "reference"}
    made, step_wait = [], env.venv.step_wait

    def watched():
        result = step_wait()
        made.append(result[3])
        return result

    env.venv.step_wait = watched
    model = plastic_rl.PlasticA2C("MlpPolicy", env, n_steps=10, seed=0, policy_kwargs=small)
    model.learn(60)
    assert [len(infos._made) for infos in made] == [0] * 6 + [3] + [0] * 6 + [3] + [0] * 6
    assert not any(infos._all_made for infos in made)
    assert len(model.ep_info_buffer) == 6
    assert [info["l"] for info in model.ep_info_buffer] == [7] * 6


def test_every_method_of_a_list_is_accounted_for():
    """A method of a later Python that reads the list past these would see dictionaries that are empty."""
    left = {name for name in vars(list) if callable(getattr(list, name)) and name not in vars(BatchInfos)}
    assert left == {"__len__", "__sizeof__", "__new__", "__getattribute__", "__class_getitem__", "clear"}
