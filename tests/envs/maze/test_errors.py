import numpy as np
import pytest
from gymnasium.error import ResetNeeded

from plastic_rl.envs import PlasticMazeEnv, PlasticMazeVectorEnv


def test_step_and_render_need_a_reset():
    env = PlasticMazeEnv(render_mode="ansi")
    with pytest.raises(ResetNeeded, match="before calling"):
        env.step(0)
    with pytest.raises(ResetNeeded, match="before calling"):
        env.render()


@pytest.mark.parametrize("action", [4, -1, 1.0, "up", None, np.array([1])])
def test_invalid_actions_are_refused(action):
    env = PlasticMazeEnv()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action must be an integer from 0"):
        env.step(action)


BAD_ARGUMENTS = [
    ({"size": 8}, "size must be an odd integer of at least 5, got 8"),
    ({"size": 3}, "size must be an odd integer of at least 5, got 3"),
    ({"size": 9.0}, "size must be an odd integer of at least 5, got 9.0"),
    ({"size": "9"}, "size must be an odd integer of at least 5, got '9'"),
    ({"start": "corner"}, "start must be 'center' or 'random', got 'corner'"),
    ({"goal_reward": 0}, "goal_reward must be a positive finite number, got 0"),
    ({"goal_reward": float("inf")}, "goal_reward must be a positive finite number, got inf"),
    ({"wall_penalty": -0.1}, "wall_penalty .* at least 0, got -0.1"),
    ({"wall_penalty": float("nan")}, "wall_penalty .* at least 0, got nan"),
    ({"time_scale": 0}, "time_scale must be a finite number of steps, at least 1, got 0"),
    ({"time_scale": "250"}, "time_scale must be a finite number of steps, at least 1, got '250'"),
    ({"render_mode": "rgb"}, "render_mode must be None or one of .*'ansi'.*, got 'rgb'"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_ARGUMENTS)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PlasticMazeEnv(**arguments)


def test_batch_step_and_render_need_a_reset():
    envs = PlasticMazeVectorEnv(2, render_mode="ansi")
    with pytest.raises(ResetNeeded, match="before calling reset"):
        envs.step([0, 0])
    with pytest.raises(ResetNeeded, match="before calling reset"):
        envs.render()
    with pytest.raises(ResetNeeded, match="first reset"):
        envs.reset(options={"reset_mask": np.array([True, False])})


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([0, 1, 4], "actions must be from 0"),
        ([0, -1, 2], "actions must be from 0"),
        ([0, 1], r"actions must be 3 integers, got shape \(2,\)"),
        ([[0, 1, 2]], r"actions must be 3 integers, got shape \(1, 3\)"),
        ([0.0, 1.0, 2.0], "actions must be 3 integers, .* dtype float64"),
        ([True, False, True], "actions must be 3 integers, .* dtype bool"),
    ],
)
def test_batch_invalid_actions_are_refused(actions, message):
    envs = PlasticMazeVectorEnv(3)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        envs.step(actions)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "num_envs must be an integer of at least 1, got 0"),
        ({"num_envs": 2.0}, "num_envs must be an integer of at least 1, got 2.0"),
        ({"max_episode_steps": 0}, "max_episode_steps must be an integer of at least 1, got 0"),
        ({"max_episode_steps": None}, "max_episode_steps must be an integer of at least 1, got None"),
        ({"size": 6}, "size must be an odd integer of at least 5, got 6"),
        ({"wall_penalty": -1}, "wall_penalty .* at least 0, got -1"),
        ({"render_mode": "human"}, "render_mode must be None or one of .*, got 'human'"),
    ],
)
def test_batch_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PlasticMazeVectorEnv(**arguments)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"seed": [1, 2]}, ValueError, "3 integers, got 2"),
        ({"seed": [1, None, 2]}, ValueError, "seed must hold integers"),
        ({"seed": [1, -2, 2]}, ValueError, "seed must hold integers"),
        ({"options": {"reset_mask": [True] * 3}}, TypeError, "reset_mask.* must be a NumPy array of bool"),
        ({"options": {"reset_mask": np.ones(3)}}, TypeError, "reset_mask.* must be a NumPy array of bool"),
        ({"options": {"reset_mask": np.ones(2, dtype=bool)}}, ValueError, r"shape \(3,\)"),
        ({"options": {"reset_mask": np.zeros(3, dtype=bool)}}, ValueError, "a true entry"),
    ],
)
def test_batch_bad_resets_are_refused(arguments, kind, message):
    envs = PlasticMazeVectorEnv(3)
    envs.reset(seed=0)
    with pytest.raises(kind, match=message):
        envs.reset(**arguments)
