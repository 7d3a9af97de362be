"""Policies for ``SupervisedMetaLearner``: networks that answer at the end of an episode, as agents."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor

from plastic_rl.arguments import check_positive
from plastic_rl.ops.plastic_rnn import zero_rows
from plastic_rl.policies.actions import bounded
from plastic_rl.policies.autoassociator import Autoassociator
from plastic_rl.policies.classifier import PlasticClassifier
from plastic_rl.policies.connections import PlasticConnections
from plastic_rl.policies.core import rate_groups
from plastic_rl.policies.episodic import EpisodicNetwork, NetworkState
from plastic_rl.policies.labelled_images import is_labelled_image, labelled_image_sizes
from plastic_rl.policies.recurrent_baselines import (
    LSTMNetwork,
    PlasticRNNNetwork,
    RNNNetwork,
)
from plastic_rl.policies.state import StatefulPolicy


class SupervisedPolicy(StatefulPolicy):
    """A network that is trained on whole episodes and acts step by step.

    Subclasses say which network in ``make_network``. Its outputs are, for a Box action space, the elements of
    the action; for a Discrete one, a logit per action. ``predict`` always gives the best answer: there is
    nothing to sample, so ``deterministic`` makes no difference.

    Args:
        observation_space: what the network reads.
        action_space: Box or Discrete.
        lr_schedule: learning rate as a function of the remaining progress.
        optimizer_class: by default Adam.
        optimizer_kwargs: for it, without the learning rate.
        **network_kwargs: for ``make_network``.

    Raises:
        ValueError: another action space, or an argument of the network outside its range, named.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        *,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        **network_kwargs: Any,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )
        if isinstance(action_space, spaces.Box):
            self.n_outputs = spaces.flatdim(action_space)
        elif isinstance(action_space, spaces.Discrete):
            self.n_outputs = int(action_space.n)
        else:
            raise ValueError(f"action_space must be Box or Discrete, got {action_space}")
        self.network_kwargs = network_kwargs
        self.network = self.make_network(**network_kwargs)
        groups = self.parameter_groups()
        self.optimizer = optimizer_class(groups, lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    @abstractmethod
    def make_network(self, **network_kwargs: Any) -> EpisodicNetwork:
        """The network from ``observation_space`` to ``n_outputs`` values."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The optimiser's groups; in each, ``lr_scale`` is a factor on the learning rate."""
        return [{"params": list(self.parameters()), "lr_scale": 1.0}]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
            **self.network_kwargs,
        }

    def forward(self, observations: PyTorchObs) -> Tensor:
        """The network's outputs at the end of whole episodes (B, n_outputs). observations: (T, B, ...)."""
        return self.network(observations)

    def answers(self, outputs: Tensor) -> np.ndarray:
        """The actions (B, *action shape) that outputs (B, n_outputs) mean."""
        return self.best_answers(outputs).cpu().numpy()

    def best_answers(self, outputs: Tensor) -> Tensor:
        """`answers` as a tensor, without gradients."""
        if isinstance(self.action_space, spaces.Discrete):
            return outputs.argmax(dim=-1) + int(self.action_space.start)
        return bounded(outputs.detach(), self.action_space)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        parts = observation.values() if isinstance(observation, dict) else [observation]
        n_envs = next(iter(parts)).shape[0]
        actions, _ = self.choose(observation, self.initial_memory(n_envs), None, deterministic)
        return torch.as_tensor(actions)

    def initial_memory(self, n_envs: int) -> NetworkState:
        """See `StatefulPolicy`."""
        return self.network.initial_state(n_envs)

    def choose(
        self,
        obs: PyTorchObs,
        memory: NetworkState,
        episode_starts: Tensor | None,
        deterministic: bool,
        action_masks: Tensor | None = None,
    ) -> tuple[np.ndarray, NetworkState]:
        """See `StatefulPolicy`; an answer has no masks (ValueError)."""
        if action_masks is not None:
            raise ValueError("action_masks must be None: this network answers, and no answer is ruled out")
        if episode_starts is not None:
            memory = zero_rows(memory, episode_starts)
        outputs, memory = self.network.step(obs, memory)
        return self.answers(outputs), memory


