"""The compiled entry points of the numba backend: whole sequences and single steps, over chunks of the batch.

Environments are dealt out to ``n_chunks`` threads in a fixed way, and each is carried through all its steps
before the next, so that its matrices stay in the cache of one core. ``README.md`` derives the backward.

This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from plastic_rl.ops.plastic_rnn.numba_passes import (
    column_sums,
    forward_pass,
    overlap_sums,
    pack,
    read_out,
    read_out_rows,
    settle,
    step_back,
    unpack,
    update_rows,
)
from plastic_rl.ops.plastic_rnn.numba_rules import (
    ONE,
    UNBOUNDED,
    ZERO,
    History,
    Rule,
    Weights,
    activate,
    activate_backward,
    coefficients,
    coefficients_backward,
    copy,
    fill,
    presynaptic,
    repeat,
    repeat_backward,
)
from plastic_rl.ops.plastic_rnn.simd import LANES, lane_sum, load


def _digest() -> str:
    sources = (Path(__file__).with_name(name) for name in ("numba_passes.py", "numba_rules.py", "simd.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]


# Numba notices when this file has changed, but not when one that it takes functions from has.
SOURCES = _digest()


def entry(function: Callable) -> Any:
    """Compile on first use and keep the result on disk, where there is a folder that can be written."""
    function.__qualname__ += f"_{SOURCES}"
    try:
        return njit(function, cache=True, nogil=True)
    except RuntimeError:
        return njit(function, nogil=True)


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


@njit
def advance(t, b, x, clamp_value, clamp_mask, history, weights, rule, trace, decay, gain, pre, y, zeros):
    """Step t of environment b: settle the update that step t - 1 left in (decay, gain), read out, fire.

    x, clamp_value, clamp_mask: (N,), the clamp empty where there is none
    trace, decay, gain: carried from step to step
    """
    n = x.size
    copy(x, pre)
    before = presynaptic(t - 1, b, history.hidden, history.starts, history.y, zeros) if t > 0 else zeros[:n]
    now = presynaptic(t, b, history.hidden, history.starts, history.y, zeros)
    due = t > 0 and is_stored(t, history)
    if history.starts[t, b]:
        if due:
            settle(trace, rule.bound, decay, gain, before, history.traces[history.places[t], b])
        fill(trace, ZERO)
    else:
        # Nothing is pending at the first step, and a trace that comes in is taken as it is.
        bound = rule.bound if t > 0 else UNBOUNDED
        forward_pass(trace, weights, bound, decay, gain, before, now, pre)
        if due:
            copy(trace, history.traces[history.places[t], b])
    fire(pre, clamp_value, clamp_mask, rule, y, history.y[t, b])
    coefficients(rule, y, decay, gain)
    repeat(history.counts[t], decay, gain)


@njit
def is_stored(t, history):
    """Whether the trace before step t is one of those that are stored."""
    return history.firsts[history.places[t]] == t


@njit
def fire(pre, clamp_value, clamp_mask, rule, y, output):
    """The activations, clamped: into y (padded) and output (N,)."""
    n = output.size
    activate(pre, y, n, rule.activation)
    for j in range(clamp_mask.size):
        if clamp_mask[j]:
            y[j] = clamp_value[j]
    copy(y[:n], output)


@entry
def forward(
    chunk, low, high, x, trace_in, trace_out, clamp_values, clamp_masks, history, weights, rule, scratch
):
    """Carry environments low to high - 1 through all steps, one environment after the other."""
    steps = x.shape[0]
    decay, gain, pre, y, zeros = np.zeros((5, rule.w_m.size), np.float32)
    keep = history.traces.shape[0] > 0
    trace = scratch[chunk]
    for b in range(low, high):
        pack(trace_in[b], trace)
        if keep:
            copy(trace, history.traces[0, b])
        fill(decay, ONE)
        fill(gain, ZERO)
        for t in range(steps):
            value, mask = clamp_values[t, b], clamp_masks[t, b]
            advance(t, b, x[t, b], value, mask, history, weights, rule, trace, decay, gain, pre, y, zeros)
        now = presynaptic(steps - 1, b, history.hidden, history.starts, history.y, zeros)
        settle(trace, rule.bound, decay, gain, now, trace)
        unpack(trace, trace_out[b])
        if keep:
            copy(trace, history.traces[history.traces.shape[0] - 1, b])


# One step at a time


# The two entries below are called once per step of an environment: they take their tuples in pieces, which
# numba unpacks several times faster than named tuples.


@entry
def record_step(
    chunk, low, high, t, x, decay, gain,
    hidden, starts, activations, traces, firsts, places, counts,
    w, alpha, plasticity,
    code, activation, eta, b_m, bound, w_m, fan_out,
):  # fmt: skip
    """Step t of environments low to high - 1; their traces lie in the last place of ``traces``.

    x: (B, N)
    decay, gain: (B, width), kept from one call to the next
    the rest: a ``History``, the ``Weights`` and the ``Rule``
    """
    history = History(hidden, starts, activations, traces, firsts, places, counts)
    weights = Weights(w, alpha, plasticity)
    rule = Rule(code, activation, eta, b_m, bound, w_m, fan_out)
    pre, y, zeros = np.zeros((3, w_m.size), np.float32)
    value, mask = np.empty(0, np.float32), np.empty(0, np.bool_)
    for b in range(low, high):
        trace = traces[traces.shape[0] - 1, b]
        advance(t, b, x[b], value, mask, history, weights, rule, trace, decay[b], gain[b], pre, y, zeros)
        if t == activations.shape[0] - 1:
            now = presynaptic(t, b, hidden, starts, activations, zeros)
            settle(trace, bound, decay[b], gain[b], now, trace)


@entry
def settle_all(t, history, rule, decay, gain, packed):
    """Apply the updates that step t - 1 left in (decay, gain) to traces (B, packed), in place."""
    zeros = np.zeros(rule.w_m.size, np.float32)
    for b in range(packed.shape[0]):
        now = presynaptic(t - 1, b, history.hidden, history.starts, history.y, zeros)
        settle(packed[b], rule.bound, decay[b], gain[b], now, packed[b])


@entry
def step(
    chunk, low, high, x, episode_start, clamp_values, clamp_masks, hidden, trace, out,
    w, alpha, plasticity,
    code, activation, eta, b_m, bound, w_m, fan_out,
):  # fmt: skip
    """One step of environments low to high - 1 on a row-major state, in place.

    x, hidden, out: (B, N); trace, w, alpha: row-major; the rest: the ``Rule``
    """
    rule = Rule(code, activation, eta, b_m, bound, w_m, fan_out)
    decay, gain, pre, y = np.zeros((4, w_m.size), np.float32)
    for b in range(low, high):
        copy(x[b], pre)
        if episode_start[b]:
            fill(hidden[b], ZERO)
            fill(trace[b].reshape(-1), ZERO)
        else:
            read_out_rows(w, alpha, plasticity, trace[b], hidden[b], pre)
        fire(pre, clamp_values[b], clamp_masks[b], rule, y, out[b])
        if trace.size > 0:
            coefficients(rule, y, decay, gain)
            update_rows(trace[b], rule.bound, decay, gain, hidden[b])
        copy(out[b], hidden[b])


# Backward


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
    trace, grad, window = scratch.trace[chunk], scratch.grad[chunk], scratch.window[chunk]
    rows, touched = scratch.rows[chunk], scratch.touched[chunk]
    dalpha, dscalars = down.alpha[chunk], down.scalars[chunk]
    dw_m, dfan_out = down.w_m[chunk], down.fan_out[chunk]
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
        for t in range(steps - 1, -1, -1):
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
                h = trace if undo else window[place]
                step_back(
                    undo,
                    h,
                    grad,
                    dalpha,
                    weights,
                    decay,
                    gain,
                    inverse,
                    dy,
                    now,
                    before,
                    rows,
                    touched,
                    dgain,
                    overlap,
                )
                for i in range(n):
                    carry[i] = lane_sum(load(rows, i * LANES))
                if not full:
                    for i in range(n):
                        dscalars[2] += now[i] * lane_sum(load(touched, i * LANES))
            if undo and t > 0 and place == 0:
                copy(history.traces[history.places[t], b], trace)
        copy(carry[:n], down.hidden[b])
        if down.trace.size > 0:
            unpack(grad, down.trace[b])


# The plain network, without a trace


@entry
def plain_forward(chunk, low, high, x, clamp_values, clamp_masks, history, w, rule):
    """Environments low to high - 1, four at a time; a last group that is not full repeats its last member."""
    pre = np.zeros((4, rule.w_m.size), np.float32)
    y, zeros = np.zeros((2, rule.w_m.size), np.float32)
    hidden, starts, out = history.hidden, history.starts, history.y
    for first in range(low, high, 4):
        b1, b2, b3 = min(first + 1, high - 1), min(first + 2, high - 1), min(first + 3, high - 1)
        for t in range(x.shape[0]):
            for e, b in enumerate((first, b1, b2, b3)):
                copy(x[t, b], pre[e])
            read_out(
                w,
                presynaptic(t, first, hidden, starts, out, zeros),
                presynaptic(t, b1, hidden, starts, out, zeros),
                presynaptic(t, b2, hidden, starts, out, zeros),
                presynaptic(t, b3, hidden, starts, out, zeros),
                pre,
            )
            for e, b in enumerate((first, b1, b2, b3)):
                fire(pre[e], clamp_values[t, b], clamp_masks[t, b], rule, y, out[t, b])


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
