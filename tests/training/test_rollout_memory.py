"""A rollout on the policy's device: copied there once, back once, and the same to the bit as in the buffer.

Without a GPU the CPU stands for the device, which is told to be one.
"""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

import plastic_rl
from plastic_rl import PlasticA2C, PlasticPPO
from plastic_rl.policies import MlpPolicy
from plastic_rl.training import rollout_memory as module
from plastic_rl.training.rollout_memory import BufferMemory, DeviceMemory, rollout_memory

CPU = torch.device("cpu")
BOX = spaces.Box(-1, 1, (3,), np.float32)
OBSERVATIONS: dict[str, Any] = {
    "box": BOX,
    "double": spaces.Box(-1, 1, (2, 2), np.float64),
    "discrete": spaces.Discrete(4),
    "bits": spaces.MultiBinary(3),
    "several": spaces.MultiDiscrete([2, 3]),
    "dict": spaces.Dict(
        {"seen": BOX, "kind": spaces.Discrete(3), "fine": spaces.Box(-1, 1, (1,), np.float64)}
    ),
}
ACTIONS: dict[str, Any] = {
    "discrete": spaces.Discrete(3),
    "box": spaces.Box(-1, 1, (2, 2), np.float32),
    "bits": spaces.MultiBinary(2),
    "several": spaces.MultiDiscrete([2, 3]),
}


class Noise(gym.Env):
    """Random observations, rewards for actions, episodes of five steps."""

    def __init__(self, observation, action):
        self.observation_space, self.action_space = OBSERVATIONS[observation], ACTIONS[action]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(int(self.np_random.integers(1000)))
        self.left = 5
        return self.observation_space.sample(), {}

    def step(self, action):
        self.left -= 1
        return self.observation_space.sample(), float(np.sum(action)), False, self.left == 0, {}


@pytest.fixture
def copies(monkeypatch):
    """The CPU is taken for another device; what goes there and back."""
    counted = []
    copy = module._copy

    def count(target, source, *, wait):
        counted.append(source.dtype)
        copy(target, source, wait=wait)

    monkeypatch.setattr(module, "is_host", lambda device: False)
    monkeypatch.setattr(module, "_copy", count)
    return counted


def trained(algorithm, observation, action, **kwargs):
    env = DummyVecEnv([lambda: Noise(observation, action)] * 3)
    policy = "MultiInputPolicy" if observation == "dict" else "MlpPolicy"
    model = algorithm(
        policy, env, n_steps=4, seed=0, policy_kwargs={"hidden_size": 4, "backend": "reference"}, **kwargs
    )
    return model.learn(36)


def numbers(model):
    return {name: part.clone() for name, part in model.policy.state_dict().items()}


CASES = [
    ("box", "discrete"),
    ("double", "box"),
    ("discrete", "several"),
    ("bits", "bits"),
    ("dict", "discrete"),
]


@pytest.mark.parametrize("algorithm", [PlasticA2C, PlasticPPO])
@pytest.mark.parametrize(("observation", "action"), [*CASES, ("several", "box")])
def test_the_same_to_the_bit_with_one_copy_each_way(algorithm, observation, action, copies, monkeypatch):
    there = trained(algorithm, observation, action)
    assert isinstance(there._memory, DeviceMemory)
    up, down = copies[::2], copies[1::2]
    assert len(up) == len(down) == 36 // 3  # a step of all environments, three rollouts of four
    assert set(up) == {torch.uint8}
    assert torch.uint8 not in down
    monkeypatch.undo()
    here = trained(algorithm, observation, action)
    assert isinstance(here._memory, BufferMemory)
    for name, expected in numbers(here).items():
        assert torch.equal(numbers(there)[name], expected), name
    rollout, expected = there.last_rollout(), here.last_rollout()
    for name in ("actions", "episode_starts", "returns"):
        found, wanted = getattr(rollout, name), getattr(expected, name)
        assert found.dtype == wanted.dtype
        assert torch.equal(found, wanted), name
    seen, wanted = rollout.observations, expected.observations
    if observation != "dict":
        seen, wanted = {"": seen}, {"": wanted}
    for name, part in wanted.items():
        assert seen[name].dtype == part.dtype
        assert torch.equal(seen[name], part), name


