"""Recurrent networks for any episodic task: the baselines LSTM and plain RNN, and a plastic one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, preprocess_obs
from torch import Tensor, nn

from plastic_rl.arguments import check_count, is_plain
from plastic_rl.policies.episodic import EpisodicNetwork, NetworkState, Observations
from plastic_rl.policies.labelled_images import LabelledImages, is_labelled_image
from plastic_rl.policies.plastic_rnn import PlasticRNN


class FlatInputs(nn.Module):
    """All of an observation in one row, prepared as SB3 does: classes one-hot, pixels between 0 and 1.

    Args:
        space: a Box, Discrete, MultiDiscrete or MultiBinary, or a Dict of those.

    Raises:
        ValueError: another space.
    """

    def __init__(self, space: spaces.Space) -> None:
        super().__init__()
        parts = space.spaces.values() if isinstance(space, spaces.Dict) else [space]
        if not is_plain(space):
            raise ValueError(
                "observation_space must be Box, Discrete, MultiDiscrete, MultiBinary or a Dict of those, "
                f"got {space}"
            )
        self.space = space
        self.features_dim = sum(get_flattened_obs_dim(part) for part in parts)

    def forward(self, observations: Observations) -> Tensor:
        """observations: (K, ...), or a dictionary of those; returns (K, features)."""
        prepared = preprocess_obs(observations, self.space)
        parts = prepared.values() if isinstance(prepared, dict) else [prepared]
        return torch.cat([part.flatten(1) for part in parts], dim=-1)


class RecurrentNetwork(EpisodicNetwork):
    """Inputs, a recurrent core, and one linear layer that reads the answer from it.

    Args:
        observation_space: a Box, or a Dict of those; images with labels go through the classifier's
            convolutions first.
        n_outputs: values of an answer, at least 1.
        hidden_size: neurons N in the core, at least 1.
        channels: of every convolution, at least 2, or a number for each of the four.

    Raises:
        ValueError: an argument outside its range, named.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        n_outputs: int,
        *,
        hidden_size: int,
        channels: int | Sequence[int] = 64,
    ) -> None:
        super().__init__()
        self.hidden_size = check_count("hidden_size", hidden_size)
        self.inputs: FlatInputs | LabelledImages
        if is_labelled_image(observation_space):
            self.inputs = LabelledImages(observation_space, channels)
            # The layout in which convolutions are quick.
            self.inputs.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        else:
            self.inputs = FlatInputs(observation_space)
        self.readout = nn.Linear(self.hidden_size, check_count("n_outputs", n_outputs))

    @abstractmethod
    def run(self, features: Tensor, state: NetworkState) -> tuple[Tensor, NetworkState]:
        """Run the core over a sequence.

        features: (T, B, F)
        returns: the activations of the last step (B, N), new state
        """

    def forward(self, observations: Observations) -> Tensor:
        """The answer at the end of whole episodes (B, n_outputs). observations: (T, B, ...)."""
        parts = observations if isinstance(observations, dict) else {"": observations}
        steps, batch = next(iter(parts.values())).shape[:2]
        rows = {key: part.flatten(0, 1) for key, part in parts.items()}
        features = self.inputs(rows if isinstance(observations, dict) else rows[""])
        last, _ = self.run(features.reshape(steps, batch, -1), self.initial_state(batch))
        return self.readout(last)

    def step(self, observations: Observations, state: NetworkState) -> tuple[Tensor, NetworkState]:
        """The answer at one step (B, n_outputs), without gradients. observations: (B, ...)."""
        with torch.no_grad():
            last, state = self.run(self.inputs(observations).unsqueeze(0), state)
            return self.readout(last), state


class LSTMNetwork(RecurrentNetwork):
    """``torch.nn.LSTM`` with a linear read-out; arguments as in `RecurrentNetwork`.

    The paper's comparison on patterns of 50 bits has 2,050 neurons.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        n_outputs: int,
        *,
        hidden_size: int = 2050,
        channels: int | Sequence[int] = 64,
    ) -> None:
        super().__init__(observation_space, n_outputs, hidden_size=hidden_size, channels=channels)
        self.core = nn.LSTM(self.inputs.features_dim, self.hidden_size)

    def initial_state(self, batch_size: int) -> NetworkState:
        """Zeros: hidden (B, N) and cell (B, N)."""
        zeros = self.readout.weight.new_zeros(batch_size, self.hidden_size)
        return zeros, zeros.clone()

    def run(self, features: Tensor, state: NetworkState) -> tuple[Tensor, NetworkState]:
        """See `RecurrentNetwork.run`."""
        if len(features) == 1:
            # Of the LSTM itself torch 2.8 exports invalid files.
            hidden, cell = torch.lstm_cell(features[0], state, *self.core.all_weights[0])
            return hidden, (hidden, cell)
        hidden, cell = (part.unsqueeze(0) for part in state)
        _, (hidden, cell) = self.core(features, (hidden, cell))
        return hidden[0], (hidden[0], cell[0])


class RNNNetwork(RecurrentNetwork):
    """``torch.nn.RNN`` (tanh) with a linear read-out; arguments as in `RecurrentNetwork`.

    The paper's comparison on patterns of 50 bits has 2,050 neurons.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        n_outputs: int,
        *,
        hidden_size: int = 2050,
        channels: int | Sequence[int] = 64,
    ) -> None:
        super().__init__(observation_space, n_outputs, hidden_size=hidden_size, channels=channels)
        self.core = nn.RNN(self.inputs.features_dim, self.hidden_size)

    def initial_state(self, batch_size: int) -> NetworkState:
        """Zeros: hidden (B, N)."""
        return (self.readout.weight.new_zeros(batch_size, self.hidden_size),)

    def run(self, features: Tensor, state: NetworkState) -> tuple[Tensor, NetworkState]:
        """See `RecurrentNetwork.run`."""
        _, hidden = self.core(features, state[0].unsqueeze(0))
        return hidden[0], (hidden[0],)


class PlasticRNNNetwork(RecurrentNetwork):
    """A plastic recurrent layer with a linear read-out, for any episodic task.

    Args:
        observation_space: as in `RecurrentNetwork`, and so are ``n_outputs`` and ``channels``.
        n_outputs: values of an answer.
        hidden_size: neurons N in the core, at least 1.
        channels: of every convolution.
        **core_kwargs: ``cell``, ``rule``, ``alpha``, ``eta``, ``activation``, ... of `PlasticRNN`.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        n_outputs: int,
        *,
        hidden_size: int = 200,
        channels: int | Sequence[int] = 64,
        **core_kwargs: Any,
    ) -> None:
        super().__init__(observation_space, n_outputs, hidden_size=hidden_size, channels=channels)
        self.core = PlasticRNN(self.inputs.features_dim, self.hidden_size, **core_kwargs)

    @property
    def eta(self) -> Tensor | None:
        """The learning rate of the trace, (), in (0, 1); None where there is none."""
        return self.core.eta

    def initial_state(self, batch_size: int) -> NetworkState:
        """Zeros: hidden (B, N) and trace (B, N, N), or (B, 0, 0) without plasticity."""
        return self.core.initial_state(batch_size)

    def run(self, features: Tensor, state: NetworkState) -> tuple[Tensor, NetworkState]:
        """See `RecurrentNetwork.run`."""
        y, new = self.core(features, state)
        return y[-1], new
