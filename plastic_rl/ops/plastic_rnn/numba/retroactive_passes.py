"""What ``retroactive`` does with its two traces within one step; matrices are packed, see ``packed``.

    H <- clip(H + M E), with the old E, then E <- d E + g y_before

This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

from typing import Any

import numpy as np

from plastic_rl.ops.plastic_rnn.numba.rules import modulation
from plastic_rl.ops.plastic_rnn.numba.simd import (
    LANES,
    clip,
    inner,
    lane_sum,
    load,
    splat,
    store,
    zero_beyond,
)
from plastic_rl.ops.plastic_rnn.numba.vectors import ONE, ZERO, fill


@inner
def retroactive_coefficients(rule, y, hidden, sent, decay, gain):
    """M, d and g, (width,) each, from the postsynaptic activities and the new hidden state."""
    signal = modulation(rule, hidden)
    for j in range(y.size):
        sent[j] = rule.fan_out[j] * signal
        decay[j] = ONE - rule.eta
        gain[j] = rule.eta * y[j]


@inner
def retroactive_coefficients_backward(rule, y, hidden, dsent, dgain, ddecay, dy, dh, sums):
    """From the gradients of M, g and d to those of y, of the hidden state and of the rule's parameters."""
    signal = modulation(rule, hidden)
    dsignal, deta = splat(ZERO), splat(ZERO)
    for j in range(0, y.size, LANES):
        dsignal = dsignal + load(dsent, j) * load(rule.fan_out, j)
        deta = deta + (load(dgain, j) * load(y, j) - load(ddecay, j))
    dtotal = (ONE - signal * signal) * lane_sum(dsignal)
    for j in range(0, y.size, LANES):
        store(dy, j, load(dy, j) + load(dgain, j) * rule.eta)
        store(dh, j, load(dh, j) + load(rule.w_m, j) * dtotal)
        store(sums.w_m, j, load(sums.w_m, j) + load(hidden, j) * dtotal)
        store(sums.fan_out, j, load(sums.fan_out, j) + load(dsent, j) * signal)
    sums.scalars[0] += lane_sum(deta)
    sums.scalars[1] += dtotal


@inner
def settle_both(trace, second, bound, sent, decay, gain, before, new_trace, new_second):
    """The update alone; the results may be the traces themselves."""
    n = before.size
    limit = splat(bound)
    for column in range(0, decay.size, LANES):
        m, d, g = load(sent, column), load(decay, column), load(gain, column)
        offset = column * n
        for i in range(n):
            e = load(second, offset)
            store(new_trace, offset, clip(load(trace, offset) + m * e, limit))
            store(new_second, offset, d * e + g * before[i])
            offset += LANES


def _make_forward(full: bool) -> Any:
    @inner
    def connect(total, trace, second, offset, m, d, g, limit, before_i, w, alpha, now_i):
        e = load(second, offset)
        h = clip(load(trace, offset) + m * e, limit)
        store(trace, offset, h)
        store(second, offset, d * e + g * before_i)
        return total + (w + alpha * h) * now_i

    @inner
    def forward_both(trace, second, weights, bound, sent, decay, gain, before, now, pre):
        n = now.size
        limit = splat(bound)
        plasticity = splat(weights.plasticity)
        for column in range(0, pre.size, LANES):
            m, d, g = load(sent, column), load(decay, column), load(gain, column)
            even, odd = load(pre, column), splat(ZERO)
            offset = column * n
            for i in range(0, n - 1, 2):
                alpha = load(weights.alpha, offset) if full else plasticity
                w = load(weights.w, offset)
                even = connect(even, trace, second, offset, m, d, g, limit, before[i], w, alpha, now[i])
                offset += LANES
                alpha = load(weights.alpha, offset) if full else plasticity
                w = load(weights.w, offset)
                odd = connect(odd, trace, second, offset, m, d, g, limit, before[i + 1], w, alpha, now[i + 1])
                offset += LANES
            if n % 2 == 1:
                alpha = load(weights.alpha, offset) if full else plasticity
                w = load(weights.w, offset)
                even = connect(
                    even, trace, second, offset, m, d, g, limit, before[n - 1], w, alpha, now[n - 1]
                )
            store(pre, column, even + odd)

    return forward_both


_forward_full = _make_forward(full=True)
_forward_scalar = _make_forward(full=False)


