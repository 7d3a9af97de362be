"""What the numba backend does with vectors within one step: the rules and the neurons.

Vectors of N numbers are padded with zeros to whole vectors. The rules are the only place that knows one
from another: two vectors, decay and gain, and their derivatives.

This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from plastic_rl.ops.plastic_rnn.numba import simd
from plastic_rl.ops.plastic_rnn.numba.simd import LANES, inner, lane_sum, load, positive, splat, store

HEBB, OJA, MODULATED = 0, 1, 2
TANH, SIGMOID, RELU, LINEAR = 0, 1, 2, 3
ONE = np.float32(1.0)
ZERO = np.float32(0.0)
UNBOUNDED = np.float32(np.inf)
# So many steps in a row in which the clamp holds every neuron are taken together.
MOST_HELD = 8


class Weights(NamedTuple):
    """The matrices that a batch shares, packed; ``alpha`` is empty where a scalar replaces it."""

    w: np.ndarray
    alpha: np.ndarray
    plasticity: np.float32


class Rule(NamedTuple):
    """How neurons fire and how their trace changes. ``w_m`` and ``fan_out`` are padded."""

    code: int
    activation: int
    eta: np.float32
    b_m: np.float32
    bound: np.float32
    w_m: np.ndarray
    fan_out: np.ndarray


class Scratch(NamedTuple):
    """Working memory: one row per chunk of each array, see ``memory.staggered``.

    trace, grad: (chunks, packed)
    rows, touched, held_rows: (chunks, lanes * N)
    window: (chunks, steps, packed), empty where updates are undone
    """

    trace: np.ndarray
    grad: np.ndarray
    rows: np.ndarray
    touched: np.ndarray
    held_rows: np.ndarray
    window: np.ndarray


class Backlog(NamedTuple):
    """Room for ``MOST_HELD`` updates of the trace that have been put off, the oldest first.

    decays, gains: (MOST_HELD, width)
    reads: (MOST_HELD, N), the activations that each step read
    """

    decays: np.ndarray
    gains: np.ndarray
    reads: np.ndarray


class Step(NamedTuple):
    """A step on the way back: vectors of its update (``inverse`` is 1 / decay) and dL/dpre, (width,) each.

    now, before: (N,), the activations that this step reads and those that the one before it reads
    """

    decay: np.ndarray
    gain: np.ndarray
    inverse: np.ndarray
    dpre: np.ndarray
    now: np.ndarray
    before: np.ndarray


class Earlier(NamedTuple):
    """The trace (packed) before the step before, and decay and gain (width,) of that step's update."""

    trace: np.ndarray
    decay: np.ndarray
    gain: np.ndarray


class Later(NamedTuple):
    """dL/dpre (width,) of the step after, and the activations (N,) that it read."""

    dpre: np.ndarray
    now: np.ndarray


class Held(NamedTuple):
    """Room for consecutive steps on the way back, the latest first, in which the clamp holds every neuron.

    decays, gains, inverses: (MOST_HELD, width), of their updates
    reads: (MOST_HELD + 1, N), the activations that each of them reads, and then those of the step before them
    dgains, ddecays: (MOST_HELD, width), become dL/dg and dL/dd
    rows: (N, lanes), becomes the lanes of the gradient of what the earliest of them reads
    """

    decays: np.ndarray
    gains: np.ndarray
    inverses: np.ndarray
    reads: np.ndarray
    dgains: np.ndarray
    ddecays: np.ndarray
    rows: np.ndarray


class History(NamedTuple):
    """What the forward pass leaves for the backward pass.

    hidden: (B, N), the activations before the first step
    starts: (T, B) bool
    y: (T, B, N)
    traces: (K + 1, B, packed), the trace before some steps (and before a reset there), and at the end; empty
        if there will be no backward pass
    firsts: (K,), those steps; the first is 0
    places: (T,), which of them is the last one up to step t
    counts: (T,), how often in a row the update of step t is applied, always with the same activations
    """

    hidden: np.ndarray
    starts: np.ndarray
    y: np.ndarray
    traces: np.ndarray
    firsts: np.ndarray
    places: np.ndarray
    counts: np.ndarray


