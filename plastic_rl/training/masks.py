"""The action masks of a rollout: asked for before every step, kept for the update."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from plastic_rl.policies import PlasticPolicy
from plastic_rl.policies.masking import check_masks, choices


class RolloutMasks:
    """What B environments allow at each of T steps.

    Args:
        env: is asked if it has a method ``action_masks()``.
        n_steps: T.
        device: where the masks are kept.
        use: if false, nobody is asked.

    Attributes:
        kept: (T, B, M) bool, true where an action is allowed, M entries as in `check_masks`; None where all
            always are.
    """

    def __init__(self, env: VecEnv, n_steps: int, device: torch.device, use: bool = True) -> None:
        self.env = env
        self.kept: Tensor | None = None
        if use and is_masking_supported(env):
            width = sum(choices(env.action_space))
            self.kept = torch.zeros(n_steps, env.num_envs, width, dtype=torch.bool, device=device)

    def read(self, step: int) -> dict[str, Tensor]:
        """Ask the environments before a step, from 0: the argument for acting, none where all is allowed.

        Raises:
            ValueError: a mask does not fit the action space, or allows nothing.
        """
        if self.kept is None:
            return {}
        try:
            masks = check_masks(get_action_masks(self.env), self.env.action_space, self.env.num_envs)
        except ValueError as error:
            raise ValueError(f"{error} before step {step + 1} of the rollout") from error
        self.kept[step] = torch.as_tensor(masks)
        return {"action_masks": self.kept[step]}


def check_masking(env: VecEnv, policy: BasePolicy) -> None:
    """Make sure before a training that the masks of these environments, if they have any, can be used.

    Raises:
        ValueError: the action space is one that has none, or the policy does not take them.
    """
    if not is_masking_supported(env):
        return
    choices(env.action_space)
    if not isinstance(policy, PlasticPolicy):
        raise ValueError(
            f"use_masking must be False for {type(policy).__name__}: the environment has action_masks(), and "
            "only plastic policies take them"
        )


class MaskedAgent:
    """A model that is told at every step which actions its environments allow; all else is the model's.

    For what calls ``predict`` without masks, as SB3's ``evaluate_policy`` does:
    ``evaluate_policy(MaskedAgent(model, env), env)``. (The one of sb3-contrib that takes masks drops the
    recurrent state of the model.)

    Args:
        model: of ours, or a maskable one of sb3-contrib.
        env: where it acts; asked before every step.
    """

    def __init__(self, model: BaseAlgorithm, env: VecEnv) -> None:
        self._model, self._env = model, env

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._model, name)

    def predict(self, observation: Any, *args: Any, **kwargs: Any) -> tuple[np.ndarray, Any]:
        """The model's ``predict``, with the masks of now."""
        predict: Any = self._model.predict
        return predict(observation, *args, **kwargs, action_masks=get_action_masks(self._env))


def as_agent(model: BaseAlgorithm, env: VecEnv) -> Any:
    """What acts in these environments: a `MaskedAgent` where they have masks, else the model itself.

    A model that was told not to use masks, or takes none, stays as it is.
    """
    takes_masks = "action_masks" in inspect.signature(model.predict).parameters
    masked = takes_masks and getattr(model, "use_masking", True) and is_masking_supported(env)
    return MaskedAgent(model, env) if masked else model


class MaskedEvalCallback(EvalCallback):
    """SB3's ``EvalCallback`` that evaluates with the masks of its environment, where that has any."""

    def _init_callback(self) -> None:
        super()._init_callback()
        self.model = as_agent(self.model, self.eval_env)
