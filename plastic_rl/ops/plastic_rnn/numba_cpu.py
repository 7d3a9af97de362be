"""The numba backend on the torch side: tensors in and out, the autograd function, the choice of checkpoints.

This module imports numba: it is imported only when the backend is used.
"""

from __future__ import annotations

import functools
import logging
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from plastic_rl.ops.plastic_rnn import numba_kernels as kernels
from plastic_rl.ops.plastic_rnn.numba_kernels import Downstream, Upstream
from plastic_rl.ops.plastic_rnn.numba_passes import History, Rule, Scratch, Weights
from plastic_rl.ops.plastic_rnn.simd import LANES
from plastic_rl.ops.plastic_rnn.threads import in_chunks
from plastic_rl.ops.plastic_rnn.types import ACTIVATIONS, RULES, PlasticParams, PlasticState

logger = logging.getLogger(__name__)

Array = np.ndarray
# Undoing the decay multiplies rounding errors by at most this before a stored trace sets them to nothing.
MAX_AMPLIFICATION = 16.0
# Steps between stored traces where the update cannot be undone (or the square root of T, if that is more).
MIN_WINDOW = 16
# A page of memory and the stride between matrices within it, in floats: six matrices fill the page evenly.
PAGE, STRIDE = 1024, 176
# Matrix elements per thread below which a second thread costs more than it brings.
MIN_WORK = 40_000


class Prepared(NamedTuple):
    """The parameters as the kernels take them, in memory of their own: later changes do not reach them."""

    weights: Weights
    rule: Rule


def prepare(params: PlasticParams) -> Prepared:
    """Pack the matrices and pad the vectors. The weights of a plain network have an empty ``alpha``."""
    w = staggered(0, packed_size(params.n))
    kernels.pack_matrix(as_array(params.w), w)
    alpha, plasticity = np.empty(0, np.float32), np.float32(0)
    if params.alpha is not None and params.alpha.dim() == 2:
        alpha = staggered(1, packed_size(params.n))
        kernels.pack_matrix(as_array(params.alpha), alpha)
    elif params.alpha is not None:
        plasticity = np.float32(params.alpha.item())
    return Prepared(Weights(w, alpha, plasticity), rule_of(params))


def rule_of(params: PlasticParams) -> Rule:
    """The rule as the kernels take it."""
    zero, unbounded = np.float32(0), np.float32(math.inf)
    code, activation = RULES.index(params.rule), ACTIVATIONS.index(params.activation)
    nothing = _zeros(padded(params.n))
    if params.rule == "modulated" and params.alpha is not None:
        assert params.b_m is not None
        assert params.w_m is not None
        assert params.fan_out is not None
        b_m, bound = np.float32(params.b_m.item()), np.float32(params.trace_clip)
        return Rule(code, activation, zero, b_m, bound, _pad(params.w_m), _pad(params.fan_out))
    eta = zero if params.eta is None else np.float32(params.eta.item())
    return Rule(code, activation, eta, zero, unbounded, nothing, nothing)


def checkpoints(params: PlasticParams, steps: int, clamp_values: Array) -> tuple[int, bool]:
    """How many steps lie between two stored traces, and whether the update is undone between them.

    Undoing divides by the decay, at least 1 - eta (for ``oja`` only while no activation exceeds 1), and so
    multiplies rounding errors by up to (1 - eta)^-every. It cannot pass a clip.
    """
    window = max(MIN_WINDOW, math.isqrt(steps))
    if params.rule == "modulated" or params.eta is None:
        return window, False
    if params.rule == "oja":
        bounded = params.activation in ("tanh", "sigmoid")
        if not bounded or (clamp_values.size > 0 and np.abs(clamp_values).max() > 1):
            return window, False
    every = int(math.log(MAX_AMPLIFICATION) / -math.log1p(-params.eta.item()))
    return (every, True) if every > MIN_WINDOW else (window, False)


