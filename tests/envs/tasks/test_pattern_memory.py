import gymnasium as gym
import numpy as np
import pytest

from plastic_rl import PatternMemoryTask, PlasticPatternMemoryEnv

SMALL = {"n_bits": 50, "n_patterns": 2, "show_steps": 3, "blank_steps": 1, "n_passes": 1, "probe_steps": 3}


def draw(batch=6, seed=0, **arguments):
    task = PatternMemoryTask(**arguments)
    return task, task.sample_episodes(batch, np.random.default_rng(seed))


def last_reward(env, act):
    observation, info = env.reset(seed=0)
    terminated = False
    while not terminated:
        observation, reward, terminated, _, info = env.step(act(observation, info))
    return reward, info


def test_the_papers_numbers_are_the_default():
    env = gym.make("PlasticPatternMemory-v0")
    assert env.observation_space == env.action_space == gym.spaces.Box(-1, 1, (1000,), np.float32)
    task = env.unwrapped.task
    assert (task.n_items, task.show_steps, task.blank_steps, task.n_passes, task.probe_steps) == (
        5,
        10,
        3,
        3,
        6,
    )
    assert task.episode_length == 3 * 5 * (10 + 3) + 6 == 201
    assert PatternMemoryTask(**SMALL).episode_length == 11


def test_an_episode_shows_every_pattern_in_every_pass_and_blanks_between():
    _, episodes = draw()
    slots = episodes.observations[:195].reshape(3, 5, 13, 6, 1000)
    assert (np.abs(slots[:, :, :10]) == 1).all()
    assert (slots[:, :, :10] == slots[:, :, :1]).all()
    assert (slots[:, :, 10:] == 0).all()
    shown = slots[:, :, 0]
    orders = set()
    for episode in range(6):
        passes = [[pattern.tobytes() for pattern in one] for one in shown[:, :, episode]]
        assert len(set(passes[0])) == 5
        assert set(passes[0]) == set(passes[1]) == set(passes[2])
        orders.add(passes[0] == passes[1] == passes[2])
        assert episodes.targets[episode].tobytes() in passes[0]
    assert orders == {False}


def test_the_probe_is_the_target_without_half_of_its_bits():
    for n_bits in (1000, 7):
        _, episodes = draw(n_bits=n_bits)
        probe = episodes.observations[-6:]
        assert (probe == probe[0]).all()
        is_erased = probe[0] == 0
        assert (is_erased.sum(axis=1) == n_bits // 2).all()
        np.testing.assert_array_equal(probe[0][~is_erased], episodes.targets[~is_erased])
        assert (is_erased != is_erased[0]).any()


def test_patterns_probes_and_erasures_are_drawn_evenly():
    _, episodes = draw(4000, n_bits=10, n_patterns=4, show_steps=1, blank_steps=0, n_passes=2, probe_steps=1)
    assert episodes.observations.shape == (9, 4000, 10)
    np.testing.assert_allclose(episodes.observations[:8].mean(axis=1), 0, atol=0.06)
    np.testing.assert_allclose((episodes.observations[8] == 0).mean(axis=0), 0.5, atol=0.03)
    # By chance, 1 pattern in 1024 equals another one.
    is_probed = (episodes.observations[:4] == episodes.targets).all(axis=-1)
    np.testing.assert_allclose(is_probed.mean(axis=1), 0.25, atol=0.03)


def test_perfect_blind_and_copying_players():
    env = PlasticPatternMemoryEnv()
    reward, info = last_reward(env, lambda observation, info: info["target"])
    assert (reward, info["bit_error"], info["squared_error"], info["erased_squared_error"]) == (0, 0, 0, 0)
    reward, info = last_reward(env, lambda observation, info: observation)
    assert (reward, info["bit_error"], info["squared_error"], info["erased_squared_error"]) == (
        -0.5,
        0.5,
        500,
        500,
    )
    reward, info = last_reward(env, lambda observation, info: np.zeros(1000))
    assert (reward, info["bit_error"], info["squared_error"], info["erased_squared_error"]) == (
        -1,
        0.5,
        1000,
        500,
    )
    reward, info = last_reward(env, lambda observation, info: -info["target"])
    assert (reward, info["bit_error"], info["squared_error"], info["erased_squared_error"]) == (
        -4,
        1,
        4000,
        2000,
    )


def test_guessing_gives_the_chance_error():
    task, episodes = draw(300, **SMALL)
    guesses = np.random.default_rng(1).choice([-1.0, 1.0], (300, 50))
    error = task.metrics(episodes, guesses)["bit_error"]
    assert error.shape == (300,)
    np.testing.assert_allclose(error.mean(), 0.5, atol=0.03)
    np.testing.assert_allclose(task.score(episodes, guesses).mean(), -2, atol=0.1)


def test_bit_error_counts_erased_bits_alone():
    task, episodes = draw(3, **SMALL)
    answers = episodes.targets.copy()
    is_erased = episodes.observations[-1] == 0
    answers[~is_erased] *= -1
    answers[0, np.flatnonzero(is_erased[0])[:5]] *= -0.01
    answers[1, is_erased[1]] = 0
    np.testing.assert_allclose(task.metrics(episodes, answers)["bit_error"], [0.2, 0.5, 0], rtol=1e-6)


def test_a_picture_shows_patterns_probe_answer_and_truth():
    env = PlasticPatternMemoryEnv(**SMALL, render_mode="rgb_array")
    _, info = env.reset(seed=0)
    colours = {"probe": (240, 196, 100), "wrong": (213, 94, 0), "now": (0, 114, 178), "truth": (0, 158, 115)}

    def shown():
        frame = env.render()
        assert frame.dtype == np.uint8
        assert frame.shape[0] % 16 == frame.shape[1] % 16 == 0
        return {name for name, colour in colours.items() if (frame == colour).all(axis=-1).any()}

    assert shown() == {"now"}
    for _ in range(3):
        env.step(np.zeros(50))
    assert shown() == set()
    for _ in range(5):
        env.step(np.zeros(50))
    assert shown() == {"now", "probe", "truth"}
    env.step(-info["target"])
    assert shown() == {"now", "probe", "truth", "wrong"}
    env.step(info["target"])
    env.step(info["target"])
    assert shown() == {"now", "probe", "truth"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_bits": 1}, "n_bits must be an integer of at least 2, got 1"),
        ({"n_bits": 10.0}, "n_bits must be an integer of at least 2, got 10.0"),
        ({"n_patterns": 0}, "n_patterns must be an integer of at least 1, got 0"),
        ({"show_steps": 0}, "show_steps must be an integer of at least 1, got 0"),
        ({"blank_steps": -1}, "blank_steps must be an integer of at least 0, got -1"),
        ({"n_passes": "3"}, "n_passes must be an integer of at least 1, got '3'"),
        ({"probe_steps": True}, "probe_steps must be an integer of at least 1, got True"),
        ({"render_mode": "human"}, "render_mode must be None or one of"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PlasticPatternMemoryEnv(**arguments)


def test_the_small_task_of_the_card_has_as_many_steps_as_it_says():
    line = next(line for line in PlasticPatternMemoryEnv.__doc__.splitlines() if "its small one" in line)
    said, *numbers = line.strip(" |").split("|")
    names = ("n_bits", "n_patterns", "show_steps", "blank_steps", "n_passes", "probe_steps")
    task = PatternMemoryTask(**dict(zip(names, map(int, numbers), strict=True)))
    assert said.strip().endswith(f": {task.episode_length} steps")
