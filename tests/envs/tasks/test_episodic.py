import doctest
import pickle
import warnings
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

from plastic_rl import Episodes, EpisodicTaskEnv, PlasticPatternMemoryEnv
from plastic_rl.envs.tasks import episodic

IDS = ["PlasticPatternMemory-v0", "PlasticImageCompletion-v0", "PlasticOmniglot-v0"]


class EchoTask:
    """Two numbers, one after the other; the answer is the first of them, as a digit."""

    observation_space = spaces.Dict(digit=spaces.Box(0, 1, (4,)))
    action_space = spaces.Discrete(4)
    episode_length = 2

    def sample_episodes(self, batch, rng):
        digits = rng.integers(4, size=(2, batch))
        return Episodes({"digit": np.eye(4, dtype=np.float32)[digits]}, digits[0])

    def score(self, episodes, actions):
        return (actions == episodes.targets).astype(float)


class MirrorTask:
    """One vector, to be repeated with its sign changed."""

    observation_space = spaces.Box(-1, 1, (3,))
    action_space = spaces.Box(-1, 1, (3,))
    episode_length = 1

    def sample_episodes(self, batch, rng):
        vectors = rng.uniform(-1, 1, (1, batch, 3)).astype(np.float32)
        return Episodes(vectors, -vectors[0])

    def score(self, episodes, actions):
        return -np.abs(actions - episodes.targets).sum(axis=-1)

    def metrics(self, episodes, actions):
        return {"largest_error": np.abs(actions - episodes.targets).max(axis=-1)}

    def frame(self, observations, action, target):
        return np.full((16, 16, 3), 255 if action is None else 0, np.uint8)


def play(env, act, seed=None):
    """Observations, rewards and infos of one episode; `act` gives the action for an info."""
    observation, info = env.reset(seed=seed)
    observations, rewards, infos, terminated = [observation], [], [info], False
    while not terminated:
        observation, reward, terminated, truncated, info = env.step(act(info))
        assert not truncated
        observations.append(observation)
        rewards.append(reward)
        infos.append(info)
    return observations, rewards, infos


def assert_same(one, other):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])
    else:
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("env_id", IDS)
def test_both_environment_checkers_pass(env_id, made_up):
    arguments = made_up.get(env_id, {})
    gymnasium_check(gym.make(env_id, **arguments).unwrapped)
    sb3_check(gym.make(env_id, render_mode="rgb_array", **arguments), skip_render_check=False)


@pytest.mark.parametrize("task", [EchoTask(), MirrorTask()])
def test_own_tasks_pass_the_checkers(task):
    env = EpisodicTaskEnv(task)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Not able to test alternative render modes")
        gymnasium_check(env)
    sb3_check(env)


def test_the_example_in_the_docstring_runs():
    failed, tried = doctest.testmod(episodic)
    assert tried > 5
    assert failed == 0


@pytest.mark.parametrize("env_id", IDS)
def test_single_episodes_are_those_of_the_batch(env_id, made_up):
    one = gym.make(env_id, **made_up.get(env_id, {})).unwrapped
    other = gym.make(env_id, **made_up.get(env_id, {})).unwrapped
    other.reset(seed=5)
    observations, _, infos = play(one, lambda info: info["target"], seed=5)
    other.np_random = np.random.default_rng(5)
    episodes = other.sample_episodes(1)
    assert len(observations) == one.task.episode_length + 1
    for step, observation in enumerate(observations[:-1]):
        assert_same(observation, _pick(episodes.observations, step, 0))
        assert one.observation_space.contains(observation)
    assert_same(observations[-1], observations[-2])
    for info in infos:
        np.testing.assert_array_equal(info["target"], episodes.targets[0])


def _pick(values, step, episode):
    if isinstance(values, dict):
        return {key: part[step, episode] for key, part in values.items()}
    return values[step, episode]