def plastic_rnn(
    x: Tensor,
    params: PlasticParams,
    state: PlasticState,
    episode_starts: Tensor | None,
    clamp: tuple[Tensor, Tensor] | None,
) -> tuple[Tensor, PlasticState]:
    """The sequence form; arguments as in the public function, checked there."""
    starts = torch.zeros(x.shape[:2], dtype=torch.bool) if episode_starts is None else episode_starts
    values, masks = _no_clamp(x) if clamp is None else clamp
    p = params
    tensors = (x, *state, p.w, p.alpha, p.eta, p.w_m, p.b_m, p.fan_out)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors):
        run = _Plain if params.alpha is None else _Plastic
        y, hidden, trace = run.apply(*tensors, starts, values.detach(), masks, params)
        return y, PlasticState(hidden, trace)
    y, trace, _ = _forward(x, params, state, starts, values, masks, prepare(params), keep=False)
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
    starts = _no_starts(batch) if episode_start is None else as_array(episode_start)
    if clamp is None:
        values, masks = _no_step_clamp(batch)
    else:
        values, masks = as_array(clamp[0]), as_array(clamp[1])
    alpha, plasticity = _no_matrix(), np.float32(0)
    if params.alpha is not None and params.alpha.dim() == 2:
        alpha = as_array(params.alpha)
    elif params.alpha is not None:
        plasticity = np.float32(params.alpha.item())
    in_chunks(
        kernels.step,
        chunks_for(batch, n * n),
        batch,
        as_array(x),
        starts,
        values,
        masks,
        hidden.detach().numpy(),
        trace.detach().numpy(),
        out.numpy(),
        as_array(params.w),
        alpha,
        plasticity,
        *rule_of(params),
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
        prepared = prepare(params)
        state = PlasticState(hidden, trace)
        y, trace_out, history = _forward(x, params, state, starts, values, masks, prepared, keep=True)
        ctx.save_for_backward(hidden, starts, y, masks)
        ctx.prepared, ctx.params, ctx.traces, ctx.every = prepared, params, history.traces, history.every
        ctx.undo = checkpoints(params, x.shape[0], values.numpy())[1]
        ctx.set_materialize_grads(False)
        return y, y[-1].clone(), trace_out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor | None, dhidden: Tensor | None, dtrace: Tensor | None) -> tuple:
        hidden, starts, y, masks = ctx.saved_tensors
        history = History(as_array(hidden), as_array(starts), y.detach().numpy(), ctx.traces, ctx.every)
        gradients = _backward(
            ctx.params,
            ctx.prepared,
            history,
            ctx.undo,
            as_array(masks),
            dy,
            dhidden,
            dtrace,
            ctx.needs_input_grad,
        )
        return (*gradients, None, None, None, None)


