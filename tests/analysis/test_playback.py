"""Episodes that are played, recorded and written as animations."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from PIL import Image

from plastic_rl.analysis.playback import RenderError, play, record_episode, save_gif
from plastic_rl.training.a2c import PlasticA2C
from plastic_rl.training.vec_env import make_vec_env


@pytest.fixture(scope="module")
def model() -> PlasticA2C:
    return PlasticA2C("MlpPolicy", "PlasticMaze-v0", seed=0, device="cpu", policy_kwargs={"hidden_size": 6})


class Spy:
    """Hands every question on to a model and keeps what it was asked."""

    def __init__(self, model: PlasticA2C) -> None:
        self.model, self.device = model, model.device
        self.asked: list[tuple[Any, np.ndarray, Any]] = []

    def get_env(self) -> Any:
        return self.model.get_env()

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


def test_play_hands_the_state_on_and_empties_it_where_told(model: PlasticA2C) -> None:
    spy: Any = Spy(model)
    env = make_vec_env("PlasticMaze-v0", 3, seed=0, env_kwargs={"max_episode_steps": 4})
    numbers, wiped = [], []

    def before(t: int, observations: np.ndarray, state: Any) -> None:
        numbers.append(t)
        assert observations.shape[0] == 3
        if t == 2:
            state.trace[:] = 0
            wiped.append(state)

    for t, step in enumerate(play(spy, env, 6, before=before)):
        assert step.rewards.shape == (3,)
        assert len(step.infos) == 3
        assert step.state is spy.asked[-1][2]
        assert step.starts.all() == (t == 3)
        if t == 1:
            step.starts[1] = True
    env.close()
    assert numbers == list(range(6))
    assert spy.asked[2][0] is wiped[0]
    given = [start.tolist() for _, start, _ in spy.asked]
    none, all_of_them = [False] * 3, [True] * 3
    assert given == [all_of_them, none, [False, True, False], none, all_of_them, none]


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
        with pytest.raises(RenderError, match=message):
            record_episode(model, "Invisible-v0")
    finally:
        del gym.registry["Invisible-v0"]


class Broken(NeedsPackage):
    def render(self) -> np.ndarray:
        raise RuntimeError("no display")


def without_render_mode() -> gym.Env:
    return Broken()


def test_a_picture_that_fails_is_named(model: PlasticA2C, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = {
        Broken: "RuntimeError: no display",
        without_render_mode: "render_mode rgb_array: TypeError: ",
    }
    for entry_point, message in messages.items():
        spec = gym.envs.registration.EnvSpec("Broken-v0", entry_point)
        monkeypatch.setitem(gym.registry, "Broken-v0", spec)
        with pytest.raises(RenderError, match=message):
            record_episode(model, "Broken-v0")


def test_pictures_of_two_sizes_are_no_animation(tmp_path: Path) -> None:
    frames = [np.zeros((8, 10, 3), dtype=np.uint8), np.zeros((9, 10, 3), dtype=np.uint8)]
    with pytest.raises(ValueError, match=r"one size, got \(8, 10, 3\), \(9, 10, 3\)"):
        save_gif(frames, tmp_path / "a.gif")
    assert not list(tmp_path.iterdir())


def test_gif_holds_every_picture(tmp_path: Path) -> None:
    frames = [np.full((8, 10, 3), 20 * i, dtype=np.uint8) for i in range(10)]
    save_gif(frames, tmp_path / "a.gif", fps=20)
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 10
        assert animation.info["duration"] == 50
        assert animation.info["loop"] == 0
        animation.seek(9)
        assert np.abs(np.asarray(animation.convert("RGB"), dtype=int) - 180).max() < 10
