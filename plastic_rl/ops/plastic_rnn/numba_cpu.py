"""The numba backend on the torch side: tensors in and out, and the autograd functions.

This module imports numba: it is imported only when the backend is used.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from plastic_rl.ops.plastic_rnn import numba_kernels as kernels
from plastic_rl.ops.plastic_rnn import numba_memory as memory
from plastic_rl.ops.plastic_rnn.numba_kernels import Downstream, Upstream
from plastic_rl.ops.plastic_rnn.numba_rules import History, Scratch
from plastic_rl.ops.plastic_rnn.simd import LANES
from plastic_rl.ops.plastic_rnn.threads import in_chunks
from plastic_rl.ops.plastic_rnn.types import PlasticParams, PlasticState


def plastic_rnn(
    x: Tensor,
    params: PlasticParams,
    state: PlasticState,
    episode_starts: Tensor | None,
    clamp: tuple[Tensor, Tensor] | None,
) -> tuple[Tensor, PlasticState]:
    """The sequence form; arguments as in the public function, checked there."""
    starts = torch.zeros(x.shape[:2], dtype=torch.bool) if episode_starts is None else episode_starts
    values, masks = memory.no_clamp(x) if clamp is None else clamp
    p = params
    tensors = (x, *state, p.w, p.alpha, p.eta, p.w_m, p.b_m, p.fan_out)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors):
        run = _Plain if params.alpha is None else _Plastic
        y, hidden, trace = run.apply(*tensors, starts, values.detach(), masks, params)
        return y, PlasticState(hidden, trace)
    y, trace, _ = _forward(x, params, state, starts, values, masks, memory.prepare(params), keep=False)
    return y, PlasticState(y[-1].clone(), trace)


def plastic_rnn_step_(
    x: Tensor,
    params: PlasticParams,
    state: PlasticState,
    episode_start: Tensor | None,
    clamp: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """The step form; arguments as in the public function, checked there."""
    hidden, trace = state
    if not (hidden.is_contiguous() and trace.is_contiguous()):
        dense = PlasticState(hidden.detach().contiguous(), trace.detach().contiguous())
        out = plastic_rnn_step_(x, params, dense, episode_start, clamp)
        hidden.detach().copy_(dense.hidden)
        trace.detach().copy_(dense.trace)
        return out
    batch, n = x.shape
    out = torch.empty(batch, n)
    starts = memory.no_starts(batch) if episode_start is None else memory.as_array(episode_start)
    if clamp is None:
        values, masks = memory.no_step_clamp(batch)
    else:
        values, masks = memory.as_array(clamp[0]), memory.as_array(clamp[1])
    alpha, plasticity = memory.no_matrix(), np.float32(0)
    if params.alpha is not None and params.alpha.dim() == 2:
        alpha = memory.as_array(params.alpha)
    elif params.alpha is not None:
        plasticity = np.float32(params.alpha.item())
    in_chunks(
        kernels.step,
        memory.chunks_for(batch, n * n),
        batch,
        memory.as_array(x),
        starts,
        values,
        masks,
        hidden.detach().numpy(),
        trace.detach().numpy(),
        out.numpy(),
        memory.as_array(params.w),
        alpha,
        plasticity,
        *memory.rule_of(params),
    )
    # torch does not see what numba writes; a graph that still needs the old state must fail, not go wrong.
    torch.autograd.graph.increment_version(hidden)
    torch.autograd.graph.increment_version(trace)
    return out


class _Plastic(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, hidden: Tensor, trace: Tensor, *rest: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        *_, starts, values, masks, params = rest
        prepared = memory.prepare(params)
        state = PlasticState(hidden, trace)
        y, trace_out, history = _forward(x, params, state, starts, values, masks, prepared, keep=True)
        ctx.save_for_backward(hidden, starts, y, masks)
        ctx.prepared, ctx.params, ctx.traces, ctx.every = prepared, params, history.traces, history.every
        ctx.undo = memory.checkpoints(params, x.shape[0], values.numpy())[1]
        ctx.set_materialize_grads(False)
        return y, y[-1].clone(), trace_out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor | None, dhidden: Tensor | None, dtrace: Tensor | None) -> tuple:
        hidden, starts, y, masks = ctx.saved_tensors
        history = History(
            memory.as_array(hidden), memory.as_array(starts), y.detach().numpy(), ctx.traces, ctx.every
        )
        result = gradients(
            ctx.params,
            ctx.prepared,
            history,
            ctx.undo,
            memory.as_array(masks),
            dy,
            dhidden,
            dtrace,
            ctx.needs_input_grad,
        )
        return (*result, None, None, None, None)


class _Plain(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, hidden: Tensor, trace: Tensor, *rest: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        *_, starts, values, masks, params = rest
        prepared = memory.prepare(params)
        state = PlasticState(hidden, trace)
        y, trace_out, _ = _forward(x, params, state, starts, values, masks, prepared, keep=False)
        ctx.save_for_backward(hidden, starts, y, masks, params.w)
        ctx.rule = prepared.rule
        ctx.set_materialize_grads(False)
        return y, y[-1].clone(), trace_out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor | None, dhidden: Tensor | None, dtrace: Tensor | None) -> tuple:
        hidden, starts, y, masks, w = ctx.saved_tensors
        steps, batch, n = y.shape
        w_transposed = memory.staggered(0, memory.packed_size(n))
        kernels.pack_matrix(memory.as_array(w.t()), w_transposed)
        history = History(
            memory.as_array(hidden), memory.as_array(starts), y.detach().numpy(), memory.no_traces(), 1
        )
        up = _upstream(y, dy, dhidden, None)
        down = _downstream(y, 0, 0, False)
        chunks = memory.chunks_for(batch, steps * n * n)
        clamp_masks = memory.as_array(masks)
        in_chunks(
            kernels.plain_backward, chunks, batch, up, clamp_masks, history, w_transposed, ctx.rule, down
        )
        dx = torch.from_numpy(down.pre)
        dw = weight_gradient(history, dx) if ctx.needs_input_grad[3] else None
        # Without plasticity the trace is (B, 0, 0) and comes out as it went in.
        return dx, torch.from_numpy(down.hidden), dtrace, dw, *[None] * 9


def _forward(
    x: Tensor,
    params: PlasticParams,
    state: PlasticState,
    starts: Tensor,
    values: Tensor,
    masks: Tensor,
    prepared: memory.Prepared,
    *,
    keep: bool,
) -> tuple[Tensor, Tensor, History]:
    """Returns y (T, B, N), the final trace, and the history; ``keep`` stores traces for the backward."""
    steps, batch, n = x.shape
    y = torch.empty(steps, batch, n)
    trace_in = memory.as_array(state.trace)
    trace_out = torch.empty(trace_in.shape)
    stored, every = memory.no_traces(), 1
    if keep:
        every, _ = memory.checkpoints(params, steps, values.numpy())
        stored = memory.staggered(2, 1 + math.ceil(steps / every), batch, memory.packed_size(n))
    history = History(memory.as_array(state.hidden), memory.as_array(starts), y.numpy(), stored, every)
    clamp = memory.as_array(values), memory.as_array(masks)
    chunks = memory.chunks_for(batch, steps * n * n)
    if params.alpha is None:
        w, rule = prepared.weights.w, prepared.rule
        in_chunks(kernels.plain_forward, chunks, batch, memory.as_array(x), *clamp, history, w, rule)
    else:
        traces = trace_in, trace_out.numpy()
        scratch = memory.staggered(2, chunks, memory.packed_size(n))
        in_chunks(
            kernels.forward, chunks, batch, memory.as_array(x), *traces, *clamp, history, *prepared, scratch
        )
    return y, trace_out, history


def gradients(
    params: PlasticParams,
    prepared: memory.Prepared,
    history: History,
    undo: bool,
    masks: np.ndarray,
    dy: Tensor | None,
    dhidden: Tensor | None,
    dtrace: Tensor | None,
    wanted: tuple[bool, ...],
) -> tuple[Tensor | None, ...]:
    """Gradients of x, hidden, trace, w, alpha, eta, w_m, b_m, fan_out, None where there is no such tensor."""
    steps, batch, n = history.y.shape
    y = torch.from_numpy(history.y)
    up = _upstream(y, dy, dhidden, dtrace)
    chunks = memory.chunks_for(batch, steps * n * n)
    down = _downstream(y, chunks, prepared.weights.alpha.size, wanted[2])
    size = memory.packed_size(n)
    scratch = Scratch(
        memory.staggered(2, chunks, size),
        memory.staggered(3, chunks, size),
        memory.staggered(5, chunks, n * LANES),
        memory.staggered(4, chunks, n * LANES),
        memory.staggered(2, chunks, 0 if undo else min(history.every, steps), size),
    )
    in_chunks(kernels.backward, chunks, batch, up, masks, history, *prepared, undo, scratch, down)
    dx = torch.from_numpy(down.pre)
    dw = weight_gradient(history, dx) if wanted[3] else None
    # One row per thread, added up in a fixed order.
    deta, db_m, dplasticity = (torch.tensor(total, dtype=torch.float32) for total in down.scalars.sum(0))
    dalpha = dplasticity
    if prepared.weights.alpha.size > 0:
        dalpha = torch.empty(1, n, n)
        kernels.unpack_matrices(down.alpha.sum(0, keepdims=True), dalpha.numpy())
        dalpha = dalpha[0]
    modulated = params.rule == "modulated"
    dw_m, dfan_out = torch.from_numpy(down.w_m.sum(0)[:n]), torch.from_numpy(down.fan_out.sum(0)[:n])
    return (
        dx,
        torch.from_numpy(down.hidden),
        torch.from_numpy(down.trace) if wanted[2] else None,
        dw,
        dalpha,
        None if modulated else deta,
        dw_m if modulated else None,
        db_m if modulated else None,
        dfan_out if modulated else None,
    )


def weight_gradient(history: History, dpre: Tensor) -> Tensor:
    """Gradient dw = sum_t y_{t-1}^T dpre_t, (N, N), as one matrix product."""
    before = torch.cat((torch.from_numpy(history.hidden)[None], torch.from_numpy(history.y)[:-1]))
    before.masked_fill_(torch.from_numpy(history.starts)[:, :, None], 0.0)
    return before.flatten(0, 1).t() @ dpre.flatten(0, 1)


def _upstream(y: Tensor, dy: Tensor | None, dhidden: Tensor | None, dtrace: Tensor | None) -> Upstream:
    return Upstream(
        memory.as_array(torch.zeros_like(y) if dy is None else dy),
        memory.as_array(y.new_zeros(y.shape[1:]) if dhidden is None else dhidden),
        memory.no_traces() if dtrace is None else memory.as_array(dtrace),
    )


def _downstream(y: Tensor, chunks: int, size: int, with_trace: bool) -> Downstream:
    steps, batch, n = y.shape
    width = memory.padded(n)
    dalpha = memory.staggered(4, chunks, size)
    dalpha.fill(0)
    return Downstream(
        np.empty((steps, batch, n), np.float32),
        np.empty((batch, n), np.float32),
        np.empty((batch, n, n) if with_trace else (0, 0, 0), np.float32),
        dalpha,
        np.zeros((chunks, 3)),
        np.zeros((chunks, width), np.float32),
        np.zeros((chunks, width), np.float32),
    )
