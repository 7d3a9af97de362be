"""The compiled entry points of the numba backend: whole sequences and single steps, over chunks of the batch.

Environments are dealt out to threads in a fixed way, a chunk each, and each is carried through all its steps
before the next, so that its matrices stay in the cache of one core.

This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from plastic_rl.ops.plastic_rnn.numba.compiling import assert_order, entry
from plastic_rl.ops.plastic_rnn.numba.forward_passes import (
    forward_pair,
    forward_pass,
    recall_pair,
    recall_pass,
)
from plastic_rl.ops.plastic_rnn.numba.packed import pack, settle, unpack
from plastic_rl.ops.plastic_rnn.numba.rows import read_out_rows, update_rows
from plastic_rl.ops.plastic_rnn.numba.rules import coefficients, repeat
from plastic_rl.ops.plastic_rnn.numba.simd import inner
from plastic_rl.ops.plastic_rnn.numba.structs import MOST_HELD, Backlog, History, Rule, Weights
from plastic_rl.ops.plastic_rnn.numba.vectors import (
    ONE,
    UNBOUNDED,
    ZERO,
    activate,
    copy,
    fill,
    first_reads,
    is_held,
    is_stored,
    presynaptic,
    set_clamped,
)


@entry
def pack_matrix(matrix, packed):
    """Row-major (N, N) to panels."""
    pack(matrix, packed)


@entry
def unpack_matrices(packed, matrices):
    """Panels (B, packed) to row-major (B, N, N)."""
    for b in range(packed.shape[0]):
        unpack(packed[b], matrices[b])


@entry
def pack_matrices(matrices, packed):
    """Row-major (B, N, N) to panels (B, packed)."""
    for b in range(packed.shape[0]):
        pack(matrices[b], packed[b])


# Forward


@inner
def begin(t, b, x, history, before, now, pre):
    """The input drive x (N,), what the update of step t - 1 and the read-out of step t read."""
    copy(x, pre)
    if t > 0:
        presynaptic(t - 1, b, history, before)
    else:
        fill(before, ZERO)
    first_reads(t, b, history, now)


@inner
def settle_and_read(t, b, history, weights, rule, trace, backlog, waiting, decay, gain, before, now, pre):
    """Apply the update that step t - 1 left in (decay, gain), after those waiting, and read out step t.

    trace, decay, gain: of environment b, carried from step to step
    """
    due = t > 0 and is_stored(t, history)
    if history.starts[t, b]:
        if due:
            settle_backlog(trace, rule.bound, backlog, waiting)
            settle(trace, rule.bound, decay, gain, before, history.traces[history.places[t], b])
        fill(trace, ZERO)
    else:
        # Nothing is pending at the first step, and a trace that comes in is taken as it is.
        bound = rule.bound if t > 0 else UNBOUNDED
        forward_pass(trace, weights, bound, backlog, waiting, decay, gain, before, now, pre)
        if due:
            copy(trace, history.traces[history.places[t], b])


@inner
def recall(t, b, x, clamp_value, clamp_mask, history, weights, rule, trace, pre, y):
    """All inner steps of environment b after the first, whose ``pre`` comes in; that of the last goes out."""
    for s in range(history.recalls.shape[1]):
        now = history.recalls[t, s, b]
        fire(pre, clamp_value, clamp_mask, rule, y, now)
        copy(x, pre)
        recall_pass(trace, weights, now, pre)


@inner
def finish(t, b, clamp_value, clamp_mask, history, rule, decay, gain, pre, y):
    """Fire, and leave the update of the trace in (decay, gain)."""
    fire(pre, clamp_value, clamp_mask, rule, y, history.y[t, b])
    coefficients(rule, y, y, decay, gain)
    repeat(history.counts[t], decay, gain)


@inner
def advance(
    t, b, x, clamp, history, weights, rule, trace, backlog, waiting, decay, gain, before, now, pre, y
):
    """Step t of environment b.

    x: (N,); clamp: value and mask, (N,) or (0,); trace: (packed,); the vectors (N,) or (width,)
    """
    begin(t, b, x, history, before, now, pre)
    settle_and_read(t, b, history, weights, rule, trace, backlog, waiting, decay, gain, before, now, pre)
    recall(t, b, x, *clamp, history, weights, rule, trace, pre, y)
    finish(t, b, *clamp, history, rule, decay, gain, pre, y)


@inner
def advance_pair(
    t, b, x, no_clamp, history, weights, rule, traces, backlog, decay, gain, before, now, pre, y
):
    """Step t of environments b and b + 1, which nothing clamps.

    x: (2, N); no_clamp: value and mask (0,); traces: two; the vectors (2, N) or (2, width)
    """
    for e in range(2):
        begin(t, b + e, x[e], history, before[e], now[e], pre[e])
    if history.starts[t, b] or history.starts[t, b + 1]:
        for e in range(2):
            settle_and_read(
                t, b + e, history, weights, rule, traces[e], backlog, 0,
                decay[e], gain[e], before[e], now[e], pre[e],
            )  # fmt: skip
    else:
        bound = rule.bound if t > 0 else UNBOUNDED
        forward_pair(traces, weights, bound, decay, gain, before, now, pre)
        if t > 0 and is_stored(t, history):
            for e in range(2):
                copy(traces[e], history.traces[history.places[t], b + e])
    for s in range(history.recalls.shape[1]):
        for e in range(2):
            fire(pre[e], *no_clamp, rule, y, history.recalls[t, s, b + e])
            copy(x[e], pre[e])
        recall_pair(traces, weights, history.recalls[t, s, b : b + 2], pre)
    for e in range(2):
        finish(t, b + e, *no_clamp, history, rule, decay[e], gain[e], pre[e], y)


@inner
def hold(t, b, clamp_value, history, rule, trace, backlog, waiting, decay, gain, y):
    """Step t of environment b where the clamp holds every neuron: nothing is read out, and updates can wait.

    The update that step t - 1 left joins the backlog, of which ``waiting`` places are taken. Returns how many
    are taken then.
    """
    if t > 0:
        copy(decay, backlog.decays[waiting])
        copy(gain, backlog.gains[waiting])
        presynaptic(t - 1, b, history, backlog.reads[waiting])
        waiting += 1
        due = is_stored(t, history)
        if due or waiting == MOST_HELD:
            settle_backlog(trace, rule.bound, backlog, waiting)
            waiting = 0
        if due:
            copy(trace, history.traces[history.places[t], b])
    copy(clamp_value, y)
    copy(clamp_value, history.y[t, b])
    for s in range(history.recalls.shape[1]):
        copy(clamp_value, history.recalls[t, s, b])
    coefficients(rule, y, y, decay, gain)
    repeat(history.counts[t], decay, gain)
    return waiting


@inner
def settle_backlog(trace, bound, backlog, waiting):
    """Apply what is waiting, in place."""
    for k in range(waiting):
        settle(trace, bound, backlog.decays[k], backlog.gains[k], backlog.reads[k], trace)


@inner
def fire(pre, clamp_value, clamp_mask, rule, y, output):
    """The activations, clamped: into y (padded) and output (N,)."""
    n = output.size
    activate(pre, y, n, rule.activation)
    set_clamped(clamp_value, clamp_mask, y)
    copy(y[:n], output)


@entry
def forward(
    chunk, low, high, x, trace_in, trace_out, clamp_values, clamp_masks, history, weights, rule, scratch
):
    """Carry environments low to high - 1 through all steps: two at a time, or one where there is a clamp.

    scratch: two arrays (chunks, packed)
    """
    _, _, n = x.shape
    width = rule.w_m.size
    vectors = np.zeros((4, 2, width), np.float32)
    reads = np.zeros((2, 2, n), np.float32)
    room = np.empty((2, MOST_HELD, width), np.float32)
    backlog = Backlog(room[0], room[1], np.empty((MOST_HELD, n), np.float32))
    traces = scratch[0][chunk], scratch[1][chunk]
    clamp = clamp_values, clamp_masks
    b = low
    while b < high:
        count = 2 if clamp_masks.shape[2] == 0 and b + 1 < high else 1
        run(b, count, x, trace_in, trace_out, clamp, history, weights, rule, traces, backlog, vectors, reads)
        b += count


@inner
def run(b, count, x, trace_in, trace_out, clamp, history, weights, rule, traces, backlog, vectors, reads):
    """Carry environment b, or (count = 2) b and b + 1, through all steps.

    vectors: (4, 2, width), reads: (2, 2, N)
    """
    clamp_values, clamp_masks = clamp
    decay, gain, pre, y = vectors[0], vectors[1], vectors[2], vectors[3]
    before, now = reads[0], reads[1]
    steps = x.shape[0]
    keep = history.traces.shape[0] > 0
    fill(decay.reshape(-1), ONE)
    fill(gain.reshape(-1), ZERO)
    for e in range(count):
        pack(trace_in[b + e], traces[e])
        if keep:
            copy(traces[e], history.traces[0, b + e])
    waiting = 0
    for t in range(steps):
        value, mask = clamp_values[t, b], clamp_masks[t, b]
        if count == 2:
            advance_pair(
                t, b, x[t, b : b + 2], (value, mask), history, weights, rule, traces, backlog,
                decay, gain, before, now, pre, y[0],
            )  # fmt: skip
        elif is_held(mask) and not history.starts[t, b]:
            waiting = hold(t, b, value, history, rule, traces[0], backlog, waiting, decay[0], gain[0], y[0])
        else:
            advance(
                t, b, x[t, b], (value, mask), history, weights, rule, traces[0], backlog, waiting,
                decay[0], gain[0], before[0], now[0], pre[0], y[0],
            )  # fmt: skip
            waiting = 0
    for e in range(count):
        settle_backlog(traces[e], rule.bound, backlog, waiting)
        presynaptic(steps - 1, b + e, history, now[e])
        settle(traces[e], rule.bound, decay[e], gain[e], now[e], traces[e])
        unpack(traces[e], trace_out[b + e])
        if keep:
            copy(traces[e], history.traces[history.traces.shape[0] - 1, b + e])


# The two entries below are called once per step of an environment: they take their tuples in pieces, which
# numba unpacks several times faster than named tuples.


@entry
def record_step(
    chunk, low, high, t, x, decay, gain,
    hidden, starts, y, recalls, traces, firsts, places, counts,
    w, alpha, plasticity,
    code, activation, eta, b_m, bound, w_m, fan_out,
):  # fmt: skip
    """Step t of environments low to high - 1; their traces lie in the last place of ``traces``.

    x: (B, N)
    decay, gain: (B, width), kept from one call to the next
    the rest: a ``History``, the ``Weights`` and the ``Rule``
    """
    history = History(hidden, starts, y, recalls, traces, firsts, places, counts)
    weights = Weights(w, alpha, plasticity)
    rule = Rule(code, activation, eta, b_m, bound, w_m, fan_out)
    n = x.shape[1]
    pre = np.zeros((2, w_m.size), np.float32)
    fired = np.zeros(w_m.size, np.float32)
    reads = np.zeros((2, 2, n), np.float32)
    nothing, no_mask = np.empty((0, w_m.size), np.float32), np.empty(0, np.bool_)
    backlog = Backlog(nothing, nothing, nothing)
    vectors = reads[0], reads[1], pre, fired
    record(t, low, high, x, no_mask, history, weights, rule, backlog, decay, gain, *vectors)


assert_order(record_step, History, Weights, Rule)


@inner
def record(t, low, high, x, no_mask, history, weights, rule, backlog, decay, gain, before, now, pre, y):
    """Step t of environments low to high - 1, two at a time."""
    current = history.traces[history.traces.shape[0] - 1]
    no_clamp = now[0, :0], no_mask
    for b in range(low, high - 1, 2):
        advance_pair(
            t, b, x[b : b + 2], no_clamp, history, weights, rule, (current[b], current[b + 1]), backlog,
            decay[b : b + 2], gain[b : b + 2], before, now, pre, y,
        )  # fmt: skip
    if (high - low) % 2 == 1:
        b = high - 1
        advance(
            t, b, x[b], no_clamp, history, weights, rule, current[b], backlog, 0,
            decay[b], gain[b], before[0], now[0], pre[0], y,
        )  # fmt: skip
    if t == history.y.shape[0] - 1:
        for b in range(low, high):
            presynaptic(t, b, history, now[0])
            settle(current[b], rule.bound, decay[b], gain[b], now[0], current[b])


@entry
def settle_all(t, history, rule, decay, gain, packed):
    """Apply the updates that step t - 1 left in (decay, gain) to traces (B, packed), in place."""
    now = np.empty(history.y.shape[2], np.float32)
    for b in range(packed.shape[0]):
        presynaptic(t - 1, b, history, now)
        settle(packed[b], rule.bound, decay[b], gain[b], now, packed[b])


@entry
def step(
    chunk, low, high, x, episode_start, clamp_values, clamp_masks, hidden, trace, out, core_steps,
    w, alpha, plasticity,
    code, activation, eta, b_m, bound, w_m, fan_out,
):  # fmt: skip
    """One step of environments low to high - 1 on a row-major state, in place.

    x, hidden, out: (B, N); trace, w, alpha: row-major; the rest: the ``Rule``
    """
    rule = Rule(code, activation, eta, b_m, bound, w_m, fan_out)
    width = w_m.size
    decay, gain = np.zeros(width, np.float32), np.zeros(width, np.float32)
    pre, y = np.zeros(width, np.float32), np.zeros(width, np.float32)
    for b in range(low, high):
        if episode_start[b]:
            fill(hidden[b], ZERO)
            fill(trace[b].reshape(-1), ZERO)
        for s in range(core_steps):
            if s > 0:
                copy(out[b], hidden[b])
            copy(x[b], pre)
            if s > 0 or not episode_start[b]:
                read_out_rows(w, alpha, plasticity, trace[b], hidden[b], pre)
            fire(pre, clamp_values[b], clamp_masks[b], rule, y, out[b])
        coefficients(rule, y, y, decay, gain)
        update_rows(trace[b], rule.bound, decay, gain, hidden[b])
        copy(out[b], hidden[b])