class _Plain(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, hidden: Tensor, trace: Tensor, *rest: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        *_, starts, values, masks, params = rest
        prepared = prepare(params)
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
        w_transposed = staggered(0, packed_size(n))
        kernels.pack_matrix(as_array(w.t()), w_transposed)
        history = History(as_array(hidden), as_array(starts), y.detach().numpy(), _no_traces(), 1)
        up = _upstream(y, dy, dhidden, None)
        down = _downstream(y, 0, 0, False)
        chunks = chunks_for(batch, steps * n * n)
        clamp_masks = as_array(masks)
        in_chunks(
            kernels.plain_backward, chunks, batch, up, clamp_masks, history, w_transposed, ctx.rule, down
        )
        dx = torch.from_numpy(down.pre)
        dw = weight_gradient(history, dx) if ctx.needs_input_grad[3] else None
        # Without plasticity the trace is (B, 0, 0) and comes out as it went in.
        return dx, torch.from_numpy(down.hidden), dtrace, dw, *[None] * 9


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
        shape = (self.batch, padded(self.n))
        self.decay, self.gain = np.empty(shape, np.float32), np.empty(shape, np.float32)
        self.history = History(hidden.numpy(), starts.numpy(), y.numpy(), _no_traces(), 1)
        self.chunks = chunks_for(self.batch, self.n * self.n)
        self.resets = 0

    def reset(self, params: PlasticParams, trace: Tensor) -> None:
        """Begin with this trace (B, N, N)."""
        every, self.undo = checkpoints(params, self.steps, _no_traces())
        stored = 1 + math.ceil(self.steps / every)
        traces = self.history.traces
        if traces.shape[0] != stored:
            traces = staggered(2, stored, self.batch, packed_size(self.n))
        self.history = self.history._replace(traces=traces, every=every)
        self.prepared = prepare(params)
        self.decay.fill(1)
        self.gain.fill(0)
        kernels.pack_matrices(as_array(trace), traces[-1])
        traces[0] = traces[-1]
        weights, rule = self.prepared
        self.arguments = (self.decay, self.gain, *self.history, *weights, *rule)
        self.resets += 1

    def step(self, t: int, x: Tensor) -> None:
        """Step t, with input drive x (B, N)."""
        in_chunks(kernels.record_step, self.chunks, self.batch, t, as_array(x), *self.arguments)

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
        no_clamp = _no_clamp(tape.y)[1].numpy()
        wanted = (ctx.needs_input_grad[0], False, False, *ctx.needs_input_grad[1:])
        upstream = dy, dhidden, dtrace
        dx, _, _, *rest = _backward(
            ctx.params, tape.prepared, tape.history, tape.undo, no_clamp, *upstream, wanted
        )
        return (dx, *rest, None, None)


def _forward(
    x: Tensor,
    params: PlasticParams,
    state: PlasticState,
    starts: Tensor,
    values: Tensor,
    masks: Tensor,
    prepared: Prepared,
    *,
    keep: bool,
) -> tuple[Tensor, Tensor, History]:
    """Returns y (T, B, N), the final trace, and the history; ``keep`` stores traces for the backward."""
    steps, batch, n = x.shape
    y = torch.empty(steps, batch, n)
    trace_in = as_array(state.trace)
    trace_out = torch.empty(trace_in.shape)
    stored, every = _no_traces(), 1
    if keep:
        every, _ = checkpoints(params, steps, values.numpy())
        stored = staggered(2, 1 + math.ceil(steps / every), batch, packed_size(n))
    history = History(as_array(state.hidden), as_array(starts), y.numpy(), stored, every)
    clamp = as_array(values), as_array(masks)
    chunks = chunks_for(batch, steps * n * n)
    if params.alpha is None:
        w, rule = prepared.weights.w, prepared.rule
        in_chunks(kernels.plain_forward, chunks, batch, as_array(x), *clamp, history, w, rule)
    else:
        traces = trace_in, trace_out.numpy()
        scratch = staggered(2, chunks, packed_size(n))
        in_chunks(kernels.forward, chunks, batch, as_array(x), *traces, *clamp, history, *prepared, scratch)
    return y, trace_out, history


def _backward(
    params: PlasticParams,
    prepared: Prepared,
    history: History,
    undo: bool,
    masks: Array,
    dy: Tensor | None,
    dhidden: Tensor | None,
    dtrace: Tensor | None,
    wanted: tuple[bool, ...],
) -> tuple[Tensor | None, ...]:
    """Gradients of x, hidden, trace, w, alpha, eta, w_m, b_m, fan_out, None where there is no such tensor."""
    steps, batch, n = history.y.shape
    y = torch.from_numpy(history.y)
    up = _upstream(y, dy, dhidden, dtrace)
    chunks = chunks_for(batch, steps * n * n)
    down = _downstream(y, chunks, prepared.weights.alpha.size, wanted[2])
    size = packed_size(n)
    scratch = Scratch(
        staggered(2, chunks, size),
        staggered(3, chunks, size),
        staggered(5, chunks, n * LANES),
        staggered(4, chunks, n * LANES),
        staggered(2, chunks, 0 if undo else min(history.every, steps), size),
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
        as_array(torch.zeros_like(y) if dy is None else dy),
        as_array(y.new_zeros(y.shape[1:]) if dhidden is None else dhidden),
        _no_traces() if dtrace is None else as_array(dtrace),
    )


def _downstream(y: Tensor, chunks: int, size: int, with_trace: bool) -> Downstream:
    steps, batch, n = y.shape
    width = padded(n)
    dalpha = staggered(4, chunks, size)
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


def chunks_for(batch: int, work: int) -> int:
    """In how many shares to run, each in a thread; ``work`` is the number of matrix elements per environment.

    The number of threads is torch's.
    """
    _announce()
    return max(1, min(batch, torch.get_num_threads(), batch * work // MIN_WORK))


@functools.cache
def _announce() -> None:
    """Say once, before the first kernel runs, what a first use costs."""
    folder = Path(kernels.backward.stats.cache_path or "")
    if not any(folder.glob("numba_kernels.backward*.nbi")):
        logger.warning("compiling the CPU kernels of the plastic operator: about a minute, once")


def packed_size(n: int) -> int:
    """Length of a packed matrix, rounded up to whole pages."""
    return math.ceil(padded(n) * n / PAGE) * PAGE


def staggered(place: int, *shape: int) -> Array:
    """An array of float32 whose rows start ``place`` strides past a page border.

    Matrices that are read side by side must not lie a whole number of pages apart, as large arrays would by
    themselves: the cache tells addresses apart by their place within the page first.
    """
    length = math.prod(shape)
    buffer = np.empty(length + 2 * PAGE, np.float32)
    first = -(buffer.ctypes.data // 4) % PAGE + place * STRIDE % PAGE
    return buffer[first : first + length].reshape(shape)


def padded(n: int) -> int:
    """N rounded up to whole vectors."""
    return math.ceil(n / LANES) * LANES


def as_array(tensor: Tensor) -> Array:
    """The numbers of a tensor as a contiguous array, without a copy where they are contiguous already."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    return tensor.numpy() if tensor.is_contiguous() else tensor.contiguous().numpy()


def _pad(vector: Tensor) -> Array:
    result = np.zeros(padded(vector.shape[0]), np.float32)
    result[: vector.shape[0]] = as_array(vector)
    return result


def _no_clamp(x: Tensor) -> tuple[Tensor, Tensor]:
    shape = (*x.shape[:2], 0)
    return torch.empty(shape), torch.empty(shape, dtype=torch.bool)


@functools.cache
def _zeros(size: int) -> Array:
    return np.zeros(size, np.float32)


@functools.cache
def _no_starts(batch: int) -> Array:
    return np.zeros(batch, np.bool_)


@functools.cache
def _no_step_clamp(batch: int) -> tuple[Array, Array]:
    return np.empty((batch, 0), np.float32), np.empty((batch, 0), np.bool_)


@functools.cache
def _no_matrix() -> Array:
    return np.empty((0, 0), np.float32)


@functools.cache
def _no_traces() -> Array:
    return np.empty((0, 0, 0), np.float32)
