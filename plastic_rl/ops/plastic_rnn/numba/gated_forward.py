"""The compiled entry points of gated cells: whole sequences, recorded steps and single steps.

Like ``forward.py``, whose passes over the trace they share: the hidden state takes the place of the
activations that are read, the candidate that of those that the rule sees.

This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from plastic_rl.ops.plastic_rnn.numba.compiling import assert_order, entry
from plastic_rl.ops.plastic_rnn.numba.forward import settle_and_read
from plastic_rl.ops.plastic_rnn.numba.forward_passes import forward_pair, recall_pair, recall_pass
from plastic_rl.ops.plastic_rnn.numba.gated_cells import (
    Gates,
    drive,
    fire_cell,
    read_out_one,
    read_out_two,
)
from plastic_rl.ops.plastic_rnn.numba.packed import pack, settle, unpack
from plastic_rl.ops.plastic_rnn.numba.rows import read_out_rows, update_rows
from plastic_rl.ops.plastic_rnn.numba.rules import coefficients
from plastic_rl.ops.plastic_rnn.numba.simd import inlined, inner
from plastic_rl.ops.plastic_rnn.numba.structs import Backlog, History, Rule, Weights
from plastic_rl.ops.plastic_rnn.numba.vectors import (
    ONE,
    UNBOUNDED,
    ZERO,
    add,
    copy,
    fill,
    first_reads,
    is_stored,
    presynaptic,
    reads_of,
)


@inner
def advance_cells(
    t, b, count, x, clamp_values, clamp_masks, history, weights, rule, gates, traces, backlog, fired,
    c, decay, gain, before, now, u, q, wide,
):  # fmt: skip
    """Step t of environment b, or (count = 2) of b and b + 1.

    x, clamp_values, clamp_masks: of the step, (B, ...)
    fired: (T core_steps, B, rows, width), or (1, B, rows, width) where there will be no backward pass
    traces: two; c, decay, gain, u: (2, width); before, now: (2, N); q: (2, K, width); wide: (width,)
    """
    for e in range(count):
        drive(gates.code, x[b + e], gates.b_u, u[e], q[e])
        if t > 0:
            presynaptic(t - 1, b + e, history, before[e])
        else:
            fill(before[e], ZERO)
        first_reads(t, b + e, history, now[e])
        if history.starts[t, b + e]:
            fill(c[e], ZERO)
    connect_cells(t, b, count, history, weights, rule, traces, backlog, decay, gain, before, now, u)
    last = history.recalls.shape[1]
    for s in range(last + 1):
        if s > 0:
            recall_cells(t, s, b, count, x, history, weights, gates, traces, now, u, q)
        read_gates(count, gates, now, q)
        slot = t * (last + 1) + s if fired.shape[0] > 1 else 0
        for e in range(count):
            out = history.recalls[t, s, b + e] if s < last else history.y[t, b + e]
            fire_cell(
                gates.code, rule.activation, x[b + e], q[e], u[e], now[e], c[e],
                clamp_values[b + e], clamp_masks[b + e], fired[slot, b + e], out,
            )  # fmt: skip
    slot = t * (last + 1) + last if fired.shape[0] > 1 else 0
    for e in range(count):
        copy(history.y[t, b + e], wide)
        coefficients(rule, fired[slot, b + e, 0], wide, decay[e], gain[e])


@inlined
def connect_cells(t, b, count, history, weights, rule, traces, backlog, decay, gain, before, now, u):
    """Apply the updates that step t - 1 left in (decay, gain), and read out for the first inner step."""
    if count == 2 and not (history.starts[t, b] or history.starts[t, b + 1]):
        # Nothing is pending at the first step, and a trace that comes in is taken as it is.
        bound = rule.bound if t > 0 else UNBOUNDED
        forward_pair(traces, weights, bound, decay, gain, before, now, u)
        if t > 0 and is_stored(t, history):
            for e in range(2):
                copy(traces[e], history.traces[history.places[t], b + e])
    else:
        for e in range(count):
            settle_and_read(
                t, b + e, history, weights, rule, traces[e], backlog, 0,
                decay[e], gain[e], before[e], now[e], u[e],
            )  # fmt: skip


@inlined
def recall_cells(t, s, b, count, x, history, weights, gates, traces, now, u, q):
    """Begin inner step s, which reads what the one before has fired."""
    for e in range(count):
        reads_of(t, s, b + e, history, now[e])
        drive(gates.code, x[b + e], gates.b_u, u[e], q[e])
    if count == 2:
        recall_pair(traces, weights, now, u)
    else:
        recall_pass(traces[0], weights, now[0], u[0])


@inlined
def read_gates(count, gates, now, q):
    """Add the gates' products."""
    for k in range(q.shape[1]):
        if count == 2:
            read_out_two(gates.w[k], now[0], now[1], q[0, k], q[1, k])
        else:
            read_out_one(gates.w[k], now[0], q[0, k])


