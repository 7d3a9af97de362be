"""The compiled entry points of the numba backend: whole sequences and single steps, over chunks of the batch.

Environments are dealt out to ``n_chunks`` threads in a fixed way, and each is carried through all its steps
before the next, so that its matrices stay in the cache of one core.

This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from plastic_rl.ops.plastic_rnn.numba_passes import (
    forward_pass,
    pack,
    read_out,
    read_out_rows,
    settle,
    unpack,
    update_rows,
)
from plastic_rl.ops.plastic_rnn.numba_rules import (
    MOST_HELD,
    ONE,
    UNBOUNDED,
    ZERO,
    Backlog,
    History,
    Rule,
    Weights,
    activate,
    coefficients,
    copy,
    fill,
    is_held,
    is_stored,
    presynaptic,
    repeat,
)


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
def advance(
    t, b, x, clamp_value, clamp_mask, history, weights, rule, trace, backlog, decay, gain, pre, y, zeros
):
    """Step t of environment b: settle the update that step t - 1 left in (decay, gain), read out, fire.

    x, clamp_value, clamp_mask: (N,), the clamp empty where there is none
    trace, backlog, decay, gain: carried from step to step; the backlog is done with
    """
    n = x.size
    copy(x, pre)
    before = presynaptic(t - 1, b, history.hidden, history.starts, history.y, zeros) if t > 0 else zeros[:n]
    now = presynaptic(t, b, history.hidden, history.starts, history.y, zeros)
    due = t > 0 and is_stored(t, history)
    if history.starts[t, b]:
        if due:
            settle_backlog(trace, rule.bound, backlog)
            settle(trace, rule.bound, decay, gain, before, history.traces[history.places[t], b])
        fill(trace, ZERO)
    else:
        # Nothing is pending at the first step, and a trace that comes in is taken as it is.
        bound = rule.bound if t > 0 else UNBOUNDED
        forward_pass(trace, weights, bound, backlog, decay, gain, before, now, pre)
        if due:
            copy(trace, history.traces[history.places[t], b])
    fire(pre, clamp_value, clamp_mask, rule, y, history.y[t, b])
    coefficients(rule, y, decay, gain)
    repeat(history.counts[t], decay, gain)


@njit
def hold(t, b, clamp_value, history, rule, trace, backlog, waiting, decay, gain, y, zeros):
    """Step t of environment b where the clamp holds every neuron: nothing is read out, and updates can wait.

    The update that step t - 1 left joins the backlog, of which ``waiting`` places are taken. Returns how many
    are taken then.
    """
    if t > 0:
        copy(decay, backlog.decays[waiting])
        copy(gain, backlog.gains[waiting])
        copy(presynaptic(t - 1, b, history.hidden, history.starts, history.y, zeros), backlog.reads[waiting])
        waiting += 1
        due = is_stored(t, history)
        if due or waiting == MOST_HELD:
            settle_backlog(trace, rule.bound, first_of(backlog, waiting))
            waiting = 0
        if due:
            copy(trace, history.traces[history.places[t], b])
    copy(clamp_value, y)
    copy(clamp_value, history.y[t, b])
    coefficients(rule, y, decay, gain)
    repeat(history.counts[t], decay, gain)
    return waiting


@njit
def first_of(backlog, count):
    """The places of the backlog that are taken."""
    return Backlog(backlog.decays[:count], backlog.gains[:count], backlog.reads[:count])


@njit
def settle_backlog(trace, bound, backlog):
    """Apply all of it, in place."""
    for k in range(backlog.decays.shape[0]):
        settle(trace, bound, backlog.decays[k], backlog.gains[k], backlog.reads[k], trace)


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
    steps, _, n = x.shape
    width = rule.w_m.size
    decay, gain, pre, y, zeros = np.zeros((5, width), np.float32)
    decays, gains = np.empty((2, MOST_HELD, width), np.float32)
    backlog = Backlog(decays, gains, np.empty((MOST_HELD, n), np.float32))
    keep = history.traces.shape[0] > 0
    trace = scratch[chunk]
    for b in range(low, high):
        pack(trace_in[b], trace)
        if keep:
            copy(trace, history.traces[0, b])
        fill(decay, ONE)
        fill(gain, ZERO)
        waiting = 0
        for t in range(steps):
            value, mask = clamp_values[t, b], clamp_masks[t, b]
            if is_held(mask) and not history.starts[t, b]:
                waiting = hold(t, b, value, history, rule, trace, backlog, waiting, decay, gain, y, zeros)
            else:
                taken = first_of(backlog, waiting)
                advance(
                    t,
                    b,
                    x[t, b],
                    value,
                    mask,
                    history,
                    weights,
                    rule,
                    trace,
                    taken,
                    decay,
                    gain,
                    pre,
                    y,
                    zeros,
                )
                waiting = 0
        settle_backlog(trace, rule.bound, first_of(backlog, waiting))
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
    nothing = np.empty((0, w_m.size), np.float32)
    backlog = Backlog(nothing, nothing, nothing)
    for b in range(low, high):
        trace = traces[traces.shape[0] - 1, b]
        advance(
            t, b, x[b], value, mask, history, weights, rule, trace, backlog, decay[b], gain[b], pre, y, zeros
        )
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
