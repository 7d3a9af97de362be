"""Scores, intervals and recorded episodes."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from PIL import Image

from plastic_rl.training.a2c import PlasticA2C
from plastic_rl.training.evaluation import CannotRender, evaluate, mean_interval, record_episode, save_gif
from plastic_rl.training.vec_env import make_vec_env


@pytest.fixture(scope="module")
def model() -> PlasticA2C:
    return PlasticA2C("MlpPolicy", "PlasticMaze-v0", seed=0, device="cpu", policy_kwargs={"hidden_size": 6})


def test_interval_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(1).normal(size=400)
    error = values.std(ddof=1) / np.sqrt(len(values))
    for level, quantile in ((0.95, 1.960), (0.5, 0.674)):
        low, high = mean_interval(values, level)
        assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.2 * error)
        assert high - low == pytest.approx(2 * quantile * error, rel=0.07)


def test_interval_covers_the_mean_of_skewed_values() -> None:
    rng = np.random.default_rng(1)
    intervals = [mean_interval(rng.exponential(size=60)) for _ in range(200)]
    assert 0.88 <= np.mean([low <= 1.0 <= high for low, high in intervals]) <= 0.98


def test_interval_of_one_value_is_unknown() -> None:
    assert np.isnan(mean_interval([3.0])).all()
    with pytest.raises(ValueError, match="level"):
        mean_interval([1.0, 2.0], level=1.0)


def test_evaluate_reports_whole_episodes(model: PlasticA2C) -> None:
    env = make_vec_env("PlasticMaze-v0", 2, seed=0, env_kwargs={"max_episode_steps": 30})
    result = evaluate(model, env, episodes=5)
    assert result.returns.shape == (5,)
    assert result.mean == pytest.approx(result.returns.mean())
    assert result.std == pytest.approx(result.returns.std(ddof=1))
    assert result.interval == mean_interval(result.returns)
    with pytest.raises(ValueError, match="episodes"):
        evaluate(model, env, episodes=0)
    env.close()


class Spy:
    """Hands every question on to a model and keeps what it was asked."""

    def __init__(self, model: PlasticA2C) -> None:
        self.model, self.device, self.asked = model, model.device, []

    def predict(self, observation: Any, state: Any, start: np.ndarray, deterministic: bool) -> Any:
        answer = self.model.predict(observation, state, start, deterministic)
        self.asked.append((state, start.copy(), answer[1]))
        return answer


def test_recorded_episode_carries_the_recurrent_state(model: PlasticA2C) -> None:
    spy: Any = Spy(model)
    frames, _, finished = record_episode(spy, "PlasticMaze-v0", {"max_episode_steps": 12}, seed=0)
    assert len(frames) == 13
    assert finished
    assert frames[0].dtype == np.uint8
    assert frames[0].ndim == 3
    assert spy.asked[0][0] is None
    assert [bool(start[0]) for _, start, _ in spy.asked] == [True] + 11 * [False]
    for (_, _, state), (given, _, _) in zip(spy.asked, spy.asked[1:], strict=False):
        assert given is state


def test_recorded_episode_is_repeatable_and_leaves_the_random_state_alone(model: PlasticA2C) -> None:
    arguments = ("PlasticMaze-v0", {"max_episode_steps": 40})
    before = th.get_rng_state()
    first, total, _ = record_episode(model, *arguments, seed=1)
    assert th.equal(th.get_rng_state(), before)
    th.manual_seed(99)
    again, total_again, _ = record_episode(model, *arguments, seed=1)
    other, *_ = record_episode(model, *arguments, seed=2)
    assert np.array_equal(first, again)
    assert total == total_again
    assert not np.array_equal(first, other)


def test_long_episodes_are_cut_off(model: PlasticA2C) -> None:
    frames, _, finished = record_episode(model, "PlasticMaze-v0", seed=0, max_steps=5)
    assert len(frames) == 6
    assert not finished


class Invisible(gym.Env):
    observation_space = gym.spaces.Box(0, 1, (10,))
    action_space = gym.spaces.Discrete(4)


class NeedsPackage(Invisible):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        return np.zeros(10, dtype=np.float32), {}

    def render(self) -> np.ndarray:
        raise gym.error.DependencyNotInstalled("install a package")


class Table(NeedsPackage):
    """Looks its rewards up, as FrozenLake and CliffWalking do: an action must be a number, not an array."""

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        return np.zeros(10, dtype=np.float32), {0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0}[action], False, False, {}

    def render(self) -> np.ndarray:
        return np.zeros((2, 2, 3), dtype=np.uint8)


def test_discrete_actions_are_numbers(model: PlasticA2C) -> None:
    gym.register("Table-v0", Table)
    try:
        assert record_episode(model, "Table-v0", max_steps=7).total == 7.0
    finally:
        del gym.registry["Table-v0"]


@pytest.mark.parametrize(
    ("env", "message"), [(Invisible, "no render mode"), (NeedsPackage, "install a package")]
)
def test_what_cannot_be_drawn_says_so(model: PlasticA2C, env: type[gym.Env], message: str) -> None:
    gym.register("Invisible-v0", env)
    try:
        with pytest.raises(CannotRender, match=message):
            record_episode(model, "Invisible-v0")
    finally:
        del gym.registry["Invisible-v0"]


def test_gif_holds_every_picture(tmp_path: Path) -> None:
    frames = [np.full((8, 10, 3), 20 * i, dtype=np.uint8) for i in range(10)]
    save_gif(frames, tmp_path / "a.gif", fps=20)
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 10
        assert animation.info["duration"] == 50
        assert animation.info["loop"] == 0
        animation.seek(9)
        assert np.abs(np.asarray(animation.convert("RGB"), dtype=int) - 180).max() < 10
