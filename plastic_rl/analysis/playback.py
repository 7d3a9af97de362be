"""Playing episodes of a trained agent, step by step, and pictures of them."""

from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import imageio.v3 as iio
import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from plastic_rl.runs.statistics import normalized_like
from plastic_rl.training.masks import as_agent


class RenderError(ValueError):
    """The environment cannot be drawn: it has no ``rgb_array`` mode, or drawing fails."""


class Step(NamedTuple):
    """What one step brought in each of B environments.

    Attributes:
        actions: (B, ...).
        rewards: (B,).
        starts: (B,) bool, where an episode has ended, so that the next step starts another with an empty
            memory. Entries that are set to true before the next step empty the memory there, too.
        infos: one dictionary for each environment.
        state: the recurrent state that the agent has after it, as ``predict`` returned it.
    """

    actions: np.ndarray
    rewards: np.ndarray
    starts: np.ndarray
    infos: list[dict[str, Any]]
    state: Any


def play(
    model: BaseAlgorithm,
    env: VecEnv,
    max_steps: int,
    deterministic: bool = False,
    before: Callable[[int, Any, Any], None] | None = None,
) -> Iterator[Step]:
    """Let an agent act from the start of an episode on, its recurrent state handed on from step to step.

    Actions that the environments rule out by a method ``action_masks()`` are not taken.

    Args:
        model: any Stable-Baselines3 model.
        env: where it acts.
        max_steps: how many steps; episodes that end earlier are followed by others.
        deterministic: take the most probable action; otherwise actions are sampled, as in training.
        before: called before every step with its number, the observations, and the state, which is None
            before the first step; it may change the state's arrays.

    Yields:
        Every step, after it was taken.
    """
    agent = as_agent(model, env)
    observations, state, starts = env.reset(), None, np.ones(env.num_envs, dtype=bool)
    for t in range(max_steps):
        if before is not None:
            before(t, observations, state)
        actions, state = agent.predict(observations, state, starts, deterministic)
        observations, rewards, starts, infos = env.step(actions)
        yield Step(actions, rewards, starts, infos, state)


class Episode(NamedTuple):
    """A recorded episode.

    Attributes:
        frames: pictures (height, width, 3) uint8, one more than there are steps.
        total: the sum of rewards of the recorded steps.
        finished: whether the episode ended within them.
    """

    frames: list[np.ndarray]
    total: float
    finished: bool


def record_episode(
    model: BaseAlgorithm,
    env_id: str,
    env_kwargs: dict[str, Any] | None = None,
    seed: int | None = None,
    deterministic: bool = False,
    max_steps: int = 1000,
) -> Episode:
    """Play one episode and draw every step.

    Args:
        model: any Stable-Baselines3 model; its recurrent state is carried through the episode.
        env_id: the environment to play on.
        env_kwargs: passed to ``gym.make``.
        seed: seeds environment and sampled actions; the same seed gives the same episode. torch's global
            random state is left as it was.
        deterministic: take the most probable action instead of sampling.
        max_steps: longer episodes are cut off here.

    Returns:
        Its pictures and its return.

    Raises:
        RenderError: the environment has no ``rgb_array`` mode, or it cannot be drawn.
    """
    camera = _Camera(_make_drawable(env_id, env_kwargs or {}))
    env = normalized_like(model.get_env(), DummyVecEnv([lambda: camera]))
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        if seed is not None:
            torch.manual_seed(seed)
            env.seed(seed)
        try:
            for step in play(model, env, max_steps, deterministic):
                if step.starts[0]:
                    break
        finally:
            env.close()
    return Episode(camera.frames, camera.total, camera.finished)


ENDINGS = (".gif", ".mp4")
"""The animations that `save_animation` writes."""


