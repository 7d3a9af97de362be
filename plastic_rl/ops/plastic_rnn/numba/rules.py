"""The rules as the numba backend knows them: two vectors, decay and gain, and their derivatives.

Nothing else in this folder knows one rule from another. Vectors of N numbers are padded with zeros to whole
vectors. This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from plastic_rl.ops.plastic_rnn.numba.simd import LANES, inner, lane_sum, load, splat, store
from plastic_rl.ops.plastic_rnn.numba.vectors import ONE, ZERO
from plastic_rl.ops.plastic_rnn.rules import RULES

HEBB, OJA, MODULATED = (RULES[name].code for name in ("hebb", "oja", "modulated"))


@inner
def coefficients(rule, y, hidden, decay, gain):
    """Decay d and gain g of the trace, H <- clip(d H + g y_prev), from the postsynaptic activities.

    hidden: what leaves the step, which the modulating neuron reads; y itself in the tanh cell
    """
    if rule.code == MODULATED:
        signal = modulation(rule, hidden)
        for j in range(y.size):
            decay[j] = ONE
            gain[j] = rule.fan_out[j] * signal * y[j]
    elif rule.code == OJA:
        for j in range(y.size):
            decay[j] = ONE - rule.eta * y[j] * y[j]
            gain[j] = rule.eta * y[j]
    else:
        for j in range(y.size):
            decay[j] = ONE - rule.eta
            gain[j] = rule.eta * y[j]


@inner
def modulation(rule, hidden):
    """The output of the modulating neuron, a scalar."""
    total = splat(ZERO)
    for j in range(0, hidden.size, LANES):
        total = total + load(hidden, j) * load(rule.w_m, j)
    return np.float32(np.tanh(rule.b_m + lane_sum(total)))


@inner
def coefficients_backward(rule, y, hidden, dgain, ddecay, dy, dh, sums):
    """From the gradients of g and d to those of y, of ``hidden`` and of the rule's parameters, all added to.

    dy, dh: may be one array
    sums: its scalars [deta, db_m, ...] in double precision, as they gather every neuron, step and environment
    """
    if rule.code == MODULATED:
        signal = modulation(rule, hidden)
        dsignal = splat(ZERO)
        for j in range(0, y.size, LANES):
            dsignal = dsignal + load(dgain, j) * load(y, j) * load(rule.fan_out, j)
        dtotal = (ONE - signal * signal) * lane_sum(dsignal)
        for j in range(0, y.size, LANES):
            dg = load(dgain, j) * signal
            store(dy, j, load(dy, j) + load(rule.fan_out, j) * dg)
            store(dh, j, load(dh, j) + load(rule.w_m, j) * dtotal)
            store(sums.w_m, j, load(sums.w_m, j) + load(hidden, j) * dtotal)
            store(sums.fan_out, j, load(sums.fan_out, j) + load(y, j) * dg)
        sums.scalars[1] += dtotal
        return
    deta = splat(ZERO)
    if rule.code == OJA:
        for j in range(0, y.size, LANES):
            y_j, dg, dd = load(y, j), load(dgain, j), load(ddecay, j)
            store(dy, j, load(dy, j) + (dg - (y_j + y_j) * dd) * rule.eta)
            deta = deta + y_j * (dg - y_j * dd)
    else:
        for j in range(0, y.size, LANES):
            dg = load(dgain, j)
            store(dy, j, load(dy, j) + dg * rule.eta)
            deta = deta + (dg * load(y, j) - load(ddecay, j))
    sums.scalars[0] += lane_sum(deta)


# Repeated steps: n times H <- d H + g y with the same d, g and y is the same once, with d^n for d and
# g (1 + d + ... + d^(n-1)) for g. With the clip of ``modulated``, too: there d = 1, and all increments have
# the same sign.


@inner
def repeat(count, decay, gain):
    """Turn the decay and gain of one update into those of ``count`` updates."""
    if count == 1:
        return
    for j in range(0, decay.size, LANES):
        d = load(decay, j)
        power = d
        total = splat(ONE)
        for _ in range(count - 1):
            total = total * d + ONE
            power = power * d
        store(decay, j, power)
        store(gain, j, load(gain, j) * total)


@inner
def repeat_backward(count, decay, gain, dgain, ddecay):
    """Turn the gradients of the decay and gain of ``count`` updates into those of one.

    decay, gain: of one update
    """
    if count == 1:
        return
    for j in range(0, decay.size, LANES):
        d = load(decay, j)
        power = splat(ONE)
        total = splat(ONE)
        slope = splat(ZERO)  # of the total
        for _ in range(count - 1):
            slope = slope * d + total
            total = total * d + ONE
            power = power * d
        dg = load(dgain, j)
        store(ddecay, j, load(ddecay, j) * np.float32(count) * power + dg * load(gain, j) * slope)
        store(dgain, j, dg * total)