@pytest.mark.parametrize("env_id", IDS)
def test_seeds_decide_the_episodes(env_id, made_up):
    env = gym.make(env_id, **made_up.get(env_id, {})).unwrapped

    def draw(seed):
        env.reset(seed=seed)
        return env.sample_episodes(4)

    first, again, other = draw(1), draw(1), draw(2)
    assert_same(first.observations, again.observations)
    np.testing.assert_array_equal(first.targets, again.targets)
    image = (lambda values: values["image"]) if env_id == "PlasticOmniglot-v0" else (lambda values: values)
    assert (image(first.observations) != image(other.observations)).any()
    following = env.sample_episodes(4)
    assert (image(following.observations) != image(other.observations)).any()


@pytest.mark.parametrize("env_id", IDS)
def test_episodes_do_not_touch_the_global_generator(env_id, made_up):
    env = gym.make(env_id, **made_up.get(env_id, {}))
    before = pickle.dumps(np.random.get_state())  # noqa: NPY002
    play(env, lambda info: info["target"])
    assert pickle.dumps(np.random.get_state()) == before  # noqa: NPY002


def test_rewards_and_metrics_come_with_the_last_step_alone():
    env = EpisodicTaskEnv(EchoTask())
    for seed in range(10):
        _, rewards, infos = play(env, lambda info: info["target"], seed)
        assert rewards == [0.0, 1.0]
        assert [set(info) for info in infos] == [{"target"}] * 3
        assert isinstance(infos[0]["target"], int)
        _, rewards, _ = play(env, lambda info: (info["target"] + 1) % 4, seed)
        assert rewards == [0.0, 0.0]
    _, rewards, infos = play(EpisodicTaskEnv(MirrorTask()), lambda info: info["target"] * 0, seed=0)
    np.testing.assert_allclose(rewards, -np.abs(infos[0]["target"]).sum(), rtol=1e-6)
    np.testing.assert_allclose(infos[1]["largest_error"], np.abs(infos[0]["target"]).max(), rtol=1e-6)


def test_returned_arrays_are_the_callers():
    env = EpisodicTaskEnv(EchoTask())
    observation, _ = env.reset(seed=0)
    kept = observation["digit"].copy()
    observation["digit"][:] = 7
    env.reset(seed=0)
    assert_same(env._episode.observations["digit"][0, 0], kept)
    env = EpisodicTaskEnv(MirrorTask())
    observation, info = env.reset(seed=0)
    observation[:] = info["target"][:] = 9
    assert env.step(np.zeros(3))[1] > -3


def test_box_actions_are_clipped_and_checked():
    env = EpisodicTaskEnv(MirrorTask())
    for action in ([9, -9, 9], np.array([9.0, -9.0, 9.0]), np.float32([1, -1, 1])):
        _, rewards, infos = play(env, lambda info, action=action: action, seed=1)
        np.testing.assert_allclose(rewards[0], -np.abs([1, -1, 1] - infos[0]["target"]).sum(), rtol=1e-6)
    for wrong in (np.zeros(2), 0.0, np.zeros((1, 3)), [0, np.nan, 0], [0, np.inf, 0]):
        env.reset()
        with pytest.raises(ValueError, match=r"action must be \(3,\) finite numbers"):
            env.step(wrong)


@pytest.mark.parametrize("action", [4, -1, 1.0, "1", None, np.array([1])])
def test_discrete_actions_are_checked(action):
    env = EpisodicTaskEnv(EchoTask())
    env.reset()
    with pytest.raises(ValueError, match=r"action must be in Discrete\(4\)"):
        env.step(action)


def test_step_and_render_need_a_reset():
    env = EpisodicTaskEnv(MirrorTask(), render_mode="rgb_array")
    with pytest.raises(ResetNeeded, match="before calling"):
        env.step(np.zeros(3))
    with pytest.raises(ResetNeeded, match="before calling"):
        env.render()
    play(env, lambda info: info["target"])
    with pytest.raises(ResetNeeded, match="after the episode's end"):
        env.step(np.zeros(3))


def test_a_tasks_own_frame_is_shown():
    env = EpisodicTaskEnv(MirrorTask(), render_mode="rgb_array")
    env.reset()
    assert (env.render() == 255).all()
    env.step(np.zeros(3))
    assert (env.render() == 0).all()
    with pytest.raises(ValueError, match=r"render_mode must be None or one of .*, got 'ansi'"):
        EpisodicTaskEnv(MirrorTask(), render_mode="ansi")
    with pytest.warns(UserWarning, match="without a render_mode"):
        assert EpisodicTaskEnv(MirrorTask()).render() is None


