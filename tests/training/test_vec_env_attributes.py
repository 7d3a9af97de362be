import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor

from plastic_rl.envs import PlasticMazeVectorEnv
from plastic_rl.training.vec_env import GymnasiumVecEnv


class MoodyMazes(PlasticMazeVectorEnv):
    mood = "calm"

    def double(self, values):
        return [2 * value for value in values]

    def shrug(self):
        return None

    def sized(self):
        return 7


def adapted(n_envs, **kwargs):
    return GymnasiumVecEnv(MoodyMazes(n_envs, **kwargs))


def test_attributes_and_methods_of_the_batch():
    venv = adapted(3)
    assert venv.get_attr("mood") == ["calm"] * 3
    assert venv.get_attr("mood", indices=1) == ["calm"]
    assert venv.get_attr("mood", indices=[0, 2]) == ["calm"] * 2
    assert venv.get_attr("action_space") == [spaces.Discrete(4)] * 3
    assert venv.has_attr("mood")
    assert not venv.has_attr("nothing")
    venv.set_attr("mood", "wild")
    assert venv.env.mood == "wild"
    venv.set_attr("brand_new", 1, indices=[2, 1, 0])
    assert venv.env.brand_new == 1
    assert venv.env_method("double", [1, 2, 3]) == [2, 4, 6]
    assert venv.env_method("shrug") == [None] * 3
    with pytest.raises(IndexError):
        venv.get_attr("mood", indices=3)
    with pytest.raises(AttributeError, match="'nothing'"):
        venv.env_method("nothing")
    with pytest.raises(ValueError, match=r"all 3 environments, got \[0\]"):
        venv.set_attr("mood", "sad", indices=[0])
    with pytest.raises(ValueError, match="all 3 environments, got 1"):
        venv.env_method("shrug", indices=1)
    with pytest.raises(ValueError, match="None or 3 entries, got 7"):
        venv.env_method("sized")
    with pytest.raises(ValueError, match="must not be 'reset'"):
        venv.env_method("reset")


def test_attributes_behind_vector_wrappers():
    wrapped = gym.wrappers.vector.ClipReward(MoodyMazes(2), 0.0, 0.1)
    venv = GymnasiumVecEnv(wrapped)
    assert venv.get_attr("mood") == ["calm"] * 2
    venv.set_attr("mood", "wild")
    assert wrapped.env.mood == "wild"
    assert venv.env_is_wrapped(gym.wrappers.vector.ClipReward) == [True, True]
    assert venv.env_is_wrapped(Monitor, indices=[0]) == [False]


def test_render():
    venv = adapted(4, render_mode="rgb_array")
    venv.reset()
    assert venv.render_mode == "rgb_array"
    assert venv.metadata["render_fps"] == 10
    images = venv.get_images()
    np.testing.assert_array_equal(images, venv.env.render())
    height, width, _ = images[0].shape
    np.testing.assert_array_equal(venv.render()[:height, width:], images[1])
    texts = adapted(2, render_mode="ansi")
    texts.reset()
    with pytest.raises(ValueError, match="got 'ansi'"):
        texts.get_images()


def test_close_reaches_the_environment():
    venv = adapted(2)
    venv.close()
    assert venv.env.closed
