"""RL-Zoo builds the meta-learning wrappers from a settings file's entry."""

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import plastic_rl
from plastic_rl.training.a2c import PlasticA2C


def task_of_a_lifetime(env: Any, np_random: np.random.Generator) -> None:
    """A pole as long as this lifetime says, for `sample_task` of `Lifetime`."""
    env.length = np_random.uniform(0.25, 1.0)


@pytest.mark.usefixtures("zoo")
def test_rl_zoo_builds_the_meta_learning_wrappers(monkeypatch: pytest.MonkeyPatch) -> None:
    from rl_zoo3.utils import get_wrapper_class

    # A module that settings files could name; test modules have no importable name of their own.
    tasks = ModuleType("tasks_for_rl_zoo")
    monkeypatch.setattr(tasks, "pole", task_of_a_lifetime, raising=False)
    monkeypatch.setitem(sys.modules, "tasks_for_rl_zoo", tasks)
    lifetime = {"episodes": 3, "sample_task": "tasks_for_rl_zoo:pole"}
    entry = [
        {"plastic_rl.envs.wrappers.Lifetime": lifetime},
        {"plastic_rl.envs.wrappers.PreviousActionReward": {"reward_range": [0, 1]}},
    ]
    wrapper = get_wrapper_class({"env_wrapper": entry})
    env = plastic_rl.make_vec_env("CartPole-v1", 2, seed=0, wrapper_class=wrapper)
    assert env.observation_space.shape == (4 + 2 + 1 + 1,)
    lengths = {pole.unwrapped.length for pole in env.envs}
    model = PlasticA2C(
        "MlpPolicy", env, n_steps=16, seed=0, device="cpu", policy_kwargs={"hidden_size": 8}
    ).learn(400)
    ended = [info["inner_episode"] for info in env.buf_infos]
    assert max(ended) <= 2
    assert len({pole.unwrapped.length for pole in env.envs} | lengths) > 2
    assert min(record["l"] for record in model.ep_info_buffer) >= 3 * 8
    env.close()
