"""Scores with their uncertainty."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm, maybe_make_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.utils import check_for_correct_spaces
from stable_baselines3.common.vec_env import VecEnv

from plastic_rl.arguments import check_count
from plastic_rl.training.episode_batches import task_of, to_tensors
from plastic_rl.training.masks import as_agent
from plastic_rl.training.supervised import SupervisedMetaLearner


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


def evaluate(
    model: BaseAlgorithm,
    env: VecEnv,
    episodes: int = 100,
    deterministic: bool = False,
    progress: Callable[[int], object] | None = None,
) -> Evaluation:
    """Play whole episodes and report the mean return with its 95 % interval.

    Actions that the environments rule out by a method ``action_masks()`` are not taken.

    Args:
        model: any Stable-Baselines3 model; a recurrent one starts every episode with an empty state.
        env: a monitored vector environment.
        episodes: how many, at least 1.
        deterministic: take the most probable action; otherwise actions are sampled, as in training.
        progress: is told now and then how many episodes have ended.

    Raises:
        ValueError: `episodes` is below 1.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, not {episodes}")
    agent = as_agent(model, env)

    def tell(names: dict[str, Any], _: dict[str, Any]) -> None:
        if progress is not None:
            progress(len(names["episode_rewards"]))

    scores, _ = evaluate_policy(
        agent,
        env,
        n_eval_episodes=episodes,
        deterministic=deterministic,
        callback=tell,
        return_episode_rewards=True,
    )
    return _summary(np.asarray(scores))


def evaluate_episodes(
    model: SupervisedMetaLearner,
    env: GymEnv | str,
    episodes: int = 1000,
    *,
    batch_size: int = 32,
    seed: int | None = None,
    progress: Callable[[int], object] | None = None,
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
        progress: is told now and then how many episodes are answered.

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
        if progress is not None:
            progress(min(first + batch_size, episodes))
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