def save_animation(frames: Sequence[np.ndarray], path: str | Path, fps: float = 10.0) -> None:
    """Write pictures as a GIF or, where the path ends in ``.mp4``, as a film.

    Args:
        frames: (height, width, 3) uint8 each.
        path: ends in ``.gif`` or ``.mp4``.
        fps: pictures a second.

    Raises:
        ValueError: they are not all of one size, or the path has another ending.
        ImportError: a film needs imageio-ffmpeg.
        OSError: the file cannot be written.
    """
    ending = Path(path).suffix.lower()
    if ending not in ENDINGS:
        raise ValueError(f"path must end in {' or '.join(ENDINGS)}, got {path}")
    (save_mp4 if ending == ".mp4" else save_gif)(frames, path, fps)


def save_gif(frames: Sequence[np.ndarray], path: str | Path, fps: float = 10.0) -> None:
    """Write pictures (height, width, 3) uint8 as an endless animation of `fps` pictures a second.

    Raises:
        ValueError: they are not all of one size.
        OSError: the file cannot be written.
    """
    animation = iio.imwrite("<bytes>", _one_size(frames), extension=".gif", duration=1000.0 / fps, loop=0)
    # Not by the encoder: where it cannot open the file it prints a second error when it is collected.
    Path(path).write_bytes(animation)


def save_mp4(frames: Sequence[np.ndarray], path: str | Path, fps: float = 10.0) -> None:
    """Write pictures (height, width, 3) uint8 as a film of `fps` pictures a second, which any browser plays.

    Raises:
        ValueError: they are not all of one size.
        ImportError: imageio-ffmpeg is not installed.
        OSError: the file cannot be written.
    """
    if find_spec("imageio_ffmpeg") is None:
        raise ImportError('films need imageio-ffmpeg: pip install "plastic-rl[video]"')
    pictures = _one_size(frames)
    # Its colours have half the resolution: sizes must be even.
    even = [(0, 0), *((0, size % 2) for size in pictures.shape[1:3]), (0, 0)]
    film = iio.imwrite(
        "<bytes>", np.pad(pictures, even, mode="edge"), extension=".mp4", plugin="FFMPEG", fps=fps,
        codec="libx264", pixelformat="yuv420p", macro_block_size=1, output_params=["-loglevel", "error"],
    )  # fmt: skip
    Path(path).write_bytes(film)


def _one_size(frames: Sequence[np.ndarray]) -> np.ndarray:
    shapes = {np.shape(frame) for frame in frames}
    if len(shapes) != 1:
        raise ValueError(f"frames must be pictures of one size, got {', '.join(map(str, sorted(shapes)))}")
    return np.stack(frames)


class _Camera(gym.Wrapper):
    """Draws an environment at the start of its first episode, and after each of that episode's steps."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.frames: list[np.ndarray] = []
        self.total, self.finished = 0.0, False

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        result = super().reset(**arguments)
        # A vector environment starts the next episode as soon as one has ended.
        if not self.finished:
            self.frames.append(_draw(self.env))
        return result

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        self.frames.append(_draw(self.env))
        self.total += float(reward)
        self.finished = bool(terminated or truncated)
        return observation, reward, terminated, truncated, info


def _make_drawable(env_id: str, env_kwargs: dict[str, Any]) -> gym.Env:
    env = gym.make(env_id, **env_kwargs)
    modes = env.metadata.get("render_modes", [])
    env.close()
    if "rgb_array" not in modes:
        raise RenderError(f"{env_id} has no render mode rgb_array")
    # Whatever is wrong here comes from the one argument that is new.
    try:
        return gym.make(env_id, **{**env_kwargs, "render_mode": "rgb_array"})
    except Exception as error:
        raise RenderError(f"render_mode rgb_array: {type(error).__name__}: {error}") from error


def _draw(env: gym.Env) -> np.ndarray:
    try:
        return np.asarray(env.render(), dtype=np.uint8)
    except gym.error.DependencyNotInstalled as error:
        raise RenderError(f"drawing needs a missing package: {error}") from error
    except Exception as error:
        raise RenderError(f"{type(error).__name__}: {error}") from error
