"""Meta-learning by gradient on supervised tasks: whole episodes in, the error of their last answer out."""

from __future__ import annotations

import time
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import safe_mean
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from plastic_rl.envs import Episodes
from plastic_rl.policies.supervised import (
    AutoassociatorPolicy,
    ClassifierPolicy,
    LSTMPolicy,
    PlasticRNNPolicy,
    RNNPolicy,
    SupervisedPolicy,
)
from plastic_rl.training.description import Description
from plastic_rl.training.episode_batches import (
    Loss,
    UpdateProgressBar,
    check_sample_kwargs,
    cross_entropy,
    score_episodes,
    squared_error,
    task_of,
    to_tensors,
)
from plastic_rl.training.learner import GradientLearner

SelfSupervisedMetaLearner = TypeVar("SelfSupervisedMetaLearner", bound="SupervisedMetaLearner")


class SupervisedMetaLearner(GradientLearner):
    """Trains a network to learn within an episode (Miconi, Stanley & Clune, ICML 2018, section 4.1 to 4.3).

    The environment is an ``EpisodicTaskEnv``. Training does not step through it: it draws whole episodes from
    its task, runs the network over them and takes a gradient step on the error of the answer at their end.
    All else is as in Stable-Baselines3: ``learn``, ``predict``, ``save``, ``load``, callbacks, logger.

    Steps are those of the environment, ``batch_size * episode_length`` per update. Callbacks see an update as
    one step: ``on_step`` is called once after each, so ``save_freq`` of ``CheckpointCallback`` and
    ``eval_freq`` of ``EvalCallback`` count updates. Their ``locals`` have the rewards, dones and infos of the
    batch's episodes.

    Episodes come from a random generator of the model's own, which is saved with it: a model that was saved,
    loaded and trained on is the same as one that was trained without a break.

    Args:
        policy: ``AutoassociatorPolicy``, ``ClassifierPolicy``, ``LSTMPolicy``, ``RNNPolicy``,
            ``PlasticRNNPolicy``, or a subclass of ``SupervisedPolicy``.
        env: an ``EpisodicTaskEnv``, the id of a registered one, or a vector environment of them.
        learning_rate: a number above 0, or a function of the remaining progress (from 1 to 0).
        batch_size: episodes per update, at least 1.
        max_grad_norm: largest norm of the gradient; None leaves it as it is.
        loss_fn: from outputs (B, n_outputs) and targets (B, *action shape) to a scalar; by default
            ``squared_error`` for Box actions and ``cross_entropy`` for Discrete ones.
        sample_kwargs: further arguments of the task's ``sample_episodes`` in training, such as Omniglot's
            ``pool_classes``.
        stats_window_size: episodes that the logged means run over.
        tensorboard_log: folder of the TensorBoard log.
        policy_kwargs: for the policy: ``alpha``, ``eta``, ``optimizer_class``, ...
        verbose: 0 quiet, 1 information, 2 debugging.
        seed: of everything random.
        device: ``auto``, ``cpu``, ``cuda``, ...
        _init_setup_model: whether the network is built at once.
        distributed: whether processes that were started together (``torchrun``) train one network, each on
            its share of the ``batch_size``; None takes the processes that it finds.

    Raises:
        ValueError: an argument outside its range, or an environment whose episodes come from no task.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "AutoassociatorPolicy": AutoassociatorPolicy,
        "ClassifierPolicy": ClassifierPolicy,
        "LSTMPolicy": LSTMPolicy,
        "RNNPolicy": RNNPolicy,
        "PlasticRNNPolicy": PlasticRNNPolicy,
    }
    policy: SupervisedPolicy

    def __init__(
        self,
        policy: str | type[SupervisedPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 1e-3,
        batch_size: int = 32,
        max_grad_norm: float | None = None,
        loss_fn: Loss | None = None,
        sample_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
        *,
        distributed: bool | None = None,
    ) -> None:
        if isinstance(policy, str) and policy not in self.policy_aliases:
            raise ValueError(f"policy must be one of {', '.join(self.policy_aliases)}, got {policy!r}")
        super().__init__(
            policy,
            env,
            learning_rate=learning_rate,
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device=device,
            support_multi_env=True,
            seed=seed,
            distributed=distributed,
        )
        self.batch_size = batch_size
        self.max_grad_norm = max_grad_norm
        self.loss_fn = loss_fn
        self.sample_kwargs = sample_kwargs
        self.episode_rng: np.random.Generator | None = None
        if _init_setup_model:
            self._setup_model()

    @staticmethod
    def _wrap_env(env: GymEnv, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        wrapped = GradientLearner._wrap_env(env, verbose, monitor_wrapper)
        task_of(wrapped)
        return wrapped

    def _setup_model(self) -> None:
        self._check_arguments()
        self._count_envs()  # a loaded model has others
        self.processes.share("batch_size", self.batch_size)
        if not issubclass(self.policy_class, SupervisedPolicy):
            raise ValueError(
                f"policy must be a subclass of SupervisedPolicy, got {self.policy_class.__name__}"
            )
        if self.env is not None and self.sample_kwargs:
            check_sample_kwargs(task_of(self.env), self.sample_kwargs)
        self._setup_lr_schedule()
        # A loaded model goes on drawing where the saved one stood.
        saved = self.episode_rng
        self.set_random_seed(self.seed)
        if saved is not None:
            self.episode_rng = saved
        elif self.episode_rng is None:
            self.episode_rng = np.random.default_rng()
        policy = self.policy_class(
            self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
        )
        self.policy = policy.to(self.device)
        discrete = isinstance(self.action_space, spaces.Discrete)
        self._loss = self.loss_fn or (cross_entropy if discrete else squared_error)

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed everything random: Python, NumPy, torch, the environment and the drawing of episodes."""
        super().set_random_seed(seed)
        if seed is not None:
            self.episode_rng = np.random.default_rng(seed + self.processes.rank)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_loss"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer"], []

    def _init_callback(self, callback: MaybeCallback, progress_bar: bool = False) -> BaseCallback:
        if progress_bar:
            # SB3's own bar counts one step per environment and call.
            given = super()._init_callback(callback)
            callback = [given, UpdateProgressBar()]
        return super()._init_callback(callback)

    def learn(
        self: SelfSupervisedMetaLearner,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 100,
        tb_log_name: str = "SupervisedMetaLearner",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfSupervisedMetaLearner:
        """Train for at least ``total_timesteps`` environment steps.

        Args:
            total_timesteps: episodes times their length.
            callback: one, or a list; called once per update.
            log_interval: updates between two rows of the log.
            tb_log_name: name of the TensorBoard run.
            reset_num_timesteps: start counting, and the learning rate's schedule, from 0.
            progress_bar: show one.

        Returns:
            This model.

        Raises:
            ValueError: the gradient is not finite; the parameters stay as they were.
        """
        total_timesteps, callback = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        callback.on_training_start(locals(), globals())
        assert self.env is not None
        task = task_of(self.env)
        iteration, go_on = 0, True
        while go_on and self.num_timesteps < total_timesteps:
            callback.on_rollout_start()
            self._update_current_progress_remaining(self.num_timesteps, total_timesteps)
            with self.processes.announced():
                own = self.processes.share("batch_size", self.batch_size)
                episodes = task.sample_episodes(own, self.episode_rng, **(self.sample_kwargs or {}))
                actions = self.train(episodes)
                seconds = (time.time_ns() - self.start_time) / 1e9
                scores = self.processes.gather(score_episodes(task, episodes, actions, seconds))
            rewards = np.concatenate([rewards for rewards, _ in scores])
            infos = [info for _, infos in scores for info in infos]
            dones = np.ones(len(infos), dtype=bool)
            self.num_timesteps += len(infos) * task.episode_length
            self._episode_num += len(infos)
            self._update_info_buffer(infos, dones)
            callback.update_locals(locals())
            go_on = not self.processes.any(not callback.on_step())
            callback.on_rollout_end()
            iteration += 1
            if log_interval and iteration % log_interval == 0:
                self.dump_logs(iteration)
        callback.on_training_end()
        return self

    def train(self, episodes: Episodes) -> np.ndarray:
        """Take one gradient step on the answers at the end of these episodes.

        Returns:
            The answers, (B, *action shape).

        Raises:
            ValueError: the gradient is not finite; the parameters stay as they were.
        """
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        outputs = self.policy(to_tensors(episodes.observations, self.device))
        loss = self._loss(outputs, self._targets(episodes))
        grad_norm = self.gradient_step(loss, len(outputs))
        self._n_updates += 1
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        found = self.processes.means({"loss": loss.item()}, len(outputs))
        self.logger.record_mean("train/loss", found["loss"])
        self.logger.record("train/grad_norm", grad_norm)
        eta = getattr(self.policy.network, "eta", None)
        if eta is not None:
            self.logger.record("train/eta", eta.item())
        return self.policy.answers(outputs)

    def describe(self) -> Description:
        """What commands need to know of this algorithm."""
        return Description(
            batches=f"batches of {self.batch_size} episodes{self.processes}",
            # A hundred times as quick as stepping: what counts is the number of updates.
            log_interval=10,
            whole_episodes=True,
            resumes_exactly=True,
            decimals=4,
        )

    def dump_logs(self, iteration: int = 0) -> None:
        """Write one row of the log, after so many updates of this ``learn``."""
        seconds = max((time.time_ns() - self.start_time) / 1e9, 1e-9)
        steps = self.num_timesteps - self._num_timesteps_at_start
        for name in ("r", "l", *self._metric_names()):
            key = {"r": "ep_rew", "l": "ep_len"}.get(name, name)
            mean = safe_mean([info[name] for info in self.ep_info_buffer or [] if name in info])
            self.logger.record(f"rollout/{key}_mean", mean)
        self.logger.record("time/iterations", iteration, exclude="tensorboard")
        self.logger.record("time/episodes", self._episode_num, exclude="tensorboard")
        self.logger.record("time/fps", int(steps / seconds))
        self.logger.record("time/time_elapsed", int(seconds), exclude="tensorboard")
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(step=self.num_timesteps)

    def _targets(self, episodes: Episodes) -> Tensor:
        targets = torch.as_tensor(episodes.targets, device=self.device)
        if isinstance(self.action_space, spaces.Discrete):
            return targets.long() - int(self.action_space.start)
        return targets.float()

    def _metric_names(self) -> list[str]:
        newest = self.ep_info_buffer[-1] if self.ep_info_buffer else {}
        return [name for name in newest if name not in ("r", "l", "t")]
