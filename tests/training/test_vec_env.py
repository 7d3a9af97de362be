import csv
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorWrapper
from gymnasium.wrappers import vector as vector_wrappers
from stable_baselines3 import A2C
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)

from plastic_rl.training.vec_env import GymnasiumVecEnv

KINDS: dict[str, spaces.Space] = {
    "box": spaces.Box(-9, 9, (3,), np.float32),
    "double": spaces.Box(-9, 9, (2, 2), np.float64),
    "image": spaces.Box(0, 255, (36, 36, 1), np.uint8),
    "discrete": spaces.Discrete(20),
    "multi_discrete": spaces.MultiDiscrete([20, 30]),
    "multi_binary": spaces.MultiBinary(4),
}
KINDS["dict"] = spaces.Dict({"seen": KINDS["image"], "felt": KINDS["box"], "count": KINDS["discrete"]})


class Walk(gym.Env):
    """A walk without randomness: terminates at position 3, is cut off at its time limit, or both at once."""

    def __init__(self, kind="box", max_episode_steps=5):
        self.observation_space = KINDS[kind]
        self.action_space = spaces.Discrete(3)
        self.max_episode_steps = max_episode_steps
        self.resets: list[tuple[int | None, dict | None]] = []

    def _observe(self, space):
        if isinstance(space, spaces.Dict):
            return {key: self._observe(part) for key, part in space.items()}
        if isinstance(space, spaces.Discrete):
            return np.int64(self.position + 5)
        if isinstance(space, spaces.MultiBinary):
            return (np.arange(4) < self.position).astype(np.int8)
        grid = np.arange(np.prod(space.shape)).reshape(space.shape) % 2
        return (grid + self.position + 5 * self.steps % 4).astype(space.dtype)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.resets.append((seed, options))
        self.position, self.steps = (options or {}).get("start", 0), 0
        self.trail = [self.position]
        return self._observe(self.observation_space), {
            "fresh": self.position,
            "place": np.array([self.position, 0]),
        }

    def step(self, action):
        self.steps += 1
        self.position += int(action)
        self.trail.append(self.position)
        info = {
            "place": np.array([self.position, self.steps]),
            "name": f"p{self.position}",
            "deep": {"steps": self.steps},
            "trail": self.trail,
        }
        if action == 2:
            info["leap"] = self.position
        ended = self.position >= 3, self.steps >= self.max_episode_steps
        return self._observe(self.observation_space), self.position / 3 - 0.25, *ended, info


class BatchedWalk(SyncVectorEnv):
    def __init__(self, num_envs, autoreset_mode=AutoresetMode.SAME_STEP, copy=True, **kwargs):
        super().__init__([lambda: Walk(**kwargs)] * num_envs, copy=copy, autoreset_mode=autoreset_mode)


def adapted(n_envs=3, **kwargs):
    return GymnasiumVecEnv(BatchedWalk(n_envs, **kwargs))


def assert_same(one, other, where="value"):
    if isinstance(other, dict):
        assert isinstance(one, dict), where
        assert set(one) == set(other), where
        for key in other:
            assert_same(one[key], other[key], f"{where}[{key!r}]")
    elif isinstance(other, (list, tuple)):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}[{i}]")
    else:
        assert np.asarray(one).dtype == np.asarray(other).dtype, where
        np.testing.assert_array_equal(one, other, err_msg=where)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_envs", [1, 4])
def test_same_transitions_as_dummy_vec_env(kind, n_envs):
    ours, theirs = adapted(n_envs, kind=kind), DummyVecEnv([lambda: Walk(kind)] * n_envs)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert_same(ours.reset(), theirs.reset())
    assert_same(ours.reset_infos, theirs.reset_infos)
    rng = np.random.default_rng(0)
    endings = set()
    for _ in range(120):
        actions = rng.choice(3, size=n_envs, p=[0.6, 0.3, 0.1])
        transition = ours.step(actions)
        assert_same(transition, theirs.step(actions))
        assert_same(ours.reset_infos, theirs.reset_infos)
        for done, info in zip(*transition[2:], strict=True):
            if done:
                endings.add((info["TimeLimit.truncated"], info["place"][0] >= 3, info["place"][1] == 5))
    # Cut off, terminated, and both in one step, which does not count as cut off.
    assert endings == {(True, False, True), (False, True, False), (False, True, True)}


class OwnSteps(VectorWrapper):
    """Looks at every step, as a wrapper of one's own would."""

    def step(self, actions):
        return super().step(actions)


