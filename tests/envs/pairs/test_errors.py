import numpy as np
import pytest
from gymnasium.error import ResetNeeded

from plastic_rl.envs import PairsTask, PlasticPairsEnv, PlasticPairsVectorEnv

BAD_ARGUMENTS = [
    ({"n_pairs": 0}, "n_pairs must be an integer of at least 1, or two of them .*, got 0"),
    ({"n_pairs": 8.0}, "n_pairs must be an integer of at least 1, or two of them .*, got 8.0"),
    ({"n_pairs": True}, "n_pairs must be an integer of at least 1, .*, got True"),
    ({"n_pairs": "8"}, "n_pairs must be an integer of at least 1, .*, got '8'"),
    ({"n_pairs": None}, "n_pairs must be an integer of at least 1, .*, got None"),
    ({"n_pairs": (4, 2)}, r"n_pairs must be .* \(low, high\) with low <= high, got \(4, 2\)"),
    ({"n_pairs": (0, 2)}, r"n_pairs must be an integer of at least 1, .*, got \(0, 2\)"),
    ({"n_pairs": (1, 2, 3)}, r"n_pairs must be .* two of them .*, got \(1, 2, 3\)"),
    ({"n_pairs": (1, 2.5)}, r"n_pairs must be .* two of them .*, got \(1, 2.5\)"),
    ({"n_pairs": 9, "cue_size": 3}, r"n_pairs must be at most 2\*\*cue_size = 8 with cues='drawn', .*got 9"),
    ({"n_pairs": (2, 9), "cue_size": 3}, r"n_pairs must be at most .* = 8 with .*got \(2, 9\)"),
    ({"n_pairs": 17, "cues": "fixed"}, "n_pairs must be at most cue_size = 16 with cues='fixed', .*got 17"),
    ({"cue_size": 0}, "cue_size must be an integer of at least 1, got 0"),
    ({"cue_size": 2.5}, "cue_size must be an integer of at least 1, got 2.5"),
    ({"n_answers": 1}, "n_answers must be an integer of at least 2, got 1"),
    ({"blank_steps": -1}, "blank_steps must be an integer of at least 0, got -1"),
    ({"cues": "random"}, "cues must be one of drawn, fixed, got 'random'"),
    ({"feedback": "none"}, "feedback must be one of told, tried, got 'none'"),
    ({"answer_delay": 2}, "answer_delay must be 0 or 1, got 2"),
    ({"answer_delay": True}, "answer_delay must be 0 or 1, got True"),
    ({"answer_delay": 0.0}, "answer_delay must be 0 or 1, got 0.0"),
    ({"n_changes": -1}, "n_changes must be an integer of at least 0, got -1"),
    ({"n_changes": 9}, "n_changes must be at most 8, the pairs of a lifetime, got 9"),
    ({"n_changes": 3, "n_pairs": (2, 5)}, "n_changes must be at most 2, the pairs of a lifetime, got 3"),
    ({"n_rounds": 0}, "n_rounds must be an integer of at least 1, got 0"),
    ({"blank_steps": 1, "feedback": "tried"}, "blank_steps must be 0 with feedback='tried', .* got 1"),
    ({"n_changes": 2, "feedback": "tried"}, "n_changes must be 0 with feedback='tried', .* got 2"),
    ({"render_mode": "rgb"}, "render_mode must be None or one of .*'ansi'.*, got 'rgb'"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_ARGUMENTS)
@pytest.mark.parametrize("make", [PlasticPairsEnv, PlasticPairsVectorEnv])
def test_bad_arguments_are_refused(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_pairs": (2, 4)}, r"n_pairs must be an integer of at least 1, got \(2, 4\)"),
        ({"n_pairs": 3, "cue_size": 1}, r"n_pairs must be at most 2\*\*cue_size = 2"),
        ({"n_answers": 1}, "n_answers must be an integer of at least 2, got 1"),
        ({"answer_delay": 3}, "answer_delay must be 0 or 1, got 3"),
    ],
)
def test_bad_arguments_of_the_task_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PairsTask(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "num_envs must be an integer of at least 1, got 0"),
        ({"max_episode_steps": 0}, "max_episode_steps must be an integer of at least 1, got 0"),
    ],
)
def test_bad_arguments_of_the_batch_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PlasticPairsVectorEnv(**arguments)


def test_unknown_arguments_are_refused():
    for make in (PlasticPairsEnv, PlasticPairsVectorEnv):
        with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
            make(colour=1)  # type: ignore[call-arg]


def test_step_and_render_need_a_reset():
    env = PlasticPairsEnv(render_mode="ansi", n_pairs=1)
    with pytest.raises(ResetNeeded, match="before calling"):
        env.step(0)
    with pytest.raises(ResetNeeded, match="before calling"):
        env.render()
    env.reset(seed=0)
    for _ in range(4):
        env.step(0)
    with pytest.raises(ResetNeeded, match="after the episode's end"):
        env.step(0)
    env.render()
    env.reset()
    env.step(0)


@pytest.mark.parametrize("action", [4, -1, 1.0, "up", None, np.array([1])])
def test_invalid_actions_are_refused(action):
    env = PlasticPairsEnv()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action must be an integer from 0 to 3, got"):
        env.step(action)
