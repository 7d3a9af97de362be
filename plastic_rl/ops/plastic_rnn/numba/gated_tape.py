"""Recorded rollouts of gated cells, of ``retroactive`` and of networks without a trace, and their gradients.

This module imports numba: it is imported only when the backend is used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from plastic_rl.ops.plastic_rnn.numba import forward as kernels
from plastic_rl.ops.plastic_rnn.numba import gated_forward, memory, plain_kernels, retroactive
from plastic_rl.ops.plastic_rnn.numba.gated import Run, gradients, pack_gates, room_for_fired, transposed
from plastic_rl.ops.plastic_rnn.numba.tape import NumbaTape
from plastic_rl.ops.plastic_rnn.threads import in_chunks
from plastic_rl.ops.plastic_rnn.types import PlasticParams, PlasticState


class GatedTape(NumbaTape):
    """What the steps of a recording leave behind, for gated cells with a trace; see ``protocols.Tape``."""

    fired: np.ndarray = memory.no_traces()

    @property
    def length(self) -> int:
        """Of the recording."""
        return self.steps

    def reset(self, params: PlasticParams, state: PlasticState) -> None:
        """Begin again with these parameters from this state, which is copied."""
        super().reset(params, state)
        inner_steps = self.steps * params.core_steps
        if len(self.fired) != inner_steps:
            self.fired = room_for_fired(inner_steps, self.batch, params)
        self.gates = pack_gates(params)
        self.memory = memory.as_array(state.cell).copy()
        self.c = np.zeros((self.batch, memory.padded(self.n)), np.float32)
        self.c[:, : self.memory.shape[1]] = self.memory
        # In the order of the kernels' arguments, which they assert.
        self.gated = (self.c, self.fired, *self.arguments[:2], *self.gates, *self.arguments[2:])

    def step(self, t: int, x: Tensor) -> None:
        """Step t, with input drive x (B, (K + 1) N)."""
        in_chunks(gated_forward.record_cells, self.chunks, self.batch, t, memory.as_array(x), *self.gated)

    def state(self, t: int) -> PlasticState:
        """A copy of the state before step t: the first, or that after the last step taken."""
        cell = self.memory if t == 0 else self.c[:, : self.memory.shape[1]]
        return super().state(t)._replace(cell=torch.from_numpy(cell.copy()))

    def replay(self, x: Tensor, params: PlasticParams) -> tuple[Tensor, PlasticState]:
        """The recorded activations and the final state, as functions of x and the parameters."""
        named = {"x": x, **params.tensors()}
        y, *parts = _Replay.apply(self, params, tuple(named), *named.values())
        return y, PlasticState(*parts)

    def run(self, params: PlasticParams) -> Run:
        """What the backward pass takes."""
        no_masks = memory.no_clamp(self.y)[1].numpy()
        recorded = self.history, self.fired, self.memory, no_masks, self.undo, memory.zeros(0)
        return transposed(Run(params, self.prepared, self.gates, *recorded, self.second_traces()))

    def second_traces(self) -> np.ndarray:
        """Those that are stored, (K + 1, B, packed)."""
        return memory.no_traces()


class RetroactiveTape(GatedTape):
    """The same for the rule ``retroactive``, with every cell.

    The second traces lie in ``seconds`` as the first ones do in ``history.traces``.
    """

    seconds: np.ndarray = memory.no_traces()

    def reset(self, params: PlasticParams, state: PlasticState) -> None:
        """Begin again with these parameters from this state, which is copied."""
        super().reset(params, state)
        if self.seconds.shape != self.history.traces.shape:
            self.seconds = memory.staggered(2, *self.history.traces.shape)
        kernels.pack_matrices(memory.as_array(state.eligibility), self.seconds[-1])
        self.seconds[0] = self.seconds[-1]
        self.sent = np.zeros_like(self.decay)
        self.both = (*self.gated[:2], self.seconds, self.sent, *self.gated[2:])

    def step(self, t: int, x: Tensor) -> None:
        """Step t, with input drive x (B, (K + 1) N)."""
        in_chunks(retroactive.record_both, self.chunks, self.batch, t, memory.as_array(x), *self.both)

    def state(self, t: int) -> PlasticState:
        """A copy of the state before step t: the first, or that after the last step taken."""
        place = 0 if t == 0 else -1
        packed = self.history.traces[place], self.seconds[place]
        if 0 < t < self.steps:
            packed = packed[0].copy(), packed[1].copy()
            pending = self.sent, self.decay, self.gain
            retroactive.settle_both_all(t, self.history, self.prepared.rule, *pending, *packed)
        traces = torch.empty(2, self.batch, self.n, self.n, dtype=torch.float32)
        for each, trace in zip(packed, traces, strict=True):
            kernels.unpack_matrices(each, trace.numpy())
        cell = self.memory if t == 0 else self.c[:, : self.memory.shape[1]]
        hidden = self.hidden if t == 0 else self.y[t - 1]
        return PlasticState(hidden.clone(), traces[0], torch.from_numpy(cell.copy()), traces[1])

    def second_traces(self) -> np.ndarray:
        """Those that are stored, (K + 1, B, packed)."""
        return self.seconds


class PlainTape(GatedTape):
    """The same for networks without a trace, whose inner steps are steps.

    Args:
        params: of the network, with as many inner steps as it will always have.
        starts, y: as in ``NumbaTape``.
    """

    def __init__(self, params: PlasticParams, starts: Tensor, y: Tensor) -> None:
        self.core_steps = params.core_steps
        self.recorded_starts, self.recorded_y = starts, y
        if self.core_steps > 1:
            starts = starts.new_zeros(len(starts) * self.core_steps, *starts.shape[1:])
            y = y.new_empty(len(y) * self.core_steps, *y.shape[1:])
        super().__init__(starts, y)
        self.starts = starts

    @property
    def length(self) -> int:
        """Of the recording."""
        return len(self.recorded_y)

    def reset(self, params: PlasticParams, state: PlasticState) -> None:
        """Begin again with these parameters from this state, which is copied."""
        self.resets += 1
        self.undo = False
        self.hidden.copy_(state.hidden.detach())
        self.trace = state.trace.detach().clone()
        self.prepared, self.gates = memory.prepare(params), pack_gates(params)
        if len(self.fired) != self.steps:
            self.fired = room_for_fired(self.steps, self.batch, params)
        self.memory = memory.as_array(state.cell).copy()
        self.c = np.zeros((self.batch, memory.padded(self.n)), np.float32)
        self.c[:, : self.memory.shape[1]] = self.memory
        weights, rule = self.prepared
        self.plain = (self.c, self.fired, *self.gates, *self.history, *weights, *rule)

    def step(self, t: int, x: Tensor) -> None:
        """Step t, with input drive x (B, (K + 1) N)."""
        k = self.core_steps
        if k > 1:
            self.starts[t * k] = self.recorded_starts[t]
        for s in range(t * k, t * k + k):
            in_chunks(plain_kernels.record_plain, self.chunks, self.batch, s, memory.as_array(x), *self.plain)
        if k > 1:
            self.recorded_y[t] = self.y[t * k + k - 1]

    def state(self, t: int) -> PlasticState:
        """A copy of the state before step t: the first, or that after the last step taken."""
        hidden = self.hidden if t == 0 else self.recorded_y[t - 1]
        cell = self.memory if t == 0 else self.c[:, : self.memory.shape[1]]
        return PlasticState(hidden.clone(), self.trace.clone(), torch.from_numpy(cell.copy()))

    def replay(self, x: Tensor, params: PlasticParams) -> tuple[Tensor, PlasticState]:
        """The recorded activations and the final state, as functions of x and the parameters."""
        if self.core_steps == 1:
            return super().replay(x, params)
        y, state = super().replay(x.repeat_interleave(self.core_steps, 0), params)
        return y[self.core_steps - 1 :: self.core_steps], state


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, tape: GatedTape, params: PlasticParams, names: tuple[str, ...], *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.tape, ctx.params, ctx.names, ctx.resets = tape, params, names, tape.resets
        ctx.set_materialize_grads(False)
        return tape.y.detach(), *tape.state(tape.length)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outgoing: Tensor | None) -> tuple[Tensor | None, ...]:
        if ctx.tape.resets != ctx.resets:
            raise RuntimeError("the recording was reset before the backward pass of its replay")
        found = gradients(ctx.tape.run(ctx.params), outgoing, with_trace=False)
        return None, None, None, *(found[name] for name in ctx.names)
