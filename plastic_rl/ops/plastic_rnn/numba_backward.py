"""The compiled entry points that carry gradients back through whole sequences, over chunks of the batch.

``README.md`` derives them. This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from plastic_rl.ops.plastic_rnn.numba_kernels import entry
from plastic_rl.ops.plastic_rnn.numba_passes import (
    column_sums,
    overlap_sums,
    pack,
    read_out,
    settle,
    step_back,
    unpack,
)
from plastic_rl.ops.plastic_rnn.numba_rules import (
    MOST_HELD,
    ONE,
    ZERO,
    Earlier,
    Held,
    Step,
    activate_backward,
    coefficients,
    coefficients_backward,
    copy,
    fill,
    is_held,
    is_stored,
    presynaptic,
    repeat,
    repeat_backward,
)
from plastic_rl.ops.plastic_rnn.simd import LANES, lane_sum, load


class Upstream(NamedTuple):
    """Gradients that come in: y (T, B, N), hidden (B, N), trace (B, N, N) or (0, 0, 0) for none."""

    y: np.ndarray
    hidden: np.ndarray
    trace: np.ndarray


class Downstream(NamedTuple):
    """Gradients that go out; the second group is added to, one row per chunk.

    pre: (T, B, N); hidden: (B, N); trace: (B, N, N) or (0, 0, 0) where not wanted
    alpha: (chunks, packed); w_m, fan_out: (chunks, width)
    scalars: (chunks, 3), of eta, b_m and the scalar plasticity
    """

    pre: np.ndarray
    hidden: np.ndarray
    trace: np.ndarray
    alpha: np.ndarray
    scalars: np.ndarray
    w_m: np.ndarray
    fan_out: np.ndarray


@njit
def rebuild(t, b, history, rule, trace, decay, gain, y, zeros):
    """The trace at the end of step t - 1, from the last stored trace or, if later, the last reset."""
    start = history.firsts[history.places[t - 1]]
    copy(history.traces[history.places[t - 1], b], trace)
    for s in range(t - 1, start, -1):
        if history.starts[s, b]:
            start = s
            break
    for s in range(start, t):
        roll(s, b, history, rule, trace, trace, decay, gain, y, zeros)


@njit
def roll(s, b, history, rule, trace, result, decay, gain, y, zeros):
    """Take the trace from before step s, reset included, to its end; ``result`` may be ``trace``."""
    if history.starts[s, b]:
        fill(trace, ZERO)
    copy(history.y[s, b], y)
    coefficients(rule, y, decay, gain)
    repeat(history.counts[s], decay, gain)
    now = presynaptic(s, b, history.hidden, history.starts, history.y, zeros)
    settle(trace, rule.bound, decay, gain, now, result)


@njit
def fill_window(t, b, history, rule, window, decay, gain, y, zeros):
    """The trace before each step from the last stored one up to step t, as step t reads it."""
    start = history.firsts[history.places[t]]
    copy(history.traces[history.places[t], b], window[0])
    for s in range(start, t):
        roll(s, b, history, rule, window[s - start], window[s - start + 1], decay, gain, y, zeros)
    if history.starts[t, b]:
        fill(window[t - start], ZERO)


@njit
def held_before(t, b, history, clamp_masks):
    """How many steps right before step t, from the same stored trace on, the clamp holds."""
    count = 0
    for s in range(t - 1, max(history.firsts[history.places[t]] - 1, t - 1 - MOST_HELD), -1):
        if history.starts[s, b] or not is_held(clamp_masks[s, b]):
            break
        count += 1
    return count


@njit
def held_steps(t, b, undo, history, clamp_masks, rule, room, place, y, zeros):
    """The held steps right before step t: their vectors, in ``room``, which has places for ``MOST_HELD``.

    place: of the trace before step t in the window
    """
    count = held_before(t, b, history, clamp_masks)
    for k in range(count + 1):
        s = t - 1 - k
        if s < 0:
            fill(room.reads[k], ZERO)
            break
        copy(presynaptic(s, b, history.hidden, history.starts, history.y, zeros), room.reads[k])
        if k == count:
            break
        copy(history.y[s, b], y)
        coefficients(rule, y, room.decays[k], room.gains[k])
        repeat(history.counts[s], room.decays[k], room.gains[k])
        if undo:
            for j in range(y.size):
                room.inverses[k, j] = ONE / room.decays[k, j]
    return Held(
        room.decays[:count],
        room.gains[:count],
        room.inverses[:count],
        room.reads,
        room.dgains,
        room.ddecays,
        room.rows,
        room.traces,
        place - 1,
    )


@njit
def held_backward(t, b, history, rule, held, y, decay, gain, dy, dscalars, dw_m, dfan_out, dpre):
    """What the held steps before step t send to the rule's parameters; nothing goes to their neurons."""
    for k in range(held.decays.shape[0]):
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
    steps, _, n = history.y.shape
    full = weights.alpha.size > 0
    decay, gain, inverse, y, zeros, dgain, ddecay, overlap, dy, carry, one_decay, one_gain = np.zeros(
        (12, rule.w_m.size), np.float32
    )
    earlier_decay, earlier_gain = np.zeros((2, rule.w_m.size), np.float32)
    trace, grad, window = scratch.trace[chunk], scratch.grad[chunk], scratch.window[chunk]
    rows, touched = scratch.rows[chunk], scratch.touched[chunk]
    dalpha, dscalars = down.alpha[chunk], down.scalars[chunk]
    dw_m, dfan_out = down.w_m[chunk], down.fan_out[chunk]
    decays, gains, inverses, dgains, ddecays = np.empty((5, MOST_HELD, rule.w_m.size), np.float32)
    reads = np.empty((MOST_HELD + 1, n), np.float32)
    room = Held(decays, gains, inverses, reads, dgains, ddecays, scratch.held_rows[chunk], window, 0)
    for b in range(low, high):
        copy(up.hidden[b], carry)
        if up.trace.size > 0:
            pack(up.trace[b], grad)
        else:
            fill(grad, ZERO)
        if undo:
            copy(history.traces[history.traces.shape[0] - 1, b], trace)
            now = presynaptic(steps - 1, b, history.hidden, history.starts, history.y, zeros)
            overlap_sums(trace, grad, now, dgain, overlap)
        summed = False  # whether dgain and ddecay are those of step t already
        t = steps - 1
        while t >= 0:
            place = t - history.firsts[history.places[t]]
            if not undo and (t == steps - 1 or is_stored(t + 1, history)):
                fill_window(t, b, history, rule, window, decay, gain, y, zeros)
            starts = history.starts[t, b]
            now = presynaptic(t, b, history.hidden, history.starts, history.y, zeros)
            copy(history.y[t, b], y)
            coefficients(rule, y, one_decay, one_gain)
            copy(one_decay, decay)
            copy(one_gain, gain)
            repeat(history.counts[t], decay, gain)
            if not undo:
                if not summed:
                    column_sums(window[place], grad, rule, decay, gain, now, dgain, ddecay)
            else:
                for j in range(y.size):
                    inverse[j] = ONE / decay[j]
                    ddecay[j] = (overlap[j] - gain[j] * dgain[j]) * inverse[j]
            copy(carry, dy)
            for j in range(n):
                dy[j] += up.y[t, b, j]
            repeat_backward(history.counts[t], one_decay, one_gain, dgain, ddecay)
            coefficients_backward(rule, y, dgain, ddecay, dy, dscalars, dw_m, dfan_out)
            activate_backward(y, dy, rule.activation)
            mask = clamp_masks[t, b]
            for j in range(mask.size):
                if mask[j]:
                    dy[j] = ZERO
            copy(dy[:n], down.pre[t, b])
            summed = False
            if starts:
                fill(carry, ZERO)
                fill(grad, ZERO)
                fill(overlap, ZERO)  # dgain is zero already: step t read no activations
                if undo and t > 0 and place != 0:
                    rebuild(t, b, history, rule, trace, decay, gain, y, zeros)
            else:
                before = (
                    presynaptic(t - 1, b, history.hidden, history.starts, history.y, zeros) if t > 0 else now
                )
                held = held_steps(t, b, undo, history, clamp_masks, rule, room, place, y, zeros)
                h = trace if undo else window[place]
                step = Step(decay, gain, inverse, dy, now, before)
                summed = not undo and place > 0 and held.decays.shape[0] == 0
                earlier = Earlier(window[place - 1] if summed else h, earlier_decay, earlier_gain)
                if summed:
                    copy(history.y[t - 1, b], y)
                    coefficients(rule, y, earlier_decay, earlier_gain)
                    repeat(history.counts[t - 1], earlier_decay, earlier_gain)
                sums = overlap if undo else ddecay
                step_back(
                    undo,
                    summed,
                    h,
                    grad,
                    dalpha,
                    weights,
                    rule.bound,
                    step,
                    earlier,
                    rows,
                    touched,
                    dgain,
                    sums,
                    held,
                )
                if not full:
                    for i in range(n):
                        dscalars[2] += now[i] * lane_sum(load(touched, i * LANES))
                held_backward(
                    t, b, history, rule, held, y, one_decay, one_gain, dy, dscalars, dw_m, dfan_out, down.pre
                )
                count = held.decays.shape[0]
                t -= count
                for i in range(n):
                    carry[i] = lane_sum(load(held.rows if count > 0 else rows, i * LANES))
            if undo and t > 0 and is_stored(t, history):
                copy(history.traces[history.places[t], b], trace)
            t -= 1
        copy(carry[:n], down.hidden[b])
        if down.trace.size > 0:
            unpack(grad, down.trace[b])


