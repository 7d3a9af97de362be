"""Advantage actor-critic for plastic policies: back-propagation through time over whole rollouts."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, PyTorchObs, Schedule
from stable_baselines3.common.utils import configure_logger, explained_variance, obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from plastic_rl.ops.plastic_rnn import torch_in_one_thread
from plastic_rl.policies import CnnPolicy, MlpPolicy, MultiInputPolicy, PlasticPolicy, PolicyState
from plastic_rl.policies.plastic_rnn import check_size
from plastic_rl.policies.transfer import CoreTransfer, load_core
from plastic_rl.training.optimizers import WarmRMSprop
from plastic_rl.training.rollout import RolloutRecorder, can_record

SelfPlasticA2C = TypeVar("SelfPlasticA2C", bound="PlasticA2C")


class PlasticA2C(OnPolicyAlgorithm):
    """A2C for agents with a plastic memory (Miconi, Stanley & Clune, ICML 2018, section 4.4).

    Arguments, defaults, logger keys and behaviour are those of SB3's ``A2C``. What is added: the policy's
    recurrent state is carried through the rollout, kept once (at the rollout's start), and the gradient flows
    back through all of the rollout's steps.

    ``n_steps`` bounds credit assignment: nothing that happened more than ``n_steps`` ago is learned to be
    remembered. A2C's default of 5 is too short for anything that needs memory; the length of an episode is a
    good choice and gives the paper's whole-lifetime back-propagation. ``plastic_rl.hyperparams(env_id)``
    has settings that work. The recorded memory grows with ``n_steps * n_envs * hidden_size``.

    Args:
        policy: ``MlpPolicy``, ``CnnPolicy``, ``MultiInputPolicy``, a subclass of ``PlasticPolicy``, or a
            memoryless SB3 policy class, which is trained just as A2C would.
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

    Raises:
        ValueError: ``n_steps`` below 1, or an argument of the policy outside its range.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }

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
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            device=device,
            seed=seed,
            _init_setup_model=False,
            supported_action_spaces=(
                spaces.Box,
                spaces.Discrete,
                spaces.MultiDiscrete,
                spaces.MultiBinary,
            ),
        )
        self.rms_prop_eps = rms_prop_eps
        self.use_rms_prop = use_rms_prop
        self.normalize_advantage = normalize_advantage
        if _init_setup_model:
            self._setup_model()

    @staticmethod
    def _wrap_env(env: GymEnv, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        _check_spaces(env.observation_space, env.action_space)
        return OnPolicyAlgorithm._wrap_env(env, verbose, monitor_wrapper)

    def _setup_model(self) -> None:
        self.n_steps = check_size("n_steps", self.n_steps)
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
        # The state before the next step, and the one before the first step of the rollout in the buffer.
        self._state: PolicyState | None = None
        self._rollout_state: PolicyState | None = None
        # Remembers the forward pass of the last rollout, as long as that serves as the training's.
        self._recorder: RolloutRecorder | None = None
        self._recorded = False
        if isinstance(self.policy, PlasticPolicy):
            self._state = self.policy.initial_state(self.n_envs)
            if self._last_episode_starts is not None:
                # Loaded without a reset: the memory is empty, as at the start of an episode.
                self._last_episode_starts = np.ones(self.n_envs, dtype=bool)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_state", "_rollout_state", "_recorder", "_recorded"]

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill the buffer, carrying the plastic state from step to step and over the rollout's border.

        Args:
            env: the training environment.
            callback: called at every step and around the rollout. In a rollout that is recorded, values and
                log-probabilities are computed at its end: its steps do not have them among their ``locals``.
            rollout_buffer: filled with ``n_rollout_steps`` steps of every environment.
            n_rollout_steps: number of steps.

        Returns:
            False if the callback stopped the rollout.
        """
        if not isinstance(self.policy, PlasticPolicy):
            return super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps)
        # Beside the operator, which has threads of its own, only convolutions are worth more than one.
        convolves = any(isinstance(module, nn.Conv2d) for module in self.policy.modules())
        with nullcontext() if convolves else torch_in_one_thread():
            return self._collect(self.policy, env, callback, rollout_buffer, n_rollout_steps)

    def _collect(
        self,
        policy: PlasticPolicy,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        assert self._last_obs is not None, "No previous observation was provided"
        assert self._state is not None
        policy.set_training_mode(False)
        rollout_buffer.reset()
        if self.use_sde:
            policy.reset_noise(env.num_envs)
        recorder = self._start_recording(policy, rollout_buffer, n_rollout_steps)
        self._rollout_state = self._state if recorder is None else None
        pending = torch.zeros(env.num_envs)
        callback.on_rollout_start()

        try:
            for n_steps in range(n_rollout_steps):
                if self.use_sde and self.sde_sample_freq > 0 and n_steps % self.sde_sample_freq == 0:
                    policy.reset_noise(env.num_envs)
                obs, episode_starts = self._last_obs, self._last_episode_starts
                with torch.no_grad():
                    obs_tensor = obs_as_tensor(obs, self.device)  # type: ignore[arg-type]
                    starts = self._starts_tensor(episode_starts)
                    if recorder is None:
                        action_tensor, values, log_probs, state = policy(obs_tensor, self._state, starts)
                    else:
                        action_tensor = recorder.act(obs_tensor, starts)
                actions = action_tensor.cpu().numpy()

                clipped_actions = self._to_env(actions)
                try:
                    new_obs, rewards, dones, infos = env.step(clipped_actions)
                except BaseException:
                    # Nobody knows where the environments stand: a later learn() starts new episodes.
                    self._last_obs = None
                    raise
                self.num_timesteps += env.num_envs
                # Before the callback, which may end the rollout here: a later learn() goes on from this step.
                self._last_obs, self._last_episode_starts = new_obs, dones  # type: ignore[assignment]
                if recorder is None:
                    self._state = state

                callback.update_locals(locals())
                if not callback.on_step():
                    return False
                self._update_info_buffer(infos, dones)
                self._bootstrap_truncated(rewards, dones, infos, recorder)
                if isinstance(self.action_space, spaces.Discrete):
                    actions = actions.reshape(-1, 1)
                estimates = (pending, pending) if recorder is not None else (values, log_probs)
                rollout_buffer.add(obs, actions, rewards, episode_starts, *estimates)  # type: ignore[arg-type]
        finally:
            if recorder is not None:
                self._state = recorder.state

        with torch.no_grad():
            if recorder is not None:
                recorder.fill(rollout_buffer, self._buffer_actions(rollout_buffer))
                self._recorded = True
            last_obs = obs_as_tensor(new_obs, self.device)  # type: ignore[arg-type]
            last_values = policy.predict_values(last_obs, self._state, self._starts_tensor(dones))
        rollout_buffer.compute_returns_and_advantage(last_values=last_values, dones=dones)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _start_recording(
        self, policy: PlasticPolicy, buffer: RolloutBuffer, n_steps: int
    ) -> RolloutRecorder | None:
        """The recorder for a rollout from the present state, or None where acting does not serve training."""
        self._recorded = False
        if not can_record(policy, buffer):
            self._recorder = None
        elif self._recorder is None or not self._recorder.fits(policy, n_steps):
            self._recorder = RolloutRecorder(policy, n_steps)
        if self._recorder is not None:
            assert self._state is not None
            self._recorder.start(self._state)
        return self._recorder

    def _starts_tensor(self, episode_starts: np.ndarray | None) -> Tensor:
        return torch.as_tensor(episode_starts, dtype=torch.bool, device=self.device)

    def _to_env(self, actions: np.ndarray) -> np.ndarray:
        """Actions as the environment takes them: within the bounds of its space."""
        if not isinstance(self.action_space, spaces.Box):
            return actions
        if self.policy.squash_output:
            return self.policy.unscale_action(actions)
        return np.clip(actions, self.action_space.low, self.action_space.high)

    def _bootstrap_truncated(
        self,
        rewards: np.ndarray,
        dones: np.ndarray,
        infos: list[dict[str, Any]],
        recorder: RolloutRecorder | None,
    ) -> None:
        """Add the discounted value of the last observation where a time limit cut an episode off.

        The state is that after the step: its rows are not zeroed before the next one begins.
        """
        cut_off = [
            i
            for i in np.flatnonzero(dones)
            if infos[i].get("TimeLimit.truncated") and infos[i].get("terminal_observation") is not None
        ]
        if not cut_off:
            return
        rows = np.array(cut_off)
        state = self._state if recorder is None else recorder.state
        assert state is not None
        last = [infos[i]["terminal_observation"] for i in rows]
        stacked = (
            {key: np.stack([obs[key] for obs in last]) for key in last[0]}
            if isinstance(last[0], dict)
            else np.stack(last)
        )
        with torch.no_grad():
            values = self.policy.predict_values(self.policy.obs_to_tensor(stacked)[0], state.rows(rows))  # type: ignore[call-arg]
        rewards[rows] += self.gamma * values.flatten().cpu().numpy()

    def _update_learning_rate(self, optimizers: list[torch.optim.Optimizer] | torch.optim.Optimizer) -> None:
        super()._update_learning_rate(optimizers)
        for group in self.policy.optimizer.param_groups:
            group["lr"] *= group.get("lr_scale", 1.0)

    def train(self) -> None:
        """Take one gradient step on the whole rollout, through time.

        Raises:
            ValueError: the gradient is not finite; the parameters stay as they were.
        """
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        buffer = self.rollout_buffer
        if isinstance(self.policy, PlasticPolicy):
            actions = self._buffer_actions(buffer)
            advantages = self._from_buffer(buffer.advantages).flatten()
            returns = self._from_buffer(buffer.returns).flatten()
            values, log_prob, entropy = self._evaluate_rollout(self.policy, buffer, actions)
        else:
            data = next(buffer.get(batch_size=None))
            actions, advantages, returns = data.actions, data.advantages, data.returns
            if isinstance(self.action_space, spaces.Discrete):
                actions = actions.long().flatten()
            values, log_prob, entropy = self.policy.evaluate_actions(data.observations, actions)

        if self.normalize_advantage and len(advantages) > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        policy_loss = -(advantages * log_prob).mean()
        value_loss = nn.functional.mse_loss(returns, values.flatten())
        # Where the entropy has no analytical form it is estimated from the sample.
        entropy_loss = -torch.mean(-log_prob) if entropy is None else -torch.mean(entropy)
        loss = policy_loss + self.ent_coef * entropy_loss + self.vf_coef * value_loss

        self.policy.optimizer.zero_grad()
        loss.backward()
        grad_norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        if not torch.isfinite(grad_norm):
            raise ValueError(
                f"the gradient is {grad_norm.item()} after {self.num_timesteps} steps: the training has "
                "diverged. The parameters are those before this update; try a smaller learning_rate"
            )
        self.policy.optimizer.step()

        self._n_updates += 1
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record(
            "train/explained_variance", explained_variance(buffer.values.flatten(), buffer.returns.flatten())
        )
        self.logger.record("train/entropy_loss", entropy_loss.item())
        self.logger.record("train/policy_loss", policy_loss.item())
        self.logger.record("train/value_loss", value_loss.item())
        self.logger.record("train/grad_norm", grad_norm.item())
        if hasattr(self.policy, "log_std"):
            self.logger.record("train/std", torch.exp(self.policy.log_std).mean().item())
        if isinstance(self.policy, PlasticPolicy) and self.policy.core.eta is not None:
            self.logger.record("train/eta", self.policy.core.eta.item())

    def _evaluate_rollout(
        self, policy: PlasticPolicy, buffer: RolloutBuffer, actions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values, log-probabilities and entropy of the rollout, each (T * B,), with gradients."""
        obs: PyTorchObs
        if isinstance(buffer.observations, dict):
            obs = {key: self._from_buffer(part).flatten(0, 1) for key, part in buffer.observations.items()}
        else:
            obs = self._from_buffer(buffer.observations).flatten(0, 1)
        recorder = self._recorder
        if recorder is not None and self._recorded and recorder.is_current():
            # Good for one update: after it the parameters are not those that acted.
            self._recorded = False
            return recorder.evaluate(obs, actions)
        state = self._rollout_state if recorder is None else recorder.initial_state
        starts = torch.as_tensor(buffer.episode_starts, dtype=torch.bool, device=self.device)
        return policy.evaluate_actions(obs, actions, state, starts)

    def _from_buffer(self, array: np.ndarray) -> Tensor:
        """One of the buffer's arrays on this device, time-major: (T, B, ...)."""
        if self.rollout_buffer.generator_ready:
            # Somebody has called get(), which flattens the arrays to one environment after the other.
            array = array.reshape(self.n_envs, -1, *array.shape[1:]).swapaxes(0, 1)
        return torch.as_tensor(array, device=self.device)

    def _buffer_actions(self, buffer: RolloutBuffer) -> Tensor:
        """The buffer's actions (T * B, ...) in the form that the distribution takes."""
        actions = self._from_buffer(buffer.actions).flatten(0, 1).float()
        return actions.long().flatten() if isinstance(self.action_space, spaces.Discrete) else actions

    def learn(
        self: SelfPlasticA2C,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 100,
        tb_log_name: str = "PlasticA2C",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfPlasticA2C:
        """Train for ``total_timesteps`` environment steps; see SB3's ``A2C.learn``."""
        return super().learn(
            total_timesteps=total_timesteps,
            callback=callback,
            log_interval=log_interval,
            tb_log_name=tb_log_name,
            reset_num_timesteps=reset_num_timesteps,
            progress_bar=progress_bar,
        )

    def load_core(self, path: str | Path) -> CoreTransfer:
        """Take over the trained core of a saved model of any environment; all else stays as it is.

        Args:
            path: what ``save`` wrote. It holds pickled objects: load only files that you trust.

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
        transfer = load_core(path, self.policy)
        # What the old core remembered and computed means nothing to the new one.
        self._state = self.policy.initial_state(self.n_envs)
        self._recorded = False
        if self.verbose >= 1:
            logger = self.logger if hasattr(self, "_logger") else configure_logger(self.verbose)
            logger.info(f"Copied from {path}: {', '.join(transfer.copied)}")
            logger.info(f"Stayed as they were: {', '.join(transfer.fresh)}")
        return transfer


_PLAIN_SPACES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def _check_spaces(observation_space: spaces.Space, action_space: spaces.Space) -> None:
    """Refuse spaces that no policy is made for; SB3 itself has checked the kind of the action space."""
    parts = observation_space.values() if isinstance(observation_space, spaces.Dict) else [observation_space]
    for space in parts:
        if not isinstance(space, _PLAIN_SPACES):
            raise NotImplementedError(
                f"observation space {observation_space} is not supported: it must be Box, Discrete, "
                "MultiDiscrete, MultiBinary, or a Dict of those"
            )
    if isinstance(action_space, spaces.MultiDiscrete) and action_space.nvec.ndim > 1:
        raise NotImplementedError(
            f"action space {action_space} is not supported: a MultiDiscrete must have one dimension"
        )
