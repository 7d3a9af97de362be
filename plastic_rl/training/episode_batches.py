"""From a task's episodes to a network and back: tensors, losses, scores."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import ProgressBarCallback
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize
from torch import Tensor, nn

from plastic_rl.envs import Episodes

Loss = Callable[[Tensor, Tensor], Tensor]


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """The squared error summed over the elements of an answer, the mean over the batch.

    outputs: (B, n_outputs)
    targets: (B, *action shape)
    """
    return ((outputs - targets.flatten(1)) ** 2).sum(dim=-1).mean()


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of logits (B, N) and classes (B,) counted from 0, the mean over the batch."""
    return nn.functional.cross_entropy(outputs, targets)


def task_of(env: VecEnv) -> Any:
    """The task behind a vector environment of ``EpisodicTaskEnv``.

    Raises:
        ValueError: there is none, or a wrapper changes its observations or actions.
    """
    try:
        task = env.get_attr("task", 0)[0]
    except AttributeError as error:
        raise ValueError(
            "env must be an EpisodicTaskEnv, or a vector environment of them: its episodes come from a task"
        ) from error
    same = env.observation_space == task.observation_space and env.action_space == task.action_space
    if not same or unwrap_vec_normalize(env) is not None:
        raise ValueError(
            "env must not change the observations or actions of its task: whole episodes are drawn from "
            f"the task itself, with {task.observation_space} and {task.action_space}"
        )
    return task


def to_tensors(
    observations: np.ndarray | dict[str, np.ndarray], device: torch.device
) -> Tensor | dict[str, Tensor]:
    """The same observations on a device."""
    if isinstance(observations, dict):
        return {key: torch.as_tensor(part, device=device) for key, part in observations.items()}
    return torch.as_tensor(observations, device=device)


def score_episodes(
    task: Any, episodes: Episodes, actions: np.ndarray, seconds: float
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Rewards (B,) and, for every episode, the info that a monitored environment gives at its end.

    `seconds` of training have passed. The task's metrics stand in the info, as in the environment's, and
    beside the return in its ``"episode"``.
    """
    rewards = task.score(episodes, actions)
    metrics = task.metrics(episodes, actions) if hasattr(task, "metrics") else {}
    rows = [{name: float(values[i]) for name, values in metrics.items()} for i in range(len(rewards))]
    infos = [
        {**row, "episode": {**row, "r": float(reward), "l": task.episode_length, "t": round(seconds, 6)}}
        for reward, row in zip(rewards, rows, strict=True)
    ]
    return rewards, infos


def check_sample_kwargs(task: Any, sample_kwargs: dict[str, Any]) -> None:
    """Make sure that the task's ``sample_episodes`` takes these further arguments; else a ValueError."""
    try:
        inspect.signature(task.sample_episodes).bind(1, None, **sample_kwargs)
    except TypeError as error:
        raise ValueError(
            f"sample_kwargs must be arguments of {type(task).__name__}.sample_episodes, "
            f"got {sample_kwargs!r}: {error}"
        ) from error


class UpdateProgressBar(ProgressBarCallback):
    """SB3's progress bar, moved by the steps that were really taken."""

    def _on_step(self) -> bool:
        self.pbar.update(self.num_timesteps - self.model._num_timesteps_at_start - self.pbar.n)
        return True
