"""A network that completes patterns it saw moments ago: one neuron per element, all connected to all."""

from __future__ import annotations

import torch
from torch import Tensor

from plastic_rl.arguments import check_choice, check_count, check_scale
from plastic_rl.ops.plastic_rnn import (
    Activation,
    Backend,
    PlasticParams,
    Rule,
    backend_names,
    initial_state,
    plastic_rnn,
    plastic_rnn_step_,
)
from plastic_rl.policies.connections import Alpha, PlasticConnections
from plastic_rl.policies.episodic import EpisodicNetwork, NetworkState, Observations


class Autoassociator(EpisodicNetwork):
    """The network of the pattern and image memories (Miconi, Stanley & Clune, ICML 2018, section 4.1, 4.2).

    There is one neuron per element of the observation, and one more whose activation is always 1. An element
    that is not 0 clamps its neuron to its value; where the observation is 0 the neuron is free. There are no
    input weights. The answer is the activation of all neurons but the last one: what was shown, completed.

    Both w and alpha start with mean 0: an alpha that is positive everywhere already completes patterns
    without any training.

    Args:
        n_elements: elements of an observation, at least 1; the network has N = n_elements + 1 neurons.
        rule: how the trace changes: ``hebb``, ``oja``, or a registered one that has no modulating neuron.
        alpha: ``full``, one trained plasticity per connection; ``homogeneous``, one for all;
            ``none``, no plasticity: a plain recurrent network.
        eta: where the trained learning rate of the trace starts, in (0, 1).
        activation: ``tanh``, ``sigmoid``, ``relu`` or ``linear``.
        w_init: w starts normal, with mean 0 and this standard deviation of at least 0.
        alpha_init: alpha starts normal, with mean 0 and this standard deviation of at least 0; a
            ``homogeneous`` one starts at this value.
        backend: of the operator: ``auto``, ``numba``, ``triton`` or ``reference``.

    Raises:
        ValueError: an argument outside its range, named.
    """

    def __init__(
        self,
        n_elements: int,
        *,
        rule: Rule = "hebb",
        alpha: Alpha = "full",
        eta: float = 0.01,
        activation: Activation = "tanh",
        w_init: float = 0.01,
        alpha_init: float = 0.01,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        n = check_count("n_elements", n_elements) + 1
        check_choice("backend", backend, backend_names())
        self.backend: Backend = backend
        scale = check_scale("alpha_init", alpha_init)
        self.connections = PlasticConnections(
            n,
            n,
            rule=rule,
            alpha=alpha,
            eta=eta,
            activation=activation,
            w_std=check_scale("w_init", w_init),
            alpha_mean=scale if alpha == "homogeneous" else 0.0,
            alpha_std=scale,
        )

    @property
    def eta(self) -> Tensor | None:
        """The learning rate of the trace, (), in (0, 1); None without plasticity."""
        return self.connections.eta

    def params(self) -> PlasticParams:
        """The operator's parameters; gradients flow through them to this network's."""
        return self.connections.params()

    def initial_state(self, batch_size: int) -> NetworkState:
        """Zeros: hidden (B, N) and trace (B, N, N), or (B, 0, 0) without plasticity."""
        return initial_state(self.params(), batch_size).detach()

    def forward(self, observations: Observations) -> Tensor:
        """The completed pattern at the end of whole episodes, with gradients.

        observations: (T, B, n_elements), 0 where unknown
        returns: (B, n_elements)
        """
        assert isinstance(observations, Tensor)
        observations, repeats = _runs(observations)
        clamp = self._clamp(observations)
        drive = torch.zeros_like(clamp[0])
        y, _ = plastic_rnn(drive, self.params(), clamp=clamp, repeats=repeats, backend=self.backend)
        return y[-1, :, :-1]

    def step(self, observations: Observations, state: NetworkState) -> tuple[Tensor, NetworkState]:
        """The completed pattern at one step, without gradients; the state is overwritten.

        observations: (B, n_elements), 0 where unknown
        state: hidden (B, N), trace (B, N, N)
        returns: (B, n_elements), new state
        """
        assert isinstance(observations, Tensor)
        with torch.no_grad():
            clamp = self._clamp(observations)
            drive = torch.zeros_like(clamp[0])
            y = plastic_rnn_step_(drive, self.params(), state, clamp=clamp, backend=self.backend)
        return y[:, :-1], state

    def _clamp(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Values and mask of the clamped neurons, (..., N) each; the last neuron is always 1."""
        one = observations.new_ones(*observations.shape[:-1], 1)
        values = torch.cat((observations, one), dim=-1)
        return values, values != 0


def _runs(observations: Tensor) -> tuple[Tensor, Tensor]:
    """Take steps together that show the same complete pattern as the one before, in every episode.

    Most of an episode is like that, and the operator passes over such runs in closed form.

    observations: (T, B, n_elements)
    returns: the first step of every run (R, B, n_elements), the runs' lengths (R,)
    """
    now, before = observations[1:], observations[:-1]
    goes_on = ((now == before) & (now != 0)).flatten(1).all(dim=1)
    first = torch.cat((goes_on.new_zeros(1), goes_on)).logical_not().nonzero().flatten()
    end = torch.cat((first[1:], first.new_tensor([len(observations)])))
    return observations[first], end - first
