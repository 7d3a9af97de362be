"""Batches of EnvPool: an imitation with its interface, and the real one where it is installed."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from plastic_rl import GymnasiumVecEnv, PlasticA2C

pytestmark = pytest.mark.filterwarnings("ignore:the seed .* has no effect:UserWarning")


class ImitatedPool(VectorEnv):
    """The interface of EnvPool's synchronous pools, over single environments."""

    __module__ = "envpool.imitation"
    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(self, make, num_envs, batch_size=None):
        self.envs = [make() for _ in range(num_envs)]
        self.config = {"num_envs": num_envs, "batch_size": batch_size or num_envs}
        self.num_envs = num_envs
        self.observation_space, self.action_space = self.envs[0].observation_space, self.envs[0].action_space
        self.single_observation_space, self.single_action_space = self.observation_space, self.action_space
        self.elapsed = np.zeros(num_envs, np.int32)
        self.ended = np.zeros(num_envs, bool)

    def _rows(self, ids, rows):
        rows = (
            {key: np.stack([row[key] for row in rows]) for key in rows[0]}
            if isinstance(rows[0], dict)
            else np.stack(rows)
        )
        ids = np.asarray(ids, np.int32)
        return rows, {"env_id": ids, "players": {"env_id": ids}, "elapsed_step": self.elapsed[ids]}

    def reset(self, env_id=None):  # type: ignore[override]
        ids = np.arange(self.num_envs) if env_id is None else env_id
        assert ids.dtype in (np.int32, np.int64)
        self.elapsed[ids], self.ended[ids] = 0, False
        return self._rows(ids, [self.envs[i].reset()[0] for i in ids])

    def step(self, actions):
        if isinstance(self.action_space, gym.spaces.Discrete):
            assert actions.dtype == np.int32
        assert not self.ended.any(), "the next step would only reset"
        taken = [env.step(action) for env, action in zip(self.envs, actions, strict=True)]
        self.elapsed += 1
        terminated, truncated = (np.array([one[i] for one in taken]) for i in (2, 3))
        self.ended = terminated | truncated
        rewards = np.array([one[1] for one in taken], np.float32)
        observations, infos = self._rows(np.arange(self.num_envs), [one[0] for one in taken])
        return observations, rewards, terminated, truncated, infos

    def close(self, **kwargs):
        self.closed = True


class Counting(gym.Env):
    """Ends after its own number of steps, by itself or by a limit; says how long an episode has lasted."""

    action_space = gym.spaces.Discrete(2)

    def __init__(self, length, cut_off, as_dict):
        self.length, self.cut_off, self.as_dict = length, cut_off, as_dict
        box = gym.spaces.Box(0, 1000, (2,), np.float32)
        self.observation_space = gym.spaces.Dict({"seen": box}) if as_dict else box
        self.episode = -1

    def reset(self, *, seed=None, options=None):
        self.time, self.episode = 0, self.episode + 1
        return self._observe(), {}

    def _observe(self):
        seen = np.array([self.episode, self.time], np.float32)
        return {"seen": seen} if self.as_dict else seen

    def step(self, action):
        self.time += 1
        over = self.time == self.length
        return self._observe(), float(self.time), over and not self.cut_off, over and self.cut_off, {}


def makers(as_dict):
    return [
        lambda length=length: Counting(length, cut_off=length % 2 == 0, as_dict=as_dict)
        for length in (3, 4, 5)
    ]


@pytest.mark.parametrize("as_dict", [False, True])
def test_steps_are_those_of_single_environments(as_dict):
    pool_makers = iter(makers(as_dict))
    pool = VecMonitor(GymnasiumVecEnv(ImitatedPool(lambda: next(pool_makers)(), 3)))
    single = VecMonitor(DummyVecEnv(makers(as_dict)))
    for env in (pool, single):
        env.seed(0)
    np.testing.assert_equal(pool.reset(), single.reset())
    for _ in range(40):
        actions = np.array([0, 1, 0])
        one, other = pool.step(actions), single.step(actions)
        for a, b in zip(one[:3], other[:3], strict=True):
            np.testing.assert_equal(a, b)
        for info, expected in zip(one[3], other[3], strict=True):
            assert info["TimeLimit.truncated"] == expected["TimeLimit.truncated"]
            np.testing.assert_equal(info.get("terminal_observation"), expected.get("terminal_observation"))
            assert ("episode" in info) == ("episode" in expected)
            if "episode" in info:
                assert (info["episode"]["r"], info["episode"]["l"]) == (
                    expected["episode"]["r"],
                    expected["episode"]["l"],
                )
                assert info["elapsed_step"] == info["episode"]["l"]
            assert "env_id" not in info
    pool.close()


def test_an_agent_trains_on_a_pool():
    pool = ImitatedPool(lambda: gym.make("CartPole-v1"), 4)
    env = VecMonitor(GymnasiumVecEnv(pool))
    model = PlasticA2C("MlpPolicy", env, n_steps=16, policy_kwargs={"hidden_size": 8}, seed=0)
    model.learn(16 * 4 * 4)
    assert model.num_timesteps == 256
    assert model.ep_info_buffer
    lengths = [info["l"] for info in model.ep_info_buffer]
    assert min(lengths) >= 8


def test_seeds_and_asynchronous_pools_are_named():
    env = GymnasiumVecEnv(ImitatedPool(lambda: gym.make("CartPole-v1"), 2))
    env.seed(7)
    with pytest.warns(UserWarning, match="the seed 7 has no effect: EnvPool draws its own"):
        env.reset()
    with pytest.raises(ValueError, match="batch_size = num_envs, got 1 of 2"):
        GymnasiumVecEnv(ImitatedPool(lambda: gym.make("CartPole-v1"), 2, batch_size=1))


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_the_real_envpool():
    envpool = pytest.importorskip("envpool")
    env = VecMonitor(GymnasiumVecEnv(envpool.make_gymnasium("CartPole-v1", num_envs=5, seed=1)))
    env.reset()
    lengths = []
    for _ in range(300):
        observations, rewards, dones, infos = env.step(np.zeros(5, dtype=np.int64))
        assert isinstance(observations, np.ndarray)
        assert (rewards == 1).all()
        for i in np.flatnonzero(dones):
            lengths.append(infos[i]["episode"]["l"])
            # Episodes start near the middle, and end beyond an angle of 0.2095.
            assert np.abs(observations[i]).max() <= 0.05
            assert abs(infos[i]["terminal_observation"][2]) > 0.2
    # What CartPole takes to fall under one push.
    assert len(lengths) > 100
    assert set(lengths) <= {8, 9, 10, 11}
    PlasticA2C("MlpPolicy", env, n_steps=8, policy_kwargs={"hidden_size": 8}).learn(80)
