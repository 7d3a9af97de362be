"""NaN and infinities from an environment are named, and leave nothing behind."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ActorCriticPolicy

from plastic_rl import PlasticA2C, PlasticPolicy, PlasticPPO

BOX = spaces.Box(-1, 1, (3,), np.float32)
SMALL = {"hidden_size": 6}


class Sensor(gym.Env):
    """Episodes of ``length`` steps; what ``fault`` names is bad at step ``at`` of the environment's life."""

    fault: str | None = None
    value = float("nan")
    at = 5

    def __init__(self, number=0, felt=False, actions=None, length=4, truncate=False):
        self.number = number
        self.observation_space = spaces.Dict({"felt": BOX, "count": spaces.Discrete(9)}) if felt else BOX
        self.action_space = actions or spaces.Discrete(2)
        self.length, self.truncate = length, truncate
        self.life = 0

    def bad(self, what):
        return self.fault == what and self.number == 1 and self.life == self.at

    def observe(self, bad):
        felt = self.np_random.uniform(-1, 1, 3).astype(np.float32)
        if bad:
            felt[2] = self.value
        return {"felt": felt, "count": 4} if isinstance(self.observation_space, spaces.Dict) else felt

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.observe(self.bad("first observation")), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.t += 1
        self.life += 1
        over = self.t == self.length
        obs = self.observe(self.bad("observation") or (over and self.bad("last observation")))
        reward = self.value if self.bad("reward") else 1.0
        return obs, reward, over and not self.truncate, over and self.truncate, {}


class OwnForward(PlasticPolicy):
    """Acts with torch's distributions, which refuse probabilities that are no numbers."""

    def forward(self, *args, **kwargs):
        return super().forward(*args, **kwargs)


@pytest.fixture(autouse=True)
def sound(monkeypatch):
    for name in ("fault", "value", "at"):
        monkeypatch.setattr(Sensor, name, getattr(Sensor, name))


def make(algorithm=PlasticA2C, policy=None, n_steps=8, **kwargs):
    numbers = iter(range(3))
    env = make_vec_env(lambda: Sensor(next(numbers), **kwargs), n_envs=3, seed=0)
    policy = policy or ("MultiInputPolicy" if kwargs.get("felt") else "MlpPolicy")
    policy_kwargs = SMALL if policy is not ActorCriticPolicy else {}
    return algorithm(policy, env, n_steps=n_steps, seed=0, policy_kwargs=policy_kwargs)


CASES = [
    ("observation", float("nan"), {}, r"nan at \[2\] in the observation of environment 1 at step 5"),
    ("observation", float("inf"), {}, r"inf at \[2\] in the observation of environment 1 at step 5"),
    (
        "observation",
        float("-inf"),
        {"felt": True},
        r"-inf at \[2\] of part 'felt' in the observation of environment 1 at step 5",
    ),
    ("reward", float("nan"), {}, "nan in the reward of environment 1 at step 5"),
    ("reward", float("-inf"), {}, "-inf in the reward of environment 1 at step 5"),
]


@pytest.mark.parametrize("algorithm", [PlasticA2C, PlasticPPO])
@pytest.mark.parametrize(("fault", "value", "kwargs", "message"), CASES)
def test_it_is_named_and_forgotten(algorithm, fault, value, kwargs, message):
    model = make(algorithm, **kwargs).learn(24)
    before = {name: part.clone() for name, part in model.policy.state_dict().items()}
    Sensor.fault, Sensor.value, Sensor.at = fault, value, 13
    with pytest.raises(ValueError, match=message + " of the rollout"):
        model.learn(24, reset_num_timesteps=False)
    assert all(model.policy.state_dict()[name].equal(part) for name, part in before.items())
    Sensor.fault = None
    model.learn(48, reset_num_timesteps=False)
    assert all(part.isfinite().all() for part in model._state.actor)
    assert np.isfinite([info["r"] for info in model.ep_info_buffer]).all()
    assert all(part.isfinite().all() for part in model.policy.state_dict().values())


@pytest.mark.parametrize("policy", [OwnForward, ActorCriticPolicy])
@pytest.mark.parametrize("actions", [spaces.Discrete(2), BOX])
def test_it_is_named_where_acting_would_fail_first(policy, actions):
    model = make(policy=policy, actions=actions)
    Sensor.fault = "observation"
    where = r"nan at \[2\] in the observation of environment 1 at step 5"
    with pytest.raises(ValueError, match=where) as caught:
        model.learn(24)
    assert isinstance(caught.value.__cause__, ValueError)
    Sensor.fault = None
    model.learn(24)


@pytest.mark.parametrize("truncate", [False, True])
@pytest.mark.parametrize("felt", [False, True])
def test_last_observations_are_looked_at(felt, truncate):
    model = make(felt=felt, truncate=truncate)
    Sensor.fault, Sensor.at = "last observation", 8
    part = "of part 'felt' " if felt else ""
    where = rf"nan at \[2\] {part}in the last observation of an episode of environment 1 at step 8"
    with pytest.raises(ValueError, match=where):
        model.learn(24)


@pytest.mark.parametrize("truncate", [False, True])
def test_so_are_those_that_a_memoryless_policy_never_sees(truncate):
    model = make(policy=ActorCriticPolicy, truncate=truncate).learn(24)
    Sensor.fault, Sensor.at = "last observation", 16
    where = r"nan at \[2\] in the last observation of an episode of environment 1 at step 8 of the rollout"
    with pytest.raises(ValueError, match=where):
        model.learn(24, reset_num_timesteps=False)
    Sensor.fault = None
    model.learn(24, reset_num_timesteps=False)


def test_first_observations_are_looked_at():
    model = make()
    Sensor.fault, Sensor.at = "first observation", 0
    with pytest.raises(ValueError, match="in the observation of environment 1 before step 1 of the rollout"):
        model.learn(24)


def test_the_observation_after_the_last_step_is_looked_at():
    model = make(n_steps=5)
    Sensor.fault = "observation"
    with pytest.raises(
        ValueError, match="in the observation of environment 1 at step 5 of the rollout, after 15"
    ):
        model.learn(15)


def test_large_numbers_are_numbers():
    model = make(actions=spaces.Box(-1, 1, (1,), np.float32))
    Sensor.fault, Sensor.value = "observation", 3e38
    model.learn(24)
    assert model.num_timesteps == 24


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_predict_names_it(value):
    obs = np.zeros((3, 3), np.float32)
    model = make()
    state = model.predict(obs)[1]
    obs[1, 2] = value
    with pytest.raises(
        ValueError, match=rf"observation must be finite, got {value} at \[2\] for environment 1"
    ):
        model.predict(obs, state)
    with pytest.raises(ValueError, match=rf"got {value} at \[2\] for environment 0"):
        model.predict(obs[1])
    model = make(felt=True)
    with pytest.raises(ValueError, match=rf"got {value} at \[2\] of part 'felt' for environment 1"):
        model.predict({"felt": obs, "count": np.zeros(3, int)})