# The plain network, without a trace


@entry
def plain_backward(chunk, low, high, up, clamp_masks, history, w_transposed, rule, down):
    """The gradients of environments low to high - 1, four at a time."""
    steps, _, n = history.y.shape
    carry = np.zeros((4, rule.w_m.size), np.float32)
    y, dy = np.zeros((2, rule.w_m.size), np.float32)
    for first in range(low, high, 4):
        b1, b2, b3 = min(first + 1, high - 1), min(first + 2, high - 1), min(first + 3, high - 1)
        for e, b in enumerate((first, b1, b2, b3)):
            copy(up.hidden[b], carry[e])
        for t in range(steps - 1, -1, -1):
            for e, b in enumerate((first, b1, b2, b3)):
                copy(history.y[t, b], y)
                copy(carry[e], dy)
                for j in range(n):
                    dy[j] += up.y[t, b, j]
                activate_backward(y, dy, rule.activation)
                mask = clamp_masks[t, b]
                for j in range(mask.size):
                    if mask[j]:
                        dy[j] = ZERO
                copy(dy[:n], down.pre[t, b])
            fill(carry.reshape(-1), ZERO)
            read_out(
                w_transposed, down.pre[t, first], down.pre[t, b1], down.pre[t, b2], down.pre[t, b3], carry
            )
            for e, b in enumerate((first, b1, b2, b3)):
                if history.starts[t, b]:
                    fill(carry[e], ZERO)
        for e, b in enumerate((first, b1, b2, b3)):
            copy(carry[e, :n], down.hidden[b])
