"""Advantage actor-critic for plastic policies: back-propagation through time over whole rollouts."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3 import A2C
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from torch import nn

from plastic_rl.policies import PlasticPolicy
from plastic_rl.training.on_policy import PlasticOnPolicyAlgorithm
from plastic_rl.training.optimizers import WarmRMSprop
from plastic_rl.training.rollout_data import Rollout


class PlasticA2C(PlasticOnPolicyAlgorithm, A2C):
    """A2C for agents with a plastic memory (Miconi, Stanley & Clune, ICML 2018, section 4.4).

    Arguments, defaults, logger keys and behaviour are those of SB3's ``A2C``. What is added: the policy's
    recurrent state is carried through the rollout, kept once (at the rollout's start), and the gradient flows
    back through all of the rollout's steps.

    ``n_steps`` bounds credit assignment: nothing that happened more than ``n_steps`` ago is learned to be
    remembered. A2C's default of 5 is too short for anything that needs memory; the length of an episode is a
    good choice and gives the paper's whole-lifetime back-propagation.
    ``plastic_rl.hyperparams(env_id, "plastic_a2c")`` has settings that work. The recorded memory
    grows with ``n_steps * n_envs * hidden_size``.

    Args:
        policy: ``MlpPolicy``, ``CnnPolicy``, ``MultiInputPolicy``, ``OmniglotPolicy``, a subclass of
            ``PlasticPolicy``, or a memoryless SB3 policy class, which is trained just as A2C would.
        env: an environment, or the id of a registered one.
        learning_rate: a number above 0, or a function of the remaining progress (from 1 to 0).
        n_steps: steps per environment and update, at least 1.
        gamma: discount factor.
        gae_lambda: trade-off of bias and variance in generalized advantage estimation; 1 is none.
        ent_coef: weight of the entropy in the loss.
        vf_coef: weight of the value error in the loss.
        max_grad_norm: largest norm of the gradient.
        rms_prop_eps: epsilon of RMSprop.
        use_rms_prop: RMSprop (as ``WarmRMSprop``) instead of Adam, unless ``policy_kwargs`` names an
            ``optimizer_class``.
        use_sde: generalized state-dependent exploration.
        sde_sample_freq: steps between new noise matrices; -1 is once per rollout.
        rollout_buffer_class: instead of SB3's own buffers.
        rollout_buffer_kwargs: for it.
        normalize_advantage: whether advantages are normalized in every update.
        stats_window_size: episodes that the logged means run over.
        tensorboard_log: folder of the TensorBoard log.
        policy_kwargs: for the policy: ``hidden_size``, ``rule``, ``alpha``, ``eta``, ...
        verbose: 0 quiet, 1 information, 2 debugging.
        seed: of everything random.
        device: ``auto``, ``cpu``, ``cuda``, ...
        _init_setup_model: whether the network is built at once.
        use_masking: whether an environment with a method ``action_masks()`` is asked which actions it allows
            (Discrete, MultiDiscrete and MultiBinary; see ``plastic_rl.policies.masking``).
        distributed: whether processes that were started together (``torchrun``) train one network, each with
            ``env`` as its share of the environments; None takes the processes that it finds.

    Raises:
        ValueError: ``n_steps`` below 1, or an argument of the policy outside its range.
    """

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 7e-4,
        n_steps: int = 5,
        gamma: float = 0.99,
        gae_lambda: float = 1.0,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        rms_prop_eps: float = 1e-5,
        use_rms_prop: bool = True,
        use_sde: bool = False,
        sde_sample_freq: int = -1,
        rollout_buffer_class: type[RolloutBuffer] | None = None,
        rollout_buffer_kwargs: dict[str, Any] | None = None,
        normalize_advantage: bool = False,
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
        super().__init__(
            policy,
            env,
            learning_rate=learning_rate,
            n_steps=n_steps,
            gamma=gamma,
            gae_lambda=gae_lambda,
            ent_coef=ent_coef,
            vf_coef=vf_coef,
            max_grad_norm=max_grad_norm,
            use_sde=use_sde,
            sde_sample_freq=sde_sample_freq,
            rollout_buffer_class=rollout_buffer_class,
            rollout_buffer_kwargs=rollout_buffer_kwargs,
            normalize_advantage=normalize_advantage,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            device=device,
            seed=seed,
            # A2C would write its RMSprop into the caller's policy_kwargs.
            use_rms_prop=False,
            _init_setup_model=False,
            distributed=distributed,
        )
        self.rms_prop_eps = rms_prop_eps
        self.use_rms_prop = use_rms_prop
        self.use_masking = use_masking
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        # The caller's dictionary stays as it is: it is compared with the saved one at load().
        given = self.policy_kwargs
        if self.use_rms_prop and "optimizer_class" not in given:
            plastic = issubclass(self.policy_class, PlasticPolicy)
            rms_prop = {"alpha": 0.99, "eps": self.rms_prop_eps, "weight_decay": 0}
            self.policy_kwargs = {
                **given,
                "optimizer_class": WarmRMSprop if plastic else torch.optim.RMSprop,
                "optimizer_kwargs": {**rms_prop, **(given.get("optimizer_kwargs") or {})},
            }
        try:
            super()._setup_model()
        finally:
            self.policy_kwargs = given

    def update(self, policy: PlasticPolicy, rollout: Rollout) -> None:
        """Take one gradient step on the whole rollout, through time."""
        values, log_prob, entropy = rollout.evaluate(policy)
        advantages = rollout.advantages
        if self.normalize_advantage:
            advantages = self.processes.normalized(advantages)
        policy_loss = -(advantages * log_prob).mean()
        value_loss = nn.functional.mse_loss(rollout.returns, values)
        # Where the entropy has no analytical form it is estimated from the sample.
        entropy_loss = log_prob.mean() if entropy is None else -entropy.mean()
        loss = policy_loss + self.ent_coef * entropy_loss + self.vf_coef * value_loss
        grad_norm = self.gradient_step(loss, rollout.n_envs)
        self._n_updates += 1
        means = {"entropy_loss": entropy_loss, "policy_loss": policy_loss, "value_loss": value_loss}
        self.record_update(policy, {name: mean.item() for name, mean in means.items()})
        self.logger.record("train/grad_norm", grad_norm)
