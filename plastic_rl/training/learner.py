"""One gradient step, as every algorithm of the package takes it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import gymnasium as gym
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import GymEnv, TensorDict
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from plastic_rl.arguments import NUMBERS, check_number
from plastic_rl.policies.dtype import check_default_dtype
from plastic_rl.saving import load_model, read_parameters, save_model
from plastic_rl.saving.archive import AnyPath
from plastic_rl.training.distributed import join
from plastic_rl.training.shared_statistics import SharedStatistics

SelfLearner = TypeVar("SelfLearner", bound="GradientLearner")

_WANTED = "env must be a gymnasium.Env, its id, or a VecEnv of Stable-Baselines3"


def check_env(env: Any) -> None:
    """Make sure that this is an environment that Stable-Baselines3 takes.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(env, VectorEnv):
        name = type(env).__name__
        raise ValueError(f"{_WANTED}, got the batched {name}: give plastic_rl.GymnasiumVecEnv(env)")
    if isinstance(env, type):
        raise ValueError(f"{_WANTED}, got the class {env.__name__}: make one of it, {env.__name__}(...)")
    # OpenAI's Gym, which Stable-Baselines3 translates, cannot be known where it is not installed.
    older = getattr(sys.modules.get("gym"), "Env", gym.Env)
    if not isinstance(env, gym.Env | VecEnv | older):
        function = ": call it" if callable(env) else ""
        raise ValueError(f"{_WANTED}, got {env!r}{function}")


