"""Gated cells, every cell with ``retroactive``, and networks without a trace, on the torch side.

Sequences, steps and their gradients.

This module imports numba: it is imported only when the backend is used.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from plastic_rl.ops.plastic_rnn.cells import get_cell
from plastic_rl.ops.plastic_rnn.numba import forward as kernels
from plastic_rl.ops.plastic_rnn.numba import gated_backward, gated_forward, memory, plain_kernels, retroactive
from plastic_rl.ops.plastic_rnn.numba.gated_cells import CANDIDATE, CellsBack, Gates
from plastic_rl.ops.plastic_rnn.numba.gradients import (
    Outgoing,
    downstream,
    reads,
    upstream,
)
from plastic_rl.ops.plastic_rnn.numba.simd import LANES
from plastic_rl.ops.plastic_rnn.numba.structs import History, Scratch
from plastic_rl.ops.plastic_rnn.rules import get_rule
from plastic_rl.ops.plastic_rnn.state import put_back
from plastic_rl.ops.plastic_rnn.threads import in_chunks
from plastic_rl.ops.plastic_rnn.types import PlasticParams, PlasticState
from plastic_rl.ops.plastic_rnn.written_out import repeats_written_out


class Run(NamedTuple):
    """What a forward pass leaves for the backward pass.

    gates: with transposed weights
    fired: (T core_steps, B, rows, width), see ``gated_cells``
    memory: (B, N), c before the first step, or (B, 0)
    masks: (T, B, N) of the clamp, or (T, B, 0)
    undo: as in the kernels
    w_transposed: packed, of a network without a trace, else empty
    seconds: (K, B, packed), the second trace where ``history`` has the first; empty where there is none
    """

    params: PlasticParams
    prepared: memory.Prepared
    gates: Gates
    history: History
    fired: np.ndarray
    memory: np.ndarray
    masks: np.ndarray
    undo: bool
    w_transposed: np.ndarray
    seconds: np.ndarray


class Call(NamedTuple):
    """What a sequence is run with: starts (T, B), values and masks of the clamp, (T, B, N) or (T, B, 0)."""

    params: PlasticParams
    starts: Tensor
    values: Tensor
    masks: Tensor


def sequence(
    x: Tensor,
    params: PlasticParams,
    state: PlasticState,
    episode_starts: Tensor | None,
    clamp: tuple[Tensor, Tensor] | None,
    repeats: Tensor | None,
) -> tuple[Tensor, PlasticState]:
    """The sequence form; arguments as in the public function, checked there."""
    # Without a trace and without c nothing changes while the clamp holds all there is.
    unchanged = not params.plastic and not get_cell(params.cell).memory
    if repeats is not None and not unchanged and (repeats > 1).any():
        return repeats_written_out(sequence, x, params, state, episode_starts, clamp, repeats)
    if not params.plastic and params.core_steps > 1:
        # Without a trace inner steps are steps.
        inner, once = torch.full((len(x),), params.core_steps), replace(params, core_steps=1)
        return repeats_written_out(sequence, x, once, state, episode_starts, clamp, inner)
    starts = torch.zeros(x.shape[:2], dtype=torch.bool) if episode_starts is None else episode_starts
    values, masks = memory.no_clamp(x) if clamp is None else clamp
    call = Call(params, starts, values.detach(), masks)
    named = {"x": x, **state._asdict(), **params.tensors()}
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in named.values()):
        y, *parts = _Gated.apply(call, tuple(named), *named.values())
        return y, PlasticState(*parts)
    y, final, _ = _forward(call, named, keep=False)
    return y, final


def step(
    x: Tensor,
    params: PlasticParams,
    state: PlasticState,
    episode_start: Tensor | None,
    clamp: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """The step form; arguments as in the public function, checked there."""
    dense = state.detach().map(Tensor.contiguous)
    hidden, trace, cell = dense.hidden, dense.trace, dense.cell
    batch, n = hidden.shape
    starts = memory.no_starts(batch) if episode_start is None else memory.as_array(episode_start)
    values, masks = memory.no_step_clamp(batch)
    if clamp is not None:
        values, masks = memory.as_array(clamp[0]), memory.as_array(clamp[1])
    w_gates = np.empty((n, 0), np.float32) if params.w_gates is None else memory.as_array(params.w_gates)
    alpha, plasticity = memory.no_matrix(), np.float32(0)
    if params.alpha is not None and params.alpha.dim() == 2:
        alpha = memory.as_array(params.alpha)
    elif params.alpha is not None:
        plasticity = np.float32(params.alpha.item())
    out = torch.empty(batch, n, dtype=torch.float32)
    both = _has_second(params)
    in_chunks(
        retroactive.retroactive_step if both else gated_forward.gated_step,
        memory.chunks_for(batch, (n + w_gates.shape[1]) * n),
        batch,
        memory.as_array(x),
        starts,
        values,
        masks,
        hidden.numpy(),
        trace.numpy(),
        *((dense.eligibility.numpy(),) if both else ()),
        cell.numpy(),
        out.numpy(),
        params.core_steps,
        _code(params),
        w_gates,
        memory.pad(params.b_u, n),
        memory.as_array(params.w),
        alpha,
        plasticity,
        *memory.rule_of(params),
    )
    put_back(state, dense)
    return out


def _has_second(params: PlasticParams) -> bool:
    return params.plastic and get_rule(params.rule).eligibility


def _code(params: PlasticParams) -> int:
    code = get_cell(params.cell).code
    assert code is not None
    return code


def pack_gates(params: PlasticParams, *, transposed: bool = False) -> Gates:
    """The gates' weights, packed one by one, in memory of their own."""
    n = params.n
    blocks = () if params.w_gates is None else params.w_gates.detach().split(n, dim=1)
    packed = memory.staggered(3, len(blocks), memory.packed_size(n))
    for k, block in enumerate(blocks):
        kernels.pack_matrix(memory.as_array(block.t() if transposed else block), packed[k])
    return Gates(_code(params), packed, memory.pad(params.b_u, n))


