"""An LSTM in the place of the plastic core, which PlasticA2C trains just as it trains plastic networks."""

from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor, nn

from plastic_rl.ops.plastic_rnn import PlasticState
from plastic_rl.policies import PlasticPolicy


class LstmCore(nn.Module):
    """A `torch.nn.LSTM` with the interface of `PlasticRNN`; its state is (hidden, cell) side by side.

    Args:
        input_size: number of input features F.
        hidden_size: number of units N.
    """

    w = alpha = eta = None  # nothing is plastic

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.lstm = nn.LSTM(input_size, hidden_size)

    def initial_state(self, batch_size: int) -> PlasticState:
        """Zeros: (B, 2 N), and a trace (B, 0, 0) as of a network without plasticity."""
        weight = next(self.parameters())
        return PlasticState(
            weight.new_zeros(batch_size, 2 * self.hidden_size).detach(),
            weight.new_zeros(batch_size, 0, 0).detach(),
        )

    def forward(
        self, features: Tensor, state: PlasticState, episode_starts: Tensor | None = None
    ) -> tuple[Tensor, PlasticState]:
        """Run a sequence, with gradients: one call of the LSTM from each step at which an episode starts.

        features: (T, B, F)
        episode_starts: (T, B)
        returns: y (T, B, N), state after the last step
        """
        n_steps = len(features)
        starts = torch.zeros(n_steps, features.shape[1]) if episode_starts is None else episode_starts.float()
        borders = sorted({0, *starts.any(dim=1).nonzero().flatten().tolist()})
        hidden, parts = state.hidden, []
        for begin, end in zip(borders, [*borders[1:], n_steps], strict=True):
            hidden = hidden * (1 - starts[begin].to(hidden))[:, None]
            h, c = (part.contiguous()[None] for part in hidden.chunk(2, dim=1))
            y, (h, c) = self.lstm(features[begin:end], (h, c))
            hidden = torch.cat([h[0], c[0]], dim=1)
            parts.append(y)
        return torch.cat(parts), PlasticState(hidden, state.trace)

    def step(
        self, features: Tensor, state: PlasticState, episode_start: Tensor | None = None
    ) -> tuple[Tensor, PlasticState]:
        """One step without gradients. features: (B, F), episode_start: (B,); returns y (B, N), new state."""
        with torch.no_grad():
            hidden = state.hidden
            if episode_start is not None:
                hidden = hidden * (1 - episode_start.to(hidden))[:, None]
            # A cell costs a fifth of what nn.LSTM needs for a sequence of one.
            y, c = torch.lstm_cell(features, hidden.chunk(2, dim=1), *self.lstm.all_weights[0])
        return y, PlasticState(torch.cat([y, c], dim=1), state.trace)


class LstmPolicy(PlasticPolicy):
    """`PlasticPolicy` with an LSTM of `hidden_size` units in the place of the plastic core.

    Arguments are those of `PlasticPolicy`; what concerns plasticity has no effect.
    """

    def _make_core(self) -> LstmCore:  # type: ignore[override]
        return LstmCore(self.features_dim, self.hidden_size)


def lstm_size(observation_space: spaces.Box, n_actions: int, n_weights: int) -> int:
    """The number of units with which an `LstmPolicy` for these spaces is nearest to so many weights."""
    (features,) = observation_space.shape

    def weights(n: int) -> int:
        return 4 * n * (features + n + 2) + (n + 1) * (n_actions + 1)

    n = 1
    while abs(weights(n + 1) - n_weights) <= abs(weights(n) - n_weights):
        n += 1
    return n


def count_weights(policy: Any) -> int:
    """The number of trained numbers in a policy."""
    return sum(parameter.numel() for parameter in policy.parameters() if parameter.requires_grad)