@entry
def gated_forward(
    chunk, low, high, x, trace_in, trace_out, cell_in, cell_out, clamp_values, clamp_masks, history, weights,
    rule, gates, fired, scratch,
):  # fmt: skip
    """Carry environments low to high - 1 through all steps, two at a time.

    x: (T, B, (K + 1) N); cell_in, cell_out: (B, N), or (B, 0) in a cell without c
    fired: as in ``advance_cells``
    """
    n, width = history.y.shape[2], rule.w_m.size
    vectors = np.zeros((4, 2, width), np.float32)
    reads = np.zeros((2, 2, n), np.float32)
    q = np.zeros((2, gates.w.shape[0], width), np.float32)
    wide = np.zeros(width, np.float32)
    backlog = Backlog(
        np.empty((0, width), np.float32), np.empty((0, width), np.float32), np.empty((0, n), np.float32)
    )
    traces = scratch[0][chunk], scratch[1][chunk]
    b = low
    while b < high:
        count = 2 if b + 1 < high else 1
        run_cells(
            b, count, x, trace_in, trace_out, cell_in, cell_out, clamp_values, clamp_masks, history, weights,
            rule, gates, fired, traces, backlog, vectors, reads, q, wide,
        )  # fmt: skip
        b += count


@inner
def run_cells(
    b, count, x, trace_in, trace_out, cell_in, cell_out, clamp_values, clamp_masks, history, weights, rule,
    gates, fired, traces, backlog, vectors, reads, q, wide,
):  # fmt: skip
    """Carry environment b, or (count = 2) b and b + 1, through all steps."""
    c, decay, gain, u = vectors[0], vectors[1], vectors[2], vectors[3]
    before, now = reads[0], reads[1]
    steps = x.shape[0]
    keep = history.traces.shape[0] > 0
    fill(decay.reshape(-1), ONE)
    fill(gain.reshape(-1), ZERO)
    for e in range(count):
        copy(cell_in[b + e], c[e])
        pack(trace_in[b + e], traces[e])
        if keep:
            copy(traces[e], history.traces[0, b + e])
    for t in range(steps):
        advance_cells(
            t, b, count, x[t], clamp_values[t], clamp_masks[t], history, weights, rule, gates, traces,
            backlog, fired, c, decay, gain, before, now, u, q, wide,
        )  # fmt: skip
    for e in range(count):
        copy(c[e, : cell_out.shape[1]], cell_out[b + e])
        presynaptic(steps - 1, b + e, history, now[e])
        settle(traces[e], rule.bound, decay[e], gain[e], now[e], traces[e])
        unpack(traces[e], trace_out[b + e])
        if keep:
            copy(traces[e], history.traces[history.traces.shape[0] - 1, b + e])


@entry
def record_cells(
    chunk, low, high, t, x, c, fired, decay, gain, cell, gate_weights, b_u,
    hidden, starts, y, recalls, traces, firsts, places, counts,
    w, alpha, plasticity,
    code, activation, eta, b_m, bound, w_m, fan_out,
):  # fmt: skip
    """Step t of environments low to high - 1; their traces lie in the last place of ``traces``.

    x: (B, (K + 1) N); c, decay, gain: (B, width), kept from one call to the next; cell: the code of the cell
    the rest: a ``History``, the ``Weights`` and the ``Rule``
    """
    history = History(hidden, starts, y, recalls, traces, firsts, places, counts)
    weights = Weights(w, alpha, plasticity)
    rule = Rule(code, activation, eta, b_m, bound, w_m, fan_out)
    gates = Gates(cell, gate_weights, b_u)
    _, batch, n = y.shape
    width = w_m.size
    u = np.zeros((2, width), np.float32)
    reads = np.zeros((2, 2, n), np.float32)
    q = np.zeros((2, gate_weights.shape[0], width), np.float32)
    wide = np.zeros(width, np.float32)
    no_values, no_masks = np.empty((batch, 0), np.float32), np.empty((batch, 0), np.bool_)
    backlog = Backlog(
        np.empty((0, width), np.float32), np.empty((0, width), np.float32), np.empty((0, n), np.float32)
    )
    record_pairs(
        t, low, high, x, no_values, no_masks, history, weights, rule, gates, backlog, fired, c, decay, gain,
        reads, u, q, wide,
    )  # fmt: skip


