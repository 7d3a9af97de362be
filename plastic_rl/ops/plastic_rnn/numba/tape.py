"""A recorded rollout of the numba backend, and its gradients.

This module imports numba: it is imported only when the backend is used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from plastic_rl.ops.plastic_rnn.numba import forward as kernels
from plastic_rl.ops.plastic_rnn.numba import memory
from plastic_rl.ops.plastic_rnn.numba.gradients import Inputs, Outgoing, gradients
from plastic_rl.ops.plastic_rnn.numba.structs import History
from plastic_rl.ops.plastic_rnn.threads import in_chunks
from plastic_rl.ops.plastic_rnn.types import PlasticParams, PlasticState


class NumbaTape:
    """What the steps of a recording leave behind, for networks with a trace; see ``protocols.Tape``.

    The traces (B, packed) lie in ``history.traces``: first the initial one, last the current one, which still
    lacks the update of the last step taken (its decay and gain are kept) until all steps are taken.

    Args:
        starts: (T, B) bool, of the recording.
        y: (T, B, N), of the recording; ``step`` writes into it.
    """

    def __init__(self, starts: Tensor, y: Tensor) -> None:
        self.y = y
        self.steps, self.batch, self.n = y.shape
        shape = (self.batch, memory.padded(self.n))
        self.decay, self.gain = np.empty(shape, np.float32), np.empty(shape, np.float32)
        self.hidden = torch.empty(self.batch, self.n, dtype=torch.float32)
        self.counts = memory.no_repeats(self.steps)
        firsts, places, _ = memory.no_plan(self.steps)
        self.history = History(
            self.hidden.numpy(),
            starts.numpy(),
            y.numpy(),
            memory.recalls(1, *y.shape),
            memory.no_traces(),
            firsts,
            places,
            self.counts,
        )
        self.chunks = memory.chunks_for(self.batch, self.n * self.n)
        self.resets = 0

    def reset(self, params: PlasticParams, state: PlasticState) -> None:
        """Begin again with these parameters from this state, which is copied."""
        plan = memory.plan(params, memory.no_traces(), self.counts)
        self.undo = plan.undo
        traces = self.history.traces
        if traces.shape[0] != plan.firsts.size + 1:
            traces = memory.store(plan, self.batch, self.n)
        recalls = self.history.recalls
        if recalls.shape[1] != params.core_steps - 1:
            recalls = memory.recalls(params.core_steps, *self.y.shape)
        self.history = self.history._replace(
            recalls=recalls, traces=traces, firsts=plan.firsts, places=plan.places
        )
        self.prepared = memory.prepare(params)
        self.decay.fill(1)
        self.gain.fill(0)
        self.hidden.copy_(state.hidden.detach())
        kernels.pack_matrices(memory.as_array(state.trace), traces[-1])
        traces[0] = traces[-1]
        weights, rule = self.prepared
        # In the order of the kernel's arguments, which ``forward`` asserts.
        self.arguments = (self.decay, self.gain, *self.history, *weights, *rule)
        self.resets += 1

    def step(self, t: int, x: Tensor) -> None:
        """Step t, with input drive x (B, N)."""
        in_chunks(kernels.record_step, self.chunks, self.batch, t, memory.as_array(x), *self.arguments)

    def state(self, t: int) -> PlasticState:
        """A copy of the state before step t: the first, or that after the last step taken."""
        hidden = self.hidden if t == 0 else self.y[t - 1]
        return PlasticState(hidden.clone(), self._trace(t))

    def _trace(self, t: int) -> Tensor:
        trace = torch.empty(self.batch, self.n, self.n, dtype=torch.float32)
        packed = self.history.traces[0 if t == 0 else -1]
        if 0 < t < self.steps:
            packed = packed.copy()
            kernels.settle_all(t, self.history, self.prepared.rule, self.decay, self.gain, packed)
        kernels.unpack_matrices(packed, trace.numpy())
        return trace

    def replay(self, x: Tensor, params: PlasticParams) -> tuple[Tensor, PlasticState]:
        """The recorded activations and the final state, as functions of x and the parameters."""
        y, hidden, trace = _Replay.apply(self, params, *Inputs.of(x, params, None))
        return y, PlasticState(hidden, trace)


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, tape: NumbaTape, params: PlasticParams, *tensors: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.tape, ctx.params, ctx.resets = tape, params, tape.resets
        ctx.set_materialize_grads(False)
        y = tape.y.detach()
        state = tape.state(tape.steps)
        return y, state.hidden, state.trace

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outgoing: Tensor | None) -> tuple[Tensor | None, ...]:
        tape = ctx.tape
        if tape.resets != ctx.resets:
            raise RuntimeError("the recording was reset before the backward pass of its replay")
        result = gradients(
            ctx.params,
            tape.prepared,
            tape.history,
            tape.undo,
            memory.no_clamp(tape.y)[1].numpy(),
            Outgoing(*outgoing),
            Inputs(*ctx.needs_input_grad[2:]),
        )
        return None, None, *result._replace(hidden=None, trace=None)
