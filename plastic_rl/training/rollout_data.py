"""What an on-policy algorithm needs from a rollout: one typed object, whole or in groups of environments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor

from plastic_rl.policies import PlasticPolicy, PolicyState
from plastic_rl.training.rollout import RolloutRecorder
from plastic_rl.training.rollout_memory import BufferMemory, RolloutMemory, map_observations, time_major


@dataclass(frozen=True)
class Rollout:
    """T steps of B environments, time-major, and what was thought of them when they were taken.

    Attributes:
        observations: (T, B, ...), or a dictionary of those.
        actions: (T, B, ...), in the form that the policy's distribution takes.
        episode_starts: (T, B) bool, true where the state is zeroed before the step.
        initial_state: the state that acted at the first step, of B environments.
        advantages: (T, B), by generalized advantage estimation.
        returns: (T, B), advantages and old values together: what values are trained towards.
        old_values: (T, B), by the policy that acted.
        old_log_prob: (T, B), of the actions by the policy that acted.
        recording: the forward pass of acting, where that serves the training, too.
        action_masks: (T, B, M) bool, true where an action was allowed; None where all always were.
    """

    observations: PyTorchObs
    actions: Tensor
    episode_starts: Tensor
    initial_state: PolicyState
    advantages: Tensor
    returns: Tensor
    old_values: Tensor
    old_log_prob: Tensor
    recording: RolloutRecorder | None = None
    action_masks: Tensor | None = None

    @classmethod
    def from_buffer(
        cls,
        buffer: RolloutBuffer,
        initial_state: PolicyState,
        recording: RolloutRecorder | None = None,
        action_masks: Tensor | None = None,
        memory: RolloutMemory | None = None,
    ) -> Rollout:
        """The rollout in a full buffer, on the buffer's device.

        memory: where it lies, None for the buffer alone
        """
        memory = BufferMemory(buffer, buffer.device) if memory is None else memory
        starts = memory.episode_starts

        def estimates(array: np.ndarray) -> Tensor:
            return time_major(buffer, array).reshape(starts.shape)

        return cls(
            observations=memory.observations,
            actions=memory.actions,
            episode_starts=starts,
            initial_state=initial_state,
            advantages=estimates(buffer.advantages),
            returns=estimates(buffer.returns),
            old_values=estimates(buffer.values),
            old_log_prob=estimates(buffer.log_probs),
            recording=recording,
            action_masks=action_masks,
        )

    @property
    def n_steps(self) -> int:
        """T."""
        return self.episode_starts.shape[0]

    @property
    def n_envs(self) -> int:
        """B."""
        return self.episode_starts.shape[1]

    def evaluate(self, policy: PlasticPolicy) -> tuple[Tensor, Tensor, Tensor | None]:
        """What the policy thinks of the rollout's steps now, with gradients back through all of them.

        The first gradient step after acting, on the whole rollout, takes the forward pass from the recording.

        Returns:
            Values (T, B), log-probabilities of the actions (T, B), and entropies (T, B), or None where they
            have no analytical form.
        """
        obs = map_observations(self.observations, lambda part: part.flatten(0, 1))
        actions = self.actions.flatten(0, 1)
        # A policy of somebody's own need not know of masks where there are none.
        masks = {} if self.action_masks is None else {"action_masks": self.action_masks.flatten(0, 1)}
        if self.recording is not None and self.recording.is_current():
            values, log_prob, entropy = self.recording.evaluate(obs, actions, **masks)
        else:
            values, log_prob, entropy = policy.evaluate_actions(
                obs, actions, self.initial_state, self.episode_starts, **masks
            )
        shape = self.episode_starts.shape
        return (
            values.reshape(shape),
            log_prob.reshape(shape),
            None if entropy is None else entropy.reshape(shape),
        )

    def environments(self, index: Tensor) -> Rollout:
        """The whole sequences of some environments. index: (K,) integers."""

        def taken(part: Tensor) -> Tensor:
            return part[:, index.to(part.device)]

        return Rollout(
            observations=map_observations(self.observations, taken),
            actions=taken(self.actions),
            episode_starts=taken(self.episode_starts),
            initial_state=self.initial_state.rows(index),
            advantages=taken(self.advantages),
            returns=taken(self.returns),
            old_values=taken(self.old_values),
            old_log_prob=taken(self.old_log_prob),
            action_masks=None if self.action_masks is None else taken(self.action_masks),
        )

    def split(self, n_groups: int, generator: torch.Generator | None = None) -> list[Rollout]:
        """Random groups of environments that together are the rollout, each of nearly the same size.

        Args:
            n_groups: 1, which gives the rollout itself, to B.
            generator: draws the groups; None is torch's own, which the model's seed has seeded.

        Raises:
            ValueError: ``n_groups`` is not in that range.
        """
        if not 1 <= n_groups <= self.n_envs:
            raise ValueError(f"n_groups must be between 1 and {self.n_envs} environments, got {n_groups!r}")
        if n_groups == 1:
            return [self]
        order = torch.randperm(self.n_envs, generator=generator)
        return [self.environments(index) for index in order.tensor_split(n_groups)]