assert_order(record_cells, History, Weights, Rule)


@inner
def record_pairs(
    t, low, high, x, no_values, no_masks, history, weights, rule, gates, backlog, fired, c, decay, gain,
    reads, u, q, wide,
):  # fmt: skip
    """Step t of environments low to high - 1, two at a time."""
    current = history.traces[history.traces.shape[0] - 1]
    b = low
    while b < high:
        count = 2 if b + 1 < high else 1
        last = b + count
        advance_cells(
            t, b, count, x, no_values, no_masks, history, weights, rule, gates,
            (current[b], current[last - 1]), backlog, fired, c[b:last], decay[b:last], gain[b:last],
            reads[0], reads[1], u, q, wide,
        )  # fmt: skip
        b = last
    if t == history.y.shape[0] - 1:
        for e in range(low, high):
            presynaptic(t, e, history, reads[0, 0])
            settle(current[e], rule.bound, decay[e], gain[e], reads[0, 0], current[e])


@entry
def gated_step(
    chunk, low, high, x, episode_start, clamp_values, clamp_masks, hidden, trace, memory, out, core_steps,
    cell, w_gates, b_u,
    w, alpha, plasticity,
    code, activation, eta, b_m, bound, w_m, fan_out,
):  # fmt: skip
    """One step of environments low to high - 1 on a row-major state, in place.

    x: (B, (K + 1) N); hidden, out: (B, N); memory: (B, N), c, or (B, 0)
    trace, w, alpha, w_gates: row-major; cell: the code of the cell; the rest: the ``Rule``
    """
    rule = Rule(code, activation, eta, b_m, bound, w_m, fan_out)
    width, n = w_m.size, hidden.shape[1]
    vectors = np.zeros((5, width), np.float32)
    decay, gain, u, c, wide = vectors[0], vectors[1], vectors[2], vectors[3], vectors[4]
    q = np.zeros((w_gates.shape[1] // n, width), np.float32)
    fired = np.zeros((len(q) + 2, width), np.float32)
    flat = np.empty(w_gates.shape[1], np.float32)
    for b in range(low, high):
        if episode_start[b]:
            fill(trace[b].reshape(-1), ZERO)
            fill(hidden[b], ZERO)
            fill(memory[b], ZERO)
        copy(memory[b], c)
        for s in range(core_steps):
            if s > 0:
                copy(out[b], hidden[b])
            fire_rows(
                x[b], clamp_values[b], clamp_masks[b], w, alpha, plasticity, trace[b], cell, w_gates, b_u,
                activation, hidden[b], c, u, q, flat, fired, out[b],
            )  # fmt: skip
        copy(c[: memory.shape[1]], memory[b])
        if trace.size > 0:
            copy(out[b], wide)
            coefficients(rule, fired[0], wide, decay, gain)
            update_rows(trace[b], rule.bound, decay, gain, hidden[b])
        copy(out[b], hidden[b])


@inlined
def fire_rows(
    x, clamp_value, clamp_mask, w, alpha, plasticity, trace, cell, w_gates, b_u, activation, h, c, u, q, flat,
    fired, out,
):  # fmt: skip
    """One inner step on row-major matrices. flat: (K N,), overwritten; the rest as in ``fire_cell``."""
    n = h.size
    drive(cell, x, b_u, u, q)
    read_out_rows(w, alpha, plasticity, trace, h, u)
    fill(flat, ZERO)
    read_out_rows(w_gates, w_gates[:0], plasticity, w_gates[:0], h, flat)
    for k in range(q.shape[0]):
        add(flat[k * n : k * n + n], q[k])
    fire_cell(cell, activation, x, q, u, h, c, clamp_value, clamp_mask, fired, out)
