"""Scores with their uncertainty, and episodes to look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import imageio.v3 as iio
import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm, maybe_make_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.utils import check_for_correct_spaces
from stable_baselines3.common.vec_env import VecEnv

from plastic_rl.arguments import check_count
from plastic_rl.training.episode_batches import task_of, to_tensors
from plastic_rl.training.supervised import SupervisedMetaLearner


class CannotRender(ValueError):  # noqa: N818
    """The environment cannot be drawn: it has no ``rgb_array`` mode, or a package for it is missing."""


@dataclass(frozen=True)
class Evaluation:
    """Returns of whole episodes, or another measure of each.

    Attributes:
        returns: (episodes,), the sum of rewards of each, or the measure.
        mean: their mean.
        std: their standard deviation, nan for one episode.
        interval: 95 % interval of the mean, nan for one episode.
    """

    returns: np.ndarray
    mean: float
    std: float
    interval: tuple[float, float]


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


def evaluate(
    model: BaseAlgorithm, env: VecEnv, episodes: int = 100, deterministic: bool = False
) -> Evaluation:
    """Play whole episodes and report the mean return with its 95 % interval.

    Args:
        model: any Stable-Baselines3 model; a recurrent one starts every episode with an empty state.
        env: a monitored vector environment.
        episodes: how many, at least 1.
        deterministic: take the most probable action; otherwise actions are sampled, as in training.

    Raises:
        ValueError: `episodes` is below 1.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, not {episodes}")
    scores, _ = evaluate_policy(
        model, env, n_eval_episodes=episodes, deterministic=deterministic, return_episode_rewards=True
    )
    return _summary(np.asarray(scores))


def evaluate_episodes(
    model: SupervisedMetaLearner,
    env: GymEnv | str,
    episodes: int = 1000,
    *,
    batch_size: int = 32,
    seed: int | None = None,
) -> dict[str, Evaluation]:
    """Answer fresh episodes, whole batches at a time, and report every measure with its 95 % interval.

    The answers are those of `model.predict` at the end of every episode, many times quicker.

    Args:
        model: a trained learner; it is not changed.
        env: an `EpisodicTaskEnv`, its id, or a vector environment of them. For a score on what the training
            has not seen, make it with ``split="test"``.
        episodes: how many, at least 1.
        batch_size: episodes at a time, at least 1.
        seed: of the drawing of episodes; None draws others every time.

    Returns:
        ``"reward"`` first, then the task's metrics, by name.

    Raises:
        ValueError: `episodes` or `batch_size` is below 1, or the environment is not one that the model can
            play.
    """
    check_count("episodes", episodes)
    check_count("batch_size", batch_size)
    wrapped = model._wrap_env(maybe_make_env(env, verbose=0))
    check_for_correct_spaces(wrapped, model.observation_space, model.action_space)
    task, rng = task_of(wrapped), np.random.default_rng(seed)
    model.policy.set_training_mode(False)
    parts: dict[str, list[np.ndarray]] = {}
    for first in range(0, episodes, batch_size):
        batch = task.sample_episodes(min(batch_size, episodes - first), rng)
        with th.no_grad():
            outputs = model.policy(to_tensors(batch.observations, model.device))
        actions = model.policy.answers(outputs)
        scores = {"reward": task.score(batch, actions)}
        if hasattr(task, "metrics"):
            scores |= task.metrics(batch, actions)
        for name, values in scores.items():
            parts.setdefault(name, []).append(values)
    return {name: _summary(np.concatenate(values)) for name, values in parts.items()}


def _summary(values: np.ndarray) -> Evaluation:
    values = np.asarray(values, dtype=np.float64)
    std = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    return Evaluation(values, float(values.mean()), std, mean_interval(values))


def mean_interval(values: Sequence[float] | np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of a mean, by the percentile bootstrap (2,000 resamples, always the same ones).

    It assumes nothing about the distribution; below about 20 values it comes out somewhat too narrow.

    Args:
        values: (n,), independent values.
        level: probability with which such intervals cover the true mean, in (0, 1).

    Returns:
        The lower and the upper end; nan, nan for fewer than two values.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), not {level}")
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(0)
    # A hundred at a time, so that many values do not need much memory.
    shape = (100, len(values))
    means = np.concatenate([values[rng.integers(len(values), size=shape)].mean(axis=1) for _ in range(20)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


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
        CannotRender: the environment has no ``rgb_array`` mode, or drawing needs a package that is missing.
    """
    env = _make_drawable(env_id, env_kwargs or {})
    devices = [model.device] if model.device.type == "cuda" else []
    with th.random.fork_rng(devices=devices):
        if seed is not None:
            th.manual_seed(seed)
        try:
            observation, _ = env.reset(seed=seed)
            frames = [_draw(env)]
            state, start, total, finished = None, np.ones(1, dtype=bool), 0.0, False
            discrete = isinstance(env.action_space, gym.spaces.Discrete)
            for _ in range(max_steps):
                action, state = model.predict(observation, state, start, deterministic)
                # Environments with a table look their actions up: an array does not do.
                observation, reward, terminated, truncated, _ = env.step(int(action) if discrete else action)
                frames.append(_draw(env))
                total += float(reward)
                start = np.zeros(1, dtype=bool)
                finished = bool(terminated or truncated)
                if finished:
                    break
        finally:
            env.close()
    return Episode(frames, total, finished)


def save_gif(frames: Sequence[np.ndarray], path: str | Path, fps: float = 10.0) -> None:
    """Write pictures (height, width, 3) uint8 as an endless animation of `fps` pictures a second.

    Raises:
        OSError: the file cannot be written.
    """
    animation = iio.imwrite("<bytes>", np.stack(frames), extension=".gif", duration=1000.0 / fps, loop=0)
    # Not by the encoder: where it cannot open the file it prints a second error when it is collected.
    Path(path).write_bytes(animation)


def _make_drawable(env_id: str, env_kwargs: dict[str, Any]) -> gym.Env:
    env = gym.make(env_id, **env_kwargs)
    modes = env.metadata.get("render_modes", [])
    env.close()
    if "rgb_array" not in modes:
        raise CannotRender(f"{env_id} has no render mode rgb_array")
    return gym.make(env_id, **{**env_kwargs, "render_mode": "rgb_array"})


def _draw(env: gym.Env) -> np.ndarray:
    try:
        picture = env.render()
    except gym.error.DependencyNotInstalled as error:
        raise CannotRender(f"drawing needs a missing package: {error}") from error
    return np.asarray(picture, dtype=np.uint8)
