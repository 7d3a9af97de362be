"""The way back of one environment through all its steps: every cell, with one trace.

``README.md`` derives it. ``cells`` is None for the tanh cell throughout: numba leaves out what is not for it.

This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from plastic_rl.ops.plastic_rnn.numba.backward_passes import column_sums, overlap_sums, step_back
from plastic_rl.ops.plastic_rnn.numba.gated_cells import cell_backward, read_out_one, send_drive
from plastic_rl.ops.plastic_rnn.numba.inner_passes import inner_back, recall_back
from plastic_rl.ops.plastic_rnn.numba.packed import STEPS, add_outer_products, pack, settle, unpack
from plastic_rl.ops.plastic_rnn.numba.rules import (
    coefficients,
    coefficients_backward,
    repeat,
    repeat_backward,
)
from plastic_rl.ops.plastic_rnn.numba.simd import LANES, inlined, inner, lane_sum, load, store
from plastic_rl.ops.plastic_rnn.numba.structs import MOST_HELD, Earlier, Step
from plastic_rl.ops.plastic_rnn.numba.vectors import (
    ONE,
    ZERO,
    activate_backward,
    add,
    copy,
    fill,
    is_held,
    is_stored,
    presynaptic,
    reads_of,
    release,
)


@inner
def run_back(
    b, up, clamp_masks, history, weights, rule, undo, cells, room, way, later, outer, held, inners, sums, down
):
    """Carry the gradients of environment b back through all steps.

    later: a ``Later``; outer: the factors of dw's next products
    """
    steps = history.y.shape[0]
    begin_back(b, up, history, undo, room, way)
    waiting = 0  # products not yet added to dw
    deferred = False  # whether dalpha lacks what step t + 1 gives
    summed = False  # whether dgain and ddecay are those of step t already
    t = steps - 1
    while t >= 0:
        if not undo and (t == steps - 1 or is_stored(t + 1, history)):
            fill_window(t, b, history, rule, cells, room.window, way)
        update_back(t, b, up, history, rule, undo, summed, cells, room, way, sums)
        last = history.recalls.shape[1]
        neurons_back(t, last, b, clamp_masks[t, b], history, rule, cells, way, way.now, down)
        waiting = put_by(way.now, way.du, cells, waiting, outer, sums.w)
        presynaptic(max(t - 1, 0), b, history, way.before)
        step = Step(way.decay, way.gain, way.inverse, way.du, way.now, way.before)
        begins = history.starts[t, b]
        if last > 0:
            h = room.trace if undo else room.window[place_in_window(t, history)]
            if begins:
                fill(h, ZERO)
            waiting = think_back(
                t, b, clamp_masks[t, b], history, weights, rule, undo and not begins, cells, h, room.grad,
                room.rows, way, step, inners, waiting, outer, sums, down,
            )  # fmt: skip
        summed = False
        if begins:
            forget(t, b, history, rule, undo, cells, room, way)
            deferred = False
        else:
            count, deferred, summed = connections_back(
                t, b, undo, deferred, clamp_masks, history, weights, rule, cells, room, way, step, later,
                held, inners, sums, down,
            )  # fmt: skip
            t -= count
        if undo and t > 0 and is_stored(t, history):
            copy(history.traces[history.places[t], b], room.trace)
        t -= 1
    if sums.w.shape[0] > 0:
        add_outer_products(waiting, outer[0], outer[1], sums.w)
    copy(way.carry[: way.now.size], down.hidden[b])
    if down.trace.size > 0:
        unpack(room.grad, down.trace[b])


@inlined
def begin_back(b, up, history, undo, room, way):
    """The gradients that come in, and the trace at the end."""
    copy(up.hidden[b], way.carry)
    if up.trace.size > 0:
        pack(up.trace[b], room.grad)
    else:
        fill(room.grad, ZERO)
    fill(way.dgain, ZERO)
    if undo:
        copy(history.traces[history.traces.shape[0] - 1, b], room.trace)
        presynaptic(history.y.shape[0] - 1, b, history, way.now)
        overlap_sums(room.trace, room.grad, way.now, way.dgain, way.overlap)


@inner
def place_in_window(t, history):
    """How many steps step t lies after the last one whose trace is stored."""
    return t - history.firsts[history.places[t]]


# The trace


@inner
def update_of(s, b, history, rule, cells, decay, gain, hidden):
    """Decay and gain of step s, and its hidden state."""
    copy(history.y[s, b], hidden)
    if cells is None:
        coefficients(rule, hidden, hidden, decay, gain)
    else:
        last = (s + 1) * (1 + history.recalls.shape[1]) - 1
        coefficients(rule, cells.fired[last, b, 0], hidden, decay, gain)
    repeat(history.counts[s], decay, gain)


@inner
def roll(s, b, history, rule, cells, trace, result, way):
    """Take the trace from before step s, reset included, to its end; ``result`` may be ``trace``."""
    if history.starts[s, b]:
        fill(trace, ZERO)
    update_of(s, b, history, rule, cells, way.decay, way.gain, way.y)
    presynaptic(s, b, history, way.now)
    settle(trace, rule.bound, way.decay, way.gain, way.now, result)


@inner
def rebuild(t, b, history, rule, cells, trace, way):
    """The trace at the end of step t - 1, from the last stored trace or, if later, the last reset."""
    start = history.firsts[history.places[t - 1]]
    copy(history.traces[history.places[t - 1], b], trace)
    for s in range(t - 1, start, -1):
        if history.starts[s, b]:
            start = s
            break
    for s in range(start, t):
        roll(s, b, history, rule, cells, trace, trace, way)


@inner
def fill_window(t, b, history, rule, cells, window, way):
    """The trace before each step from the last stored one up to step t, as step t reads it."""
    start = history.firsts[history.places[t]]
    copy(history.traces[history.places[t], b], window[0])
    for s in range(start, t):
        roll(s, b, history, rule, cells, window[s - start], window[s - start + 1], way)
    if history.starts[t, b]:
        fill(window[t - start], ZERO)


# One step back


@inlined
def update_back(t, b, up, history, rule, undo, summed, cells, room, way, sums):
    """From dL/dH_{t+1} and the gradient of the output to those of the activities that update t is made of."""
    presynaptic(t, b, history, way.now)
    update_of(t, b, history, rule, cells, way.decay, way.gain, way.y)
    if undo:
        for j in range(0, way.y.size, LANES):
            inverse = ONE / load(way.decay, j)
            store(way.inverse, j, inverse)
            shared = load(way.overlap, j) - load(way.gain, j) * load(way.dgain, j)
            store(way.ddecay, j, shared * inverse)
    elif not summed:
        h = room.window[place_in_window(t, history)]
        column_sums(h, room.grad, rule, way.decay, way.gain, way.now, way.dgain, way.ddecay)
    copy(way.carry, way.dh)
    add(up.y[t, b], way.dh)
    if cells is None:
        if history.counts[t] > 1:
            coefficients(rule, way.y, way.y, way.earlier_decay, way.earlier_gain)  # of one update
            repeat_backward(history.counts[t], way.earlier_decay, way.earlier_gain, way.dgain, way.ddecay)
        coefficients_backward(rule, way.y, way.y, way.dgain, way.ddecay, way.dy, way.dh, sums)
    else:
        fill(way.dy, ZERO)
        y = cells.fired[(t + 1) * (1 + history.recalls.shape[1]) - 1, b, 0]
        coefficients_backward(rule, y, way.y, way.dgain, way.ddecay, way.dy, way.dh, sums)


@inlined
def neurons_back(t, s, b, clamp_mask, history, rule, cells, way, now, down):
    """Inner step s of step t, from the gradients of h' (dh), of y (dy) and c' to those of what it reads.

    now: (N,), the hidden state that it reads
    """
    n = now.size
    if cells is None:
        activate_backward(way.y, way.dy, rule.activation)
        release(clamp_mask, way.dy)
        if s == history.recalls.shape[1]:
            copy(way.dy[:n], down.pre[t, b])
        else:
            add(way.dy[:n], down.pre[t, b])
    else:
        slot = t * (1 + history.recalls.shape[1]) + s
        memory_before(t, s, b, history, cells, way.c)
        cell_backward(
            cells.gates.code, rule.activation, n, clamp_mask, cells.fired[slot, b], now, way.c, way.dy,
            way.dh, way.dc, cells.da, way.du, way.direct,
        )  # fmt: skip
        copy(way.du[:n], down.pre[slot, b])
        send_drive(cells.da, way.dy, cells.dx[slot, b])


@inner
def memory_before(t, s, b, history, cells, out):
    """Into out: c before an inner step, the last row of what fired before; as it is in a cell without c."""
    slot = t * (1 + history.recalls.shape[1]) + s
    if cells.memory.shape[1] == 0:
        return
    if s == 0 and history.starts[t, b]:
        fill(out, ZERO)
    elif slot == 0:
        copy(cells.memory[b], out)
    else:
        copy(cells.fired[slot - 1, b, cells.fired.shape[2] - 1], out)


@inlined
def gather(rows, cells, way, target):
    """The gradient of the hidden state that is read: through connections and gates, and past them."""
    n = way.now.size
    if cells is None:
        for i in range(n):
            target[i] = lane_sum(load(rows, i * LANES))
    else:
        for i in range(n):
            target[i] = way.direct[i] + lane_sum(load(rows, i * LANES))
        for k in range(cells.da.shape[0]):
            read_out_one(cells.gates.w[k], cells.da[k, :n], target)


@inner
def think_back(
    t, b, clamp_mask, history, weights, rule, undo, cells, trace, grad, rows, way, step, inners,
    waiting, outer, sums, down,
):  # fmt: skip
    """From the last inner step of step t to the first; fills ``inners``.

    trace: H_t, or (undo) H_{t+1}, becomes H_t
    grad: dL/dH_{t+1}, or that of what the update adds to; only read
    rows: (N, lanes), overwritten
    returns: as ``put_by``
    """
    width = way.du.size
    recalls = history.recalls.shape[1]
    copy(way.du, inners.errors[recalls * width :])
    for s in range(recalls + 1):
        reads_of(t, s, b, history, inners.reads[s])
    for s in range(recalls - 1, -1, -1):
        error = inners.errors[(s + 1) * width : (s + 2) * width]
        recall_back(s == recalls - 1, undo, trace, grad, weights, step, error, rows)
        gather(rows, cells, way, way.dh)
        copy(history.recalls[t, s, b], way.y)
        if cells is not None:
            fill(way.dy, ZERO)
        neurons_back(t, s, b, clamp_mask, history, rule, cells, way, inners.reads[s], down)
        copy(way.du, inners.errors[s * width : (s + 1) * width])
        waiting = put_by(inners.reads[s], way.du, cells, waiting, outer, sums.w)
    return waiting


@inlined
def forget(t, b, history, rule, undo, cells, room, way):
    """Nothing goes back beyond the start of an episode at step t; the trace becomes that of before it."""
    fill(way.carry, ZERO)
    fill(way.dc, ZERO)
    fill(room.grad, ZERO)
    fill(way.dgain, ZERO)
    fill(way.overlap, ZERO)
    if undo and t > 0 and not is_stored(t, history):
        rebuild(t, b, history, rule, cells, room.trace, way)


@inlined
def connections_back(
    t, b, undo, deferred, clamp_masks, history, weights, rule, cells, room, way, step, later, held, inners,
    sums, down,
):  # fmt: skip
    """Step t back through the connections, and on through held steps before it.

    deferred: whether dalpha lacks what step t + 1, ``later``, gives
    returns: how many held steps, ``deferred`` for the next step, and whether its dgain and ddecay are there
    """
    full = weights.alpha.size > 0
    several = history.recalls.shape[1] > 0
    place = place_in_window(t, history)
    h = room.trace if undo else room.window[place]
    count = 0
    if cells is None:
        count = held_before(t, b, history, clamp_masks)
        if count > 0:
            read_held(t, b, count, undo, history, rule, held, way.y)
    summed = not undo and place > 0 and count == 0
    earlier = Earlier(room.window[place - 1] if summed else h, way.earlier_decay, way.earlier_gain)
    if summed:
        update_of(t - 1, b, history, rule, cells, way.earlier_decay, way.earlier_gain, way.y)
    total = way.overlap if undo else way.ddecay
    # Undoing, every second step adds to dalpha for two: it has both traces in registers.
    two = deferred
    deferred = undo and full and not several and not two and count == 0
    deferred = deferred and t > 0 and not history.starts[t - 1, b]
    if several:
        inner_back(
            undo, summed, h, room.grad, sums.alpha, weights, rule.bound, step, earlier, inners,
            room.rows, room.touched, way.dgain, total, count, held, room.window, place,
        )  # fmt: skip
    else:
        step_back(
            undo, summed, deferred, two, h, room.grad, sums.alpha, weights, rule.bound, step, earlier, later,
            room.rows, room.touched, way.dgain, total, count, held, room.window, place,
        )  # fmt: skip
    if deferred:
        copy(way.du, later.dpre)
        copy(way.now, later.now)
    if not full:
        sums.scalars[2] += plasticity_gradient(several, way.du.size, way.now, room.touched)
    if count == 0:
        gather(room.rows, cells, way, way.carry)
    elif cells is None:
        held_backward(t, b, count, history, rule, held, way, sums, down.pre)
        leave_held(several, held, way)
    return count, deferred, summed


@inner
def plasticity_gradient(several, width, now, touched):
    """What a step gives to the gradient of a scalar alpha."""
    total = np.float64(0.0)
    if several:
        for column in range(0, width, LANES):
            total += lane_sum(load(touched, column))
    else:
        for i in range(now.size):
            total += now[i] * lane_sum(load(touched, i * LANES))
    return total


@inner
def put_by(now, du, cells, waiting, outer, dw):
    """Keep the factors of one more product of the weights' gradients, of which ``waiting`` are kept already.

    outer: (STEPS, N) and (STEPS, (K + 1) width), the gates behind the candidate
    returns: how many are kept then
    """
    reads, sent = outer
    if dw.shape[0] == 0:
        return 0
    copy(now, reads[waiting])
    copy(du, sent[waiting])
    if cells is not None:
        for k in range(cells.da.shape[0]):
            copy(cells.da[k], sent[waiting, (k + 1) * du.size :])
    waiting += 1
    if waiting == STEPS:
        add_outer_products(waiting, reads, sent, dw)
        waiting = 0
    return waiting


# Steps that the clamp holds


@inner
def held_before(t, b, history, clamp_masks):
    """How many steps right before step t, from the same stored trace on, the clamp holds."""
    count = 0
    for s in range(t - 1, max(history.firsts[history.places[t]] - 1, t - 1 - MOST_HELD), -1):
        if history.starts[s, b] or not is_held(clamp_masks[s, b]):
            break
        count += 1
    return count


@inner
def read_held(t, b, count, undo, history, rule, held, y):
    """The vectors of the ``count`` held steps right before step t, into ``held``."""
    for k in range(count + 1):
        s = t - 1 - k
        if s < 0:
            fill(held.reads[k], ZERO)
            break
        presynaptic(s, b, history, held.reads[k])
        if k == count:
            break
        update_of(s, b, history, rule, None, held.decays[k], held.gains[k], y)
        if undo:
            for j in range(y.size):
                held.inverses[k, j] = ONE / held.decays[k, j]


@inner
def held_backward(t, b, count, history, rule, held, way, sums, dpre):
    """What the held steps before step t send to the rule's parameters; nothing goes to their neurons."""
    for k in range(count):
        s = t - 1 - k
        copy(history.y[s, b], way.y)
        coefficients(rule, way.y, way.y, way.decay, way.gain)
        repeat_backward(history.counts[s], way.decay, way.gain, held.dgains[k], held.ddecays[k])
        coefficients_backward(rule, way.y, way.y, held.dgains[k], held.ddecays[k], way.dy, way.dh, sums)
        fill(dpre[s, b], ZERO)


@inner
def leave_held(several, held, way):
    """The gradient of what the earliest held step reads; with inner steps it reads what the clamp sets."""
    for i in range(way.now.size):
        way.carry[i] = ZERO if several else lane_sum(load(held.rows, i * LANES))
