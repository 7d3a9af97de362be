"""Previous action and reward in the observation, and lifetimes of several episodes."""

import importlib
import json
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec, WrapperSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordEpisodeStatistics
from stable_baselines3.common.env_checker import check_env as check_env_sb3
from stable_baselines3.common.env_util import make_vec_env as make_vec_env_sb3
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

import plastic_rl
from plastic_rl.envs import Lifetime, PreviousActionReward

UNIT = spaces.Box(-1, 1, (2,), np.float32)
IMAGE = spaces.Box(0, 255, (40, 40, 3), np.uint8)
OBSERVATIONS: dict[str, spaces.Space] = {
    "box": UNIT,
    "matrix": spaces.Box(-1, 1, (2, 3), np.float64),
    "discrete": spaces.Discrete(3),
    "multidiscrete": spaces.MultiDiscrete([2, 3]),
    "multibinary": spaces.MultiBinary(3),
    "dict": spaces.Dict({"image": IMAGE, "vector": UNIT}),
    "image": IMAGE,
}
ACTIONS: dict[str, spaces.Space] = {
    "discrete": spaces.Discrete(3),
    "multidiscrete": spaces.MultiDiscrete([2, 3]),
    "multibinary": spaces.MultiBinary(3),
    "box": UNIT,
}


