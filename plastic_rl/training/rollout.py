"""Acting and training on one forward pass: what a rollout computes, its update uses again."""

from __future__ import annotations

import logging
import math
import weakref

import numpy as np
import torch
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.distributions import CategoricalDistribution
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor

from plastic_rl.policies import CoreRecorder, PlasticPolicy, PolicyState, RecurrentCore
from plastic_rl.training.modes import why_modes_differ

logger = logging.getLogger(__name__)

_SEQUENCE_METHODS = ("forward", "evaluate_actions", "run_cores")
_DISTRIBUTION_METHODS = ("action_distribution", "_get_action_dist_from_latent")
# What was last logged of each policy.
_logged: weakref.WeakKeyDictionary[PlasticPolicy, str | None] = weakref.WeakKeyDictionary()


def can_record(policy: PlasticPolicy, buffer: RolloutBuffer) -> bool:
    """Whether acting is at the same time the training forward pass, so that it need not be run again.

    That holds for a recurrent core in a policy that acts as ``PlasticPolicy`` does and whose features and
    heads are the same in training and in evaluation mode: no dropout, no batch normalization. Which way it
    went, and why, is logged once per policy.
    """
    reason = _why_not(policy, buffer) or why_modes_differ(policy)
    if _logged.get(policy, "") != reason:
        _logged[policy] = reason
        name = type(policy).__name__
        if reason is None:
            logger.info("%s: what acting computes serves the training, too", name)
        else:
            logger.info("%s: every update runs its rollout again, because %s", name, reason)
    return reason is None


def _why_not(policy: PlasticPolicy, buffer: RolloutBuffer) -> str | None:
    """What keeps this kind of policy and buffer from being recorded."""
    for core in (policy.core, policy.critic_core):
        if core is not None and _find_recorder(core, 1) is None:
            return f"its core {type(core).__name__} cannot be recorded"
    if type(buffer) not in (RolloutBuffer, DictRolloutBuffer):
        return f"its buffer is {type(buffer).__name__}"
    if not _has_own(policy, _SEQUENCE_METHODS):
        return f"it overrides one of {', '.join(_SEQUENCE_METHODS)}"
    return None


def _has_own(policy: PlasticPolicy, names: tuple[str, ...]) -> bool:
    """Whether these methods are those of ``PlasticPolicy``, overridden neither by class nor on the object."""
    own = (getattr(PlasticPolicy, name) for name in names)
    return all(getattr(getattr(policy, n), "__func__", None) is f for n, f in zip(names, own, strict=True))


def _find_recorder(core: RecurrentCore, n_steps: int) -> CoreRecorder | None:
    make = getattr(core, "recorder", None)
    return None if make is None else make(n_steps)


def _recorder(core: RecurrentCore, n_steps: int) -> CoreRecorder:
    recorder = _find_recorder(core, n_steps)
    assert recorder is not None
    return recorder


def _sample_categorical(logits: Tensor, action_masks: Tensor | None = None) -> Tensor:
    """Sample from softmax(logits), (B, A) to (B,), by the Gumbel-max trick; only what (B, A) masks allow.

    The largest of logits + Gumbel noise (the negative logarithm of exponential noise) is distributed as a
    sample, at a third of the cost of building torch's distribution for every step of a rollout. Torch draws
    its samples from the same noise, so the same seed gives the same actions either way.
    """
    noisy = logits - torch.empty_like(logits).exponential_().log_()
    if action_masks is not None:
        noisy = noisy.masked_fill(~action_masks, -math.inf)
    return noisy.argmax(dim=-1)


class RolloutRecorder:
    """Acts with a policy, one rollout after the other, and keeps the activations for the update that follows.

    Args:
        policy: acts; its cores are recorded.
        n_steps: length T of a rollout.
    """

    def __init__(self, policy: PlasticPolicy, n_steps: int) -> None:
        self.policy = policy
        self.n_steps = n_steps
        self._cores = policy.core, policy.critic_core
        self._actor = _recorder(policy.core, n_steps)
        self._critic = None if policy.critic_core is None else _recorder(policy.critic_core, n_steps)

    def fits(self, policy: PlasticPolicy, n_steps: int) -> bool:
        """Whether this is a recorder for this policy, with the cores it has now, and this length."""
        same_cores = self._cores == (policy.core, policy.critic_core)
        return self.policy is policy and same_cores and self.n_steps == n_steps

    def start(self, state: PolicyState) -> None:
        """Begin a rollout from this state of B environments; it is copied."""
        self._versions = self._parameter_versions()
        self._ready = False
        self._samples_categorical = type(self.policy.action_dist) is CategoricalDistribution and _has_own(
            self.policy, _DISTRIBUTION_METHODS
        )
        self._actor.start(state.actor)
        if self._critic is not None:
            self._critic.start(state.critic)

    def is_current(self) -> bool:
        """Whether ``evaluate`` may be used: once after ``fill``, as long as the parameters are the same."""
        same = self.fits(self.policy, self.n_steps) and self._versions == self._parameter_versions()
        return same and self._ready

    def _parameter_versions(self) -> list[tuple[int, int]]:
        return [(id(parameter), parameter._version) for parameter in self.policy.parameters()]

    @property
    def state(self) -> PolicyState:
        """The state after the last step taken, a copy."""
        return PolicyState(self._actor.state, None if self._critic is None else self._critic.state)

    def act(self, obs: PyTorchObs, episode_starts: Tensor, action_masks: Tensor | None = None) -> Tensor:
        """Sample actions (B, ...) for one step.

        obs: (B, ...)
        episode_starts: (B,)
        action_masks: (B, M) bool, true where an action is allowed
        """
        features = self.policy.extract_features(obs)
        pi_features, vf_features = features if isinstance(features, tuple) else (features, features)
        y = self._actor.step(pi_features, episode_starts)
        if self._critic is not None:
            self._critic.step(vf_features, episode_starts)
        if self._samples_categorical:
            logits = self.policy.action_net(self.policy.mlp_extractor.forward_actor(y))
            return _sample_categorical(logits, action_masks)
        actions = self.policy.allowed_actions(y, action_masks).get_actions()
        return actions.reshape((-1, *self.policy.action_space.shape))  # type: ignore[misc]

    def fill(self, buffer: RolloutBuffer, actions: Tensor, action_masks: Tensor | None = None) -> None:
        """Write values and log-probabilities into the buffer, in one pass over all steps.

        actions: (T, B, ...)
        action_masks: (T, B, M) bool
        """
        y_pi = self._actor.activations
        y_vf = y_pi if self._critic is None else self._critic.activations
        masks = None if action_masks is None else action_masks.flatten(0, 1)
        values, log_probs, _ = self.policy.evaluate_activations(y_pi, y_vf, actions.flatten(0, 1), masks)
        np.copyto(buffer.values, values.reshape(buffer.values.shape).cpu().numpy())
        np.copyto(buffer.log_probs, log_probs.reshape(buffer.log_probs.shape).cpu().numpy())
        self._ready = True

    def evaluate(
        self, obs: PyTorchObs, actions: Tensor, action_masks: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """``PlasticPolicy.evaluate_actions`` of the recorded rollout, with gradients.

        obs: (T * B, ...), time-major
        actions: (T * B, ...)
        action_masks: (T * B, M) bool
        """
        self._ready = False
        features = self.policy.extract_features(obs)
        pi_features, vf_features = features if isinstance(features, tuple) else (features, features)
        y_pi = self._actor.replay(pi_features)
        y_vf = y_pi if self._critic is None else self._critic.replay(vf_features)
        return self.policy.evaluate_activations(y_pi, y_vf, actions, action_masks)