def room_for_fired(steps: int, batch: int, params: PlasticParams) -> np.ndarray:
    """Room for what inner steps leave for the way back."""
    gates = get_cell(params.cell).gates
    rows = gates + 2 if gates > 0 else 1
    return np.empty((steps, batch, rows, memory.padded(params.n)), np.float32)


def _forward(call: Call, named: dict[str, Tensor], *, keep: bool) -> tuple[Tensor, PlasticState, Run]:
    """Returns y (T, B, N), the final state, and what the backward pass needs if ``keep``."""
    params, x = call.params, named["x"]
    steps, batch, _ = x.shape
    n = params.n
    y = torch.empty(steps, batch, n, dtype=torch.float32)
    counts = memory.no_repeats(steps)
    plan = memory.no_plan(steps)
    if keep and params.plastic:
        plan = memory.plan(params, call.values.numpy(), counts)
    stored = memory.store(plan, batch, n) if keep and params.plastic else memory.no_traces()
    history = History(
        memory.as_array(named["hidden"]), memory.as_array(call.starts), y.numpy(),
        memory.recalls(params.core_steps, steps, batch, n), stored, plan.firsts, plan.places, counts,
    )  # fmt: skip
    prepared, gates = memory.prepare(params), pack_gates(params)
    fired = room_for_fired(steps * params.core_steps if keep else 1, batch, params)
    cell_in = memory.as_array(named["cell"])
    cell = torch.empty(cell_in.shape, dtype=torch.float32)
    trace = torch.empty(named["trace"].shape, dtype=torch.float32)
    second = torch.empty(named["eligibility"].shape, dtype=torch.float32)
    seconds = memory.no_traces()
    clamp = memory.as_array(call.values), memory.as_array(call.masks)
    arguments = (cell_in, cell.numpy(), *clamp, history)
    chunks = memory.chunks_for(batch, (1 + len(gates.w)) * steps * params.core_steps * n * n)
    array = memory.as_array(x)
    if params.plastic:
        traces = memory.as_array(named["trace"]), trace.numpy()
        scratch = tuple(memory.staggered(place, chunks, memory.packed_size(n)) for place in (2, 3))
    if _has_second(params):
        seconds = memory.store(plan, batch, n) if keep else seconds
        both = *traces, memory.as_array(named["eligibility"]), second.numpy()
        in_chunks(
            retroactive.retroactive_forward, chunks, batch, array, *both, *arguments, seconds, *prepared,
            gates, fired, scratch,
        )  # fmt: skip
    elif params.plastic:
        in_chunks(
            gated_forward.gated_forward,
            chunks,
            batch,
            array,
            *traces,
            *arguments,
            *prepared,
            gates,
            fired,
            scratch,
        )
    else:
        w, rule = prepared.weights.w, prepared.rule
        in_chunks(plain_kernels.plain_forward, chunks, batch, array, *arguments, w, rule, gates, fired)
    run = Run(params, prepared, gates, history, fired, cell_in, clamp[1], plan.undo, memory.zeros(0), seconds)
    return y, PlasticState(y[-1].clone(), trace, cell, second), run


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: Call, names: tuple[str, ...], *tensors: Tensor) -> tuple[Tensor, ...]:
        y, final, run = _forward(call, dict(zip(names, tensors, strict=True)), keep=True)
        ctx.names = names
        history = run.history
        # All that is large is saved as a tensor: torch.utils.checkpoint lets go of it, and computes it again.
        large = [
            torch.from_numpy(array) for array in (history.recalls, history.traces, run.fired, run.seconds)
        ]
        # The state and y, so that a change of them in place is noticed.
        ctx.save_for_backward(tensors[names.index("hidden")], tensors[names.index("cell")], y, *large)
        none = memory.no_traces()
        run = run._replace(
            history=history._replace(y=none, recalls=none, traces=none), fired=none, seconds=none
        )
        ctx.run = transposed(run)
        ctx.set_materialize_grads(False)
        return y, *final

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outgoing: Tensor | None) -> tuple[Tensor | None, ...]:
        y, recalls, traces, fired, seconds = (saved.detach().numpy() for saved in ctx.saved_tensors[2:])
        history = ctx.run.history._replace(y=y, recalls=recalls, traces=traces)
        run = ctx.run._replace(history=history, fired=fired, seconds=seconds)
        wanted = dict(zip(ctx.names, ctx.needs_input_grad[2:], strict=True))
        found = gradients(run, outgoing, with_trace=wanted["trace"] or wanted["eligibility"])
        return None, None, *(found[name] if wanted[name] else None for name in ctx.names)