class AutoassociatorPolicy(SupervisedPolicy):
    """``Autoassociator`` as an agent: it answers with the completed observation.

    Observations and actions are Boxes of the same one-dimensional shape. Arguments are those of
    `SupervisedPolicy`; further ``policy_kwargs``: ``alpha``, ``rule``, ``eta``, ``w_init``, ``alpha_init``,
    ``activation``, ``backend``.

    Args:
        w_lr_scale: the learning rate of w as a multiple of that of alpha and eta, above 0; without plasticity
            it does not count. The plasticities act through a trace that is as small as eta, and can take
            steps in which the weights would drown what they remember in noise.

    Raises:
        ValueError: an argument outside its range, named.
    """

    def __init__(self, *args: Any, w_lr_scale: float = 0.1, **kwargs: Any) -> None:
        self.w_lr_scale = check_positive("w_lr_scale", w_lr_scale)
        super().__init__(*args, **kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "w_lr_scale": self.w_lr_scale}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """See `SupervisedPolicy.parameter_groups`."""
        connections = self.network.connections
        assert isinstance(connections, PlasticConnections)
        if connections.alpha is None:
            return super().parameter_groups()
        others = [parameter for parameter in self.parameters() if parameter is not connections.w]
        return [{"params": [connections.w], "lr_scale": self.w_lr_scale}, {"params": others, "lr_scale": 1.0}]

    def make_network(self, **network_kwargs: Any) -> Autoassociator:
        """See `SupervisedPolicy.make_network`."""
        seen, done = self.observation_space, self.action_space
        flat = isinstance(seen, spaces.Box) and len(seen.shape) == 1
        if not flat or not isinstance(done, spaces.Box) or seen.shape != done.shape:
            raise ValueError(
                "AutoassociatorPolicy needs Boxes of the same shape (n,) as observation_space and "
                f"action_space, got {seen} and {done}"
            )
        return Autoassociator(self.n_outputs, **network_kwargs)


class ClassifierPolicy(SupervisedPolicy):
    """``PlasticClassifier`` as an agent: it answers with the class of the image.

    Observations are a Dict of ``image`` and ``label``. ``policy_kwargs``: ``alpha``, ``rule``, ``eta``,
    ``w_init``, ``alpha_init``, ``channels``.
    """

    def make_network(self, **network_kwargs: Any) -> PlasticClassifier:
        """See `SupervisedPolicy.make_network`."""
        seen = self.observation_space
        fits = is_labelled_image(seen) and isinstance(self.action_space, spaces.Discrete)
        n_pixels, n_labels = labelled_image_sizes(seen) if fits else (0, 0)
        if n_labels != self.n_outputs:
            raise ValueError(
                "ClassifierPolicy needs an observation_space Dict(image, label (N,)) and an action_space "
                f"Discrete(N), got {seen} and {self.action_space}"
            )
        return PlasticClassifier(self.n_outputs, n_pixels, **network_kwargs)


class LSTMPolicy(SupervisedPolicy):
    """``torch.nn.LSTM`` for any episodic task; ``policy_kwargs``: ``hidden_size``, ``channels``."""

    def make_network(self, **network_kwargs: Any) -> LSTMNetwork:
        """See `SupervisedPolicy.make_network`."""
        return LSTMNetwork(self.observation_space, self.n_outputs, **network_kwargs)


class RNNPolicy(SupervisedPolicy):
    """``torch.nn.RNN`` for any episodic task; ``policy_kwargs``: ``hidden_size``, ``channels``."""

    def make_network(self, **network_kwargs: Any) -> RNNNetwork:
        """See `SupervisedPolicy.make_network`."""
        return RNNNetwork(self.observation_space, self.n_outputs, **network_kwargs)


class PlasticRNNPolicy(SupervisedPolicy):
    """``PlasticRNN`` for any episodic task.

    Arguments are those of `SupervisedPolicy`; further ``policy_kwargs``: those of `PlasticRNN`, ``channels``.

    Args:
        core_lr_scale: the learning rate of w and alpha as a multiple of that of all else, above 0. At a high
            rate, and over many steps, trainings that break with 1 do not with 0.1.

    Raises:
        ValueError: an argument outside its range, named.
    """

    def __init__(self, *args: Any, core_lr_scale: float = 1.0, **kwargs: Any) -> None:
        self.core_lr_scale = check_positive("core_lr_scale", core_lr_scale)
        super().__init__(*args, **kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "core_lr_scale": self.core_lr_scale}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """See `SupervisedPolicy.parameter_groups`."""
        assert isinstance(self.network, PlasticRNNNetwork)
        if self.core_lr_scale == 1:
            return super().parameter_groups()
        return rate_groups(self, self.network.core.scaled_parameters(), self.core_lr_scale)

    def make_network(self, **network_kwargs: Any) -> PlasticRNNNetwork:
        """See `SupervisedPolicy.make_network`."""
        return PlasticRNNNetwork(self.observation_space, self.n_outputs, **network_kwargs)