# The rules: the only functions that know about them


@inner
def coefficients(rule, y, decay, gain):
    """Decay d and gain g of the trace from the new activations: H <- clip(d H + g y_prev)."""
    if rule.code == MODULATED:
        signal = modulation(rule, y)
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
def modulation(rule, y):
    """The output of the modulating neuron, a scalar."""
    total = splat(ZERO)
    for j in range(0, y.size, LANES):
        total = total + load(y, j) * load(rule.w_m, j)
    return np.float32(np.tanh(rule.b_m + lane_sum(total)))


@inner
def coefficients_backward(rule, y, dgain, ddecay, dy, dscalars, dw_m, dfan_out):
    """From the gradients of g and d to those of y and of the rule's own parameters, all added to.

    dscalars: [deta, db_m], in double precision: they gather every neuron, step and environment
    """
    if rule.code == MODULATED:
        signal = modulation(rule, y)
        dsignal = splat(ZERO)
        for j in range(0, y.size, LANES):
            dsignal = dsignal + load(dgain, j) * load(y, j) * load(rule.fan_out, j)
        dtotal = (ONE - signal * signal) * lane_sum(dsignal)
        for j in range(y.size):
            dy[j] += rule.fan_out[j] * signal * dgain[j] + dtotal * rule.w_m[j]
            dw_m[j] += dtotal * y[j]
            dfan_out[j] += dgain[j] * y[j] * signal
        dscalars[1] += dtotal
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
    dscalars[0] += lane_sum(deta)


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


# Vectors (assignments to slices would make numba compile the text of their error messages)


@inner
def fill(target, value):
    """Every element of a flat array."""
    for j in range(target.size):
        target[j] = value


@inner
def copy(source, target):
    """A flat array into the beginning of another."""
    for j in range(source.size):
        target[j] = source[j]


@inner
def add(source, target):
    """A flat array to the beginning of another."""
    for j in range(source.size):
        target[j] += source[j]


# Neurons


@inner
def activate(pre, y, n, activation):
    """Take y = sigma(pre); the padding stays zero, whatever sigma(0) is."""
    for j in range(0, y.size, LANES):
        value = load(pre, j)
        if activation == TANH:
            value = simd.tanh(value)
        elif activation == SIGMOID:
            value = simd.sigmoid(value)
        elif activation == RELU:
            value = positive(value)
        store(y, j, value)
    for j in range(n, y.size):
        y[j] = ZERO


@inner
def activate_backward(y, dy, activation):
    """Turn dL/dy into dL/dpre in place; every activation here has a derivative that follows from y alone."""
    if activation == TANH:
        for j in range(y.size):
            dy[j] *= ONE - y[j] * y[j]
    elif activation == SIGMOID:
        for j in range(y.size):
            dy[j] *= y[j] * (ONE - y[j])
    elif activation == RELU:
        for j in range(y.size):
            if y[j] <= ZERO:
                dy[j] = ZERO


@inner
def release(mask, dpre):
    """Zero dL/dpre where the clamp holds a neuron. mask: (N,), empty where there is no clamp."""
    for j in range(mask.size):
        if mask[j]:
            dpre[j] = ZERO


@inner
def presynaptic(t, b, history, out):
    """Into out (N,): the activations that step t reads, those of the step before or zeros after a reset."""
    if history.starts[t, b]:
        fill(out, ZERO)
    elif t == 0:
        copy(history.hidden[b], out)
    else:
        copy(history.y[t - 1, b], out)


@inner
def is_stored(t, history):
    """Whether the trace before step t is one of those that are stored."""
    return history.firsts[history.places[t]] == t


@inner
def is_held(mask):
    """Whether the clamp holds every neuron. mask: (N,), empty where there is no clamp."""
    for j in range(mask.size):
        if not mask[j]:
            return False
    return mask.size > 0