def transposed(run: Run) -> Run:
    """With the matrices as the way back takes them."""
    w = run.w_transposed
    if not run.params.plastic:
        w = memory.staggered(0, memory.packed_size(run.params.n))
        kernels.pack_matrix(memory.as_array(run.params.w.t()), w)
    return run._replace(gates=pack_gates(run.params, transposed=True), w_transposed=w)


def gradients(run: Run, outgoing: tuple[Tensor | None, ...], *, with_trace: bool) -> dict[str, Tensor | None]:
    """The gradient of every tensor that there is, by name, from those of y and of the final state's parts."""
    params, history, prepared = run.params, run.history, run.prepared
    steps, batch, n = history.y.shape
    dy, dhidden, dtrace, dcell, dsecond = outgoing
    y = torch.from_numpy(history.y)
    up = upstream(y, Outgoing(dy, dhidden, dtrace if params.plastic else None))
    up_cell = np.zeros_like(run.memory) if dcell is None else memory.as_array(dcell)
    chunks = memory.chunks_for(batch, (1 + len(run.gates.w)) * steps * params.core_steps * n * n)
    down = downstream(
        y, chunks, prepared.weights.alpha.size, with_trace=with_trace and params.plastic,
        with_w=params.plastic, gates=len(run.gates.w),
    )  # fmt: skip
    inner_steps = steps * (1 + history.recalls.shape[1])
    down = down._replace(pre=np.empty((inner_steps, batch, n), np.float32))
    dx = np.empty((inner_steps, batch, (1 + len(run.gates.w)) * n), np.float32)
    down_cell = np.empty_like(run.memory)
    size = memory.packed_size(n)
    da = np.zeros((chunks, len(run.gates.w), memory.padded(n)), np.float32)
    cells = CellsBack(run.gates, run.fired, run.memory, dx, da)
    if _has_second(params):
        up_second = memory.no_traces() if dsecond is None else memory.as_array(dsecond)
        dsecond = torch.empty(down.trace.shape, dtype=torch.float32)
        longest = np.bincount(history.places).max()
        both = (
            *(memory.staggered(place, chunks, size) for place in (2, 3)),
            memory.staggered(5, chunks, n * LANES),
            *(memory.staggered(place, chunks, longest, size) for place in (2, 3)),
        )
        in_chunks(
            retroactive.retroactive_backward, chunks, batch, up, up_second, up_cell, run.masks, history,
            run.seconds, *prepared, cells, both, down, dsecond.numpy(), down_cell,
        )  # fmt: skip
    elif params.plastic:
        scratch = Scratch(
            memory.staggered(2, chunks, size),
            memory.staggered(3, chunks, size),
            memory.staggered(5, chunks, n * LANES),
            memory.staggered(4, chunks, n * LANES),
            memory.staggered(4, chunks, 0),
            memory.staggered(2, chunks, 0 if run.undo else np.bincount(history.places).max(), size),
        )
        in_chunks(
            gated_backward.gated_backward, chunks, batch, up, run.masks, history, *prepared, run.undo, cells,
            scratch, up_cell, down, down_cell,
        )  # fmt: skip
    else:
        in_chunks(
            plain_kernels.plain_backward, chunks, batch, up, run.masks, history, cells,
            run.w_transposed, prepared.rule, up_cell, down, down_cell,
        )  # fmt: skip
    du = torch.from_numpy(down.pre)
    dw = torch.from_numpy(down.w.sum(0)).unflatten(1, (1 + len(run.gates.w), -1))[:n, :, :n]
    if not params.plastic:
        dw = _plain_weights(history, du, dx)
    # One row per thread, added up in a fixed order.
    deta, db_m, dplasticity = (torch.tensor(total, dtype=torch.float32) for total in down.scalars.sum(0))
    dalpha = dplasticity
    if prepared.weights.alpha.size > 0:
        dalpha = torch.empty(1, n, n, dtype=torch.float32)
        kernels.unpack_matrices(down.alpha.sum(0, keepdims=True), dalpha.numpy())
        dalpha = dalpha[0]
    return {
        "x": _sum_of_inner_steps(dx, history),
        "hidden": torch.from_numpy(down.hidden),
        # Without plasticity the trace is (B, 0, 0) and comes out as it went in.
        "trace": torch.from_numpy(down.trace) if params.plastic else dtrace,
        "cell": torch.from_numpy(down_cell),
        "eligibility": dsecond,
        "w": dw[:, 0],
        "w_gates": dw[:, 1:].flatten(1),
        "b_u": du.sum((0, 1)),
        "alpha": dalpha,
        "eta": deta,
        "w_m": torch.from_numpy(down.w_m.sum(0)[:n]),
        "b_m": db_m,
        "fan_out": torch.from_numpy(down.fan_out.sum(0)[:n]),
    }


def _sum_of_inner_steps(dx: np.ndarray, history: History) -> Tensor:
    """From (T core_steps, B, M) to (T, B, M)."""
    core_steps = 1 + history.recalls.shape[1]
    each = torch.from_numpy(dx)
    return each if core_steps == 1 else each.unflatten(0, (-1, core_steps)).sum(1)


def _plain_weights(history: History, du: Tensor, dx: np.ndarray) -> Tensor:
    """The gradients (N, 1 + K, N) of the weights of a network without a trace: as one matrix product."""
    n = du.shape[2]
    parts = torch.from_numpy(dx).split(n, dim=2)
    gates = parts[:CANDIDATE] + parts[CANDIDATE + 1 :] if len(parts) > 1 else ()
    sent = torch.cat((du, *gates), dim=2)
    return (reads(history).flatten(0, 2).t() @ sent.flatten(0, 1)).unflatten(1, (-1, n))
