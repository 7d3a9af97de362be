"""A plastic recurrent layer: the trained tensors around the operator ``plastic_rnn``."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from plastic_rl.arguments import check_count
from plastic_rl.ops.plastic_rnn import (
    Backend,
    PlasticState,
    gate_values,
    get_cell,
    get_rule,
    initial_state,
    plastic_rnn,
    plastic_rnn_step_,
)
from plastic_rl.ops.plastic_rnn.checks import autocasts
from plastic_rl.ops.plastic_rnn.reference import step as reference_step
from plastic_rl.policies.connections import PlasticWeights
from plastic_rl.policies.core_options import CoreArguments, CoreOptions
from plastic_rl.policies.core_recorder import PlasticRecorder


class PlasticRNN(PlasticWeights):
    """Linear drive and plastic recurrent core (Miconi, Stanley & Clune, ICML 2018, Eq. 1 to 3).

    With features o_t the drive is x = o_t W_in + b, N numbers for each part of the cell, and with the hidden
    state h of the step before, zero like the trace H where an episode starts,

        u_j   = sum_i h_i (w_ij + alpha_ij H_ij)
        rnn     h' = y = sigma(x + u)
        gru     r = s(x_r + h W_r)    z = s(x_z + h W_z)    y = sigma(x_n + r (u + b_u))
                h' = z h + (1 - z) y
        lstm    i, f, o = s(x + h W)    y = sigma(x_g + u)    c' = f c + i y    h' = o tanh(c')

    where s is the logistic function. The output is h'. The rule changes H by what h and y do.
    ``alpha="none"`` leaves plain networks: the GRU and the LSTM are those of torch.

    The layer holds no state: it goes in and comes out. It is a `RecurrentCore`.

    Args:
        input_size: number of input features F, at least 1.
        hidden_size: number of neurons N, at least 1.
        **options: ``cell``, ``rule``, ``alpha``, ``eta``, ``activation``, ...: the fields of `CoreOptions`,
            with its defaults.

    Attributes:
        options: them all.

    Raises:
        ValueError: an argument outside its range, named.
    """

    def __init__(self, input_size: int, hidden_size: int = 200, **options: Unpack[CoreArguments]) -> None:
        # SB3's extractors may count in NumPy integers.
        input_size, n = check_count("input_size", input_size), check_count("hidden_size", hidden_size)
        given = CoreOptions(**options)
        cell = get_cell(given.cell)
        drive = nn.Linear(input_size, len(cell.parts) * n)
        if cell.gates and given.w_init is None:
            w = _uniform(n, n, size=n)
        else:
            w = (0.01 if given.w_init is None else given.w_init) * torch.rand(n, n)
        alpha = None
        if given.alpha == "full":
            alpha = given.alpha_init * torch.rand(n, n)
        elif given.alpha == "homogeneous":
            alpha = torch.tensor(given.alpha_init / 2)
        super().__init__(
            w,
            alpha,
            rule=given.rule,
            eta=given.eta,
            activation=given.activation,
            trace_clip=given.trace_clip,
            cell=given.cell,
            w_gates=_uniform(n, cell.gates * n, size=n) if cell.gates else None,
            b_u=_uniform(n, size=n) if cell.reset_bias else None,
            core_steps=given.core_steps,
            inner_updates=given.inner_updates,
        )
        self.input_size = input_size
        self.hidden_size = n
        self.options = given
        self.backend: Backend = given.backend
        self.drive = drive

    def initial_state(self, batch_size: int) -> PlasticState:
        """Zeros: hidden (B, N) and trace (B, N, N), or (B, 0, 0) without plasticity; see `PlasticState`."""
        return initial_state(self.params(), batch_size).detach()

    def forward(
        self, features: Tensor, state: PlasticState, episode_starts: Tensor | None = None
    ) -> tuple[Tensor, PlasticState]:
        """Run a sequence, with gradients.

        features: (T, B, F)
        state: from before the first step
        episode_starts: (T, B)
        returns: y (T, B, N), state after the last step
        """
        runs, x = self.runs, self._drive(features)
        if runs > 1:
            x = x.repeat_interleave(runs, dim=0)
            if episode_starts is not None:
                given, episode_starts = episode_starts, episode_starts.new_zeros(x.shape[:2])
                episode_starts[::runs] = given
        y, state = plastic_rnn(x, self.params(), state, episode_starts, backend=self.backend)
        return y[runs - 1 :: runs], state

    def step(
        self, features: Tensor, state: PlasticState, episode_start: Tensor | None = None
    ) -> tuple[Tensor, PlasticState]:
        """One step without gradients; the caller's state is left as it was.

        features: (B, F)
        state: from before the step
        episode_start: (B,)
        returns: y (B, N), new state
        """
        return self.clamped_step(features, state, episode_start, None)

    def clamped_step(
        self,
        features: Tensor,
        state: PlasticState,
        episode_start: Tensor | None,
        clamp: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, PlasticState]:
        """`step` with neurons that are held. clamp: values (B, N) and mask (B, N), true where they are."""
        with torch.no_grad():
            state, x, params = state.clone(), self._drive(features), self.params()
            y = plastic_rnn_step_(x, params, state, episode_start, clamp=clamp, backend=self.backend)
            for _ in range(self.runs - 1):
                y = plastic_rnn_step_(x, params, state, clamp=clamp, backend=self.backend)
        return y, state

    def gates(
        self,
        features: Tensor,
        state: PlasticState,
        episode_start: Tensor | None = None,
        clamp: tuple[Tensor, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """How far the gates are open in a step, (B, N) in (0, 1) by name: r and z, or i, f and o.

        With several runs for each input these are the gates of the last; an ``rnn`` has none. For the
        arguments see `clamped_step`.
        """
        with torch.no_grad():
            x, params = self._drive(features), self.params()
            if episode_start is not None:
                state = state.zeroed(episode_start.bool())
            for _ in range(self.runs - 1):
                state = reference_step(x, params, state, clamp)
            if params.core_steps > 1:
                before_last = replace(params, core_steps=params.core_steps - 1)
                state = reference_step(x, before_last, state, clamp)
            return gate_values(x, state.hidden, params)

    def _drive(self, features: Tensor) -> Tensor:
        weight = self.drive.weight
        if features.dtype != weight.dtype and not autocasts(features):
            raise ValueError(
                f"features must have the dtype of the layer, {weight.dtype}, got {features.dtype}"
            )
        return self.drive(features)

    def recorder(self, n_steps: int) -> PlasticRecorder | None:
        """Records rollouts of so many steps; None where a subclass runs in a way of its own."""
        return PlasticRecorder(self, n_steps) if self.runs_plainly() else None

    def runs_plainly(self) -> bool:
        """Whether a subclass leaves the ways in which the core runs as they are."""
        names = ("forward", "step", "params")
        return all(getattr(type(self), name) is getattr(PlasticRNN, name) for name in names)

    def kind(self) -> dict[str, Any]:
        """What two cores must have in common for the weights of one to mean the same in the other."""
        kind = {
            "cell": self.cell,
            "hidden_size": self.hidden_size,
            "rule": self.rule,
            "alpha": self.plasticity,
            "activation": self.activation,
            "core_steps": self.core_steps,
        }
        if self.core_steps > 1:
            kind["inner_updates"] = self.inner_updates
        return {**kind, "trace_clip": self.trace_clip} if get_rule(self.rule).trace_clip else kind

    def extra_repr(self) -> str:
        """What ``print`` shows beside the sub-modules."""
        return (
            f"cell={self.cell}, hidden_size={self.hidden_size}, rule={self.rule}, alpha={self.plasticity}, "
            f"activation={self.activation}"
        )


def _uniform(*shape: int, size: int) -> Tensor:
    """Numbers up to 1 / sqrt(size), as torch's recurrent layers start."""
    bound = 1 / math.sqrt(size)
    return torch.empty(*shape).uniform_(-bound, bound)
