"""The compiled entry points that carry gradients back through whole sequences, over chunks of the batch.

``README.md`` derives them. This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from plastic_rl.ops.plastic_rnn.numba.compiling import entry
from plastic_rl.ops.plastic_rnn.numba.passes import (
    STEPS,
    add_outer_products,
    column_sums,
    inner_back,
    overlap_sums,
    pack,
    read_out,
    recall_back,
    settle,
    step_back,
    unpack,
)
from plastic_rl.ops.plastic_rnn.numba.rules import (
    coefficients,
    coefficients_backward,
    repeat,
    repeat_backward,
)
from plastic_rl.ops.plastic_rnn.numba.simd import LANES, inner, lane_sum, load
from plastic_rl.ops.plastic_rnn.numba.structs import MOST_HELD, Earlier, Held, Inner, Later, Step
from plastic_rl.ops.plastic_rnn.numba.vectors import (
    ONE,
    ZERO,
    activate_backward,
    add,
    copy,
    fill,
    first_reads,
    is_held,
    is_stored,
    presynaptic,
    release,
)


@inner
def rebuild(t, b, history, rule, trace, decay, gain, y, now):
    """The trace at the end of step t - 1, from the last stored trace or, if later, the last reset."""
    start = history.firsts[history.places[t - 1]]
    copy(history.traces[history.places[t - 1], b], trace)
    for s in range(t - 1, start, -1):
        if history.starts[s, b]:
            start = s
            break
    for s in range(start, t):
        roll(s, b, history, rule, trace, trace, decay, gain, y, now)


@inner
def roll(s, b, history, rule, trace, result, decay, gain, y, now):
    """Take the trace from before step s, reset included, to its end; ``result`` may be ``trace``."""
    if history.starts[s, b]:
        fill(trace, ZERO)
    update_of(s, b, history, rule, decay, gain, y)
    presynaptic(s, b, history, now)
    settle(trace, rule.bound, decay, gain, now, result)


@inner
def update_of(s, b, history, rule, decay, gain, y):
    """Decay and gain of step s, and its activations."""
    copy(history.y[s, b], y)
    coefficients(rule, y, decay, gain)
    repeat(history.counts[s], decay, gain)


@inner
def fill_window(t, b, history, rule, window, decay, gain, y, now):
    """The trace before each step from the last stored one up to step t, as step t reads it."""
    start = history.firsts[history.places[t]]
    copy(history.traces[history.places[t], b], window[0])
    for s in range(start, t):
        roll(s, b, history, rule, window[s - start], window[s - start + 1], decay, gain, y, now)
    if history.starts[t, b]:
        fill(window[t - start], ZERO)


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
        update_of(s, b, history, rule, held.decays[k], held.gains[k], y)
        if undo:
            for j in range(y.size):
                held.inverses[k, j] = ONE / held.decays[k, j]


@inner
def held_backward(t, b, count, history, rule, held, y, decay, gain, dy, dscalars, dw_m, dfan_out, dpre):
    """What the held steps before step t send to the rule's parameters; nothing goes to their neurons."""
    for k in range(count):
        s = t - 1 - k
        copy(history.y[s, b], y)
        coefficients(rule, y, decay, gain)
        repeat_backward(history.counts[s], decay, gain, held.dgains[k], held.ddecays[k])
        coefficients_backward(rule, y, held.dgains[k], held.ddecays[k], dy, dscalars, dw_m, dfan_out)
        fill(dpre[s, b], ZERO)


@entry
def backward(chunk, low, high, up, clamp_masks, history, weights, rule, undo, scratch, down):
    """Carry the gradients of environments low to high - 1 back through all steps.

    undo: rebuild H_t by undoing the update, H_t = (H_{t+1} - g y_{t-1}) / d, from each stored trace to the
        one before it; else roll forward from the stored traces and keep every step in between.
    """
    n, width = history.y.shape[2], rule.w_m.size
    vectors = np.zeros((12, width), np.float32)
    reads = np.zeros((3, n), np.float32)
    room = np.empty((5, MOST_HELD, width), np.float32)
    outer = np.zeros((STEPS, down.w.shape[1]), np.float32), np.empty((STEPS, width), np.float32)
    held_reads = np.empty((MOST_HELD + 1, n), np.float32)
    held = Held(room[0], room[1], room[2], held_reads, room[3], room[4], scratch.held_rows[chunk])
    core_steps = 1 + history.recalls.shape[1]
    inners = Inner(np.empty(core_steps * width, np.float32), np.empty((core_steps, n), np.float32))
    for b in range(low, high):
        run_back(
            chunk, b, up, clamp_masks, history, weights, rule, undo, scratch, down,
            vectors, reads, outer, held, inners,
        )  # fmt: skip


