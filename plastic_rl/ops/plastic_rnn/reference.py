"""The definition of the plastic recurrent network, in plain torch: any device, any floating dtype.

Slow and obviously right: every fast backend is held against it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from plastic_rl.ops.plastic_rnn.cells import get_cell
from plastic_rl.ops.plastic_rnn.protocols import Refusal
from plastic_rl.ops.plastic_rnn.rules import update_trace
from plastic_rl.ops.plastic_rnn.tape import RerunTape
from plastic_rl.ops.plastic_rnn.types import PlasticParams, PlasticState


class ReferenceBackend:
    """Plain torch: runs everything."""

    def can_run(self, x: Tensor, params: PlasticParams) -> Refusal | None:
        """Always."""
        return None

    def sequence(
        self,
        x: Tensor,
        params: PlasticParams,
        state: PlasticState,
        episode_starts: Tensor | None,
        clamp: tuple[Tensor, Tensor] | None,
        repeats: Tensor | None,
    ) -> tuple[Tensor, PlasticState]:
        """One step after the other."""
        return run(x, params, state, episode_starts, clamp, repeats)

    @torch.no_grad()
    def step(
        self,
        x: Tensor,
        params: PlasticParams,
        state: PlasticState,
        episode_start: Tensor | None,
        clamp: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        """One step that overwrites the state."""
        before = state if episode_start is None else state.zeroed(episode_start)
        after = step(x, params, before, clamp)
        for old, new in zip(state, after, strict=True):
            old.copy_(new)
        return after.hidden

    def tape(self, params: PlasticParams, episode_starts: Tensor, y: Tensor) -> RerunTape:
        """Steps now, the sequence with autograd's graph afterwards."""
        return RerunTape(self, episode_starts, y)


def run(
    x: Tensor,
    params: PlasticParams,
    state: PlasticState,
    episode_starts: Tensor | None = None,
    clamp: tuple[Tensor, Tensor] | None = None,
    repeats: Tensor | None = None,
) -> tuple[Tensor, PlasticState]:
    """Run the network over a sequence, one step after the other.

    x: (T, B, N), or (T, B, G N) for a cell with G - 1 gates
    state: from before the first step
    episode_starts: (T, B) bool
    clamp: values (T, B, N), mask (T, B, N) bool
    repeats: (T,), how many times in a row step t is taken
    returns: y (T, B, N), state after the last step
    """
    outputs = []
    counts = [1] * x.shape[0] if repeats is None else repeats.tolist()
    for t in range(x.shape[0]):
        if episode_starts is not None:
            state = state.zeroed(episode_starts[t])
        for _ in range(counts[t]):
            state = step(x[t], params, state, None if clamp is None else (clamp[0][t], clamp[1][t]))
        outputs.append(state.hidden)
    return torch.stack(outputs), state


def step(
    x: Tensor, params: PlasticParams, state: PlasticState, clamp: tuple[Tensor, Tensor] | None = None
) -> PlasticState:
    """One step: ``core_steps`` inner ones with the trace as it is, then its update (ICML 2018, Eq. 1 to 3).

    x: (B, N), or (B, G N) for a cell with G - 1 gates
    clamp: values (B, N), mask (B, N) bool
    returns: state whose hidden is the output
    """
    weights = params.w if params.alpha is None else params.w + params.alpha * state.trace
    for _ in range(params.core_steps):
        before = state.hidden
        y, state = inner_step(x, weights, params, state, clamp)
    if params.alpha is None:
        return state
    trace, eligibility = update_trace(state.trace, state.eligibility, before, y, state.hidden, params)
    # A new one, not _replace, which torch 2.8 does not compile; so in inner_step.
    return PlasticState(state.hidden, trace, state.cell, eligibility)


def inner_step(
    x: Tensor,
    weights: Tensor,
    params: PlasticParams,
    state: PlasticState,
    clamp: tuple[Tensor, Tensor] | None,
) -> tuple[Tensor, PlasticState]:
    """Read out through ``weights``, (N, N) or (B, N, N), and let the cell fire.

    returns: the postsynaptic activities y (B, N), and the state with the trace as it was
    """
    before = state.hidden
    # (B, 1, N) @ (B, N, N): row vectors on the left, so that column j feeds neuron j.
    read_out = before @ weights if weights.dim() == 2 else torch.bmm(before.unsqueeze(1), weights).squeeze(1)
    gates = before[:, :0] if params.w_gates is None else before @ params.w_gates
    cell = get_cell(params.cell)
    y, hidden, memory = cell.step(x, read_out, gates, state, params)
    if clamp is not None:
        values, mask = clamp
        hidden = torch.where(mask, values.detach(), hidden)
    if not cell.gates:
        y = hidden  # the clamp holds the postsynaptic activities, too
    return y, PlasticState(hidden, state.trace, memory, state.eligibility)