def test_an_action_is_shown_only_with_what_it_answered():
    frames = []
    env = PlasticPatternMemoryEnv(
        n_bits=4, n_patterns=1, show_steps=2, blank_steps=1, n_passes=1, probe_steps=2
    )
    env.render_mode = "rgb_array"
    env.task.frame = lambda observations, action, target: frames.append((len(observations), action is None))
    env.reset(seed=0)
    env.render()
    for _ in range(5):
        env.step(np.zeros(4))
        env.render()
    # After a step the action belongs to the observation before, which may be shown once more.
    assert frames == [(1, True), (2, False), (3, True), (4, True), (5, False), (5, False)]


@pytest.mark.parametrize("batch", [0, -1, 1.5, "2", True, None])
def test_batches_must_be_positive_integers(batch):
    with pytest.raises(ValueError, match="batch must be an integer of at least 1"):
        EpisodicTaskEnv(EchoTask()).sample_episodes(batch)


def broken(**changes):
    return type("Broken", (MirrorTask,), changes)()


def drawing(observations, targets):
    return lambda self, batch, rng: Episodes(observations, targets)


ZEROS = np.zeros((1, 2, 3), np.float32)
BROKEN = [
    (MirrorTask, TypeError, "got the class MirrorTask: call it"),
    (SimpleNamespace(), TypeError, "SimpleNamespace must have the attribute observation_space"),
    (broken(action_space=3), TypeError, "Broken.action_space must be a space of Gymnasium, got 3"),
    (broken(episode_length=0), ValueError, "Broken.episode_length must be an integer of at least 1, got 0"),
    (
        broken(episode_length=2),
        ValueError,
        r"observations must be an array of shape \(2, 2, 3\), got \(1, 2, 3\)",
    ),
    (broken(sample_episodes=lambda *_: 1), TypeError, "must return Episodes, got int"),
    (
        broken(sample_episodes=drawing(ZEROS, ZEROS)),
        ValueError,
        r"targets must be an array of shape \(2, 3\)",
    ),
    (
        broken(sample_episodes=drawing(ZEROS.astype(float), ZEROS[0])),
        ValueError,
        r"observations\[0, 0\] .*float64",
    ),
    (broken(sample_episodes=drawing(ZEROS, ZEROS[0] + 2)), ValueError, r"targets\[0\] must be in Box"),
    (broken(sample_episodes=drawing({"x": ZEROS}, ZEROS[0])), ValueError, "observations must be an array"),
    (
        broken(observation_space=spaces.Dict(a=MirrorTask.observation_space)),
        ValueError,
        r"observations must be a dict with the keys \['a'\], got ndarray",
    ),
    (
        broken(
            observation_space=spaces.Dict(x=MirrorTask.observation_space),
            sample_episodes=drawing({"x": 1}, ZEROS),
        ),
        ValueError,
        r"observations\['x'\] must be an array of shape \(1, 2, 3\), got \(\)",
    ),
    (broken(observation_space=spaces.Text(3)), TypeError, "observations: a space of arrays"),
    (
        broken(score=lambda *_: 0.0),
        ValueError,
        "Broken.score must be 2 finite numbers for 2 episodes, got 0.0",
    ),
    (broken(score=lambda *_: np.full(2, np.nan)), ValueError, "Broken.score must be 2 finite numbers"),
    (
        broken(metrics=lambda *_: {"a": np.zeros(3)}),
        ValueError,
        "Broken.metrics: 'a' must be 2 finite numbers",
    ),
    (broken(metrics=lambda *_: {"target": np.zeros(2)}), ValueError, r"must not use the names \['target'\]"),
]


@pytest.mark.parametrize(("task", "error", "message"), BROKEN)
def test_tasks_are_checked_when_they_are_handed_over(task, error, message):
    with pytest.raises(error, match=message):
        EpisodicTaskEnv(task)
