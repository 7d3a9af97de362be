"""The compiled entry points of the rule ``retroactive``, with every cell.

Like those of gated cells, one environment at a time, with a second trace beside the first. Neither is undone
on the way back: both are rolled forward from where they are stored, window by window.

This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from plastic_rl.ops.plastic_rnn.numba.compiling import entry
from plastic_rl.ops.plastic_rnn.numba.gated_backward import memory_before
from plastic_rl.ops.plastic_rnn.numba.gated_cells import (
    RNN,
    cell_backward,
    drive,
    fire_cell,
    read_out_one,
    send_drive,
)
from plastic_rl.ops.plastic_rnn.numba.passes import pack, unpack
from plastic_rl.ops.plastic_rnn.numba.retroactive_passes import (
    backward_both,
    forward_both,
    retroactive_coefficients,
    retroactive_coefficients_backward,
    settle_both,
    sums_of_both,
    update_both_rows,
)
from plastic_rl.ops.plastic_rnn.numba.rows import read_out_rows
from plastic_rl.ops.plastic_rnn.numba.simd import LANES, inner, lane_sum, load
from plastic_rl.ops.plastic_rnn.numba.structs import Rule
from plastic_rl.ops.plastic_rnn.numba.vectors import (
    ONE,
    UNBOUNDED,
    ZERO,
    add,
    copy,
    fill,
    is_stored,
    presynaptic,
    release,
)


@entry
def retroactive_forward(
    chunk, low, high, x, trace_in, trace_out, second_in, second_out, cell_in, cell_out, clamp_values,
    clamp_masks, history, seconds, weights, rule, gates, fired, scratch,
):  # fmt: skip
    """Carry environments low to high - 1 through all steps.

    second_in, second_out: (B, N, N); seconds: what ``history.traces`` is, of the second trace
    """
    n, width = history.y.shape[2], rule.w_m.size
    vectors = np.zeros((6, width), np.float32)
    reads = np.zeros((2, n), np.float32)
    q = np.zeros((gates.w.shape[0], width), np.float32)
    for b in range(low, high):
        run(
            b, x, trace_in, trace_out, second_in, second_out, cell_in, cell_out, clamp_values, clamp_masks,
            history, seconds, weights, rule, gates, fired, scratch[0][chunk], scratch[1][chunk], vectors,
            reads, q,
        )  # fmt: skip


@inner
def run(
    b, x, trace_in, trace_out, second_in, second_out, cell_in, cell_out, clamp_values, clamp_masks, history,
    seconds, weights, rule, gates, fired, trace, second, vectors, reads, q,
):  # fmt: skip
    """Carry environment b through all steps."""
    c, sent, decay, gain, u, wide = vectors[0], vectors[1], vectors[2], vectors[3], vectors[4], vectors[5]
    before, now = reads[0], reads[1]
    steps = x.shape[0]
    keep = history.traces.shape[0] > 0
    fill(c, ZERO)
    fill(u, ZERO)
    # Nothing is pending at the first step.
    fill(sent, ZERO)
    fill(decay, ONE)
    fill(gain, ZERO)
    copy(cell_in[b], c)
    pack(trace_in[b], trace)
    pack(second_in[b], second)
    if keep:
        copy(trace, history.traces[0, b])
        copy(second, seconds[0, b])
    for t in range(steps):
        drive(gates.code, x[t, b], gates.b_u, u, q)
        if t > 0:
            presynaptic(t - 1, b, history, before)
        else:
            fill(before, ZERO)
        presynaptic(t, b, history, now)
        due = keep and t > 0 and is_stored(t, history)
        bound = rule.bound if t > 0 else UNBOUNDED  # a trace that comes in is taken as it is
        if history.starts[t, b]:
            if due:
                place = history.places[t]
                settle_both(
                    trace,
                    second,
                    bound,
                    sent,
                    decay,
                    gain,
                    before,
                    history.traces[place, b],
                    seconds[place, b],
                )
            fill(trace, ZERO)
            fill(second, ZERO)
            fill(c, ZERO)
        else:
            forward_both(trace, second, weights, bound, sent, decay, gain, before, now, u)
            if due:
                copy(trace, history.traces[history.places[t], b])
                copy(second, seconds[history.places[t], b])
        for k in range(q.shape[0]):
            read_out_one(gates.w[k], now, q[k])
        row = fired[t if fired.shape[0] > 1 else 0, b]
        fire_cell(
            gates.code, rule.activation, x[t, b], q, u, now, c, clamp_values[t, b], clamp_masks[t, b], row,
            history.y[t, b],
        )  # fmt: skip
        copy(history.y[t, b], wide)
        retroactive_coefficients(rule, row[0], wide, sent, decay, gain)
    copy(c[: cell_out.shape[1]], cell_out[b])
    presynaptic(steps - 1, b, history, now)
    settle_both(trace, second, rule.bound, sent, decay, gain, now, trace, second)
    unpack(trace, trace_out[b])
    unpack(second, second_out[b])


@inner
def update_of(s, b, history, fired, rule, sent, decay, gain, wide):
    """M, d and g of step s; ``wide`` becomes its hidden state."""
    copy(history.y[s, b], wide)
    retroactive_coefficients(rule, fired[s, b, 0], wide, sent, decay, gain)


@inner
def fill_windows(t, b, history, seconds, fired, rule, window, second_window, sent, decay, gain, wide, now):
    """Both traces before each step from the last stored ones up to step t, as step t reads them."""
    start = history.firsts[history.places[t]]
    copy(history.traces[history.places[t], b], window[0])
    copy(seconds[history.places[t], b], second_window[0])
    for s in range(start, t + 1):
        k = s - start
        if history.starts[s, b]:
            fill(window[k], ZERO)
            fill(second_window[k], ZERO)
        if s < t:
            update_of(s, b, history, fired, rule, sent, decay, gain, wide)
            presynaptic(s, b, history, now)
            settle_both(
                window[k],
                second_window[k],
                rule.bound,
                sent,
                decay,
                gain,
                now,
                window[k + 1],
                second_window[k + 1],
            )


@entry
def retroactive_backward(
    chunk, low, high, up, up_second, cell_in, up_cell, clamp_masks, history, seconds, fired, weights, rule,
    gates, scratch, down, down_second, dx, down_cell,
):  # fmt: skip
    """Carry the gradients of environments low to high - 1 back through all steps.

    up_second: (B, N, N), or (0, 0, 0) for none; down_second: the same, where not wanted
    scratch: gradients (chunks, packed) of both traces, two of (chunks, lanes * N), and both windows (chunks,
        steps, packed)
    """
    n, width = history.y.shape[2], rule.w_m.size
    vectors = np.zeros((14, width), np.float32)
    da = np.zeros((gates.w.shape[0], width), np.float32)
    now = np.zeros(n, np.float32)
    for b in range(low, high):
        run_back(
            b, up, up_second, cell_in, up_cell, clamp_masks, history, seconds, fired, weights, rule, gates,
            scratch[0][chunk], scratch[1][chunk], scratch[2][chunk], scratch[3][chunk], scratch[4][chunk],
            scratch[5][chunk], down, down_second, dx, down_cell, down.alpha[chunk], down.scalars[chunk],
            down.w_m[chunk], down.fan_out[chunk], vectors, da, now,
        )  # fmt: skip


@inner
def run_back(
    b, up, up_second, cell_in, up_cell, clamp_masks, history, seconds, fired, weights, rule, gates,
    grad, second_grad, rows, touched, window, second_window,
    down, down_second, dx, down_cell, dalpha, dscalars, dw_m, dfan_out, vectors, da, now,
):  # fmt: skip
    """Carry the gradients of environment b back through all steps."""
    steps, _, n = history.y.shape
    full = weights.alpha.size > 0
    carry, sent, decay, gain = vectors[0], vectors[1], vectors[2], vectors[3]
    dsent, dgain, ddecay, dy, dh = vectors[4], vectors[5], vectors[6], vectors[7], vectors[8]
    wide, c, dc, du, direct = vectors[9], vectors[10], vectors[11], vectors[12], vectors[13]
    copy(up.hidden[b], carry)
    copy(up_cell[b], dc)
    fill(grad, ZERO)
    fill(second_grad, ZERO)
    if up.trace.size > 0:
        pack(up.trace[b], grad)
    if up_second.size > 0:
        pack(up_second[b], second_grad)
    for t in range(steps - 1, -1, -1):
        if t == steps - 1 or is_stored(t + 1, history):
            fill_windows(
                t, b, history, seconds, fired, rule, window, second_window, sent, decay, gain, wide, now
            )
        place = t - history.firsts[history.places[t]]
        trace, second = window[place], second_window[place]
        presynaptic(t, b, history, now)
        update_of(t, b, history, fired, rule, sent, decay, gain, wide)
        sums_of_both(trace, second, grad, second_grad, rule.bound, sent, now, dsent, dgain, ddecay)
        copy(carry, dh)
        add(up.y[t, b], dh)
        fill(dy, ZERO)
        retroactive_coefficients_backward(
            rule, fired[t, b, 0], wide, dsent, dgain, ddecay, dy, dh, dscalars, dw_m, dfan_out
        )
        release(clamp_masks[t, b], dh)
        if gates.code == RNN:
            release(clamp_masks[t, b], dy)
            add(dh, dy)
        memory_before(t, b, history, cell_in, fired, c)
        cell_backward(gates.code, rule.activation, n, fired[t, b], now, c, dy, dh, dc, da, du, direct)
        copy(du[:n], down.pre[t, b])
        send_drive(da, dy, dx[t, b])
        if history.starts[t, b]:
            fill(carry, ZERO)
            fill(dc, ZERO)
            fill(grad, ZERO)
            fill(second_grad, ZERO)
        else:
            backward_both(
                trace, grad, second_grad, dalpha, weights, sent, decay, gain, du, now, rows, touched
            )
            if not full:
                for i in range(n):
                    dscalars[2] += now[i] * lane_sum(load(touched, i * LANES))
            copy(direct, carry)
            for i in range(n):
                carry[i] += lane_sum(load(rows, i * LANES))
            for k in range(da.shape[0]):
                read_out_one(gates.w[k], da[k, :n], carry)
    copy(carry[:n], down.hidden[b])
    copy(dc[: down_cell.shape[1]], down_cell[b])
    if down.trace.size > 0:
        unpack(grad, down.trace[b])
    if down_second.size > 0:
        unpack(second_grad, down_second[b])


@entry
def retroactive_step(
    chunk, low, high, x, recurrent, episode_start, clamp_values, clamp_masks, hidden, trace, second, memory,
    out, cell, b_u,
    w, alpha, plasticity,
    code, activation, eta, b_m, bound, w_m, fan_out,
):  # fmt: skip
    """One step of environments low to high - 1 on a row-major state, in place; as ``gated_step``."""
    rule = Rule(code, activation, eta, b_m, bound, w_m, fan_out)
    width, count = w_m.size, recurrent.shape[1]
    vectors = np.zeros((6, width), np.float32)
    sent, decay, gain, u, c, wide = vectors[0], vectors[1], vectors[2], vectors[3], vectors[4], vectors[5]
    q = np.zeros((count, width), np.float32)
    fired = np.zeros((count + 2, width), np.float32)
    for b in range(low, high):
        drive(cell, x[b], b_u, u, q)
        for k in range(count):
            for j in range(recurrent.shape[2]):
                q[k, j] += recurrent[b, k, j]
        if episode_start[b]:
            fill(trace[b].reshape(-1), ZERO)
            fill(second[b].reshape(-1), ZERO)
        else:
            read_out_rows(w, alpha, plasticity, trace[b], hidden[b], u)
        copy(memory[b], c)
        fire_cell(cell, activation, x[b], q, u, hidden[b], c, clamp_values[b], clamp_masks[b], fired, out[b])
        copy(c[: memory.shape[1]], memory[b])
        copy(out[b], wide)
        retroactive_coefficients(rule, fired[0], wide, sent, decay, gain)
        update_both_rows(trace[b], second[b], rule.bound, sent, decay, gain, hidden[b])
        copy(out[b], hidden[b])
