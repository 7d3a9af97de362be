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
from plastic_rl.ops.plastic_rnn.numba import memory as memory
from plastic_rl.ops.plastic_rnn.numba.gradients import gradients
from plastic_rl.ops.plastic_rnn.numba.rules import History
from plastic_rl.ops.plastic_rnn.threads import in_chunks
from plastic_rl.ops.plastic_rnn.types import PlasticParams, PlasticState


class Tape:
    """What the steps of a recording leave behind, for networks with a trace.

    The traces (B, packed) lie in ``history.traces``: first the initial one, last the current one, which still
    lacks the update of the last step taken (its decay and gain are kept) until all steps are taken.

    Args:
        hidden, starts, y: (B, N), (T, B) bool and (T, B, N), of the recording; ``step`` writes into y.
    """

    def __init__(self, hidden: Tensor, starts: Tensor, y: Tensor) -> None:
        self.y = y
        self.steps, self.batch, self.n = y.shape
        shape = (self.batch, memory.padded(self.n))
        self.decay, self.gain = np.empty(shape, np.float32), np.empty(shape, np.float32)
        self.counts = memory.no_repeats(self.steps)
        firsts, places, _ = memory.no_plan(self.steps)
        self.history = History(
            hidden.numpy(), starts.numpy(), y.numpy(), memory.no_traces(), firsts, places, self.counts
        )
        self.chunks = memory.chunks_for(self.batch, self.n * self.n)
        self.resets = 0

    def reset(self, params: PlasticParams, trace: Tensor) -> None:
        """Begin with this trace (B, N, N)."""
        plan = memory.plan(params, memory.no_traces(), self.counts)
        self.undo = plan.undo
        traces = self.history.traces
        if traces.shape[0] != plan.firsts.size + 1:
            traces = memory.store(plan, self.batch, self.n)
        self.history = self.history._replace(traces=traces, firsts=plan.firsts, places=plan.places)
        self.prepared = memory.prepare(params)
        self.decay.fill(1)
        self.gain.fill(0)
        kernels.pack_matrices(memory.as_array(trace), traces[-1])
        traces[0] = traces[-1]
        weights, rule = self.prepared
        self.arguments = (self.decay, self.gain, *self.history, *weights, *rule)
        self.resets += 1

    def step(self, t: int, x: Tensor) -> None:
        """Step t, with input drive x (B, N)."""
        in_chunks(kernels.record_step, self.chunks, self.batch, t, memory.as_array(x), *self.arguments)

    def trace(self, t: int) -> Tensor:
        """The trace (B, N, N) before step t: the first, or that after the last step taken."""
        trace = torch.empty(self.batch, self.n, self.n)
        packed = self.history.traces[0 if t == 0 else -1]
        if 0 < t < self.steps:
            packed = packed.copy()
            kernels.settle_all(t, self.history, self.prepared.rule, self.decay, self.gain, packed)
        kernels.unpack_matrices(packed, trace.numpy())
        return trace

    def replay(self, x: Tensor, params: PlasticParams) -> tuple[Tensor, PlasticState]:
        """The recorded activations and the final state, as functions of x and the parameters."""
        p = params
        tensors = (x, p.w, p.alpha, p.eta, p.w_m, p.b_m, p.fan_out)
        y, hidden, trace = _Replay.apply(*tensors, self, params)
        return y, PlasticState(hidden, trace)


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[Tensor, Tensor, Tensor]:
        *_, tape, params = args
        ctx.tape, ctx.params, ctx.resets = tape, params, tape.resets
        ctx.set_materialize_grads(False)
        y = tape.y.detach()
        return y, y[-1].clone(), tape.trace(tape.steps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor | None, dhidden: Tensor | None, dtrace: Tensor | None) -> tuple:
        tape = ctx.tape
        if tape.resets != ctx.resets:
            raise RuntimeError("the recording was reset before the backward pass of its replay")
        no_clamp = memory.no_clamp(tape.y)[1].numpy()
        wanted = (ctx.needs_input_grad[0], False, False, *ctx.needs_input_grad[1:])
        upstream = dy, dhidden, dtrace
        dx, _, _, *rest = gradients(
            ctx.params, tape.prepared, tape.history, tape.undo, no_clamp, *upstream, wanted
        )
        return (dx, *rest, None, None)
