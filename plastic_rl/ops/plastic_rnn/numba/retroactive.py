"""The compiled entry points of the rule ``retroactive``, with every cell.

Like those of gated cells, one environment at a time, with a second trace beside the first. Neither is undone
on the way back: both are rolled forward from where they are stored, window by window.

This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from plastic_rl.ops.plastic_rnn.numba.bptt import (
    gather,
    neurons_back,
    plasticity_gradient,
    put_by,
    think_back,
)
from plastic_rl.ops.plastic_rnn.numba.compiling import assert_order, entry
from plastic_rl.ops.plastic_rnn.numba.forward_passes import recall_pass
from plastic_rl.ops.plastic_rnn.numba.gated_cells import CellsBack, Gates, drive, fire_cell, read_out_one
from plastic_rl.ops.plastic_rnn.numba.gated_forward import fire_rows
from plastic_rl.ops.plastic_rnn.numba.packed import STEPS, add_outer_products, pack, unpack
from plastic_rl.ops.plastic_rnn.numba.retroactive_passes import (
    backward_both,
    forward_both,
    retroactive_coefficients,
    retroactive_coefficients_backward,
    settle_both,
    sums_of_both,
    update_both_rows,
)
from plastic_rl.ops.plastic_rnn.numba.simd import inlined, inner
from plastic_rl.ops.plastic_rnn.numba.structs import History, Inner, Rule, Step, Sums, Way, Weights
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


class Both(NamedTuple):
    """What a chunk works with on the way back of two traces.

    sent, dsent: (width,), M and its gradient; touched: (width,)
    grad, second_grad: (packed,), dL/dH and dL/dE
    rows: (N, lanes)
    window, second_window: (steps, packed), both traces before each step
    """

    sent: np.ndarray
    dsent: np.ndarray
    touched: np.ndarray
    grad: np.ndarray
    second_grad: np.ndarray
    rows: np.ndarray
    window: np.ndarray
    second_window: np.ndarray


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
    steps = x.shape[0]
    keep = history.traces.shape[0] > 0
    fill(c, ZERO)
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
        advance(
            t, b, x[t, b], clamp_values[t, b], clamp_masks[t, b], history, seconds, weights, rule, gates,
            fired, trace, second, c, sent, decay, gain, u, wide, reads, q,
        )  # fmt: skip
    copy(c[: cell_out.shape[1]], cell_out[b])
    presynaptic(steps - 1, b, history, reads[1])
    settle_both(trace, second, rule.bound, sent, decay, gain, reads[1], trace, second)
    unpack(trace, trace_out[b])
    unpack(second, second_out[b])


@inner
def advance(
    t, b, x, clamp_value, clamp_mask, history, seconds, weights, rule, gates, fired, trace, second,
    c, sent, decay, gain, u, wide, reads, q,
):  # fmt: skip
    """Step t of environment b. c, sent, decay, gain: carried from step to step; reads: (2, N)."""
    before, now = reads[0], reads[1]
    drive(gates.code, x, gates.b_u, u, q)
    if t > 0:
        presynaptic(t - 1, b, history, before)
    else:
        fill(before, ZERO)
    first_reads(t, b, history, now)
    if history.starts[t, b]:
        fill(c, ZERO)
    connect(t, b, history, seconds, weights, rule, trace, second, sent, decay, gain, before, now, u)
    last = history.recalls.shape[1]
    slot = 0
    for s in range(last + 1):
        if s > 0:
            reads_of(t, s, b, history, now)
            drive(gates.code, x, gates.b_u, u, q)
            recall_pass(trace, weights, now, u)
        for k in range(q.shape[0]):
            read_out_one(gates.w[k], now, q[k])
        slot = t * (last + 1) + s if fired.shape[0] > 1 else 0
        out = history.recalls[t, s, b] if s < last else history.y[t, b]
        fire_cell(gates.code, rule.activation, x, q, u, now, c, clamp_value, clamp_mask, fired[slot, b], out)
    copy(history.y[t, b], wide)
    retroactive_coefficients(rule, fired[slot, b, 0], wide, sent, decay, gain)


@inlined
def connect(t, b, history, seconds, weights, rule, trace, second, sent, decay, gain, before, now, u):
    """Apply the updates that step t - 1 left in (sent, decay, gain), and read out."""
    due = t > 0 and is_stored(t, history)
    place = history.places[t]
    bound = rule.bound if t > 0 else UNBOUNDED  # a trace that comes in is taken as it is
    if history.starts[t, b]:
        if due:
            kept = history.traces[place, b], seconds[place, b]
            settle_both(trace, second, bound, sent, decay, gain, before, *kept)
        fill(trace, ZERO)
        fill(second, ZERO)
    else:
        forward_both(trace, second, weights, bound, sent, decay, gain, before, now, u)
        if due:
            copy(trace, history.traces[place, b])
            copy(second, seconds[place, b])


@entry
def record_both(
    chunk, low, high, t, x, c, fired, seconds, sent, decay, gain, cell, gate_weights, b_u,
    hidden, starts, y, recalls, traces, firsts, places, counts,
    w, alpha, plasticity,
    code, activation, eta, b_m, bound, w_m, fan_out,
):  # fmt: skip
    """Step t of environments low to high - 1; their traces lie in the last places of traces and seconds.

    x: (B, (K + 1) N); c, sent, decay, gain: (B, width), kept from one call to the next
    cell: the code of the cell; the rest: a ``History``, the ``Weights`` and the ``Rule``
    """
    history = History(hidden, starts, y, recalls, traces, firsts, places, counts)
    weights = Weights(w, alpha, plasticity)
    rule = Rule(code, activation, eta, b_m, bound, w_m, fan_out)
    gates = Gates(cell, gate_weights, b_u)
    vectors = np.zeros((2, w_m.size), np.float32)
    reads = np.zeros((2, y.shape[2]), np.float32)
    q = np.zeros((gate_weights.shape[0], w_m.size), np.float32)
    no_value, no_mask = np.empty(0, np.float32), np.empty(0, np.bool_)
    last = traces.shape[0] - 1
    for b in range(low, high):
        trace, second = traces[last, b], seconds[last, b]
        advance(
            t, b, x[b], no_value, no_mask, history, seconds, weights, rule, gates, fired, trace, second,
            c[b], sent[b], decay[b], gain[b], vectors[0], vectors[1], reads, q,
        )  # fmt: skip
        if t == y.shape[0] - 1:
            presynaptic(t, b, history, reads[1])
            settle_both(trace, second, bound, sent[b], decay[b], gain[b], reads[1], trace, second)


assert_order(record_both, History, Weights, Rule)


@entry
def settle_both_all(t, history, rule, sent, decay, gain, packed, second):
    """Apply the updates that step t - 1 left in (sent, decay, gain) to traces (B, packed), in place."""
    now = np.empty(history.y.shape[2], np.float32)
    for b in range(packed.shape[0]):
        presynaptic(t - 1, b, history, now)
        settle_both(packed[b], second[b], rule.bound, sent[b], decay[b], gain[b], now, packed[b], second[b])


@inner
def update_of(s, b, history, rule, cells, sent, decay, gain, hidden):
    """M, d and g of step s, and its hidden state."""
    copy(history.y[s, b], hidden)
    last = (s + 1) * (1 + history.recalls.shape[1]) - 1
    retroactive_coefficients(rule, cells.fired[last, b, 0], hidden, sent, decay, gain)


@inner
def fill_windows(t, b, history, seconds, rule, cells, window, second_window, sent, way):
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
            update_of(s, b, history, rule, cells, sent, way.decay, way.gain, way.y)
            presynaptic(s, b, history, way.now)
            following = window[k + 1], second_window[k + 1]
            settle_both(
                window[k], second_window[k], rule.bound, sent, way.decay, way.gain, way.now, *following
            )


@entry
def retroactive_backward(
    chunk, low, high, up, up_second, up_cell, clamp_masks, history, seconds, weights, rule, cells, scratch,
    down, down_second, down_cell,
):  # fmt: skip
    """Carry the gradients of environments low to high - 1 back through all steps; as ``gated_backward``.

    up_second: (B, N, N), or (0, 0, 0) for none; down_second: the same, where not wanted
    scratch: gradients (chunks, packed) of both traces, one of (chunks, lanes * N), and both windows (chunks,
        steps, packed)
    """
    n, width = history.y.shape[2], rule.w_m.size
    v = np.zeros((16, width), np.float32)
    reads = np.zeros((2, n), np.float32)
    core_steps = 1 + history.recalls.shape[1]
    inners = Inner(np.empty(core_steps * width, np.float32), np.empty((core_steps, n), np.float32))
    way = Way(
        v[0], v[1], v[2], v[3], v[3], v[4], v[3], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12], v[12],
        reads[0], reads[1],
    )  # fmt: skip
    sums = Sums(down.w[chunk], down.alpha[chunk], down.scalars[chunk], down.w_m[chunk], down.fan_out[chunk])
    both = Both(
        v[13], v[14], v[15], scratch[0][chunk], scratch[1][chunk], scratch[2][chunk], scratch[3][chunk],
        scratch[4][chunk],
    )  # fmt: skip
    outer = np.zeros((STEPS, down.w.shape[1]), np.float32), np.empty((STEPS, down.w.shape[2]), np.float32)
    own = CellsBack(cells.gates, cells.fired, cells.memory, cells.dx, cells.da[chunk])
    for b in range(low, high):
        copy(up_cell[b], way.dc)
        run_back(
            b,
            up,
            up_second,
            clamp_masks,
            history,
            seconds,
            weights,
            rule,
            own,
            both,
            way,
            outer,
            inners,
            sums,
            down,
        )
        copy(way.dc[: down_cell.shape[1]], down_cell[b])
        if down_second.size > 0:
            unpack(both.second_grad, down_second[b])


@inner
def run_back(
    b,
    up,
    up_second,
    clamp_masks,
    history,
    seconds,
    weights,
    rule,
    cells,
    both,
    way,
    outer,
    inners,
    sums,
    down,
):
    """Carry the gradients of environment b back through all steps."""
    steps = history.y.shape[0]
    last = history.recalls.shape[1]
    waiting = 0  # products not yet added to dw
    copy(up.hidden[b], way.carry)
    load_gradient(up.trace, b, both.grad)
    load_gradient(up_second, b, both.second_grad)
    for t in range(steps - 1, -1, -1):
        if t == steps - 1 or is_stored(t + 1, history):
            fill_windows(t, b, history, seconds, rule, cells, both.window, both.second_window, both.sent, way)
        place = t - history.firsts[history.places[t]]
        trace = both.window[place]
        presynaptic(t, b, history, way.now)
        update_back(t, b, up, history, rule, cells, trace, both.second_window[place], both, way, sums)
        neurons_back(t, last, b, clamp_masks[t, b], history, rule, cells, way, way.now, down)
        waiting = put_by(way.now, way.du, cells, waiting, outer, sums.w)
        step = Step(way.decay, way.gain, way.inverse, way.du, way.now, way.now)
        if last > 0:
            waiting = think_back(
                t, b, clamp_masks[t, b], history, weights, rule, False, cells, trace, both.second_grad,
                both.rows, way, step, inners, waiting, outer, sums, down,
            )  # fmt: skip
        if history.starts[t, b]:
            fill(way.carry, ZERO)
            fill(way.dc, ZERO)
            fill(both.grad, ZERO)
            fill(both.second_grad, ZERO)
        else:
            backward_both(
                trace, both.grad, both.second_grad, sums.alpha, weights, both.sent, step, inners, both.rows,
                both.touched,
            )  # fmt: skip
            if weights.alpha.size == 0:
                sums.scalars[2] += plasticity_gradient(True, way.du.size, way.now, both.touched)
            gather(both.rows, cells, way, way.carry)
    if sums.w.shape[0] > 0:
        add_outer_products(waiting, outer[0], outer[1], sums.w)
    copy(way.carry[: way.now.size], down.hidden[b])
    if down.trace.size > 0:
        unpack(both.grad, down.trace[b])


@inner
def load_gradient(gradients, b, packed):
    """That of environment b, (B, N, N), or zeros where there is none, (0, 0, 0)."""
    if gradients.size > 0:
        pack(gradients[b], packed)
    else:
        fill(packed, ZERO)


@inlined
def update_back(t, b, up, history, rule, cells, trace, second, both, way, sums):
    """From dL/dH_{t+1}, dL/dE_{t+1} and the gradient of the output to those of the activities of update t."""
    update_of(t, b, history, rule, cells, both.sent, way.decay, way.gain, way.y)
    sums_of_both(
        trace, second, both.grad, both.second_grad, rule.bound, both.sent, way.now, both.dsent, way.dgain,
        way.ddecay,
    )  # fmt: skip
    copy(way.carry, way.dh)
    add(up.y[t, b], way.dh)
    fill(way.dy, ZERO)
    y = cells.fired[(t + 1) * (1 + history.recalls.shape[1]) - 1, b, 0]
    retroactive_coefficients_backward(rule, y, way.y, both.dsent, way.dgain, way.ddecay, way.dy, way.dh, sums)


@entry
def retroactive_step(
    chunk, low, high, x, episode_start, clamp_values, clamp_masks, hidden, trace, second, memory, out,
    core_steps,
    cell, w_gates, b_u,
    w, alpha, plasticity,
    code, activation, eta, b_m, bound, w_m, fan_out,
):  # fmt: skip
    """One step of environments low to high - 1 on a row-major state, in place; as ``gated_step``."""
    rule = Rule(code, activation, eta, b_m, bound, w_m, fan_out)
    width, n = w_m.size, hidden.shape[1]
    vectors = np.zeros((6, width), np.float32)
    sent, decay, gain, u, c, wide = vectors[0], vectors[1], vectors[2], vectors[3], vectors[4], vectors[5]
    q = np.zeros((w_gates.shape[1] // n, width), np.float32)
    fired = np.zeros((len(q) + 2, width), np.float32)
    flat = np.empty(w_gates.shape[1], np.float32)
    for b in range(low, high):
        if episode_start[b]:
            fill(trace[b].reshape(-1), ZERO)
            fill(second[b].reshape(-1), ZERO)
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
        copy(out[b], wide)
        retroactive_coefficients(rule, fired[0], wide, sent, decay, gain)
        update_both_rows(trace[b], second[b], rule.bound, sent, decay, gain, hidden[b])
        copy(out[b], hidden[b])
