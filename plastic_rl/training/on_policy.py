"""Learning from rollouts of a plastic policy, whatever the loss."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.utils import configure_logger
from stable_baselines3.common.vec_env import VecEnv

from plastic_rl.arguments import check_observation_space, check_starts_at_zero
from plastic_rl.policies import (
    CnnPolicy,
    MlpPolicy,
    MultiInputPolicy,
    OmniglotPolicy,
    PlasticPolicy,
)
from plastic_rl.policies.transfer import CoreTransfer, load_core
from plastic_rl.training.collector import RolloutCollector
from plastic_rl.training.learner import check_env
from plastic_rl.training.masks import check_masking
from plastic_rl.training.rollout_data import Rollout

_WITHOUT_MASKS = (
    "predict has no action_masks, though the model was trained with masks: invalid actions may be chosen. "
    "Give it get_action_masks(env) of sb3_contrib.common.maskable.utils, and evaluate with MaskedAgent and "
    "MaskedEvalCallback of plastic_rl.training"
)


class PlasticOnPolicyAlgorithm(RolloutCollector):
    """The base of on-policy algorithms for plastic policies: SB3's, with one recurrent state per rollout.

    The state is carried from step to step and over the border between rollouts, zeroed where an episode
    starts, and never saved. An algorithm says in `update` what it does with a rollout; its constructor is
    that of the SB3 algorithm behind this class among its bases, to whose own rollouts and updates a
    memoryless policy is left.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
        "OmniglotPolicy": OmniglotPolicy,
    }
    default_policy_kwargs: ClassVar[Mapping[str, Any]] = {}
    """What `MlpPolicy`, `CnnPolicy` and `MultiInputPolicy` have where ``policy_kwargs`` do not say it."""

    @classmethod
    def completed_policy_kwargs(
        cls, policy: str | type[BasePolicy], policy_kwargs: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """These arguments of a policy, with the algorithm's own defaults for what they leave out."""
        policy_class = cls.policy_aliases.get(policy, policy) if isinstance(policy, str) else policy
        has_defaults = policy_class in (MlpPolicy, CnnPolicy, MultiInputPolicy)
        return {**(cls.default_policy_kwargs if has_defaults else {}), **(policy_kwargs or {})}

    @staticmethod
    def _wrap_env(env: GymEnv, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        check_env(env)
        # Stable-Baselines3 itself checks the kind of the action space.
        check_observation_space(env.observation_space)
        if isinstance(env.action_space, spaces.MultiDiscrete) and env.action_space.nvec.ndim > 1:
            raise NotImplementedError(
                f"actions of a MultiDiscrete must have one dimension, got {env.action_space}"
            )
        check_starts_at_zero("observation_space", env.observation_space)
        check_starts_at_zero("action_space", env.action_space)
        return OnPolicyAlgorithm._wrap_env(env, verbose, monitor_wrapper)

    def _setup_model(self) -> None:
        self._check_arguments()
        self._count_envs()  # a loaded model has others
        super()._setup_model()

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        if tb_log_name in {base.__name__ for base in type(self).__mro__}:
            # The default of the class that learn() is inherited from.
            tb_log_name = type(self).__name__
        fresh = reset_num_timesteps or self._last_obs is None or self._state is None
        if self.use_masking and self.env is not None:
            check_masking(self.env, self.policy)
        if not self.processes.alone and not isinstance(self.policy, PlasticPolicy):
            raise ValueError(
                f"several processes train a PlasticPolicy, got {type(self.policy).__name__}: "
                "give distributed=False to train alone"
            )
        prepared = super()._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        if fresh and isinstance(self.policy, PlasticPolicy):
            # New episodes begin, whatever is left of the old ones.
            self._state = self.policy.initial_state(self.n_envs)
        return prepared

    def train(self) -> None:
        """Improve the policy on the rollout in the buffer; see `update`.

        Raises:
            ValueError: the gradient is not finite; the parameters stay as they were.
        """
        if not isinstance(self.policy, PlasticPolicy):
            super().train()
            return
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        try:
            with self._threads(), self.processes.announced():
                self.update(self.policy, self.last_rollout())
        except ValueError:
            # What made the gradient infinite may be in the memory: a later learn() starts new episodes.
            self._last_obs = None
            raise

    def update(self, policy: PlasticPolicy, rollout: Rollout) -> None:
        """Take gradient steps on a rollout: the algorithm.

        Args:
            policy: in training mode, its optimiser at the present learning rate.
            rollout: as the policy has acted; ``rollout.evaluate(policy)`` goes back through time.
        """
        raise NotImplementedError

    def last_rollout(self) -> Rollout:
        """The rollout in the buffer, as a loss needs it."""
        assert self._rollout_state is not None
        masks = None if self._masks is None else self._masks.kept
        kept = self._recorder, masks, self._memory
        return Rollout.from_buffer(self.rollout_buffer, self._rollout_state, *kept)

    def record_update(self, policy: PlasticPolicy, means: Mapping[str, float] | None = None) -> None:
        """Log what every algorithm logs after an update.

        Args:
            policy: that was updated.
            means: what else is logged under ``train/``, by name: means over the environments of this process.
                Logged are those over all processes.
        """
        buffer = self.rollout_buffer
        errors, returns = buffer.returns - buffer.values, buffer.returns
        parts = {
            name: (float(values.mean(dtype=np.float64)), float(np.square(values, dtype=np.float64).mean()))
            for name, values in (("error", errors), ("return", returns))
        }
        own = {f"{name} {i}": mean for name, pair in parts.items() for i, mean in enumerate(pair)}
        found = self.processes.means({**(means or {}), **own}, self.n_envs)
        left, whole = (found.pop(f"{name} 1") - found.pop(f"{name} 0") ** 2 for name in parts)
        explained = 1 - left / whole if whole > 0 else float("nan")
        self.logger.record("train/explained_variance", explained)
        for name, mean in found.items():
            self.logger.record(f"train/{name}", mean)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        if hasattr(policy, "log_std"):
            self.logger.record("train/std", torch.exp(policy.log_std).mean().item())
        eta = getattr(policy.core, "eta", None)
        if eta is not None:
            self.logger.record("train/eta", eta.item())

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Choose actions; see ``PlasticPolicy.predict``, and SB3's of a memoryless policy."""
        if action_masks is None:
            if self._masks is not None and self._masks.kept is not None:
                warnings.warn(_WITHOUT_MASKS, stacklevel=2)
            return super().predict(observation, state, episode_start, deterministic)
        if not isinstance(self.policy, PlasticPolicy):
            raise ValueError(f"action_masks must be None: {type(self.policy).__name__} takes none")
        return self.policy.predict(observation, state, episode_start, deterministic, action_masks)

    def load_core(
        self, path: str | Path, *, custom_objects: dict[str, Any] | None = None, trust: bool = False
    ) -> CoreTransfer:
        """Take over the trained core of a saved model of any environment; all else stays as it is.

        Args:
            path: what ``save`` wrote.
            custom_objects: settings that take the place of the file's, by name, and those that it lacks, such
                as a ``policy_class`` of yours.
            trust: whether a file with pickled objects is read: it can run any code.

        Returns:
            The names of the copied parameters and of those that stayed fresh; see
            ``plastic_rl.policies.transfer.load_core``.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged or holds another kind of model, its core differs in
                ``hidden_size``, ``rule``, ``alpha`` or ``activation``, or this model has no plastic core.
        """
        if not isinstance(self.policy, PlasticPolicy):
            raise ValueError(f"load_core needs a plastic policy, this model has {type(self.policy).__name__}")
        transfer = load_core(path, self.policy, custom_objects=custom_objects, trust=trust)
        # What the old core remembered and computed means nothing to the new one.
        self._state = self.policy.initial_state(self.n_envs)
        if self.verbose >= 1:
            logger = self.logger if hasattr(self, "_logger") else configure_logger(self.verbose)
            logger.info(f"Copied from {path}: {', '.join(transfer.copied)}")
            logger.info(f"Stayed as they were: {', '.join(transfer.fresh)}")
        return transfer