@inner
def put_by(now, dpre, waiting, outer, dw):
    """Keep the factors of one more product of dw; returns how many are kept, of which ``waiting`` were."""
    reads, sent = outer
    if reads.shape[1] == 0:
        return 0
    copy(now, reads[waiting])
    copy(dpre, sent[waiting])
    waiting += 1
    if waiting == STEPS:
        add_outer_products(waiting, reads, sent, dw)
        waiting = 0
    return waiting


@inner
def think_back(
    t, b, clamp_mask, history, weights, rule, undo, trace, grad, step, rows, y, inners, dx,
    waiting, outer, dw,
):  # fmt: skip
    """From the last inner step of step t to the first; fills ``inners``.

    trace: H_t, or (undo) H_{t+1}, becomes H_t
    grad: dL/dH_{t+1}, only read
    step: its dpre is that of the last inner step, and becomes that of the first
    rows: (N, lanes), y: (width,), overwritten
    dx: (N,), added to
    returns: as ``put_by``
    """
    dy = step.dpre
    n, width = dx.size, dy.size
    recalls = history.recalls.shape[1]
    copy(dy, inners.errors[recalls * width :])
    first_reads(t, b, history, inners.reads[0])
    for s in range(recalls - 1, -1, -1):
        error = inners.errors[(s + 1) * width : (s + 2) * width]
        recall_back(s == recalls - 1, undo, trace, grad, weights, step, error, rows)
        for i in range(n):
            dy[i] = lane_sum(load(rows, i * LANES))
        copy(history.recalls[t, s, b], y)
        copy(y[:n], inners.reads[s + 1])
        activate_backward(y, dy, rule.activation)
        release(clamp_mask, dy)
        copy(dy, inners.errors[s * width : (s + 1) * width])
        add(dy[:n], dx)
        if s == 0:
            waiting = put_by(inners.reads[0], dy, waiting, outer, dw)
        else:
            waiting = put_by(history.recalls[t, s - 1, b], dy, waiting, outer, dw)
    return waiting