class OwnFormat(gym.vector.VectorEnv):
    """A batched environment written by hand: final observations as plain batches, no final info."""

    def __init__(self, kind):
        self.num_envs = 2
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space, self.single_action_space = KINDS[kind], spaces.Discrete(2)
        self.now = np.zeros((2, 3), np.float32)

    def _observation(self, values):
        count = values[:, 0].astype(np.int64)
        seen = np.zeros((2, 36, 36, 1), np.uint8)
        is_dict = isinstance(self.single_observation_space, spaces.Dict)
        return {"felt": values, "count": count, "seen": seen} if is_dict else values

    def reset(self, *, seed=None, options=None):
        self.now[:] = 0
        return self._observation(self.now), {}

    def step(self, actions):
        self.now += 1
        terminated = np.array([False, True])
        final = self._observation(self.now.copy())
        self.now[1] = 0
        info = {"final_obs": final, "_final_obs": terminated, "level": np.array([1.5, 2.5]), "now": self.now}
        return self._observation(self.now), np.ones(2), terminated, np.zeros(2, bool), info


@pytest.mark.parametrize("kind", ["box", "dict"])
def test_final_observations_as_batches(kind):
    venv = GymnasiumVecEnv(OwnFormat(kind))
    venv.reset()
    venv.step(np.zeros(2, int))
    observations, _, dones, infos = venv.step(np.zeros(2, int))
    assert isinstance(observations, dict) == (kind == "dict")
    felt = observations["felt"] if isinstance(observations, dict) else observations
    last = infos[1]["terminal_observation"]
    np.testing.assert_array_equal(felt, [[2, 2, 2], [0, 0, 0]])
    np.testing.assert_array_equal(last["felt"] if kind == "dict" else last, [1, 1, 1])
    assert dones.tolist() == [False, True]
    assert infos[0].pop("now").tolist() == [2, 2, 2]
    assert infos[0] == {"level": 1.5, "TimeLimit.truncated": False}
    # The level belongs to the new episode, whose first observation came with it.
    assert set(infos[1]) == {"terminal_observation", "TimeLimit.truncated"}
    assert venv.reset_infos[1].pop("now").tolist() == [0, 0, 0]
    assert venv.reset_infos[1] == {"level": 2.5}