class Steps(gym.Env):
    """Episodes of `length` steps with reward `scale`; observations, and the start, are random."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012

    def __init__(
        self, length=3, scale=1.0, observation=None, action=None, time_limit=False, render_mode=None
    ):
        self.render_mode = render_mode
        self.observation_space = OBSERVATIONS[observation or "discrete"]
        self.action_space = ACTIONS[action or "discrete"]
        self.length, self.scale, self.time_limit = length, scale, time_limit
        self.options = []

    def render(self):
        return np.zeros((4, 4, 3), np.uint8)

    def observe(self):
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        return self.observation_space.sample()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        self.options.append(options)
        self.start = int(self.np_random.integers(10**9))
        return self.observe(), {"start": self.start}

    def step(self, action):
        self.t += 1
        over = self.t == self.length
        info = {"t": self.t}
        return (
            self.observe(),
            float(self.scale * self.t),
            over and not self.time_limit,
            over and self.time_limit,
            info,
        )


gym.register("StepsForWrappers-v0", Steps)


def play(env, actions, seed=0):
    """Observations (n + 1), rewards, ends and infos of a sequence of actions after a reset."""
    observation, info = env.reset(seed=seed)
    observations, rewards, ends, infos = [observation], [], [], [info]
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        observations.append(observation)
        rewards.append(reward)
        ends.append((terminated, truncated))
        infos.append(info)
    return observations, rewards, ends, infos


# PreviousActionReward


def test_a_flat_observation_gets_action_reward_and_done():
    env = PreviousActionReward(Steps(length=2))
    assert env.observation_space == spaces.Box(
        np.array([0, 0, 0, 0, 0, 0, -10, 0], np.float32), np.array([1, 1, 1, 1, 1, 1, 10, 1], np.float32)
    )
    observations, rewards, _, _ = play(env, [2, 0])
    plain, _, _, _ = play(Steps(length=2), [2, 0])
    for got, expected in zip(observations, plain, strict=True):
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got[:3], np.eye(3)[expected])
    np.testing.assert_array_equal(observations[0][3:], [0, 0, 0, 0, 0])
    np.testing.assert_array_equal(observations[1][3:], [0, 0, 1, 1, 0])
    np.testing.assert_array_equal(observations[2][3:], [1, 0, 0, 2, 1])
    assert rewards == [1.0, 2.0]
    # A new episode knows nothing of the last one.
    np.testing.assert_array_equal(env.reset()[0][3:], [0, 0, 0, 0, 0])


def test_done_can_be_left_out():
    env = PreviousActionReward(Steps(length=1), observe_done=False)
    observations, _, _, _ = play(env, [1])
    np.testing.assert_array_equal(observations[1][3:], [0, 1, 0, 1])
    image = PreviousActionReward(Steps(observation="image"), observe_done=False)
    assert "previous_done" not in image.observation_space.spaces


def test_done_stays_0_where_a_time_limit_cuts_off():
    env = PreviousActionReward(Steps(length=1, time_limit=True))
    observations, _, ends, _ = play(env, [1])
    assert ends == [(False, True)]
    assert observations[1][-1] == 0


def test_the_observed_reward_is_clipped_and_the_returned_one_is_not():
    env = PreviousActionReward(Steps(scale=-100.0), reward_range=[-0.5, 2])
    observations, rewards, _, _ = play(env, [0])
    assert observations[1][-2] == -0.5
    assert rewards == [-100.0]
    high = PreviousActionReward(Steps(scale=100.0), reward_range=(-0.5, 2))
    assert play(high, [0])[0][1][-2] == 2


@pytest.mark.parametrize(
    ("action_space", "action", "expected"),
    [
        (spaces.Discrete(3, start=5), 6, [0, 1, 0]),
        (spaces.MultiDiscrete([2, 3]), np.array([1, 2]), [0, 1, 0, 0, 1]),
        (spaces.MultiBinary(3), np.array([1, 0, 1], np.int8), [1, 0, 1]),
        (spaces.Box(np.float32([0, -4]), np.float32([10, 4])), np.array([2.5, -4.0]), [-0.5, -1]),
        # Outside the bounds, and a box without width.
        (spaces.Box(np.float32([0, 1]), np.float32([1, 1])), np.array([9.0, 1.0]), [1, 0]),
    ],
)
def test_actions_are_encoded(action_space, action, expected):
    inner = Steps()
    inner.action_space = action_space
    env = PreviousActionReward(inner)
    observations, _, _, _ = play(env, [action])
    np.testing.assert_allclose(observations[1][3:-2], expected)
    assert env.observation_space.contains(observations[1])


def test_an_image_is_kept_and_gets_neighbours():
    env = PreviousActionReward(Steps(observation="image"))
    assert isinstance(env.observation_space, spaces.Dict)
    assert env.observation_space["observation"] == IMAGE
    observations, _, _, _ = play(env, [1])
    plain, _, _, _ = play(Steps(observation="image"), [1])
    np.testing.assert_array_equal(observations[1]["observation"], plain[1])
    np.testing.assert_array_equal(observations[1]["previous_action"], [0, 1, 0])
    np.testing.assert_array_equal(observations[1]["previous_reward"], [1])
    np.testing.assert_array_equal(observations[1]["previous_done"], [0])


def test_a_dict_gets_keys():
    env = PreviousActionReward(Steps(observation="dict"))
    assert isinstance(env.observation_space, spaces.Dict)
    assert list(env.observation_space) == [
        "image", "previous_action", "previous_done", "previous_reward", "vector"
    ]  # fmt: skip
    assert env.observation_space["vector"] == UNIT
    with pytest.raises(ValueError, match=r"previous_action.*previous_reward"):
        PreviousActionReward(env)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reward_range": (1, 2)}, "reward_range"),
        ({"reward_range": (0, 0)}, "reward_range"),
        ({"reward_range": (-1, float("inf"))}, "reward_range"),
        ({"reward_range": (-1,)}, "reward_range"),
        ({"reward_range": "big"}, "reward_range"),
        ({"reward_range": None}, "reward_range"),
        ({"observe_done": "no"}, "observe_done"),
    ],
)
def test_bad_arguments_of_previous_action_reward(arguments, message):
    with pytest.raises(ValueError, match=message):
        PreviousActionReward(Steps(), **arguments)


def test_spaces_that_are_not_supported_are_named():
    env = Steps()
    env.observation_space = spaces.Tuple([UNIT])
    with pytest.raises(ValueError, match=r"observations must be.*Tuple"):
        PreviousActionReward(env)
    env = Steps()
    env.action_space = spaces.Text(3)
    with pytest.raises(ValueError, match=r"actions must be.*Text"):
        PreviousActionReward(env)
    env.action_space = spaces.Box(0, np.inf, (2,))
    with pytest.raises(ValueError, match=r"finite bounds.*inf"):
        PreviousActionReward(env)


# Lifetime


def test_a_lifetime_is_several_inner_episodes():
    env = Lifetime(Steps(length=2), episodes=3)
    _, rewards, ends, infos = play(env, [0] * 6)
    assert rewards == [1.0, 2.0] * 3
    assert ends == [(False, False)] * 5 + [(True, False)]
    assert [info["inner_episode"] for info in infos] == [0, 0, 0, 1, 1, 2, 2]
    assert ["inner_return" in info for info in infos] == [False, False, True, False, True, False, True]
    assert infos[4]["inner_return"] == 3.0
    assert infos[4]["inner_length"] == 2
    assert infos[4]["t"] == 2
    assert "start" in infos[4]["inner_reset_info"]
    assert "inner_reset_info" not in infos[6]
    assert not any("episode" in info for info in infos)
    with pytest.raises(ResetNeeded, match="lifetime"):
        env.step(0)


def test_the_next_inner_episode_begins_at_once():
    env = Lifetime(Steps(length=2), episodes=2)
    observations, _, _, infos = play(env, [0] * 4, seed=5)
    # The same by hand: one seeded reset, then one without a seed.
    inner = Steps(length=2)
    by_hand = [inner.reset(seed=5)[0], inner.step(0)[0]]
    inner.step(0)
    observation, info = inner.reset()
    by_hand += [observation, inner.step(0)[0], inner.step(0)[0]]
    assert observations == by_hand
    assert infos[2]["inner_reset_info"] == info
    assert info["start"] != infos[0]["start"]


def test_a_lifetime_terminates_however_its_last_inner_episode_ends():
    _, _, ends, _ = play(Lifetime(Steps(length=2, time_limit=True), episodes=2), [0] * 4)
    assert ends == [(False, False)] * 3 + [(True, False)]


@pytest.mark.parametrize(
    ("max_steps", "expected"), [(3, (False, True)), (4, (False, True)), (6, (True, False))]
)
def test_a_lifetime_is_truncated_after_max_steps(max_steps, expected):
    env = Lifetime(Steps(length=2), episodes=3, max_steps=max_steps)
    _, _, ends, infos = play(env, [0] * max_steps)
    assert ends[:-1] == [(False, False)] * (max_steps - 1)
    assert ends[-1] == expected
    # Cut off at an inner end, the last observation is already that of the next inner episode.
    assert ("inner_reset_info" in infos[-1]) == (max_steps == 4)
    env.reset()
    assert env.step(0)[2:4] == (False, False)


def test_the_task_is_drawn_once_per_lifetime():
    seen = []

    def task(env, np_random):
        env.scale = float(np_random.integers(1, 10**6))
        seen.append(env.scale)

    inner = Steps(length=1)
    env = Lifetime(gym.wrappers.TimeLimit(inner, 5), episodes=3, sample_task=task)
    _, rewards, _, _ = play(env, [0] * 3, seed=1)
    assert rewards == [seen[0]] * 3
    env.reset()
    assert env.step(0)[1] == seen[1] != seen[0]
    # The same seed, the same tasks; another seed, another task; not the environment's own numbers.
    env.reset(seed=1)
    env.reset()
    assert seen[2:] == seen[:2]
    env.reset(seed=2)
    assert seen[4] != seen[0]
    assert seen[0] != float(np.random.default_rng(1).integers(1, 10**6))
    assert len(seen) == 5


def test_options_reach_every_inner_reset():
    env = Lifetime(Steps(length=1), episodes=2, sample_task=lambda env, np_random: {"a": 1, "b": 1})
    env.reset(options={"b": 2})
    env.step(0)
    env.step(0)
    env.reset()
    assert env.unwrapped.options == [{"a": 1, "b": 2}] * 2 + [{"a": 1, "b": 1}]
    plain = Lifetime(Steps(length=1), episodes=2)
    plain.reset()
    plain.step(0)
    assert plain.unwrapped.options == [None, None]


def test_repeat_seed_gives_all_inner_episodes_of_a_lifetime_the_same_start():
    env = Lifetime(Steps(length=1), episodes=3, repeat_seed=True)
    starts = []
    for seed in (3, None, 3):
        starts.append([env.reset(seed=seed)[1]["start"]])
        starts[-1] += [env.step(0)[4]["inner_reset_info"]["start"] for _ in range(2)]
    assert all(len(set(lifetime)) == 1 for lifetime in starts)
    assert starts[0] == starts[2] != starts[1]


def test_repeat_seed_keeps_the_goal_of_the_maze():
    maze = gym.make("PlasticMaze-v0", max_episode_steps=3)
    env = Lifetime(maze, episodes=4, repeat_seed=True)
    _, _, _, infos = play(env, [0] * 11)
    assert len({info["goal"] for info in infos}) == 1


def test_steps_need_a_reset():
    with pytest.raises(ResetNeeded, match="reset"):
        Lifetime(Steps()).step(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"episodes": 0}, "episodes"),
        ({"episodes": 2.5}, "episodes"),
        ({"episodes": True}, "episodes"),
        ({"max_steps": 0}, "max_steps"),
        ({"repeat_seed": 1}, "repeat_seed"),
        ({"sample_task": 3}, "sample_task"),
        ({"sample_task": "no colon"}, "sample_task"),
        ({"sample_task": "no_such_module:f"}, "sample_task"),
        ({"sample_task": "math:no_such_function"}, "sample_task"),
        ({"sample_task": "math:pi"}, "sample_task"),
    ],
)
def test_bad_arguments_of_lifetime(arguments, message):
    with pytest.raises(ValueError, match=message):
        Lifetime(Steps(), **arguments)


def test_a_task_must_be_options_or_nothing():
    env = Lifetime(Steps(), sample_task=lambda env, np_random: 5)  # type: ignore[return-value]
    with pytest.raises(ValueError, match=r"sample_task must return.*5"):
        env.reset()


# Both, and the ways in which they are used


def test_both_show_where_an_inner_episode_starts():
    env = PreviousActionReward(Lifetime(Steps(length=2), episodes=3))
    observations, _, ends, _ = play(env, [1] * 6)
    assert [int(observation[-1]) for observation in observations] == [0, 0, 1, 0, 1, 0, 1]
    # The reward of an inner episode's last step is seen in the next one's first observation.
    assert [int(observation[-2]) for observation in observations] == [0, 1, 2, 1, 2, 1, 2]
    assert ends[-1] == (True, False)


def test_the_wrong_order_is_refused():
    with pytest.raises(ValueError, match="around Lifetime"):
        Lifetime(gym.wrappers.TimeLimit(PreviousActionReward(Steps()), 9))


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_the_checkers_of_gymnasium_and_sb3_pass(observation, action):
    kwargs = {"observation": observation, "action": action}
    env = PreviousActionReward(Lifetime(gym.make("StepsForWrappers-v0", **kwargs), episodes=3, max_steps=7))
    with warnings.catch_warnings():
        # Said of every wrapper.
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version.*")
        check_env(env)
    check_env_sb3(env)


def test_additional_wrappers_of_a_registered_environment():
    gym.register(
        "LifetimeForTests-v0",
        Steps,
        max_episode_steps=2,
        additional_wrappers=(
            WrapperSpec("Lifetime", "plastic_rl.envs.wrappers:Lifetime", {"episodes": 2}),
            PreviousActionReward.wrapper_spec(reward_range=(-1, 3)),
        ),
    )
    env = gym.make("LifetimeForTests-v0")
    _, _, ends, infos = play(env, [0] * 4)
    assert [int(over) for over, _ in ends] == [0, 0, 0, 1]
    assert infos[2]["inner_length"] == 2
    assert env.observation_space.high[-2] == 3
    # The specification makes the same environment again, also after a passage through JSON.
    assert gym.make(env.spec).spec == env.spec
    assert plastic_rl.make_vec_env("LifetimeForTests-v0", n_envs=2).observation_space == env.observation_space
    del gym.registry["LifetimeForTests-v0"]


def test_a_wrapped_environment_can_be_made_again_from_its_specification():
    env = gym.make("PlasticMaze-v0", max_episode_steps=5)
    env = PreviousActionReward(Lifetime(env, 2, max_steps=9, repeat_seed=True), reward_range=(-1, 10))
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.observation_space == env.observation_space
    for left, right in zip(play(env, [0] * 9)[0], play(again, [0] * 9)[0], strict=True):
        np.testing.assert_array_equal(left, right)
    wrappers = json.loads(env.spec.to_json())["additional_wrappers"]
    assert '"max_steps": 9' in json.dumps(wrappers).replace("\\", "")


def rl_zoo_wrapper(entry):
    """What RL-Zoo makes of an entry `env_wrapper` of its files: the first wrapper is the inner one."""

    def wrap(env):
        for item in entry:
            (path, kwargs) = next(iter(item.items())) if isinstance(item, dict) else (item, {})
            module, _, name = path.rpartition(".")
            env = getattr(importlib.import_module(module), name)(env, **kwargs)
        return env

    return wrap


def task_for_rl_zoo(env, np_random):
    env.scale = 0.5


@pytest.mark.parametrize("make", [plastic_rl.make_vec_env, make_vec_env_sb3])
def test_rl_zoo_and_make_vec_env(make, monkeypatch):
    module = type(warnings)("task_module")
    module.task = task_for_rl_zoo
    monkeypatch.setitem(importlib.sys.modules, "task_module", module)
    lifetime = {"episodes": 2, "sample_task": "task_module:task"}
    wrapper = rl_zoo_wrapper(
        [{"plastic_rl.envs.wrappers.Lifetime": lifetime}, "plastic_rl.envs.wrappers.PreviousActionReward"]
    )
    env = make("StepsForWrappers-v0", n_envs=2, seed=0, wrapper_class=wrapper)
    env.reset()
    for t in range(6):
        observations, rewards, dones, infos = env.step(np.array([0, 1]))
        assert dones.all() == (t == 5)
    np.testing.assert_array_equal(rewards, [1.5, 1.5])
    assert infos[1]["terminal_observation"][-1] == 1
    assert observations.shape == (2, 8)
    env.close()


def test_wrapper_class_with_kwargs():
    env = plastic_rl.make_vec_env(
        "StepsForWrappers-v0", n_envs=2, wrapper_class=Lifetime, wrapper_kwargs={"episodes": 2}
    )
    env.reset()
    dones = [env.step(np.array([0, 0]))[2].all() for _ in range(6)]
    assert dones == [False] * 5 + [True]


@pytest.mark.parametrize("max_steps", [None, 2, 4])
def test_evaluation_counts_lifetimes_though_the_monitor_is_inside(max_steps):
    kwargs = {"episodes": 2, "max_steps": max_steps}
    env = plastic_rl.make_vec_env("StepsForWrappers-v0", 2, wrapper_class=Lifetime, wrapper_kwargs=kwargs)
    model = plastic_rl.PlasticA2C("MlpPolicy", env, policy_kwargs={"hidden_size": 4}, device="cpu")
    returns, lengths = evaluate_policy(model, env, n_eval_episodes=4, return_episode_rewards=True)
    assert returns == [{None: 12, 2: 3, 4: 7}[max_steps]] * 4
    assert lengths == [{None: 6, 2: 2, 4: 4}[max_steps]] * 4
    model.learn(20)
    assert {record["l"] for record in model.ep_info_buffer} == {lengths[0]}


@pytest.mark.parametrize("monitor", [Monitor, RecordEpisodeStatistics])
def test_monitors_inside_and_outside(monitor):
    _, _, _, infos = play(Lifetime(monitor(Steps(length=2)), episodes=2), [0] * 4)
    assert [info["episode"]["r"] for info in infos if "episode" in info] == [6]
    _, _, _, infos = play(monitor(Lifetime(Steps(length=2), episodes=2)), [0] * 4)
    assert [info["episode"]["l"] for info in infos if "episode" in info] == [4]
