"""What networks have in common that read an episode and answer at its end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

Observations = Tensor | dict[str, Tensor]
# Any tuple of tensors with one row per episode; a NamedTuple comes back as one.
NetworkState = Any


class EpisodicNetwork(nn.Module, ABC):
    """A recurrent network that is trained on whole episodes and can also be asked step by step.

    It holds no state: the state goes into ``step`` and comes out, B first in each of its tensors. The answer
    of ``forward`` is that of the last ``step``, reached with less work.
    """

    @abstractmethod
    def initial_state(self, batch_size: int) -> NetworkState:
        """The state at the start of an episode: zeros, (B, ...) each."""

    @abstractmethod
    def forward(self, observations: Observations) -> Tensor:
        """Answer at the end of whole episodes, with gradients.

        observations: (T, B, ...), or a dictionary of those
        returns: (B, outputs)
        """

    @abstractmethod
    def step(self, observations: Observations, state: NetworkState) -> tuple[Tensor, NetworkState]:
        """Answer at one step, without gradients; the state given may be overwritten.

        observations: (B, ...), or a dictionary of those
        returns: (B, outputs), new state
        """
