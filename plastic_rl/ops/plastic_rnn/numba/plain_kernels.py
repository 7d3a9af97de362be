"""The compiled entry points of networks without a trace, of every cell: four environments at a time.

Without a trace all of them read the same matrices, so four share every load. A last group that is not full
repeats its last member.

This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from plastic_rl.ops.plastic_rnn.numba.bptt import memory_before
from plastic_rl.ops.plastic_rnn.numba.compiling import assert_order, entry
from plastic_rl.ops.plastic_rnn.numba.gated_cells import Gates, cell_backward, drive, fire_cell, send_drive
from plastic_rl.ops.plastic_rnn.numba.packed import read_out
from plastic_rl.ops.plastic_rnn.numba.simd import inner
from plastic_rl.ops.plastic_rnn.numba.structs import History, Rule, Weights
from plastic_rl.ops.plastic_rnn.numba.vectors import ZERO, add, copy, fill, first_reads


@entry
def plain_forward(
    chunk, low, high, x, cell_in, cell_out, clamp_values, clamp_masks, history, w, rule, gates, fired
):
    """Carry environments low to high - 1 through all steps; arguments as in ``gated_forward``."""
    n, width, count = history.y.shape[2], rule.w_m.size, gates.w.shape[0]
    c, u = np.zeros((4, width), np.float32), np.zeros((4, width), np.float32)
    q, own = np.zeros((count, 4, width), np.float32), np.zeros((count, width), np.float32)
    now = np.zeros((4, n), np.float32)
    for first in range(low, high, 4):
        group = first, min(first + 1, high - 1), min(first + 2, high - 1), min(first + 3, high - 1)
        for e, b in enumerate(group):
            copy(cell_in[b], c[e])
        for t in range(x.shape[0]):
            plain_step(
                t, group, x[t], clamp_values[t], clamp_masks[t], history, w, rule, gates, fired, c, u, q, own,
                now,
            )  # fmt: skip
        for e, b in enumerate(group):
            copy(c[e, : cell_out.shape[1]], cell_out[b])


@entry
def record_plain(
    chunk, low, high, t, x, memory, fired, cell, gate_weights, b_u,
    hidden, starts, y, recalls, traces, firsts, places, counts,
    w, alpha, plasticity,
    code, activation, eta, b_m, bound, w_m, fan_out,
):  # fmt: skip
    """Step t of environments low to high - 1.

    x: (B, (K + 1) N); memory: (B, width), c, kept from one call to the next; cell: the code of the cell
    the rest: a ``History``, the ``Weights`` and the ``Rule``
    """
    history = History(hidden, starts, y, recalls, traces, firsts, places, counts)
    rule = Rule(code, activation, eta, b_m, bound, w_m, fan_out)
    gates = Gates(cell, gate_weights, b_u)
    n, width, count = y.shape[2], w_m.size, gate_weights.shape[0]
    c, u = np.zeros((4, width), np.float32), np.zeros((4, width), np.float32)
    q, own = np.zeros((count, 4, width), np.float32), np.zeros((count, width), np.float32)
    now = np.zeros((4, n), np.float32)
    no_values, no_masks = np.empty((y.shape[1], 0), np.float32), np.empty((y.shape[1], 0), np.bool_)
    for first in range(low, high, 4):
        group = first, min(first + 1, high - 1), min(first + 2, high - 1), min(first + 3, high - 1)
        for e, b in enumerate(group):
            copy(memory[b], c[e])
        plain_step(t, group, x, no_values, no_masks, history, w, rule, gates, fired, c, u, q, own, now)
        for e, b in enumerate(group):
            copy(c[e], memory[b])


assert_order(record_plain, History, Weights, Rule)


@inner
def plain_step(t, group, x, clamp_values, clamp_masks, history, w, rule, gates, fired, c, u, q, own, now):
    """Step t of four environments.

    x, clamp_values, clamp_masks: of the step, (B, ...)
    c, u: (4, width); q: (K, 4, width); own: (K, width); now: (4, N)
    """
    count = gates.w.shape[0]
    slot = t if fired.shape[0] > 1 else 0
    for e, b in enumerate(group):
        drive(gates.code, x[b], gates.b_u, u[e], own)
        for k in range(count):
            copy(own[k], q[k, e])
        first_reads(t, b, history, now[e])
        if history.starts[t, b]:
            fill(c[e], ZERO)
    read_out(w, now, u)
    for k in range(count):
        read_out(gates.w[k], now, q[k])
    for e, b in enumerate(group):
        for k in range(count):
            copy(q[k, e], own[k])
        fire_cell(
            gates.code, rule.activation, x[b], own, u[e], now[e], c[e], clamp_values[b], clamp_masks[b],
            fired[slot, b], history.y[t, b],
        )  # fmt: skip


@entry
def plain_backward(
    chunk, low, high, up, clamp_masks, history, cells, w_transposed, rule, up_cell, down, down_cell
):
    """The gradients of environments low to high - 1; arguments as in ``gated_backward``."""
    steps, _, n = history.y.shape
    width, count = rule.w_m.size, cells.gates.w.shape[0]
    carry, dc = np.zeros((4, width), np.float32), np.zeros((4, width), np.float32)
    sent = np.zeros((count + 1, 4, n), np.float32)
    vectors = np.zeros((5, width), np.float32)
    now = np.zeros(n, np.float32)
    for first in range(low, high, 4):
        group = first, min(first + 1, high - 1), min(first + 2, high - 1), min(first + 3, high - 1)
        for e, b in enumerate(group):
            copy(up.hidden[b], carry[e])
            copy(up_cell[b], dc[e])
        for t in range(steps - 1, -1, -1):
            for e, b in enumerate(group):
                plain_neurons_back(
                    t, b, up, clamp_masks[t, b], history, cells, cells.da[chunk], rule, vectors, now,
                    carry[e], dc[e], sent[:, e], down,
                )  # fmt: skip
            read_out(w_transposed, sent[count], carry)
            for k in range(count):
                read_out(cells.gates.w[k], sent[k], carry)
            for e, b in enumerate(group):
                if history.starts[t, b]:
                    fill(carry[e], ZERO)
                    fill(dc[e], ZERO)
        for e, b in enumerate(group):
            copy(carry[e, :n], down.hidden[b])
            copy(dc[e, : down_cell.shape[1]], down_cell[b])


@inner
def plain_neurons_back(t, b, up, clamp_mask, history, cells, da, rule, vectors, now, carry, dc, sent, down):
    """One environment's neurons at step t.

    carry, dc: (width,), the gradients of h' and c', become what goes past the connections to h and c
    sent: (K + 1, N), becomes the gradients of the gates' read-outs, and last of the candidate's
    """
    dy, dh, c, du, direct = vectors[0], vectors[1], vectors[2], vectors[3], vectors[4]
    n, count = now.size, da.shape[0]
    first_reads(t, b, history, now)
    copy(carry, dh)
    add(up.y[t, b], dh)
    fill(dy, ZERO)
    memory_before(t, 0, b, history, cells, c)
    cell_backward(
        cells.gates.code, rule.activation, n, clamp_mask, cells.fired[t, b], now, c, dy, dh, dc, da, du,
        direct,
    )  # fmt: skip
    copy(du[:n], down.pre[t, b])
    send_drive(da, dy, cells.dx[t, b])
    copy(direct, carry)
    for k in range(count):
        copy(da[k, :n], sent[k])
    copy(du[:n], sent[count])
