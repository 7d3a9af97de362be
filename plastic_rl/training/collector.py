"""Acting on the environments: rollouts in which the recurrent state is carried along."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
from torch import Tensor, nn

from plastic_rl.ops.plastic_rnn import torch_in_one_thread
from plastic_rl.policies import PlasticPolicy, PolicyState
from plastic_rl.training.bad_numbers import LastObservation, can_be_bad, find_in_rollout
from plastic_rl.training.batch_infos import BatchInfos
from plastic_rl.training.learner import GradientLearner
from plastic_rl.training.masks import RolloutMasks
from plastic_rl.training.rollout import RolloutRecorder, can_record
from plastic_rl.training.rollout_memory import RolloutMemory, rollout_memory
from plastic_rl.training.shared_episodes import SharedEpisodes


class RolloutCollector(GradientLearner, OnPolicyAlgorithm):
    """The half of an on-policy algorithm that acts. The rollouts of a memoryless policy are SB3's own."""

    # Whether environments with a method action_masks() are asked which actions they allow.
    use_masking: bool = True

    def _setup_model(self) -> None:
        super()._setup_model()
        # The state before the next step, and the one before the first step of the rollout in the buffer.
        self._state: PolicyState | None = None
        self._rollout_state: PolicyState | None = None
        # Where that rollout lies.
        self._memory: RolloutMemory | None = None
        # What the environments allowed in it, where they say so.
        self._masks: RolloutMasks | None = None
        # Last observations of the episodes that ended in a rollout of Stable-Baselines3's own.
        self._ended: list[LastObservation] = []
        # With several processes: the episodes that have ended in the present rollout.
        self._shared = SharedEpisodes()
        # Those of all of them in the last rollout; None in a single one, where every step tells.
        self.rollout_episodes: list[dict[str, Any]] | None = None
        # Remembers the forward pass of the last rollout, as long as that serves as the training's.
        self._recorder: RolloutRecorder | None = None
        if isinstance(self.policy, PlasticPolicy):
            if self.env is not None:
                # A loaded model without an environment can only play: it says itself for how many.
                self._state = self.policy.initial_state(self.n_envs)
            if self._last_episode_starts is not None:
                # Loaded without a reset: the memory is empty, as at the start of an episode.
                self._last_episode_starts = np.ones(self.n_envs, dtype=bool)

    def _excluded_save_params(self) -> list[str]:
        of_a_rollout = ["_state", "_rollout_state", "_memory", "_masks", "_recorder", "_ended"]
        return [*super()._excluded_save_params(), *of_a_rollout, "_shared", "rollout_episodes"]

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

        Raises:
            ValueError: an observation or a reward is NaN or infinite. A later ``learn`` starts new episodes.
        """
        if not isinstance(self.policy, PlasticPolicy):
            error = None
            self._ended = []
            try:
                return super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps)
            except Exception as raised:
                error = raised
                raise
            finally:
                ended = self._ended if can_be_bad(self.observation_space) else []
                self._ended = []
                self._refuse_bad_numbers(rollout_buffer, rollout_buffer.pos, ended, cause=error)
        with self._threads(), self.processes.announced():
            return self._collect(self.policy, env, callback, rollout_buffer, n_rollout_steps)

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: np.ndarray | None = None) -> None:
        if isinstance(self.policy, PlasticPolicy) and not self.processes.alone:
            assert dones is not None
            self._shared.add(self.num_timesteps, infos, dones)
            return
        if isinstance(infos, BatchInfos) and dones is not None:
            telling = infos.having("episode", "is_success")
            super()._update_info_buffer([infos[i] for i in telling], dones[telling])
        else:
            super()._update_info_buffer(infos, dones)
        if dones is None or isinstance(self.policy, PlasticPolicy):
            return
        # Stable-Baselines3's own rollouts keep no last observations.
        for i in np.flatnonzero(dones).tolist():
            last = infos[i].get("terminal_observation")
            if last is not None:
                self._ended.append(LastObservation(self.rollout_buffer.pos + 1, i, last))

    def _share(self, go_on: bool) -> bool:
        """Let all processes know of the episodes that have ended in any; whether all of them go on."""
        if self.processes.alone:
            return go_on
        all_go_on, infos = self._shared.share(self.processes, go_on)
        super()._update_info_buffer(infos, np.ones(len(infos), dtype=bool))
        self.rollout_episodes = [info["episode"] for info in infos if "episode" in info]
        self._statistics.merge()
        return all_go_on

    def _threads(self) -> AbstractContextManager[None]:
        """Torch in one thread: the operator has its own, and beside it only convolutions are worth more."""
        convolves = any(isinstance(module, nn.Conv2d) for module in self.policy.modules())
        keep = convolves or not isinstance(self.policy, PlasticPolicy)
        return nullcontext() if keep else torch_in_one_thread()

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
        recorder = self._start_recording(policy, rollout_buffer, n_rollout_steps)
        self._rollout_state = self._state
        self._masks = masks = RolloutMasks(env, n_rollout_steps, self.device, self.use_masking)
        self._memory = memory = rollout_memory(rollout_buffer, self.device)
        pending = torch.zeros(env.num_envs)
        ended: list[LastObservation] = []
        go_on = True
        self._shared = SharedEpisodes()
        self.rollout_episodes = None if self.processes.alone else []
        callback.on_rollout_start()
        # After the callback: a training that is saved there, and goes on, draws the same noise.
        if self.use_sde:
            policy.reset_noise(env.num_envs)

        try:
            for n_steps in range(n_rollout_steps):
                if self.use_sde and self.sde_sample_freq > 0 and n_steps % self.sde_sample_freq == 0:
                    policy.reset_noise(env.num_envs)
                obs, episode_starts = self._last_obs, self._last_episode_starts
                try:
                    with torch.no_grad():
                        obs_tensor, starts = memory.put(n_steps, obs, episode_starts)
                        allowed = masks.read(n_steps)
                        if recorder is None:
                            action_tensor, values, log_probs, state = policy(
                                obs_tensor, self._state, starts, **allowed
                            )
                        else:
                            action_tensor = recorder.act(obs_tensor, starts, **allowed)
                    actions = memory.take(n_steps, action_tensor)

                    clipped_actions = self._to_env(actions)
                    new_obs, rewards, dones, infos = self._step_envs(env, clipped_actions)
                except Exception as error:
                    # Neither a policy nor an environment need bear what is no number.
                    self._refuse_bad_numbers(rollout_buffer, n_steps, ended, obs, error)
                    raise
                self.num_timesteps += self.total_envs
                # Before the callback, which may end the rollout here: a later learn() goes on from this step.
                self._last_obs, self._last_episode_starts = new_obs, dones  # type: ignore[assignment]
                if recorder is None:
                    self._state = state

                callback.update_locals(locals())
                go_on = callback.on_step()
                if not go_on:
                    break
                self._update_info_buffer(infos, dones)
                over: list[int] = np.flatnonzero(dones).tolist()
                over = [i for i in over if infos[i].get("terminal_observation") is not None]
                ended += self._last_observations(n_steps + 1, over, infos)
                self._bootstrap_truncated(rewards, over, infos, recorder)
                if isinstance(self.action_space, spaces.Discrete):
                    actions = actions.reshape(-1, 1)
                estimates = (pending, pending) if recorder is not None else (values, log_probs)
                rollout_buffer.add(obs, actions, rewards, episode_starts, *estimates)  # type: ignore[arg-type]
        finally:
            if recorder is not None:
                self._state = recorder.state

        if not self._share(go_on):
            return False
        self._refuse_bad_numbers(rollout_buffer, n_rollout_steps, ended)
        with torch.no_grad():
            if recorder is not None:
                recorder.fill(rollout_buffer, memory.actions, masks.kept)
            last_obs = obs_as_tensor(new_obs, self.device)  # type: ignore[arg-type]
            last_values = policy.predict_values(last_obs, self._state, self._starts_tensor(dones))
        rollout_buffer.compute_returns_and_advantage(last_values=last_values, dones=dones)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _last_observations(
        self, step: int, over: list[int], infos: list[dict[str, Any]]
    ) -> list[LastObservation]:
        """Those of the episodes that have ended in these environments, if they may be no numbers."""
        if not over or not can_be_bad(self.observation_space):
            return []
        return [LastObservation(step, i, infos[i]["terminal_observation"]) for i in over]

    def _step_envs(self, env: VecEnv, actions: np.ndarray) -> VecEnvStepReturn:
        try:
            return env.step(actions)
        except BaseException:
            # Nobody knows where the environments stand: a later learn() starts new episodes.
            self._last_obs = None
            raise

    def _refuse_bad_numbers(
        self,
        buffer: RolloutBuffer,
        n_steps: int,
        ended: list[LastObservation],
        new_obs: Any = None,
        cause: Exception | None = None,
    ) -> None:
        """Make sure that what the environments returned in the first steps of a rollout are numbers.

        Raises:
            ValueError: one is NaN or infinite. A later ``learn`` starts new episodes with an empty memory.
        """
        new_obs = self._last_obs if new_obs is None else new_obs
        fault = find_in_rollout(buffer, n_steps, new_obs, ended)
        if fault is None:
            return
        self._last_obs = None
        assert self.ep_info_buffer is not None
        for _ in range(len(self.ep_info_buffer)):
            info = self.ep_info_buffer.popleft()
            if np.isfinite(info["r"]):
                self.ep_info_buffer.append(info)
        raise ValueError(
            f"the environment must return finite numbers, got {fault}, after {self.num_timesteps} steps. "
            "Nothing was learned from that rollout; a later learn() starts new episodes"
        ) from cause

    def _start_recording(
        self, policy: PlasticPolicy, buffer: RolloutBuffer, n_steps: int
    ) -> RolloutRecorder | None:
        """The recorder for a rollout from the present state, or None where acting does not serve training."""
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
        over: list[int],
        infos: list[dict[str, Any]],
        recorder: RolloutRecorder | None,
    ) -> None:
        """Add the discounted value of the last observation where a time limit cut an episode off.

        over: environments whose episode has ended and that gave their last observation
        The state is that after the step: its rows are not zeroed before the next one begins.
        """
        cut_off = [i for i in over if infos[i].get("TimeLimit.truncated")]
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
