"""Actor-critic policies with a plastic recurrent core, for ``PlasticA2C``.

observation -> features extractor -> recurrent core -> (net_arch layers) -> action and value heads
"""

from __future__ import annotations

import copy
from dataclasses import asdict
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution, make_proba_distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
    MlpExtractor,
    NatureCNN,
)
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

from plastic_rl.arguments import check_count, check_positive
from plastic_rl.ops.plastic_rnn import batch_size
from plastic_rl.policies.actions import bounded
from plastic_rl.policies.core import RecurrentCore, check_core, rate_groups
from plastic_rl.policies.core_options import split_options
from plastic_rl.policies.masking import mask_distribution
from plastic_rl.policies.plastic_rnn import PlasticRNN
from plastic_rl.policies.state import PolicyState, StatefulPolicy, as_policy_state, starts_tensor

# What a state may be given as: a PolicyState, what ``predict`` returned, or None for zeros.
AnyState: TypeAlias = PolicyState | tuple[Any, ...] | None
# The width of the hidden layers that SB3's default learning rates are made for.
SB3_WIDTH = 64


# Below this the kernels of SB3's ``NatureCNN``, 8, 4 and 3 wide with strides 4, 2 and 1, find no place.
SMALLEST_IMAGE = 36


class PlasticPolicy(StatefulPolicy, ActorCriticPolicy):
    """Actor and critic on one plastic recurrent core (Miconi, Stanley & Clune, ICML 2018).

    The policy holds no state: ``forward`` and ``predict`` take it and return it. Sequences are time-major:
    T steps of B environments come as observations (T * B, ...), all environments of step 0 first.

    Args:
        observation_space: any space that SB3 has a features extractor for.
        action_space: Box, Discrete, MultiDiscrete or MultiBinary.
        lr_schedule: learning rate as a function of the remaining progress.
        net_arch: layers after the core, as in SB3; none by default (the paper's network).
        activation_fn: of the ``net_arch`` layers.
        features_extractor_class: by default ``FlattenExtractor``, for images ``NatureCNN``, for dictionaries
            ``CombinedExtractor``.
        share_features_extractor: if false, the critic has a features extractor and a core of its own.
        hidden_size: number of neurons N in the core.
        core_lr_scale: the learning rate of the core's matrices (w and alpha) as a multiple of the others',
            above 0. The default, min(1, 64 / hidden_size), lets learning rates made for SB3's 64 units serve
            larger cores: one step of an Adam-like optimiser changes an N x N matrix by N times its length in
            the leading direction.
        **kwargs: the options of the core (``rule``, ``alpha``, ``eta``, ...: the fields of `CoreOptions`,
            with its defaults), and everything else that SB3's ``ActorCriticPolicy`` takes.

    Raises:
        ValueError: an argument of the core outside its range, named.
    """

    default_features_extractor: ClassVar[type[BaseFeaturesExtractor]] = FlattenExtractor

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        net_arch: list[int] | dict[str, list[int]] | None = None,
        activation_fn: type[nn.Module] = nn.Tanh,
        *,
        features_extractor_class: type[BaseFeaturesExtractor] | None = None,
        share_features_extractor: bool = True,
        hidden_size: int = 200,
        core_lr_scale: float | None = None,
        **kwargs: Any,
    ) -> None:
        # The parent's constructor builds the networks, so it must find these.
        self.hidden_size = check_count("hidden_size", hidden_size)
        if core_lr_scale is None:
            core_lr_scale = min(1.0, SB3_WIDTH / self.hidden_size)
        self.core_lr_scale = check_positive("core_lr_scale", core_lr_scale)
        self.core_options, others = split_options(kwargs)
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch=[] if net_arch is None else net_arch,
            activation_fn=activation_fn,
            features_extractor_class=features_extractor_class or self.default_features_extractor,
            share_features_extractor=share_features_extractor,
            **others,
        )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        data.update(
            hidden_size=self.hidden_size,
            core_lr_scale=self.core_lr_scale,
            share_features_extractor=self.share_features_extractor,
            **asdict(self.core_options),
        )
        return data

    def _make_core(self) -> RecurrentCore:
        """Make what remembers, for ``features_dim`` features and ``hidden_size`` activations.

        The place for a core of your own: any module with the methods of `RecurrentCore`.
        """
        return PlasticRNN(self.features_dim, self.hidden_size, **asdict(self.core_options))

    def _build_mlp_extractor(self) -> None:
        """Build the layers after the core; as in SB3, subclasses may build others."""
        self.mlp_extractor = MlpExtractor(
            self.hidden_size, net_arch=self.net_arch, activation_fn=self.activation_fn, device=self.device
        )

    def _build(self, lr_schedule: Schedule) -> None:
        self.core = self._make_core()
        self.critic_core = None if self.share_features_extractor else self._make_core()
        # Parameters train all the same; the first noise of gSDE would keep the graph it was drawn with.
        with torch.no_grad():
            super()._build(lr_schedule)
        cores = [core for core in (self.core, self.critic_core) if core is not None]
        for core in cores:
            check_core(core)
        scaled = [parameter for core in cores for parameter in core.scaled_parameters()]
        groups = rate_groups(self, scaled, self.core_lr_scale)
        lr = lr_schedule(1)
        self.optimizer = self.optimizer_class(groups, lr=lr, **self.optimizer_kwargs)  # type: ignore[call-arg]

    def initial_state(self, n_envs: int) -> PolicyState:
        """The state at the start of an episode: zeros for ``n_envs`` environments."""
        critic = None if self.critic_core is None else self.critic_core.initial_state(n_envs)
        return PolicyState(self.core.initial_state(n_envs), critic)

    def run_cores(
        self, obs: PyTorchObs, state: AnyState, episode_starts: Tensor | np.ndarray | None
    ) -> tuple[Tensor, Tensor, PolicyState]:
        """Drive the cores with a sequence of observations.

        obs: (T * B, ...), time-major
        state: of B environments, a `PolicyState` or what ``predict`` returned, which is the actor's alone;
            None starts B = T * B environments of one step each from zeros
        episode_starts: (T, B) or (B,) for one step
        returns: activations for the actor (T * B, N) and for the critic (T * B, N), new state

        Raises ValueError where the state does not fit, or lacks the part of a critic with a core of its own.
        """
        features = self.extract_features(obs)
        pi_features, vf_features = features if isinstance(features, tuple) else (features, features)
        if state is None:
            state = self.initial_state(pi_features.shape[0])
        state = as_policy_state(state, self.initial_state)
        if self.critic_core is not None and state.critic is None:
            raise ValueError(
                "state must have the critic's memory, too: the critic has a core of its own "
                "(share_features_extractor=False), and what predict returns is the actor's alone. Take the "
                "PolicyState that initial_state and forward return"
            )
        episode_starts = starts_tensor(episode_starts, self.device)
        y_pi, actor = _run_core(self.core, pi_features, state.actor, episode_starts)
        if self.critic_core is None:
            return y_pi, y_pi, PolicyState(actor)
        y_vf, critic = _run_core(self.critic_core, vf_features, state.critic, episode_starts)
        return y_pi, y_vf, PolicyState(actor, critic)

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """Make an extractor; see SB3.

        Raises:
            ValueError: images are too small for SB3's convolutions.
        """
        check_image_size(self.features_extractor_class, self.observation_space)
        return super().make_features_extractor()

    def reset_noise(self, n_envs: int = 1) -> None:
        """Draw new noise for gSDE, without a graph: acting with it is no part of a loss."""
        with torch.no_grad():
            super().reset_noise(n_envs)

    def _get_action_dist_from_latent(self, latent_pi: Tensor) -> Distribution:
        # Handed out, not kept: SB3's own would hold the graph of the last loss, and be another one's next.
        own = self.action_dist
        if torch.compiler.is_compiling() and not self.use_sde:
            # torch 2.8 compiles no copy.copy.
            self.action_dist = make_proba_distribution(self.action_space, dist_kwargs=self.dist_kwargs)
        else:
            self.action_dist = copy.copy(own)
        try:
            return super()._get_action_dist_from_latent(latent_pi)
        finally:
            self.action_dist = own

    def action_distribution(self, y: Tensor) -> Distribution:
        """The distribution over actions, given activations of the actor's core, (K, N)."""
        return self._get_action_dist_from_latent(self.mlp_extractor.forward_actor(y))

    def allowed_actions(self, y: Tensor, action_masks: Tensor | None) -> Distribution:
        """`action_distribution` without the actions that are masked. action_masks: (K, M) bool."""
        distribution = self.action_distribution(y)
        if action_masks is None:
            return distribution
        return mask_distribution(distribution, self.action_space, action_masks)

    def values(self, y: Tensor) -> Tensor:
        """The values (K, 1), given activations of the critic's core, (K, N)."""
        return self.value_net(self.mlp_extractor.forward_critic(y))

    def forward(  # type: ignore[override]
        self,
        obs: PyTorchObs,
        state: AnyState = None,
        episode_starts: Tensor | np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, PolicyState]:
        """Act for one step.

        obs: (B, ...)
        state: of B environments, as in `run_cores`, None for zeros
        episode_starts: (B,), true where the state is zeroed first
        action_masks: (B, M) bool, true where an action is allowed; see `plastic_rl.policies.masking`
        returns: actions (B, ...), values (B, 1), log-probabilities (B,), new state
        """
        y_pi, y_vf, state = self.run_cores(obs, state, episode_starts)
        distribution = self.allowed_actions(y_pi, action_masks)
        actions = distribution.get_actions(deterministic=deterministic)
        log_prob = distribution.log_prob(actions)
        actions = actions.reshape((-1, *self.action_space.shape))  # type: ignore[misc]
        return actions, self.values(y_vf), log_prob, state

    def evaluate_actions(
        self,
        obs: PyTorchObs,
        actions: Tensor,
        state: AnyState = None,
        episode_starts: Tensor | np.ndarray | None = None,
        action_masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values, log-probabilities and entropy of actions taken in a sequence.

        obs: (T * B, ...), time-major
        actions: (T * B, ...)
        state: of B environments before the first step, as in `run_cores`, None for zeros and T = 1
        episode_starts: (T, B)
        action_masks: (T * B, M) bool, of when the actions were taken
        returns: values (T * B, 1), log-probabilities (T * B,), entropy (T * B,) or None
        """
        y_pi, y_vf, _ = self.run_cores(obs, state, episode_starts)
        return self.evaluate_activations(y_pi, y_vf, actions, action_masks)

    def evaluate_activations(
        self, y_pi: Tensor, y_vf: Tensor, actions: Tensor, action_masks: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values, log-probabilities and entropy, given the activations of the cores, each (K, N)."""
        distribution = self.allowed_actions(y_pi, action_masks)
        return self.values(y_vf), distribution.log_prob(actions), distribution.entropy()

    def get_distribution(
        self,
        obs: PyTorchObs,
        state: AnyState = None,
        episode_starts: Tensor | np.ndarray | None = None,
        action_masks: Tensor | None = None,
    ) -> Distribution:
        """The distribution over actions at one step.

        obs: (B, ...)
        state: as in `run_cores`
        action_masks: (B, M) bool, true where an action is allowed

        What ``predict`` returned is enough, also where the critic has a core of its own.
        """
        if state is not None:
            state = self._with_critic(as_policy_state(state, self.initial_state))
        y_pi, _, _ = self.run_cores(obs, state, episode_starts)
        return self.allowed_actions(y_pi, action_masks)

    def predict_values(
        self, obs: PyTorchObs, state: AnyState = None, episode_starts: Tensor | np.ndarray | None = None
    ) -> Tensor:
        """The values (B, 1) at one step; the state given is not changed.

        obs: (B, ...)
        state: as in `run_cores`
        """
        _, y_vf, _ = self.run_cores(obs, state, episode_starts)
        return self.values(y_vf)

    def _with_critic(self, state: PolicyState) -> PolicyState:
        """A state to act with: a critic's own core starts from zeros where nobody asks for its values."""
        if self.critic_core is None or state.critic is not None:
            return state
        return state._replace(critic=self.critic_core.initial_state(batch_size(state.actor)))

    def initial_memory(self, n_envs: int) -> Any:
        """See `StatefulPolicy`: acting needs the actor's state only."""
        return self.core.initial_state(n_envs)

    def choose(
        self,
        obs: PyTorchObs,
        memory: Any,
        episode_starts: Tensor | None,
        deterministic: bool,
        action_masks: Tensor | None = None,
    ) -> tuple[np.ndarray, Any]:
        """See `StatefulPolicy`."""
        y, _, state = self.run_cores(obs, self._with_critic(PolicyState(memory)), episode_starts)
        chosen = self.allowed_actions(y, action_masks).get_actions(deterministic=deterministic)
        actions = bounded(chosen, self.action_space, self.squash_output).cpu().numpy()
        return actions, state.actor


class PlasticCnnPolicy(PlasticPolicy):
    """``PlasticPolicy`` for images: SB3's ``NatureCNN`` as the default features extractor."""

    default_features_extractor = NatureCNN


class PlasticMultiInputPolicy(PlasticPolicy):
    """``PlasticPolicy`` for dictionaries: SB3's ``CombinedExtractor`` as the default features extractor."""

    default_features_extractor = CombinedExtractor


MlpPolicy = PlasticPolicy
CnnPolicy = PlasticCnnPolicy
MultiInputPolicy = PlasticMultiInputPolicy


def check_image_size(extractor: type[BaseFeaturesExtractor], space: spaces.Space[Any]) -> None:
    """Refuse images that the convolutions of SB3's extractors cannot slide over.

    Raises:
        ValueError: an image is smaller than `SMALLEST_IMAGE` pixels in height or width.
    """
    parts: list[tuple[str, spaces.Space[Any]]] = [("", space)] if extractor is NatureCNN else []
    if extractor is CombinedExtractor and isinstance(space, spaces.Dict):
        parts = list(space.items())
    for key, part in parts:
        if is_image_space(part) and min(part.shape[1:]) < SMALLEST_IMAGE:  # type: ignore[index]
            where = f" part {key!r}" if key else ""
            raise ValueError(
                f"observation_space{where} must be images of at least {SMALLEST_IMAGE} x {SMALLEST_IMAGE} "
                f"pixels for NatureCNN, got channels, height and width {part.shape}: take MlpPolicy, or give "
                "policy_kwargs a features_extractor_class of your own"
            )


def _run_core(
    core: RecurrentCore, features: Tensor, state: Any, episode_starts: Tensor | None
) -> tuple[Tensor, Any]:
    """Run one core over time-major features (T * B, F); one step without gradients takes the lean form."""
    n_envs = batch_size(state)
    # Not divmod: torch.export does not know it for sizes that are left open.
    n_steps, rest = features.shape[0] // n_envs, features.shape[0] % n_envs
    if rest:
        raise ValueError(f"obs must be steps of the state's {n_envs} environments, got {features.shape[0]}")
    if n_steps == 1 and not torch.is_grad_enabled():
        return core.step(features, state, None if episode_starts is None else episode_starts.reshape(n_envs))
    starts = None if episode_starts is None else episode_starts.reshape(n_steps, n_envs)
    y, state = core(features.reshape(n_steps, n_envs, -1), state, starts)
    return y.flatten(0, 1), state
