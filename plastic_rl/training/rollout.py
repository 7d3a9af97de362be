"""Acting and training on one forward pass: what a rollout computes, its update uses again."""

from __future__ import annotations

import inspect

import numpy as np
import torch
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.distributions import CategoricalDistribution
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor

from plastic_rl.ops.plastic_rnn import PlasticState, Recording, plastic_rnn_replay
from plastic_rl.policies import PlasticPolicy, PlasticRNN, PolicyState

_SEQUENCE_METHODS = ("forward", "evaluate_actions", "run_cores")


def can_record(policy: PlasticPolicy, buffer: RolloutBuffer) -> bool:
    """Whether acting is at the same time the training forward pass, so that it need not be run again.

    That holds for a policy that acts as ``PlasticPolicy`` does, whose layers do the same in training and in
    evaluation mode: none of them looks at ``self.training``, as dropout and batch normalization do.
    """
    own = all(getattr(type(policy), name) is getattr(PlasticPolicy, name) for name in _SEQUENCE_METHODS)
    plain_buffer = type(buffer) in (RolloutBuffer, DictRolloutBuffer)
    return own and plain_buffer and not any(_looks_at_mode(module) for module in policy.modules())


def _looks_at_mode(module: torch.nn.Module) -> bool:
    code = getattr(inspect.unwrap(type(module).forward), "__code__", None)
    return code is None or "training" in code.co_names


def _sample_categorical(logits: Tensor) -> Tensor:
    """Sample from softmax(logits), (B, A) to (B,), by the Gumbel-max trick.

    The largest of logits + Gumbel noise (the negative logarithm of exponential noise) is distributed as a
    sample, at a third of the cost of building torch's distribution for every step of a rollout.
    """
    return (logits - torch.empty_like(logits).exponential_().log_()).argmax(dim=-1)


class RolloutRecorder:
    """Acts with a policy, one rollout after the other, and keeps the activations for the update that follows.

    Between acting and its update the policy's parameters must not change.

    Args:
        policy: acts; its cores are recorded.
        n_steps: length T of a rollout.
    """

    def __init__(self, policy: PlasticPolicy, n_steps: int) -> None:
        self.policy = policy
        self.n_steps = n_steps
        self._actor = _CoreRecorder(policy.core, n_steps)
        self._critic = None if policy.critic_core is None else _CoreRecorder(policy.critic_core, n_steps)

    def start(self, state: PolicyState) -> None:
        """Begin a rollout from this state of B environments; it is copied."""
        self._actor.start(state.actor)
        if self._critic is not None:
            assert state.critic is not None
            self._critic.start(state.critic)

    @property
    def initial_state(self) -> PolicyState:
        """The state that the rollout began with."""
        critic = None if self._critic is None else self._critic.recording.initial_state
        return PolicyState(self._actor.recording.initial_state, critic)

    @property
    def state(self) -> PolicyState:
        """The state after the last step taken, a copy."""
        return PolicyState(
            self._actor.recording.state, None if self._critic is None else self._critic.recording.state
        )

    def act(self, obs: PyTorchObs, episode_starts: Tensor) -> Tensor:
        """Sample actions (B, ...) for one step. obs: (B, ...), episode_starts: (B,)."""
        features = self.policy.extract_features(obs)
        pi_features, vf_features = features if isinstance(features, tuple) else (features, features)
        y = self._actor.step(pi_features, episode_starts)
        if self._critic is not None:
            self._critic.step(vf_features, episode_starts)
        if isinstance(self.policy.action_dist, CategoricalDistribution):
            return _sample_categorical(self.policy.action_net(self.policy.mlp_extractor.forward_actor(y)))
        actions = self.policy.action_distribution(y).get_actions()
        return actions.reshape((-1, *self.policy.action_space.shape))  # type: ignore[misc]

    def fill(self, buffer: RolloutBuffer, actions: Tensor) -> None:
        """Write values and log-probabilities into the buffer, in one pass over all steps.

        actions: (T * B, ...), time-major
        """
        y_pi = self._actor.activations
        y_vf = y_pi if self._critic is None else self._critic.activations
        values, log_probs, _ = self.policy.evaluate_activations(y_pi, y_vf, actions)
        np.copyto(buffer.values, values.reshape(buffer.values.shape).cpu().numpy())
        np.copyto(buffer.log_probs, log_probs.reshape(buffer.log_probs.shape).cpu().numpy())

    def evaluate(self, obs: PyTorchObs, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """``PlasticPolicy.evaluate_actions`` of the recorded rollout, with gradients.

        obs: (T * B, ...), time-major
        actions: (T * B, ...)
        """
        features = self.policy.extract_features(obs)
        pi_features, vf_features = features if isinstance(features, tuple) else (features, features)
        y_pi = self._actor.replay(pi_features)
        y_vf = y_pi if self._critic is None else self._critic.replay(vf_features)
        return self.policy.evaluate_activations(y_pi, y_vf, actions)


class _CoreRecorder:
    """The recording of one core; its memory is kept from rollout to rollout."""

    recording: Recording

    def __init__(self, core: PlasticRNN, n_steps: int) -> None:
        self.core = core
        self.n_steps = n_steps
        self._batch = 0

    def start(self, state: PlasticState) -> None:
        with torch.no_grad():
            self.params = self.core.params()
        if state.hidden.shape[0] == self._batch:
            self.recording.reset(self.params, state)
        else:
            self.recording = Recording(self.n_steps, self.params, state, backend=self.core.backend)
            self._batch = state.hidden.shape[0]

    @property
    def activations(self) -> Tensor:
        """(T * B, N), without gradients."""
        return self.recording.y.flatten(0, 1)

    def step(self, features: Tensor, episode_starts: Tensor) -> Tensor:
        return self.recording.step(self.core.drive(features), episode_starts, self.params)

    def replay(self, features: Tensor) -> Tensor:
        """(T * B, N), with gradients to the features and to the core's parameters. features: (T * B, F)."""
        x = self.core.drive(features).reshape(self.n_steps, self._batch, self.core.hidden_size)
        y, _ = plastic_rnn_replay(x, self.core.params(), self.recording)
        return y.flatten(0, 1)