@inner
def forward_both(trace, second, weights, bound, sent, decay, gain, before, now, pre):
    """Update both traces by the step before, and add what ``now`` reads out to ``pre``."""
    if weights.alpha.size > 0:
        _forward_full(trace, second, weights, bound, sent, decay, gain, before, now, pre)
    else:
        _forward_scalar(trace, second, weights, bound, sent, decay, gain, before, now, pre)


@inner
def sums_of_both(trace, second, grad, second_grad, bound, sent, now, dsent, dgain, ddecay):
    """The gradients of M, g and d; that of H becomes zero where its update was clipped.

    trace, second: H_t and E_t; grad, second_grad: dL/dH_{t+1} and dL/dE_{t+1}
    """
    n = now.size
    limit = splat(bound)
    for column in range(0, dgain.size, LANES):
        m = load(sent, column)
        dm, dg, dd = splat(ZERO), splat(ZERO), splat(ZERO)
        offset = column * n
        for i in range(n):
            e = load(second, offset)
            gradient = zero_beyond(load(grad, offset), load(trace, offset) + m * e, limit)
            store(grad, offset, gradient)
            gradient_e = load(second_grad, offset)
            dm = dm + gradient * e
            dg = dg + gradient_e * now[i]
            dd = dd + gradient_e * e
            offset += LANES
        store(dsent, column, dm)
        store(dgain, column, dg)
        store(ddecay, column, dd)


def _make_backward(full: bool, several: bool) -> Any:
    @inner
    def backward_both(trace, grad, second_grad, dalpha, weights, sent, step, inners, rows, touched):
        now = step.now
        n, width = now.size, step.dpre.size
        reads, errors = inners.reads, inners.errors
        plasticity = splat(weights.plasticity)
        for column in range(0, width, LANES):
            m, d, g = load(sent, column), load(step.decay, column), load(step.gain, column)
            error = load(step.dpre, column)
            shared = splat(ZERO)
            offset = column * n
            for i in range(n):
                h = load(trace, offset)
                gradient, gradient_e = load(grad, offset), load(second_grad, offset)
                store(second_grad, offset, d * gradient_e + m * gradient)
                alpha = load(weights.alpha, offset) if full else plasticity
                row = error * (load(weights.w, offset) + alpha * h)
                if several:
                    outer = error * reads[0, i]
                    for s in range(1, reads.shape[0]):
                        outer = outer + load(errors, s * width + column) * reads[s, i]
                else:
                    outer = error * now[i]
                    row = row + gradient_e * g
                if full:
                    store(dalpha, offset, load(dalpha, offset) + outer * h)
                else:
                    shared = shared + outer * h
                store(grad, offset, gradient + alpha * outer)
                store(rows, i * LANES, load(rows, i * LANES) + row)
                offset += LANES
            store(touched, column, shared)

    return backward_both


_backward_full = _make_backward(full=True, several=False)
_backward_scalar = _make_backward(full=False, several=False)
_backward_full_several = _make_backward(full=True, several=True)
_backward_scalar_several = _make_backward(full=False, several=True)


@inner
def backward_both(trace, grad, second_grad, dalpha, weights, sent, step, inners, rows, touched):
    """One step back: the gradients become those of H_t and E_t.

    step: its dpre is du of the first inner step; inners: of all of them, where there are several
    rows: (N, lanes), becomes the lanes of what goes to the activations that the first inner step reads
    touched: (width,), becomes the lanes of the gradient of a scalar alpha
    dalpha: added to
    """
    fill(rows, ZERO)
    a = (trace, grad, second_grad, dalpha, weights, sent, step, inners, rows, touched)
    several = inners.reads.shape[0] > 1
    if weights.alpha.size > 0 and several:
        _backward_full_several(*a)
    elif weights.alpha.size > 0:
        _backward_full(*a)
    elif several:
        _backward_scalar_several(*a)
    else:
        _backward_scalar(*a)


@inner
def update_both_rows(trace, second, bound, sent, decay, gain, now):
    """The update of row-major traces, in place."""
    n = trace.shape[0]
    for i in range(n):
        for j in range(n):
            h = trace[i, j] + sent[j] * second[i, j]
            trace[i, j] = bound if h > bound else -bound if h < -bound else h
            second[i, j] = decay[j] * second[i, j] + gain[j] * np.float32(now[i])
