"""What the numba backend does with vectors within one step: the rules and the neurons.

Vectors of N numbers are padded with zeros to a multiple of eight. The rules are the only place that knows one
from another: two vectors, decay and gain, and their derivatives.

This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from plastic_rl.ops.plastic_rnn import simd
from plastic_rl.ops.plastic_rnn.simd import LANES, load, positive, store

HEBB, OJA, MODULATED = 0, 1, 2
TANH, SIGMOID, RELU, LINEAR = 0, 1, 2, 3
ONE = np.float32(1.0)
ZERO = np.float32(0.0)
UNBOUNDED = np.float32(np.inf)


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
    """Working memory: one row per chunk of each array, see ``numba_memory.staggered``.

    trace, grad: (chunks, packed)
    rows, touched: (chunks, 8 N)
    window: (chunks, steps, packed), empty where updates are undone
    """

    trace: np.ndarray
    grad: np.ndarray
    rows: np.ndarray
    touched: np.ndarray
    window: np.ndarray


class History(NamedTuple):
    """What the forward pass leaves for the backward pass.

    hidden: (B, N), the activations before the first step
    starts: (T, B) bool
    y: (T, B, N)
    traces: (K, B, packed), the trace before steps 0, every, 2 every, ... (and before a reset there), and at
        the end
    every: steps from one stored trace to the next
    """

    hidden: np.ndarray
    starts: np.ndarray
    y: np.ndarray
    traces: np.ndarray
    every: int


# The rules: the only functions that know about them


@njit
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


@njit
def modulation(rule, y):
    """The output of the modulating neuron, a scalar."""
    total = rule.b_m
    for j in range(y.size):
        total += y[j] * rule.w_m[j]
    return np.float32(np.tanh(total))


@njit
def coefficients_backward(rule, y, dgain, ddecay, dy, dscalars, dw_m, dfan_out):
    """From the gradients of g and d to those of y and of the rule's own parameters, all added to.

    dscalars: [deta, db_m], in double precision: they gather every neuron, step and environment
    """
    if rule.code == MODULATED:
        signal = modulation(rule, y)
        dsignal = ZERO
        for j in range(y.size):
            dsignal += dgain[j] * y[j] * rule.fan_out[j]
        dtotal = (ONE - signal * signal) * dsignal
        for j in range(y.size):
            dy[j] += rule.fan_out[j] * signal * dgain[j] + dtotal * rule.w_m[j]
            dw_m[j] += dtotal * y[j]
            dfan_out[j] += dgain[j] * y[j] * signal
        dscalars[1] += dtotal
    elif rule.code == OJA:
        deta = ZERO
        for j in range(y.size):
            dy[j] += rule.eta * (dgain[j] - (y[j] + y[j]) * ddecay[j])
            deta += y[j] * (dgain[j] - y[j] * ddecay[j])
        dscalars[0] += deta
    else:
        deta = ZERO
        for j in range(y.size):
            dy[j] += rule.eta * dgain[j]
            deta += dgain[j] * y[j] - ddecay[j]
        dscalars[0] += deta


# Vectors (assignments to slices would make numba compile the text of their error messages)


@njit
def fill(target, value):
    """Every element of a flat array."""
    for j in range(target.size):
        target[j] = value


@njit
def copy(source, target):
    """A flat array into the beginning of another."""
    for j in range(source.size):
        target[j] = source[j]


# Neurons


@njit
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


@njit
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


@njit
def presynaptic(t, b, hidden, starts, y, zeros):
    """The activations that step t reads: those of the step before, or zeros where an episode starts."""
    if starts[t, b]:
        return zeros[: y.shape[2]]
    if t == 0:
        return hidden[b]
    return y[t - 1, b]