def test_nothing_of_a_rollout_is_brought_there_for_the_update(copies, monkeypatch):
    """Observations, actions and starts of the update are what the steps were taken with."""
    model = trained(PlasticA2C, "box", "discrete")
    memory, rollout = model._memory, model.last_rollout()
    assert rollout.observations.data_ptr() == memory._device.data_ptr()
    assert rollout.actions.data_ptr() == memory._actions.data_ptr()
    assert rollout.episode_starts.untyped_storage().data_ptr() == memory._device.data_ptr()
    assert rollout.environments(torch.tensor([2])).actions.shape == (4, 1)


def test_a_rollout_stays_what_it_was(copies):
    """The next one lies elsewhere, and so do the arrays that environments and callbacks were given."""
    kept = []

    class Keep(BaseCallback):
        def _on_step(self):
            kept.append((self.locals["actions"], self.locals["actions"].copy()))
            return True

    model = trained(PlasticA2C, "box", "discrete")
    rollout = model.last_rollout()
    before = rollout.observations.clone(), rollout.actions.clone()
    model.learn(24, callback=Keep())
    assert torch.equal(rollout.observations, before[0])
    assert torch.equal(rollout.actions, before[1])
    assert len(kept) == 8
    assert all(np.array_equal(*pair) for pair in kept)


def test_without_a_recording_and_with_masks(copies, monkeypatch):
    """A policy that acts in its own way; environments that allow some actions only."""

    class Masked(Noise):
        def action_masks(self):
            return np.array([True, self.left % 2 == 0, False])

    class Own(MlpPolicy):
        def forward(self, *args, **kwargs):
            return super().forward(*args, **kwargs)

    def run():
        env = DummyVecEnv([lambda: Masked("box", "discrete")] * 3)
        small = {"hidden_size": 4, "backend": "reference"}
        model = PlasticPPO(Own, env, n_steps=4, seed=0, policy_kwargs=small).learn(24)
        assert model._recorder is None
        assert (model.rollout_buffer.actions < 2).all()
        return model

    there = run()
    assert len(copies) == 2 * 8
    monkeypatch.undo()
    for name, expected in numbers(run()).items():
        assert torch.equal(numbers(there)[name], expected), name


def test_where_it_lies():
    buffer = RolloutBuffer(4, BOX, ACTIONS["discrete"], CPU, n_envs=2)
    assert type(rollout_memory(buffer, CPU)) is BufferMemory
    named = DictRolloutBuffer(4, OBSERVATIONS["dict"], ACTIONS["discrete"], CPU, n_envs=2)
    meta = torch.device("meta")
    assert type(rollout_memory(named, meta)) is DeviceMemory

    class Own(RolloutBuffer):
        pass

    assert type(rollout_memory(Own(4, BOX, ACTIONS["discrete"], CPU, n_envs=2), meta)) is BufferMemory


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("algorithm", [PlasticA2C, PlasticPPO])
def test_on_a_gpu(algorithm):
    """All of a rollout lies there, came there from pinned memory, and is what the buffer has."""
    env = plastic_rl.make_vec_env("PlasticMaze-v0", n_envs=8, seed=0, env_kwargs={"render_mode": None})
    model = algorithm("MlpPolicy", env, n_steps=10, seed=0, device="cuda", policy_kwargs={"hidden_size": 16})
    model.learn(320)
    memory, rollout, buffer = model._memory, model.last_rollout(), model.rollout_buffer
    assert isinstance(memory, DeviceMemory)
    assert memory._host.is_pinned()
    parts = (
        rollout.observations,
        rollout.actions,
        rollout.episode_starts,
        rollout.advantages,
        rollout.returns,
    )
    assert {part.device.type for part in (*parts, rollout.initial_state.actor.hidden)} == {"cuda"}
    np.testing.assert_array_equal(rollout.observations.cpu().numpy(), buffer.observations)
    np.testing.assert_array_equal(rollout.actions.cpu().numpy(), buffer.actions[..., 0])
    np.testing.assert_array_equal(rollout.episode_starts.cpu().numpy(), buffer.episode_starts.astype(bool))