@inner
def run_back(
    chunk, b, up, clamp_masks, history, weights, rule, undo, scratch, down,
    vectors, reads, outer, held, inners,
):  # fmt: skip
    """Carry the gradients of environment b back through all steps.

    vectors: (12, width); reads: (3, N); outer: the factors of dw's next products
    """
    steps, _, n = history.y.shape
    full = weights.alpha.size > 0
    several = history.recalls.shape[1] > 0  # inner steps
    y, dy, carry = vectors[0], vectors[1], vectors[2]
    decay, gain, inverse = vectors[3], vectors[4], vectors[5]
    dgain, ddecay, overlap = vectors[6], vectors[7], vectors[8]
    earlier_decay, earlier_gain = vectors[9], vectors[10]
    now, before = reads[0], reads[1]
    later = Later(vectors[11], reads[2])
    trace, grad, window = scratch.trace[chunk], scratch.grad[chunk], scratch.window[chunk]
    rows, touched = scratch.rows[chunk], scratch.touched[chunk]
    dalpha, dscalars = down.alpha[chunk], down.scalars[chunk]
    dw_m, dfan_out = down.w_m[chunk], down.fan_out[chunk]
    copy(up.hidden[b], carry)
    if up.trace.size > 0:
        pack(up.trace[b], grad)
    else:
        fill(grad, ZERO)
    fill(dgain, ZERO)
    if undo:
        copy(history.traces[history.traces.shape[0] - 1, b], trace)
        presynaptic(steps - 1, b, history, now)
        overlap_sums(trace, grad, now, dgain, overlap)
    waiting = 0  # products not yet added to dw
    deferred = False  # whether dalpha lacks what step t + 1 gives
    summed = False  # whether dgain and ddecay are those of step t already
    t = steps - 1
    while t >= 0:
        place = t - history.firsts[history.places[t]]
        if not undo and (t == steps - 1 or is_stored(t + 1, history)):
            fill_window(t, b, history, rule, window, decay, gain, y, now)
        presynaptic(t, b, history, now)
        update_of(t, b, history, rule, decay, gain, y)
        if not undo:
            if not summed:
                column_sums(window[place], grad, rule, decay, gain, now, dgain, ddecay)
        else:
            for j in range(y.size):
                inverse[j] = ONE / decay[j]
                ddecay[j] = (overlap[j] - gain[j] * dgain[j]) * inverse[j]
        copy(carry, dy)
        add(up.y[t, b], dy)
        if history.counts[t] > 1:
            coefficients(rule, y, earlier_decay, earlier_gain)  # of one update
            repeat_backward(history.counts[t], earlier_decay, earlier_gain, dgain, ddecay)
        coefficients_backward(rule, y, dgain, ddecay, dy, dscalars, dw_m, dfan_out)
        activate_backward(y, dy, rule.activation)
        release(clamp_masks[t, b], dy)
        copy(dy[:n], down.pre[t, b])
        waiting = put_by(now, dy, waiting, outer, down.w[chunk])
        summed = False
        if t > 0:
            presynaptic(t - 1, b, history, before)
        else:
            copy(now, before)
        h = trace if undo else window[place]
        step = Step(decay, gain, inverse, dy, now, before)
        if several:
            if history.starts[t, b]:
                fill(h, ZERO)
            waiting = think_back(
                t, b, clamp_masks[t, b], history, weights, rule, undo and not history.starts[t, b], h, grad,
                step, rows, y, inners, down.pre[t, b], waiting, outer, down.w[chunk],
            )  # fmt: skip
        if history.starts[t, b]:
            fill(carry, ZERO)
            fill(grad, ZERO)
            fill(dgain, ZERO)
            fill(overlap, ZERO)
            if undo and t > 0 and place != 0:
                rebuild(t, b, history, rule, trace, decay, gain, y, now)
        else:
            count = held_before(t, b, history, clamp_masks)
            if count > 0:
                read_held(t, b, count, undo, history, rule, held, y)
            summed = not undo and place > 0 and count == 0
            earlier = Earlier(window[place - 1] if summed else h, earlier_decay, earlier_gain)
            if summed:
                update_of(t - 1, b, history, rule, earlier_decay, earlier_gain, y)
            # Undoing, every second step adds to dalpha for two: it has both traces in registers.
            two = deferred
            deferred = undo and full and not two and count == 0 and t > 0 and not history.starts[t - 1, b]
            deferred = deferred and not several
            sums = overlap if undo else ddecay
            if several:
                inner_back(
                    undo, summed, h, grad, dalpha, weights, rule.bound, step, earlier, inners,
                    rows, touched, dgain, sums, count, held, window, place,
                )  # fmt: skip
            else:
                step_back(
                    undo, summed, deferred, two, h, grad, dalpha, weights, rule.bound, step, earlier, later,
                    rows, touched, dgain, sums, count, held, window, place,
                )  # fmt: skip
            if deferred:
                copy(dy, later.dpre)
                copy(now, later.now)
            if not full and several:
                for column in range(0, y.size, LANES):
                    dscalars[2] += lane_sum(load(touched, column))
            elif not full:
                for i in range(n):
                    dscalars[2] += now[i] * lane_sum(load(touched, i * LANES))
            if count > 0:
                held_backward(
                    t, b, count, history, rule, held, y, decay, gain, dy, dscalars, dw_m, dfan_out, down.pre
                )
                t -= count
            last_rows = held.rows if count > 0 else rows
            for i in range(n):
                carry[i] = lane_sum(load(last_rows, i * LANES))
            if several and count > 0:
                fill(carry, ZERO)  # the update of a held step pairs what the clamp sets with itself
        if undo and t > 0 and is_stored(t, history):
            copy(history.traces[history.places[t], b], trace)
        t -= 1
    add_outer_products(waiting, outer[0], outer[1], down.w[chunk])
    copy(carry[:n], down.hidden[b])
    if down.trace.size > 0:
        unpack(grad, down.trace[b])


# The plain network, without a trace


@entry
def plain_backward(chunk, low, high, up, clamp_masks, history, w_transposed, rule, down):
    """The gradients of environments low to high - 1, four at a time."""
    steps, _, n = history.y.shape
    carry = np.zeros((4, rule.w_m.size), np.float32)
    sent = np.zeros((4, n), np.float32)
    y, dy = np.zeros(rule.w_m.size, np.float32), np.zeros(rule.w_m.size, np.float32)
    for first in range(low, high, 4):
        group = first, min(first + 1, high - 1), min(first + 2, high - 1), min(first + 3, high - 1)
        for e, b in enumerate(group):
            copy(up.hidden[b], carry[e])
        for t in range(steps - 1, -1, -1):
            for e, b in enumerate(group):
                copy(history.y[t, b], y)
                copy(carry[e], dy)
                add(up.y[t, b], dy)
                activate_backward(y, dy, rule.activation)
                release(clamp_masks[t, b], dy)
                copy(dy[:n], sent[e])
                copy(sent[e], down.pre[t, b])
            fill(carry.reshape(-1), ZERO)
            read_out(w_transposed, sent, carry)
            for e, b in enumerate(group):
                if history.starts[t, b]:
                    fill(carry[e], ZERO)
        for e, b in enumerate(group):
            copy(carry[e, :n], down.hidden[b])
