import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled

from plastic_rl.envs import PlasticMazeEnv, PlasticMazeVectorEnv, register_environments
from plastic_rl.envs.maze.render import PIXELS, Trail, draw, write
from plastic_rl.envs.maze.rules import Maze, MazeOptions

register_environments()

WALLS = Maze(MazeOptions(size=5)).walls
ORANGE, BLUE, LIGHT_BLUE, RED = (230, 159, 0), (0, 114, 178), (86, 180, 233), (213, 94, 0)


def squares_showing(frame, colour):
    rows, columns = np.nonzero((frame == colour).all(axis=-1))
    return set(zip((rows // PIXELS).tolist(), (columns // PIXELS).tolist(), strict=True))


def test_picture_shows_walls_goal_agent_and_path():
    trail = Trail()
    trail.start((3, 3))
    for square in ((3, 2), (3, 1), (2, 1)):
        trail.record(square, 0.0, False)
    frame = draw(WALLS, (5, 4), trail)
    assert (frame.shape, frame.dtype) == ((8 * PIXELS, 7 * PIXELS, 3), np.uint8)
    assert squares_showing(frame, ORANGE) == {(5, 4)}
    assert squares_showing(frame, BLUE) == {(2, 1)}
    assert (3, 3) in squares_showing(frame, LIGHT_BLUE)
    touched = np.any(frame != draw(WALLS, (5, 4), Trail()), axis=-1)
    assert touched[3 * PIXELS + PIXELS // 2, 2 * PIXELS + PIXELS // 2]
    centres = frame[PIXELS // 2 : -PIXELS : PIXELS, 2 : 7 * PIXELS : PIXELS].astype(int).sum(axis=-1)
    np.testing.assert_array_equal(centres < 300, WALLS)


def test_picture_shows_bumps_and_hits():
    trail = Trail()
    trail.start((3, 3))
    quiet = draw(WALLS, (3, 4), trail)
    trail.record((3, 3), -0.1, False)
    assert squares_showing(draw(WALLS, (3, 4), trail), RED) == {(3, 3)}
    assert squares_showing(quiet, RED) == set()
    trail.record((1, 1), 10.0, True)
    hit = draw(WALLS, (3, 4), trail)
    assert squares_showing(hit, BLUE) == {(1, 1)}
    assert squares_showing(hit, LIGHT_BLUE) <= {(1, 1)}
    corner = (3 * PIXELS + 2, 4 * PIXELS + 2)
    assert (hit[corner] != quiet[corner]).any()
    assert trail.path == [(1, 1)]


def test_text():
    trail = Trail()
    trail.start((3, 3))
    trail.record((3, 2), 0.0, False)
    trail.record((3, 2), -0.1, False)
    assert write(WALLS, (5, 5), trail).splitlines() == [
        "# # # # # # #",
        "# . . . . . #",
        "# . # . # . #",
        "# . A . . . #",
        "# . # . # . #",
        "# . . . . G #",
        "# # # # # # #",
        "step 2, hits 0, last reward -0.1, return -0.1",
    ]


def test_environment_draws_its_episode():
    env = gym.make("PlasticMaze-v0", size=5, render_mode="rgb_array")
    _, info = env.reset(seed=0)
    total = 0.0
    for action in np.random.default_rng(0).integers(4, size=100):
        _, reward, _, _, info = env.step(action)
        total += float(reward)
        frame = env.render()
        assert squares_showing(frame, BLUE) == {info["position"]}
        assert squares_showing(frame, ORANGE) == {info["goal"]}
    assert info["hits"] > 0
    trail = env.unwrapped._trail
    assert (trail.steps, trail.hits, trail.total) == (100, info["hits"], pytest.approx(total))
    env.reset(seed=0)
    assert (trail.steps, trail.hits, trail.total, trail.path) == (0, 0, 0.0, [(3, 3)])


def test_frames_are_the_callers_own():
    env = PlasticMazeEnv(render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert isinstance(frame, np.ndarray)
    kept = frame.copy()
    frame[:] = 0
    np.testing.assert_array_equal(env.render(), kept)


def test_batch_draws_every_maze():
    envs = gym.make_vec("PlasticMaze-v0", num_envs=3, size=5, max_episode_steps=8, render_mode="rgb_array")
    _, infos = envs.reset(seed=0)
    for actions in np.random.default_rng(0).integers(4, size=(20, 3)):
        infos = envs.step(actions)[4]
        frames = envs.render()
        assert len(frames) == 3
        for i, frame in enumerate(frames):
            assert squares_showing(frame, BLUE) == {infos["position"][i]}
            assert squares_showing(frame, ORANGE) == {infos["goal"][i]}
    assert [trail.steps for trail in envs._trails] == [4, 4, 4]
    texts = PlasticMazeVectorEnv(2, render_mode="ansi")
    texts.reset(seed=0)
    assert [text.splitlines()[-1] for text in texts.render()] == [
        "step 0, hits 0, last reward 0, return 0.0"
    ] * 2


@pytest.mark.parametrize("env", [PlasticMazeEnv(), PlasticMazeVectorEnv(2)])
def test_render_without_a_mode_warns(env):
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="without a render_mode"):
        assert env.render() is None


def test_human_mode_without_pygame_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.warns(UserWarning, match="HumanRendering wrapper"):
        env = gym.make("PlasticMaze-v0", render_mode="human")
    with pytest.raises(DependencyNotInstalled, match="pygame is not installed"):
        env.reset(seed=0)


def test_human_mode_comes_from_gymnasiums_wrapper(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pygame itself uses deprecated packages
        pytest.importorskip("pygame")
    with pytest.warns(UserWarning, match="HumanRendering wrapper"):
        env = gym.make("PlasticMaze-v0", render_mode="human")
    assert isinstance(env, gym.wrappers.HumanRendering)
    env.reset(seed=0)
    env.step(0)
    assert env.screen_size == (11 * PIXELS, 12 * PIXELS)
    env.close()
