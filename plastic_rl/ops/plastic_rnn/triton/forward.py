"""A sequence taken step by step, forward. A step is two launches, and with gates a matrix product.

This module imports triton: it is imported only when the backend is used.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
from torch import Tensor

from plastic_rl.ops.plastic_rnn.triton import memory, neurons, traces
from plastic_rl.ops.plastic_rnn.triton.memory import Network, Weights
from plastic_rl.ops.plastic_rnn.types import PlasticState


class Kept(NamedTuple):
    """What a sequence of T steps, M = T core_steps inner ones, leaves for the backward pass.

    pre: (M, B, N), the hidden states that were read, zero where an episode started
    y: (T, B, N), the outputs
    posts: (M, B, N), the candidates of a gated cell, gates: (M, B, K N), how far they were open
    inner: (M, B, N), of a gru, u + b_u; cells: (M + 1, B, N), of an lstm, from the initial state on
    decay, gain, sent: (T, B, N), the vectors of the updates
    traces, seconds: (S, B, N, N), every k-th of H_0, H_1, ..., and of the second traces
    starts: (T, B) uint8, masks: (T, B, N) uint8, of the clamp, or empty
    """

    pre: Tensor
    y: Tensor
    posts: Tensor
    gates: Tensor
    inner: Tensor
    cells: Tensor
    decay: Tensor
    gain: Tensor
    sent: Tensor
    traces: Tensor
    seconds: Tensor
    starts: Tensor
    masks: Tensor


class Forward:
    """The forward pass.

    Args:
        network, weights: what is run.
        y: (T, B, N), takes the outputs.
        starts: (T, B) bool.
        clamp: values and mask, (T, B, N).
        spacing: every how many steps a trace is kept, 0 for none.
    """

    def __init__(
        self,
        network: Network,
        weights: Weights,
        y: Tensor,
        starts: Tensor,
        clamp: tuple[Tensor, Tensor] | None,
        spacing: int,
    ) -> None:
        self.network, self.weights, self.spacing = network, weights, spacing
        self.steps, self.batch, self.n = y.shape
        inner_steps = self.steps * network.core_steps
        cell = network.cell > 0
        stored = -(-self.steps // spacing) if spacing else 0
        self.values = y if clamp is None else clamp[0].detach().contiguous()

        def vectors(steps: int, wanted: bool = True, parts: int = 1) -> Tensor:
            return y.new_empty(steps if wanted else 0, self.batch, parts * self.n)

        def matrices(count: int, wanted: bool) -> Tensor:
            return y.new_empty(count if wanted else 0, self.batch, self.n, self.n)

        self.kept = Kept(
            pre=vectors(inner_steps),
            y=y,
            posts=vectors(inner_steps, cell),
            gates=vectors(inner_steps, cell, network.gates),
            inner=vectors(inner_steps, cell and not network.memory),
            cells=vectors(inner_steps + 1, network.memory),
            decay=vectors(self.steps, network.plastic),
            gain=vectors(self.steps, network.plastic),
            sent=vectors(self.steps, network.second),
            traces=matrices(stored, network.plastic),
            seconds=matrices(stored, network.second),
            starts=starts.contiguous().view(torch.uint8),
            masks=y.new_empty(0, dtype=torch.uint8)
            if clamp is None
            else clamp[1].contiguous().view(torch.uint8),
        )
        self.zero = y.new_zeros(())
        self.u, self.products = vectors(1), vectors(1, cell, network.gates)
        self.width = triton.next_power_of_2(self.n)

    def begin(self, state: PlasticState) -> None:
        """Start from a state. Where not all traces are kept, its own are overwritten."""
        self.hidden = state.hidden
        self.trace, self.second = state.trace.unsqueeze(0), state.eligibility.unsqueeze(0)
        if self.network.memory:
            self.kept.cells[0].copy_(state.cell)

    def step(self, t: int, x: Tensor, row: int) -> None:
        """Step t; x: (rows, B, G N), in which the drive is ``row``. Its outputs go to y[t]."""
        kept, network, weights = self.kept, self.network, self.weights
        k = network.core_steps
        for s in range(k):
            m, first, last = t * k + s, s == 0, s == k - 1
            if network.plastic:
                self._read_out(t, m, first)
            else:
                if first:
                    before = self.hidden if t == 0 else kept.y[t - 1]
                    torch.where(kept.starts[t].bool().unsqueeze(1), self.zero, before, out=kept.pre[m])
                torch.mm(kept.pre[m], weights.w, out=self.u[0])
            if network.gates:
                torch.mm(kept.pre[m], weights.w_gates, out=self.products[0])
            neurons.fire[(self.batch,)](
                x, row, self.u, self.products, kept.pre, kept.cells, kept.posts,
                kept.y if last else kept.pre, t if last else m + 1,
                kept.gates, kept.inner, self.values, kept.masks, kept.starts,
                weights.eta, weights.w_m, weights.b_m, weights.fan_out, weights.b_u,
                kept.decay, kept.gain, kept.sent, t, m, self.batch, self.n,
                CELL=network.cell, ACT=network.activation, RULE=network.rule if last else memory.NO_RULE,
                CLAMPED=kept.masks.numel() > 0, FRESH=first, NP=self.width,
                num_warps=4, enable_fp_fusion=True,
            )  # fmt: skip

    def _places(self, t: int) -> tuple[Tensor, Tensor, int, Tensor, Tensor, int]:
        """Traces before and after the update of step t - 1, with second traces and slots."""
        given = self.trace, self.second, 0
        if self.spacing != 1:
            return *given, *given
        stored = self.kept.traces, self.kept.seconds
        return *(given if t == 0 else (*stored, t - 1)), *stored, t

    def _read_out(self, t: int, m: int, first: bool) -> None:
        kept, network, weights, blocks = self.kept, self.network, self.weights, memory.FORWARD
        places = self._places(t)
        if not first:  # the trace is the one that the first inner step has left
            places = *places[3:], *places[3:]
        environments = min(blocks.environments, triton.next_power_of_2(self.batch))
        rows = max(4, blocks.rows // 2) if network.second else blocks.rows  # what the registers hold
        grid = triton.cdiv(self.batch, environments), triton.cdiv(self.n, blocks.columns)
        hidden, row = (self.hidden, 0) if t == 0 else (kept.y, t - 1)
        traces.read_out[grid](
            *places, kept.decay, kept.gain, kept.sent, kept.pre, t * network.core_steps - 1, hidden, row,
            kept.starts, weights.w, weights.alpha, self.u, network.clip, t, m, self.batch, self.n,
            UPDATE=t > 0, FRESH=first, CLIP=network.clipped, SECOND=network.second,
            BE=environments, BI=rows, BJ=blocks.columns,
            num_warps=blocks.warps, enable_fp_fusion=True,
        )  # fmt: skip
        if first and self.spacing > 1 and t % self.spacing == 0:
            for current, stored in ((self.trace, kept.traces), (self.second, kept.seconds)):
                if stored.numel():
                    stored[t // self.spacing].copy_(current[0])

    def state(self, steps: int, *, overwrite: bool = False) -> PlasticState:
        """The state after so many steps, at least one, in memory of its own.

        overwrite: where traces are not all kept, into the state that was given
        """
        kept, network = self.kept, self.network
        hidden = kept.y[steps - 1].clone()
        trace, second = (part[0].new_empty(part.shape[1:]) for part in (self.trace, self.second))
        if overwrite and self.spacing != 1:
            trace, second = self.trace[0], self.second[0]
        if network.plastic:
            settle(network, kept, self._places(steps)[:3], (trace, second, 0), steps, reset=False)
        cell = kept.cells[steps * network.core_steps].clone() if network.memory else hidden[:, :0]
        return PlasticState(hidden, trace, cell, second)


def settle(
    network: Network,
    kept: Kept,
    before: tuple[Tensor, Tensor, int],
    after: tuple[Tensor, Tensor, int],
    t: int,
    *,
    reset: bool,
) -> None:
    """The update of step t - 1, from the slot of one pair of traces to that of another.

    reset: whether traces of environments whose episode starts at t become zero
    """
    _, batch, n = kept.y.shape
    blocks = memory.UPDATE
    grid = batch, triton.cdiv(n, blocks.rows), triton.cdiv(n, blocks.columns)
    traces.update[grid](
        *before, *after, kept.decay, kept.gain, kept.sent, kept.pre, t * network.core_steps - 1, kept.starts,
        network.clip, t, batch, n,
        RESET=reset, CLIP=network.clipped, SECOND=network.second, BI=blocks.rows, BJ=blocks.columns,
        num_warps=blocks.warps, enable_fp_fusion=True,
    )  # fmt: skip