def test_infos_do_not_follow_the_environment():
    venv = GymnasiumVecEnv(OwnFormat("box"))
    venv.reset()
    _, _, _, infos = venv.step(np.zeros(2, int))
    venv.step(np.zeros(2, int))
    assert infos[0]["now"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("kind", ["box", "dict"])
def test_returned_arrays_and_infos_are_the_callers(kind):
    # The environments write into the same arrays in every step, the caller into what it got.
    venv = adapted(2, kind=kind, copy=False)
    first = venv.reset()
    felt = first["felt"] if kind == "dict" else first
    before = felt.copy()
    _, _, _, infos = venv.step(np.array([1, 1]))
    np.testing.assert_array_equal(felt, before)
    infos[0]["place"][:] = -1
    infos[0]["deep"]["steps"] = -1
    infos[0]["extra"] = True
    assert infos[1]["place"].tolist() == [1, 1]
    assert infos[1]["deep"] == {"steps": 1}
    kept, (_, _, _, infos) = infos, venv.step(np.array([1, 1]))
    assert kept[0]["trail"] == [0, 1]
    assert infos[0]["place"].tolist() == [2, 2]
    assert "extra" not in infos[0]


def test_other_autoreset_modes_are_refused():
    with pytest.raises(ValueError, match=r"SAME_STEP or .*NEXT_STEP, got AutoresetMode\.DISABLED"):
        adapted(autoreset_mode=AutoresetMode.DISABLED)


def test_next_step_resets_without_a_way_to_reset_some_are_refused():
    env = OwnFormat("box")
    env.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
    with pytest.raises(ValueError, match=r"SAME_STEP, or be a SyncVectorEnv.* in the mode .*NEXT_STEP"):
        GymnasiumVecEnv(env)


@pytest.mark.parametrize("batch", [SyncVectorEnv, AsyncVectorEnv, partial(SyncVectorEnv, copy=False)])
def test_next_step_resets_give_the_same_episodes(batch):
    venv = VecMonitor(GymnasiumVecEnv(batch([Walk, Walk], autoreset_mode=AutoresetMode.NEXT_STEP)))
    theirs = VecMonitor(DummyVecEnv([Walk, Walk]))
    assert_same(venv.reset(), theirs.reset())
    rng = np.random.default_rng(0)
    lengths = []
    for _ in range(60):
        actions = rng.choice(3, size=2, p=[0.6, 0.3, 0.1])
        ours, wanted = venv.step(actions), theirs.step(actions)
        for infos in (ours[3], wanted[3]):
            for info in infos:
                if "episode" in info:
                    info["episode"].pop("t")
                    lengths.append(info["episode"]["l"])
        assert_same(ours, wanted)
        assert_same(venv.venv.reset_infos, theirs.venv.reset_infos)
    venv.close()
    assert len(set(lengths)) > 2


def test_a_batch_of_make_vec_that_resets_at_the_next_step():
    venv = GymnasiumVecEnv(gym.make_vec("CartPole-v1", num_envs=3, max_episode_steps=9))
    venv.seed(0)
    venv.reset()
    steps = np.zeros(3, int)
    lengths = []
    for _ in range(100):
        _, rewards, dones, infos = venv.step(np.zeros(3, int))
        steps += 1
        assert (rewards == 1).all()
        for i in np.flatnonzero(dones):
            fell = abs(infos[i]["terminal_observation"][2]) > 12 / 180 * np.pi
            assert infos[i]["TimeLimit.truncated"] == (not fell)
            lengths.append(int(steps[i]))
            steps[i] = 0
    assert set(lengths) == {8, 9}


def test_cart_poles_that_reset_at_the_next_step_are_those_of_single_ones():
    ours = VecMonitor(GymnasiumVecEnv(gym.make_vec("CartPole-v1", num_envs=3)))
    theirs = VecMonitor(DummyVecEnv([lambda: gym.make("CartPole-v1")] * 3))
    ours.seed(0)
    theirs.seed(0)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    lengths = []
    for _ in range(100):
        one, other = ours.step(np.zeros(3, int)), theirs.step(np.zeros(3, int))
        for a, b in zip(one[:3], other[:3], strict=True):
            np.testing.assert_array_equal(a, b)
        for info, wanted in zip(one[3], other[3], strict=True):
            assert ("episode" in info) == ("episode" in wanted)
            if "episode" in info:
                assert info["episode"]["r"] == wanted["episode"]["r"] == info["episode"]["l"]
                assert info["episode"]["l"] == wanted["episode"]["l"]
                lengths.append(info["episode"]["l"])
    # What a pole takes to fall under one push: 8 to 11 steps.
    assert len(set(lengths)) > 1
    assert set(lengths) <= {8, 9, 10, 11}


@pytest.mark.parametrize(
    "wrapper", [vector_wrappers.RecordEpisodeStatistics, vector_wrappers.NormalizeReward, OwnSteps]
)
def test_wrappers_that_follow_episodes_want_resets_in_the_same_step(wrapper):
    inner = vector_wrappers.ClipReward(BatchedWalk(2, autoreset_mode=AutoresetMode.NEXT_STEP), max_reward=1)
    name = wrapper.__name__
    with pytest.raises(ValueError, match=rf"SAME_STEP where {name} is around it, got .*NEXT_STEP: wrap each"):
        GymnasiumVecEnv(wrapper(inner))


def test_wrappers_without_memory_go_with_resets_at_the_next_step():
    batch = BatchedWalk(2, autoreset_mode=AutoresetMode.NEXT_STEP)
    space = spaces.Box(-18, 18, (3,), np.float32)
    doubled = vector_wrappers.TransformObservation(
        batch, lambda seen: 2 * seen, single_observation_space=space
    )
    shaped = vector_wrappers.ReshapeObservation(doubled, (3, 1))
    ours = GymnasiumVecEnv(vector_wrappers.TransformReward(shaped, lambda reward: reward / 2))
    theirs = DummyVecEnv([Walk, Walk])
    first = theirs.reset()
    assert isinstance(first, np.ndarray)
    assert_same(ours.reset(), 2 * first[..., None])
    rng = np.random.default_rng(0)
    ended = 0
    for _ in range(40):
        actions = rng.choice(3, size=2, p=[0.6, 0.3, 0.1])
        obs, rewards, dones, infos = ours.step(actions)
        wanted, wanted_rewards, wanted_dones, wanted_infos = theirs.step(actions)
        assert isinstance(wanted, np.ndarray)
        assert_same((obs, rewards, dones), (2 * wanted[..., None], wanted_rewards / 2, wanted_dones))
        for i in np.flatnonzero(dones):
            last = wanted_infos[i]["terminal_observation"]
            assert_same(infos[i]["terminal_observation"], 2 * last[..., None])
            ended += 1
    assert ended > 5


def test_what_is_no_vector_env_is_refused():
    with pytest.raises(TypeError, match="VectorEnv, got Walk"):
        GymnasiumVecEnv(Walk())


@pytest.mark.parametrize(
    ("name", "space", "message"),
    [
        ("observation_space", spaces.Tuple([spaces.Discrete(2)]), "observations must be Box"),
        ("observation_space", spaces.Dict(a=spaces.Dict(b=spaces.Discrete(2))), "observations must be Box"),
        ("observation_space", spaces.Text(3), "observations must be Box"),
        ("action_space", spaces.Tuple([spaces.Discrete(2)]), "actions must be Box"),
        ("action_space", spaces.Dict(a=spaces.Discrete(2)), "actions must be Box"),
    ],
)
def test_spaces_without_array_batches_are_refused(name, space, message):
    env = OwnFormat("box")
    setattr(env, f"single_{name}", space)
    with pytest.raises(NotImplementedError, match=message):
        GymnasiumVecEnv(env)


@pytest.mark.parametrize("actions", [np.zeros(2, int), np.zeros(4, int), np.int64(1)])
def test_wrong_number_of_actions_is_refused(actions):
    venv = adapted(3)
    venv.reset()
    with pytest.raises(ValueError, match=r"shape \(3, ...\), got"):
        venv.step(actions)


def test_seeds_and_options_count_once():
    venv = adapted(3)
    assert venv.seed(40) == [40, 41, 42]
    venv.set_options({"start": 1})
    assert venv.reset()[:, 0].tolist() == [1, 1, 1]
    assert venv.reset()[:, 0].tolist() == [0, 0, 0]
    calls = [env.resets for env in venv.env.envs]
    assert calls == [[(40 + i, {"start": 1}), (None, None)] for i in range(3)]


def test_options_must_be_equal():
    venv = adapted(2)
    venv.set_options([{"start": 2}, {"start": 2}])
    assert venv.reset()[:, 0].tolist() == [2, 2]
    wrong: tuple[list[dict[str, int]], ...] = ([{"start": 1}, {"start": 2}], [{"start": 1}], [{}] * 3)
    for options in wrong:
        with pytest.raises(ValueError, match="one dictionary or 2 equal ones"):
            venv.set_options(options)


def test_vec_monitor_records_episodes(tmp_path):
    venv = VecMonitor(adapted(2), str(tmp_path / "0"))
    venv.reset()
    episodes = []
    for action in (1, 1, 1, 0, 0, 0, 0, 0):
        episodes += [info["episode"] for info in venv.step(np.array([action, 0]))[3] if "episode" in info]
    venv.close()
    # Three steps to positions 1, 2, 3, then a truncated episode at 0; beside it one episode of doing nothing.
    expected = [(6 / 3 - 0.75, 3), (-1.25, 5), (-1.25, 5)]
    assert [(e["r"], e["l"]) for e in episodes] == [(pytest.approx(r), length) for r, length in expected]
    with open(tmp_path / "0.monitor.csv") as file:
        assert file.readline().startswith("#")
        rows = [(float(row["r"]), int(row["l"])) for row in csv.DictReader(file)]
    assert rows == [(pytest.approx(r), length) for r, length in expected]


def test_wrappers_and_a2c_of_stable_baselines3_run():
    stacked = VecFrameStack(adapted(3), 2)
    assert stacked.reset().shape == (3, 6)
    stacked.step(np.array([1, 1, 1]))
    normal = VecNormalize(adapted(3))
    normal.reset()
    for _ in range(20):
        observations, rewards, _, _ = normal.step(np.array([0, 1, 2]))
    assert np.isfinite(observations).all()
    assert np.isfinite(rewards).all()
    assert VecTransposeImage(adapted(2, kind="image")).reset().shape == (2, 1, 36, 36)
    for kind, policy in (("box", "MlpPolicy"), ("discrete", "MlpPolicy"), ("dict", "MultiInputPolicy")):
        model = A2C(policy, VecMonitor(adapted(4, kind=kind)), n_steps=6, seed=0, device="cpu").learn(96)
        # 24 steps in 4 environments, none of whose episodes exceeds 5 steps.
        assert len(model.ep_info_buffer) >= 16
