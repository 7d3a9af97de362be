"""The tanh cell with one trace on the torch side of the numba backend: sequences, steps and their gradients.

This module imports numba: it is imported only when the backend is used.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from plastic_rl.ops.plastic_rnn.numba import forward as kernels
from plastic_rl.ops.plastic_rnn.numba import memory
from plastic_rl.ops.plastic_rnn.numba.gradients import (
    Inputs,
    Outgoing,
    gradients,
)
from plastic_rl.ops.plastic_rnn.numba.structs import History
from plastic_rl.ops.plastic_rnn.state import put_back
from plastic_rl.ops.plastic_rnn.threads import in_chunks
from plastic_rl.ops.plastic_rnn.types import PlasticParams, PlasticState


class Call(NamedTuple):
    """What a sequence is run with beside the tensors that gradients flow to.

    starts: (T, B) bool
    values, masks: (T, B, N), the clamp, or (T, B, 0) for none
    counts: (T,), how often each step updates the trace
    """

    params: PlasticParams
    starts: Tensor
    values: Tensor
    masks: Tensor
    counts: np.ndarray


def sequence(
    x: Tensor,
    params: PlasticParams,
    state: PlasticState,
    episode_starts: Tensor | None,
    clamp: tuple[Tensor, Tensor] | None,
    repeats: Tensor | None,
) -> tuple[Tensor, PlasticState]:
    """The sequence form; arguments as in the public function, checked there."""
    if repeats is not None and clamp is not None and (repeats > 1).any():
        return _with_repeats(x, params, state, episode_starts, clamp, repeats.long())
    return _run(x, params, state, episode_starts, clamp, memory.no_repeats(x.shape[0]))


def _with_repeats(
    x: Tensor,
    params: PlasticParams,
    state: PlasticState,
    episode_starts: Tensor | None,
    clamp: tuple[Tensor, Tensor],
    repeats: Tensor,
) -> tuple[Tensor, PlasticState]:
    """A repeated step becomes two for the kernels: the first, and all the others at once.

    The first differs from the others, which read the activations that they have themselves.
    """
    parts = 1 + (repeats > 1).long()
    index = torch.arange(x.shape[0]).repeat_interleave(parts)
    last = parts.cumsum(0) - 1
    counts = torch.ones_like(index)
    counts[last] = torch.where(repeats > 1, repeats - 1, 1)
    starts = None
    if episode_starts is not None:
        starts = episode_starts[index]
        starts[last[repeats > 1]] = False
    values, masks = clamp
    y, state = _run(x[index], params, state, starts, (values[index], masks[index]), counts.numpy())
    return y[last], state


def _run(
    x: Tensor,
    params: PlasticParams,
    state: PlasticState,
    episode_starts: Tensor | None,
    clamp: tuple[Tensor, Tensor] | None,
    counts: np.ndarray,
) -> tuple[Tensor, PlasticState]:
    """The sequence form without repeats; counts: (T,), how often each step updates the trace."""
    starts = torch.zeros(x.shape[:2], dtype=torch.bool) if episode_starts is None else episode_starts
    values, masks = memory.no_clamp(x) if clamp is None else clamp
    call = Call(params, starts, values.detach(), masks, counts)
    inputs = Inputs.of(x, params, state)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in inputs):
        y, hidden, trace = _Plastic.apply(call, *inputs)
        return y, PlasticState(hidden, trace)
    prepared, plan = memory.prepare(params), memory.no_plan(x.shape[0])
    y, trace, _ = _forward(call, inputs, prepared, plan, keep=False)
    return y, PlasticState(y[-1].clone(), trace)


def step(
    x: Tensor,
    params: PlasticParams,
    state: PlasticState,
    episode_start: Tensor | None,
    clamp: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """The step form; arguments as in the public function, checked there."""
    hidden, trace = state.hidden.detach().contiguous(), state.trace.detach().contiguous()
    batch, n = x.shape
    out = torch.empty(batch, n, dtype=torch.float32)
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
        hidden.numpy(),
        trace.numpy(),
        out.numpy(),
        params.core_steps,
        memory.as_array(params.w),
        alpha,
        plasticity,
        *memory.rule_of(params),
    )
    put_back((state.hidden, state.trace), (hidden, trace))
    return out


class _Plastic(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: Any) -> tuple[Tensor, Tensor, Tensor]:
        inputs = Inputs(*tensors)
        prepared = memory.prepare(call.params)
        plan = memory.plan(call.params, call.values.numpy(), call.counts)
        y, trace_out, history = _forward(call, inputs, prepared, plan, keep=True)
        # All that is large is saved as a tensor: torch.utils.checkpoint lets go of it, and computes it again.
        large = torch.from_numpy(history.traces), torch.from_numpy(history.recalls)
        ctx.save_for_backward(inputs.hidden, call.starts, y, call.masks, *large)
        ctx.prepared, ctx.params = prepared, call.params
        ctx.plan, ctx.counts = plan, call.counts
        ctx.set_materialize_grads(False)
        return y, y[-1].clone(), trace_out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outgoing: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, starts, y, masks, traces, recalls = ctx.saved_tensors
        history = _history(hidden, starts, y, recalls.numpy(), traces.numpy(), ctx.plan, ctx.counts)
        result = gradients(
            ctx.params,
            ctx.prepared,
            history,
            ctx.plan.undo,
            memory.as_array(masks),
            Outgoing(*outgoing),
            Inputs(*ctx.needs_input_grad[1:]),
        )
        return None, *result


def _forward(
    call: Call, inputs: Inputs, prepared: memory.Prepared, plan: memory.Plan, *, keep: bool
) -> tuple[Tensor, Tensor, History]:
    """Returns y (T, B, N), the final trace, and the history; ``keep`` stores traces for the backward."""
    x, hidden, trace, *_ = inputs
    assert x is not None
    assert hidden is not None
    assert trace is not None
    steps, batch, n = x.shape
    y = torch.empty(steps, batch, n, dtype=torch.float32)
    trace_in = memory.as_array(trace)
    trace_out = torch.empty(trace_in.shape, dtype=torch.float32)
    stored = memory.store(plan, batch, n) if keep else memory.no_traces()
    recalls = memory.recalls(call.params.core_steps, steps, batch, n)
    history = _history(hidden, call.starts, y, recalls, stored, plan, call.counts)
    clamp = memory.as_array(call.values), memory.as_array(call.masks)
    chunks = memory.chunks_for(batch, steps * n * n)
    traces = trace_in, trace_out.numpy()
    scratch = tuple(memory.staggered(place, chunks, memory.packed_size(n)) for place in (2, 3))
    in_chunks(
        kernels.forward, chunks, batch, memory.as_array(x), *traces, *clamp, history, *prepared, scratch
    )
    return y, trace_out, history


def _history(
    hidden: Tensor,
    starts: Tensor,
    y: Tensor,
    recalls: np.ndarray,
    traces: np.ndarray,
    plan: memory.Plan,
    counts: np.ndarray,
) -> History:
    vectors = memory.as_array(hidden), memory.as_array(starts), y.detach().numpy()
    return History(*vectors, recalls, traces, plan.firsts, plan.places, counts)
