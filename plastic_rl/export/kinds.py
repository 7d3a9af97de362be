"""The kinds of policies of which one step can be exported, and what a step is in each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from sb3_contrib.common.maskable.distributions import (
    MaskableBernoulliDistribution,
    MaskableCategoricalDistribution,
    MaskableMultiCategoricalDistribution,
)
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    DiagGaussianDistribution,
    Distribution,
    MultiCategoricalDistribution,
    StateDependentNoiseDistribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from torch import Tensor, nn

from plastic_rl.ops.plastic_rnn import zero_rows
from plastic_rl.policies import PlasticPolicy, SupervisedPolicy
from plastic_rl.policies.actions import bounded
from plastic_rl.policies.masking import mask_distribution
from plastic_rl.policies.state import PolicyState

Observation = Tensor | dict[str, Tensor]


class Kind(NamedTuple):
    """What is known about the policies of one class.

    memory: the state at an episode's start, from policy and number of environments B: a tuple of tensors with
        one row for each, nested as one likes.
    step: from policy, observation (B, ...), episode starts (B,), state and action mask (B, M) or None to the
        outputs by name and the new state.
    masks: whether the step knows what to do with a mask.
    """

    memory: Callable[[Any, int], Any]
    step: Callable[[Any, Observation, Tensor, Any, Tensor | None], tuple[dict[str, Tensor], Any]]
    masks: bool = True


class LSTMState(NamedTuple):
    """hidden, cell: (B, layers, N)."""

    hidden: Tensor
    cell: Tensor


def kind_of(policy: nn.Module) -> Kind:
    """The kind of a policy.

    Raises:
        ValueError: it is of another.
    """
    for cls, kind in _KINDS.items():
        if isinstance(policy, cls):
            return kind
    names = ", ".join(cls.__name__ for cls in _KINDS)
    raise ValueError(f"model must have one of these policies: {names}; got {type(policy).__name__}")


def _plastic(
    policy: PlasticPolicy, obs: Observation, starts: Tensor, state: Any, mask: Tensor | None
) -> tuple[dict[str, Tensor], Any]:
    y_pi, y_vf, state = policy.run_cores(obs, state, starts)
    outputs = _chosen(policy, policy.allowed_actions(y_pi, mask))
    return {**outputs, "value": policy.values(y_vf).squeeze(1)}, state


def _supervised(
    policy: SupervisedPolicy, obs: Observation, starts: Tensor, state: Any, mask: Tensor | None
) -> tuple[dict[str, Tensor], Any]:
    outputs, state = policy.network.step(obs, zero_rows(state, starts))
    return {"action": policy.best_answers(outputs), "output": outputs}, state


def _memoryless(
    policy: ActorCriticPolicy, obs: Observation, starts: Tensor, state: Any, mask: Tensor | None
) -> tuple[dict[str, Tensor], Any]:
    features = policy.extract_features(obs)
    of_actor, of_critic = features if isinstance(features, tuple) else (features, features)
    distribution = policy._get_action_dist_from_latent(policy.mlp_extractor.forward_actor(of_actor))
    value = policy.value_net(policy.mlp_extractor.forward_critic(of_critic)).squeeze(1)
    return {**_chosen(policy, distribution, mask), "value": value}, state


def _lstm(
    policy: RecurrentActorCriticPolicy, obs: Observation, starts: Tensor, state: Any, mask: Tensor | None
) -> tuple[dict[str, Tensor], Any]:
    """The LSTMs of sb3-contrib, whose states have the layers, not the environments, first."""
    features = policy.extract_features(obs)
    of_actor, of_critic = features if isinstance(features, tuple) else (features, features)
    actor, critic = zero_rows(state, starts)
    latent, actor = _run_lstm(policy.lstm_actor, of_actor, actor)
    distribution = policy._get_action_dist_from_latent(policy.mlp_extractor.forward_actor(latent))
    if policy.lstm_critic is not None:
        latent, critic = _run_lstm(policy.lstm_critic, of_critic, critic)
    elif not policy.shared_lstm:
        assert policy.critic is not None
        latent = policy.critic(of_critic)
    value = policy.value_net(policy.mlp_extractor.forward_critic(latent)).squeeze(1)
    return {**_chosen(policy, distribution, mask), "value": value}, PolicyState(actor, critic)


def _run_lstm(lstm: nn.LSTM, features: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
    """One step. features: (B, F), state: (B, layers, N) each."""
    hidden, cell = [], []
    y = features
    for k, weights in enumerate(lstm.all_weights):
        # Not the LSTM itself, of which torch 2.8 writes invalid files.
        y, c = torch.lstm_cell(y, (state.hidden[:, k], state.cell[:, k]), *weights)
        hidden.append(y)
        cell.append(c)
    return y, LSTMState(torch.stack(hidden, dim=1), torch.stack(cell, dim=1))


def _lstm_memory(policy: RecurrentActorCriticPolicy, n_envs: int) -> PolicyState:
    def zeros(lstm: nn.LSTM | None) -> LSTMState | None:
        if lstm is None:
            return None
        shape = (n_envs, lstm.num_layers, lstm.hidden_size)
        return LSTMState(torch.zeros(shape), torch.zeros(shape))

    return PolicyState(zeros(policy.lstm_actor), zeros(policy.lstm_critic))


def _chosen(policy: BasePolicy, distribution: Distribution, mask: Tensor | None = None) -> dict[str, Tensor]:
    """The most probable actions as the environment takes them, and what they were chosen from."""
    if mask is not None:
        distribution = mask_distribution(distribution, policy.action_space, mask)
    actions = distribution.get_actions(deterministic=True)
    return {
        "action": bounded(actions, policy.action_space, policy.squash_output),
        **_parameters(distribution),
    }


def _parameters(distribution: Distribution) -> dict[str, Tensor]:
    """What a distribution over actions is made of, (B, M) each.

    Raises:
        ValueError: it is none of Stable-Baselines3's.
    """
    match distribution:
        case DiagGaussianDistribution() | StateDependentNoiseDistribution():
            normal = distribution.distribution
            return {"mean": normal.mean, "std": normal.stddev}
        case BernoulliDistribution() | CategoricalDistribution() | MaskableCategoricalDistribution():
            return {"logits": distribution.distribution.logits}
        case MaskableBernoulliDistribution():
            # Of each bit two choices, of which the mask may rule out one.
            return {"logits": torch.cat([_of_one(bit.logits) for bit in distribution.distributions], dim=1)}
        case MultiCategoricalDistribution():
            return {"logits": torch.cat([one.logits for one in distribution.distribution], dim=1)}
        case MaskableMultiCategoricalDistribution():
            return {"logits": torch.cat([one.logits for one in distribution.distributions], dim=1)}
    raise ValueError(f"the policy's distribution must be one of Stable-Baselines3's, got {distribution}")


def _of_one(logits: Tensor) -> Tensor:
    """The logit (B, 1) of a bit that is 1, from those of 0 and 1, (B, 2)."""
    return logits[:, 1:] - logits[:, :1]


_KINDS: dict[type[nn.Module], Kind] = {
    PlasticPolicy: Kind(PlasticPolicy.initial_state, _plastic),
    SupervisedPolicy: Kind(SupervisedPolicy.initial_memory, _supervised, masks=False),
    RecurrentActorCriticPolicy: Kind(_lstm_memory, _lstm),
    ActorCriticPolicy: Kind(lambda policy, n_envs: (), _memoryless),
}
