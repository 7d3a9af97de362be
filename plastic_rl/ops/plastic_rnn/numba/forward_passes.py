"""The forward passes over packed matrices: a step of one environment or of two, where all the time goes.

This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

from typing import Any

from plastic_rl.ops.plastic_rnn.numba.packed import settle_panel
from plastic_rl.ops.plastic_rnn.numba.simd import LANES, clip, inlined, inner, load, splat, store
from plastic_rl.ops.plastic_rnn.numba.vectors import UNBOUNDED, ZERO


def _make_connect(clipped: bool, update: bool) -> Any:
    @inlined
    def connect(total, trace, offset, d, g, limit, before_i, w, alpha, now_i):
        """One row of a panel: update the trace, H <- clip(d H + g y_before,i), and add what it reads out."""
        if not update:
            return total + (w + alpha * load(trace, offset)) * now_i
        h = d * load(trace, offset) + g * before_i
        if clipped:
            h = clip(h, limit)
        store(trace, offset, h)
        return total + (w + alpha * h) * now_i

    return connect


def _make_forward_passes(full: bool, clipped: bool, update: bool = True) -> tuple[Any, Any]:
    connect = _make_connect(clipped, update)

    @inner
    def alone(first, last, trace, weights, bound, decay, gain, before, now, pre):
        """Update columns first to last - 1 by the step before, and read out."""
        n = now.size
        limit = splat(bound)
        plasticity = splat(weights.plasticity)
        for column in range(first, last, LANES):
            d, g = load(decay, column), load(gain, column)
            # Even and odd rows have a sum each: a single sum would wait for its own last addition.
            even, odd = load(pre, column), splat(ZERO)
            offset = column * n
            for i in range(0, n - 1, 2):
                alpha = load(weights.alpha, offset) if full else plasticity
                w = load(weights.w, offset)
                even = connect(even, trace, offset, d, g, limit, before[i], w, alpha, now[i])
                offset += LANES
                alpha = load(weights.alpha, offset) if full else plasticity
                w = load(weights.w, offset)
                odd = connect(odd, trace, offset, d, g, limit, before[i + 1], w, alpha, now[i + 1])
                offset += LANES
            if n % 2 == 1:
                alpha = load(weights.alpha, offset) if full else plasticity
                w = load(weights.w, offset)
                even = connect(even, trace, offset, d, g, limit, before[n - 1], w, alpha, now[n - 1])
            store(pre, column, even + odd)

    @inner
    def pair(traces, weights, bound, decay, gain, before, now, pre):
        """The same of two environments, all columns: they share every load of w and alpha."""
        n = now.shape[1]
        limit = splat(bound)
        plasticity = splat(weights.plasticity)
        trace_0, trace_1 = traces[0], traces[1]
        before_0, before_1, now_0, now_1 = before[0], before[1], now[0], now[1]
        for column in range(0, pre.shape[1], LANES):
            d_0, d_1 = load(decay[0], column), load(decay[1], column)
            g_0, g_1 = load(gain[0], column), load(gain[1], column)
            even_0, even_1 = load(pre[0], column), load(pre[1], column)
            odd_0, odd_1 = splat(ZERO), splat(ZERO)
            offset = column * n
            for i in range(0, n - 1, 2):
                alpha = load(weights.alpha, offset) if full else plasticity
                w = load(weights.w, offset)
                even_0 = connect(even_0, trace_0, offset, d_0, g_0, limit, before_0[i], w, alpha, now_0[i])
                even_1 = connect(even_1, trace_1, offset, d_1, g_1, limit, before_1[i], w, alpha, now_1[i])
                offset += LANES
                k = i + 1
                alpha = load(weights.alpha, offset) if full else plasticity
                w = load(weights.w, offset)
                odd_0 = connect(odd_0, trace_0, offset, d_0, g_0, limit, before_0[k], w, alpha, now_0[k])
                odd_1 = connect(odd_1, trace_1, offset, d_1, g_1, limit, before_1[k], w, alpha, now_1[k])
                offset += LANES
            if n % 2 == 1:
                k = n - 1
                alpha = load(weights.alpha, offset) if full else plasticity
                w = load(weights.w, offset)
                even_0 = connect(even_0, trace_0, offset, d_0, g_0, limit, before_0[k], w, alpha, now_0[k])
                even_1 = connect(even_1, trace_1, offset, d_1, g_1, limit, before_1[k], w, alpha, now_1[k])
            store(pre[0], column, even_0 + odd_0)
            store(pre[1], column, even_1 + odd_1)

    return alone, pair


_full, _pair_full = _make_forward_passes(full=True, clipped=False)
_full_clipped, _pair_full_clipped = _make_forward_passes(full=True, clipped=True)
_scalar, _pair_scalar = _make_forward_passes(full=False, clipped=False)
_scalar_clipped, _pair_scalar_clipped = _make_forward_passes(full=False, clipped=True)

_full_recall, _pair_full_recall = _make_forward_passes(full=True, clipped=False, update=False)
_scalar_recall, _pair_scalar_recall = _make_forward_passes(full=False, clipped=False, update=False)


@inner
def recall_pass(trace, weights, now, pre):
    """Add the read-out y_now (w + alpha H) to ``pre``."""
    # What is not updated needs neither decay nor gain: anything stands in their places.
    if weights.alpha.size > 0:
        _full_recall(0, pre.size, trace, weights, UNBOUNDED, pre, pre, now, now, pre)
    else:
        _scalar_recall(0, pre.size, trace, weights, UNBOUNDED, pre, pre, now, now, pre)


@inner
def recall_pair(traces, weights, now, pre):
    """The same of two environments. traces: a tuple; the vectors (2, N) and (2, width)."""
    if weights.alpha.size > 0:
        _pair_full_recall(traces, weights, UNBOUNDED, pre, pre, now, now, pre)
    else:
        _pair_scalar_recall(traces, weights, UNBOUNDED, pre, pre, now, now, pre)


@inner
def forward_pass(trace, weights, bound, backlog, waiting, decay, gain, before, now, pre):
    """The whole pass. The ``waiting`` updates in the backlog come before that of (decay, gain)."""
    full = weights.alpha.size > 0
    limit = splat(bound)
    width = pre.size
    # With a backlog, panel by panel: each is taken through all of it while it is in cache. The loop is out
    # here because within the variants it makes the whole pass a quarter slower, even with nothing to do.
    span = width if waiting == 0 else LANES
    for first in range(0, width, span):
        last = first + span
        for k in range(waiting):
            settle_panel(trace, first, limit, backlog.decays[k], backlog.gains[k], backlog.reads[k], trace)
        if bound < UNBOUNDED:
            if full:
                _full_clipped(first, last, trace, weights, bound, decay, gain, before, now, pre)
            else:
                _scalar_clipped(first, last, trace, weights, bound, decay, gain, before, now, pre)
        elif full:
            _full(first, last, trace, weights, bound, decay, gain, before, now, pre)
        else:
            _scalar(first, last, trace, weights, bound, decay, gain, before, now, pre)


@inner
def forward_pair(traces, weights, bound, decay, gain, before, now, pre):
    """The forward pass of two environments. traces: a tuple; the vectors (2, N) or (2, width)."""
    arguments = (traces, weights, bound, decay, gain, before, now, pre)
    if weights.alpha.size > 0 and bound < UNBOUNDED:
        _pair_full_clipped(*arguments)
    elif weights.alpha.size > 0:
        _pair_full(*arguments)
    elif bound < UNBOUNDED:
        _pair_scalar_clipped(*arguments)
    else:
        _pair_scalar(*arguments)
