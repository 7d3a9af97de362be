"""Proximal policy optimization for plastic policies: several epochs over whole sequences."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from torch import nn

from plastic_rl.arguments import check_number
from plastic_rl.policies import PlasticPolicy
from plastic_rl.training.on_policy import PlasticOnPolicyAlgorithm
from plastic_rl.training.rollout_data import Rollout

# Of a memoryless policy, whose minibatches are single steps: SB3's default.
_MEMORYLESS_BATCH = 64


class PlasticPPO(PlasticOnPolicyAlgorithm, PPO):
    """PPO (Schulman et al., 2017) for agents with a plastic memory (Miconi, Stanley & Clune, ICML 2018).

    Arguments, logger keys and behaviour are those of SB3's ``PPO``. What is added: the policy's recurrent
    state is carried through the rollout, and a minibatch is whole sequences of some environments, through all
    of whose ``n_steps`` the gradient flows back. A sequence begins from the state that acted, also in later
    epochs, when the parameters are no longer those that made it.

    Of several environments that are stepped together, the more there are, the more minibatches there can be:
    with a single one, an epoch is one gradient step.

    Defaults are those that learned most of eight tasks which need memory, none of them tuned for one; where
    returns are large, with rewards normalized (``VecNormalize(env, norm_obs=False)``).

    Args:
        policy: as in ``PlasticA2C``; a memoryless SB3 policy class is trained just as PPO would.
        env: an environment, or the id of a registered one.
        learning_rate: a number above 0, or a function of the remaining progress (from 1 to 0).
        n_steps: steps per environment and rollout, at least 1; bounds credit assignment.
        batch_size: steps per minibatch, a multiple of ``n_steps`` and at most ``n_steps`` times the number of
            environments; None is a quarter of the environments, at least one.
        n_epochs: passes over a rollout, at least 1.
        gamma: discount factor.
        gae_lambda: trade-off of bias and variance in generalized advantage estimation; 1 is none.
        clip_range: how far the ratio of probabilities may go from 1 before its gradient is cut, above 0, or a
            function of the remaining progress.
        clip_range_vf: the same for the values, in their own units; None does not clip them.
        normalize_advantage: whether advantages are normalized in every minibatch.
        ent_coef: weight of the entropy in the loss.
        vf_coef: weight of the value error in the loss.
        max_grad_norm: largest norm of the gradient.
        use_sde: generalized state-dependent exploration.
        sde_sample_freq: steps between new noise matrices; -1 is once per rollout.
        rollout_buffer_class: instead of SB3's own buffers.
        rollout_buffer_kwargs: for it.
        target_kl: an update ends when the policy has gone 1.5 times as far, above 0; None never ends it.
        stats_window_size: episodes that the logged means run over.
        tensorboard_log: folder of the TensorBoard log.
        policy_kwargs: for the policy: ``hidden_size``, ``rule``, ``alpha``, ``eta``, ... What they leave out
            has the policy's defaults, but for ``default_policy_kwargs``: a ``gru`` of 64 neurons, and another
            one for the critic.
        verbose: 0 quiet, 1 information, 2 debugging.
        seed: of everything random.
        device: ``auto``, ``cpu``, ``cuda``, ...
        _init_setup_model: whether the network is built at once.
        use_masking: whether an environment with a method ``action_masks()`` is asked which actions it allows
            (Discrete, MultiDiscrete and MultiBinary; see ``plastic_rl.policies.masking``).
        distributed: whether processes that were started together (``torchrun``) train one network, each with
            ``env`` as its share of the environments; None takes the processes that it finds. ``batch_size``
            then counts the steps of all of them.

    Raises:
        ValueError: an argument outside its range, named.
    """

    # Found on tasks of their own: docs/plastic_ppo.md.
    default_policy_kwargs: ClassVar[Mapping[str, Any]] = {
        "cell": "gru",
        "hidden_size": 64,
        "share_features_extractor": False,
    }

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-3,
        n_steps: int = 128,
        batch_size: int | None = None,
        n_epochs: int = 4,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        clip_range: float | Schedule = 0.2,
        clip_range_vf: float | Schedule | None = None,
        normalize_advantage: bool = True,
        ent_coef: float = 0.01,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        use_sde: bool = False,
        sde_sample_freq: int = -1,
        rollout_buffer_class: type[RolloutBuffer] | None = None,
        rollout_buffer_kwargs: dict[str, Any] | None = None,
        target_kl: float | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
        *,
        use_masking: bool = True,
        distributed: bool | None = None,
    ) -> None:
        n_steps = check_number("n_steps", n_steps)
        super().__init__(
            policy,
            env,
            learning_rate=learning_rate,
            n_steps=n_steps,
            # PPO's own checks are of minibatches of single steps.
            batch_size=n_steps,
            normalize_advantage=False,
            n_epochs=n_epochs,
            gamma=gamma,
            gae_lambda=gae_lambda,
            clip_range=clip_range,
            clip_range_vf=clip_range_vf,
            ent_coef=ent_coef,
            vf_coef=vf_coef,
            max_grad_norm=max_grad_norm,
            use_sde=use_sde,
            sde_sample_freq=sde_sample_freq,
            rollout_buffer_class=rollout_buffer_class,
            rollout_buffer_kwargs=rollout_buffer_kwargs,
            target_kl=target_kl,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=self.completed_policy_kwargs(policy, policy_kwargs),
            verbose=verbose,
            device=device,
            seed=seed,
            _init_setup_model=False,
            distributed=distributed,
        )
        self.normalize_advantage = normalize_advantage
        self.use_masking = use_masking
        self.batch_size = batch_size  # type: ignore[assignment]
        if issubclass(self.policy_class, PlasticPolicy):
            if batch_size is not None:
                self.batch_size = _check_batch_size(
                    batch_size, n_steps, math.inf if self.env is None else self.total_envs
                )
        elif batch_size is None:
            self.batch_size = _MEMORYLESS_BATCH
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        super()._setup_model()
        if self.env is not None and isinstance(self.policy, PlasticPolicy):
            fewest = min(self.env_counts)
            if self.n_minibatches > fewest:
                raise ValueError(
                    f"batch_size must leave each process an environment in every minibatch, got "
                    f"{self.batch_size}: {self.n_minibatches} minibatches, but one process has only {fewest} "
                    f"of the {self.total_envs} environments"
                )

    @property
    def n_minibatches(self) -> int:
        """Minibatches in an epoch: groups of environments, some of every process in each."""
        given: int | None = self.batch_size
        if given is None:
            group = max(1, self.total_envs // 4)
            return min(math.ceil(self.total_envs / group), *self.env_counts)
        return math.ceil(self.total_envs / (given // self.n_steps))

    def update(self, policy: PlasticPolicy, rollout: Rollout) -> None:
        """Go over the rollout ``n_epochs`` times, one gradient step for each group of environments."""
        progress = self._current_progress_remaining
        clip_range = self.clip_range(progress)  # type: ignore[operator]
        clip_range_vf = None if self.clip_range_vf is None else self.clip_range_vf(progress)  # type: ignore[operator]
        seen: defaultdict[str, list[float]] = defaultdict(list)
        go_on = True
        for epoch in range(self.n_epochs):
            # As in SB3: of the last epoch only.
            seen["approx_kl"].clear()
            for group in rollout.split(self.n_minibatches):
                values, log_prob, entropy = group.evaluate(policy)
                advantages = group.advantages
                if self.normalize_advantage:
                    advantages = self.processes.normalized(advantages)

                log_ratio = log_prob - group.old_log_prob
                ratio = log_ratio.exp()
                clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
                policy_loss = -torch.min(advantages * ratio, advantages * clipped).mean()
                if clip_range_vf is not None:
                    change = values - group.old_values
                    values = group.old_values + change.clamp(-clip_range_vf, clip_range_vf)
                value_loss = nn.functional.mse_loss(group.returns, values)
                # Where the entropy has no analytical form it is estimated from the sample.
                entropy_loss = log_prob.mean() if entropy is None else -entropy.mean()
                loss = policy_loss + self.ent_coef * entropy_loss + self.vf_coef * value_loss

                with torch.no_grad():
                    # The estimate of the divergence that has no bias and little variance.
                    approx_kl = (ratio - 1 - log_ratio).mean().item()
                    if self.target_kl is not None:
                        # All processes end the update at the same step.
                        approx_kl = self.processes.means({"kl": approx_kl}, group.n_envs)["kl"]
                    seen["clip_fraction"].append(((ratio - 1).abs() > clip_range).float().mean().item())
                seen["approx_kl"].append(approx_kl)
                seen["policy_gradient_loss"].append(policy_loss.item())
                seen["value_loss"].append(value_loss.item())
                seen["entropy_loss"].append(entropy_loss.item())
                if self.target_kl is not None and approx_kl > 1.5 * self.target_kl:
                    go_on = False
                    if self.verbose >= 1:
                        self.logger.info(
                            f"Epoch {epoch} ends the update: approximate divergence {approx_kl:.3f}"
                        )
                    break
                seen["grad_norm"].append(self.gradient_step(loss, group.n_envs))
            self._n_updates += 1
            if not go_on:
                break

        means = {name: float(np.mean(numbers)) for name, numbers in seen.items() if numbers}
        self.record_update(policy, {**means, "loss": loss.item()})
        self.logger.record("train/clip_range", clip_range)
        if clip_range_vf is not None:
            self.logger.record("train/clip_range_vf", clip_range_vf)


def _check_batch_size(batch_size: int, n_steps: int, n_envs: float) -> int:
    """Return it, if it is whole sequences of some of the environments; else a ValueError."""
    batch_size = check_number("batch_size", batch_size)
    below, rest = divmod(batch_size, n_steps)
    if rest:
        below = max(1, below)
        raise ValueError(
            f"batch_size must be a multiple of n_steps={n_steps}, whole sequences of some environments, got "
            f"{batch_size}: the nearest are {below * n_steps} and {(below + 1) * n_steps}"
        )
    if batch_size > n_steps * n_envs:
        raise ValueError(
            f"batch_size must be at most a rollout, n_steps * n_envs = {n_steps * n_envs}, got {batch_size}"
        )
    return batch_size