class GradientLearner(BaseAlgorithm):
    """The base of algorithms that train a policy by gradient with the policy's optimiser.

    Several processes that were started together (``torchrun``) train one network: each makes the same calls
    with its share of the environments. See `plastic_rl.training.distributed`.

    Args:
        *args: those of the algorithm of Stable-Baselines3 behind this class among its bases.
        verbose: of the first process; the others say nothing.
        distributed: False trains alone; True needs other processes; None takes those that it finds.
        **kwargs: see ``*args``.

    Attributes:
        max_grad_norm: largest norm of the gradient; None leaves it as it is.
        processes: those that train this network.
        env_counts: how many environments each of them has, by rank.
    """

    max_grad_norm: Any

    def __init__(self, *args: Any, verbose: int = 0, distributed: bool | None = None, **kwargs: Any) -> None:
        self.distributed = distributed
        self.processes = join(distributed)
        kwargs["verbose"] = verbose if self.processes.first else 0
        super().__init__(*args, **kwargs)
        self._count_envs()

    def _count_envs(self) -> None:
        """Let all processes know of all environments; called whenever they may have changed."""
        self.env_counts = self.processes.gather(0 if self.env is None else self.n_envs)

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Set the environment, as in Stable-Baselines3; a model that was loaded has none before."""
        super().set_env(env, force_reset)
        self._count_envs()

    @property
    def total_envs(self) -> int:
        """The number of environments of all processes."""
        return sum(self.env_counts)

    def _excluded_save_params(self) -> list[str]:
        of_this_process = ["distributed", "processes", "env_counts", "_statistics"]
        return [*super()._excluded_save_params(), *of_this_process]

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed everything random.

        Of several processes each counts on from the seed by the environments of those before it, as a vector
        environment does: together they have the seeds of one process with all of the environments.
        """
        before = sum(self.env_counts[: self.processes.rank])
        super().set_random_seed(None if seed is None else seed + before)

    def _check_arguments(self) -> None:
        """Make sure that the arguments that are numbers lie in their ranges, also those of a saved model.

        Raises:
            ValueError: one does not, named; there is no environment to make a network for; or torch does not
                compute in float32.
        """
        check_default_dtype()
        if getattr(self, "observation_space", None) is None:
            raise ValueError(f"{_WANTED}, got None")
        for name in NUMBERS:
            value = getattr(self, name, None)
            if name == "learning_rate" and value == 0 and hasattr(self, "lr_schedule"):
                # Only a loaded model has its schedule by now: RL-Zoo gives those that only play a rate of 0.
                continue
            # Schedules are functions; None switches off what it can be given for.
            if name != "n_envs" and value is not None and not callable(value):
                setattr(self, name, check_number(name, value))
        check_number("stats_window_size", self._stats_window_size)

    def save(
        self, path: AnyPath, exclude: Iterable[str] | None = None, include: Iterable[str] | None = None
    ) -> None:
        """Write the model to a file that holds no code: settings as JSON, numbers as safetensors.

        What JSON cannot hold, such as a learning rate that is a function, is left out with one warning that
        names it; ``load`` wants it in ``custom_objects``.

        Args:
            path: a file (``.zip`` is appended where it has no ending), or a stream.
            exclude: attributes to leave out beside the usual ones.
            include: attributes to keep that would be left out.

        Raises:
            OSError: the file cannot be written.
        """
        save_model(self, path, exclude, include)

    @classmethod
    def load(
        cls: type[SelfLearner],
        path: AnyPath,
        env: GymEnv | None = None,
        device: torch.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        *,
        trust: bool = False,
        **kwargs: Any,
    ) -> SelfLearner:
        """Read a model. Nothing in the file is run, unless it is one with pickled objects and trusted.

        Args:
            path: what `save` wrote (``.zip`` may be left out), or a stream.
            env: the environment to attach; a model without one can only play.
            device: ``auto``, ``cpu``, ``cuda``, ...
            custom_objects: settings that take the place of the file's, by name, and those that it lacks.
            print_system_info: whether to print the machines of saving and of loading.
            force_reset: whether new episodes begin.
            trust: whether a file with pickled objects, as Stable-Baselines3 writes them, is read: it can run
                any code.
            **kwargs: attributes to set; ``policy_kwargs`` must equal the saved ones and completes them.

        Raises:
            plastic_rl.UntrustedFileError: the file has pickled objects, and ``trust`` is false.
            plastic_rl.ModelFileError: the file is damaged, of another algorithm, or describes another model
                than it holds. Both are ValueErrors.
            ValueError: a setting outside its range, or an environment with other spaces.
            OSError: the file cannot be read.
        """
        return load_model(
            cls, path, env, device, custom_objects, print_system_info, force_reset, trust, **kwargs
        )

    def set_parameters(
        self,
        load_path_or_dict: AnyPath | TensorDict,
        exact_match: bool = True,
        device: torch.device | str = "auto",
        *,
        trust: bool = False,
    ) -> None:
        """Take over the parameters of networks and optimisers; see Stable-Baselines3.

        Args:
            load_path_or_dict: a file of `save`, a stream, or state dicts by name.
            exact_match: whether none may be missing, nor a part of one.
            device: unused: the parameters are copied to where the model is.
            trust: whether a file with pickled objects is read: it can run any code.

        Raises:
            plastic_rl.UntrustedFileError: the file has pickled objects, and ``trust`` is false.
            plastic_rl.ModelFileError: the file is damaged, or of another model.
            ValueError: an unknown or a missing name.
            OSError: the file cannot be read.
        """
        if not isinstance(load_path_or_dict, dict):
            load_path_or_dict = read_parameters(load_path_or_dict, self, exact_match, trust)
        super().set_parameters(load_path_or_dict, exact_match, device)

    def _setup_learn(self, total_timesteps: int, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        check_default_dtype()  # it may have been set since the model was made
        total_timesteps = check_number("total_timesteps", total_timesteps)
        # Of environments that are not normalized there are none.
        self._statistics = SharedStatistics(self._vec_normalize_env, self.processes)
        if not self.processes.alone:
            self._begin_together(total_timesteps)
        return super()._setup_learn(total_timesteps, *args, **kwargs)

    def _begin_together(self, total_timesteps: int) -> None:
        """Let all processes begin with what the first one has: network, optimiser, counts, statistics.

        Raises:
            ValueError: their settings differ.
        """
        own = {"total_timesteps": total_timesteps, **self._common_settings()}
        for rank, other in enumerate(self.processes.gather(own)):
            for name, value in own.items():
                if other.get(name) != value:
                    raise ValueError(
                        f"{name} must be the same in all processes, got {value} in process "
                        f"{self.processes.rank} and {other.get(name)} in process {rank}"
                    )
        counts = ("num_timesteps", "_n_updates", "_episode_num")
        policy, optimizer = self.policy, self.policy.optimizer
        states = policy.state_dict(), optimizer.state_dict(), [getattr(self, name) for name in counts]
        parameters, moments, numbers = self.processes.from_first(_on_cpu(states))
        if not self.processes.first:
            policy.load_state_dict(parameters)
            optimizer.load_state_dict(moments)
            for name, number in zip(counts, numbers, strict=True):
                setattr(self, name, number)
            if not self._custom_logger:
                self.set_logger(Logger(folder=None, output_formats=[]))

    def _common_settings(self) -> dict[str, Any]:
        """What has to be the same in all processes."""
        names = ("n_steps", "batch_size", "n_epochs", "target_kl", "normalize_advantage", "max_grad_norm")
        settings: dict[str, Any] = {"the algorithm": type(self).__name__}
        settings |= {name: getattr(self, name) for name in names if hasattr(self, name)}
        shapes = {name: tuple(one.shape) for name, one in self.policy.state_dict().items()}
        return {**settings, "the network": shapes}

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        check_env(env)
        return BaseAlgorithm._wrap_env(env, verbose, monitor_wrapper)

    def gradient_step(self, loss: Tensor, weight: float = 1.0) -> float:
        """Change the policy's parameters by one step of its optimiser.

        Args:
            loss: a scalar.
            weight: what this process's gradient counts beside those of others, such as the number of
                environments or episodes that the loss is the mean of.

        Returns:
            The norm of the gradient, before it was cut to ``max_grad_norm``.

        Raises:
            ValueError: the gradient is not finite; the parameters stay as they were.
        """
        optimizer = self.policy.optimizer
        optimizer.zero_grad()
        loss.backward()
        self.reduce_gradients(weight)
        largest = float("inf") if self.max_grad_norm is None else self.max_grad_norm
        grad_norm = nn.utils.clip_grad_norm_(self.policy.parameters(), largest)
        if not torch.isfinite(grad_norm):
            raise ValueError(
                f"the gradient is {grad_norm.item()} after {self.num_timesteps} steps: the training has "
                "diverged. The parameters are those before this update; try a smaller learning_rate"
            )
        optimizer.step()
        return grad_norm.item()

    def reduce_gradients(self, weight: float = 1.0) -> None:
        """Called when every parameter has its gradient, before that is used: here several processes average.

        Args:
            weight: of this process, see `gradient_step`.
        """
        self.processes.average_gradients(self.policy.parameters(), weight)

    def _update_learning_rate(self, optimizers: list[torch.optim.Optimizer] | torch.optim.Optimizer) -> None:
        super()._update_learning_rate(optimizers)
        for group in self.policy.optimizer.param_groups:
            group["lr"] *= group.get("lr_scale", 1.0)


def _on_cpu(value: Any) -> Any:
    """Tensors on the CPU, in any mapping, list or tuple: other processes have other devices."""
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, Mapping):
        return {key: _on_cpu(part) for key, part in value.items()}
    return type(value)(map(_on_cpu, value)) if isinstance(value, list | tuple) else value
