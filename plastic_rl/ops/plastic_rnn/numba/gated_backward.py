"""The compiled entry points that carry gradients back through gated cells.

Like ``backward.py``, whose passes over the trace they share; the gradient of the read-out, du, takes the
place of dpre there. Weights' gradients are matrix products afterwards.

This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from plastic_rl.ops.plastic_rnn.numba.compiling import entry
from plastic_rl.ops.plastic_rnn.numba.gated_cells import (
    cell_backward,
    cell_coefficients,
    cell_coefficients_backward,
    read_out_one,
    send_drive,
)
from plastic_rl.ops.plastic_rnn.numba.passes import (
    column_sums,
    overlap_sums,
    pack,
    read_out,
    settle,
    step_back,
    unpack,
)
from plastic_rl.ops.plastic_rnn.numba.simd import LANES, inner, lane_sum, load
from plastic_rl.ops.plastic_rnn.numba.structs import Earlier, Held, Later, Step
from plastic_rl.ops.plastic_rnn.numba.vectors import (
    ONE,
    ZERO,
    add,
    copy,
    fill,
    is_stored,
    presynaptic,
    release,
)


@inner
def update_of(s, b, history, fired, rule, decay, gain, wide):
    """Decay and gain of step s; ``wide`` becomes its hidden state."""
    copy(history.y[s, b], wide)
    cell_coefficients(rule, fired[s, b, 0], wide, decay, gain)


@inner
def roll(s, b, history, fired, rule, trace, result, decay, gain, wide, now):
    """Take the trace from before step s, reset included, to its end; ``result`` may be ``trace``."""
    if history.starts[s, b]:
        fill(trace, ZERO)
    update_of(s, b, history, fired, rule, decay, gain, wide)
    presynaptic(s, b, history, now)
    settle(trace, rule.bound, decay, gain, now, result)


@inner
def rebuild(t, b, history, fired, rule, trace, decay, gain, wide, now):
    """The trace at the end of step t - 1, from the last stored trace or, if later, the last reset."""
    start = history.firsts[history.places[t - 1]]
    copy(history.traces[history.places[t - 1], b], trace)
    for s in range(t - 1, start, -1):
        if history.starts[s, b]:
            start = s
            break
    for s in range(start, t):
        roll(s, b, history, fired, rule, trace, trace, decay, gain, wide, now)


@inner
def fill_window(t, b, history, fired, rule, window, decay, gain, wide, now):
    """The trace before each step from the last stored one up to step t, as step t reads it."""
    start = history.firsts[history.places[t]]
    copy(history.traces[history.places[t], b], window[0])
    for s in range(start, t):
        roll(s, b, history, fired, rule, window[s - start], window[s - start + 1], decay, gain, wide, now)
    if history.starts[t, b]:
        fill(window[t - start], ZERO)


@inner
def memory_before(t, b, history, cell_in, fired, out):
    """Into out: c before step t, the last row of what the step before fired; as it is in a cell without c."""
    if cell_in.shape[1] == 0:
        return
    if history.starts[t, b]:
        fill(out, ZERO)
    elif t == 0:
        copy(cell_in[b], out)
    else:
        copy(fired[t - 1, b, fired.shape[2] - 1], out)


@entry
def gated_backward(
    chunk, low, high, up, cell_in, up_cell, clamp_masks, history, fired, weights, rule, gates, undo, scratch,
    down, dx, down_cell,
):  # fmt: skip
    """Carry the gradients of environments low to high - 1 back through all steps.

    cell_in, up_cell, down_cell: (B, N), c before and its gradients, or (B, 0); dx: (T, B, (K + 1) N), filled
    gates: with transposed weights; down: its ``pre`` becomes du; the rest as in ``backward``
    """
    n, width = history.y.shape[2], rule.w_m.size
    vectors = np.zeros((18, width), np.float32)
    da = np.zeros((gates.w.shape[0], width), np.float32)
    reads = np.zeros((3, n), np.float32)
    nothing, no_reads = np.empty((0, width), np.float32), np.empty((0, n), np.float32)
    no_held = Held(nothing, nothing, nothing, no_reads, nothing, nothing, scratch.held_rows[chunk])
    for b in range(low, high):
        run_back(
            chunk, b, up, cell_in, up_cell, clamp_masks, history, fired, weights, rule, gates, undo, scratch,
            down, dx, down_cell, vectors, da, reads, no_held,
        )  # fmt: skip


@inner
def run_back(
    chunk, b, up, cell_in, up_cell, clamp_masks, history, fired, weights, rule, gates, undo, scratch, down,
    dx, down_cell, vectors, da, reads, no_held,
):  # fmt: skip
    """Carry the gradients of environment b back through all steps.

    vectors: (18, width); da: (K, width); reads: (3, N)
    """
    steps, _, n = history.y.shape
    full = weights.alpha.size > 0
    dy, carry = vectors[1], vectors[2]
    decay, gain, inverse = vectors[3], vectors[4], vectors[5]
    dgain, ddecay, overlap = vectors[6], vectors[7], vectors[8]
    earlier_decay, earlier_gain = vectors[9], vectors[10]
    wide, dh, c, dc, du, direct = vectors[12], vectors[13], vectors[14], vectors[15], vectors[16], vectors[17]
    now, before = reads[0], reads[1]
    later = Later(vectors[11], reads[2])
    trace, grad, window = scratch.trace[chunk], scratch.grad[chunk], scratch.window[chunk]
    rows, touched = scratch.rows[chunk], scratch.touched[chunk]
    dalpha, dscalars = down.alpha[chunk], down.scalars[chunk]
    dw_m, dfan_out = down.w_m[chunk], down.fan_out[chunk]
    copy(up.hidden[b], carry)
    copy(up_cell[b], dc)
    if up.trace.size > 0:
        pack(up.trace[b], grad)
    else:
        fill(grad, ZERO)
    fill(dgain, ZERO)
    fill(overlap, ZERO)
    if undo:
        copy(history.traces[history.traces.shape[0] - 1, b], trace)
        presynaptic(steps - 1, b, history, now)
        overlap_sums(trace, grad, now, dgain, overlap)
    deferred = False  # whether dalpha lacks what step t + 1 gives
    summed = False  # whether dgain and ddecay are those of step t already
    for t in range(steps - 1, -1, -1):
        place = t - history.firsts[history.places[t]]
        if not undo and (t == steps - 1 or is_stored(t + 1, history)):
            fill_window(t, b, history, fired, rule, window, decay, gain, wide, now)
        presynaptic(t, b, history, now)
        update_of(t, b, history, fired, rule, decay, gain, wide)
        if not undo:
            if not summed:
                column_sums(window[place], grad, rule, decay, gain, now, dgain, ddecay)
        else:
            for j in range(inverse.size):
                inverse[j] = ONE / decay[j]
                ddecay[j] = (overlap[j] - gain[j] * dgain[j]) * inverse[j]
        copy(carry, dh)
        add(up.y[t, b], dh)
        fill(dy, ZERO)
        y = fired[t, b, 0]
        cell_coefficients_backward(rule, y, wide, dgain, ddecay, dy, dh, dscalars, dw_m, dfan_out)
        release(clamp_masks[t, b], dh)
        memory_before(t, b, history, cell_in, fired, c)
        cell_backward(gates.code, rule.activation, n, fired[t, b], now, c, dy, dh, dc, da, du, direct)
        copy(du[:n], down.pre[t, b])
        send_drive(da, dy, dx[t, b])
        summed = False
        if history.starts[t, b]:
            fill(carry, ZERO)
            fill(dc, ZERO)
            fill(grad, ZERO)
            fill(overlap, ZERO)
            fill(dgain, ZERO)
            if undo and t > 0 and place != 0:
                rebuild(t, b, history, fired, rule, trace, decay, gain, wide, now)
            deferred = False
        else:
            if t > 0:
                presynaptic(t - 1, b, history, before)
            else:
                copy(now, before)
            h = trace if undo else window[place]
            step = Step(decay, gain, inverse, du, now, before)
            summed = not undo and place > 0
            earlier = Earlier(window[place - 1] if summed else h, earlier_decay, earlier_gain)
            if summed:
                update_of(t - 1, b, history, fired, rule, earlier_decay, earlier_gain, wide)
            # Undoing, every second step adds to dalpha for two: it has both traces in registers.
            two = deferred
            deferred = undo and full and not two and t > 0 and not history.starts[t - 1, b]
            sums = overlap if undo else ddecay
            step_back(
                undo, summed, deferred, two, h, grad, dalpha, weights, rule.bound, step, earlier, later,
                rows, touched, dgain, sums, 0, no_held, window, place,
            )  # fmt: skip
            if deferred:
                copy(du, later.dpre)
                copy(now, later.now)
            if not full:
                for i in range(n):
                    dscalars[2] += now[i] * lane_sum(load(touched, i * LANES))
            copy(direct, carry)
            for i in range(n):
                carry[i] += lane_sum(load(rows, i * LANES))
            for k in range(da.shape[0]):
                read_out_one(gates.w[k], da[k, :n], carry)
        if undo and t > 0 and is_stored(t, history):
            copy(history.traces[history.places[t], b], trace)
    copy(carry[:n], down.hidden[b])
    copy(dc[: down_cell.shape[1]], down_cell[b])
    if down.trace.size > 0:
        unpack(grad, down.trace[b])


@entry
def gated_plain_backward(
    chunk,
    low,
    high,
    up,
    cell_in,
    up_cell,
    clamp_masks,
    history,
    fired,
    w_transposed,
    rule,
    gates,
    down,
    dx,
    down_cell,
):
    """Without a trace: the gradients of environments low to high - 1, four at a time."""
    steps, _, n = history.y.shape
    width, count = rule.w_m.size, gates.w.shape[0]
    carry, dc = np.zeros((4, width), np.float32), np.zeros((4, width), np.float32)
    sent = np.zeros((count + 1, 4, n), np.float32)
    da = np.zeros((count, width), np.float32)
    vectors = np.zeros((5, width), np.float32)
    dy, dh, c, du, direct = vectors[0], vectors[1], vectors[2], vectors[3], vectors[4]
    now = np.zeros(n, np.float32)
    for first in range(low, high, 4):
        group = first, min(first + 1, high - 1), min(first + 2, high - 1), min(first + 3, high - 1)
        for e, b in enumerate(group):
            copy(up.hidden[b], carry[e])
            copy(up_cell[b], dc[e])
        for t in range(steps - 1, -1, -1):
            for e, b in enumerate(group):
                presynaptic(t, b, history, now)
                copy(carry[e], dh)
                add(up.y[t, b], dh)
                fill(dy, ZERO)
                release(clamp_masks[t, b], dh)
                memory_before(t, b, history, cell_in, fired, c)
                cell_backward(
                    gates.code, rule.activation, n, fired[t, b], now, c, dy, dh, dc[e], da, du, direct
                )
                copy(du[:n], down.pre[t, b])
                send_drive(da, dy, dx[t, b])
                copy(direct, carry[e])
                copy(du[:n], sent[count, e])
                for k in range(count):
                    copy(da[k, :n], sent[k, e])
            read_out(w_transposed, sent[count], carry)
            for k in range(count):
                read_out(gates.w[k], sent[k], carry)
            for e, b in enumerate(group):
                if history.starts[t, b]:
                    fill(carry[e], ZERO)
                    fill(dc[e], ZERO)
        for e, b in enumerate(group):
            copy(carry[e, :n], down.hidden[b])
            copy(dc[e, : down_cell.shape[1]], down_cell[b])
