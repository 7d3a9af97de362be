"""What the numba backend does with vectors within one step: the neurons, and what they read.

Vectors of N numbers are padded with zeros to whole vectors. Assignments to slices would make numba compile
the text of their error messages, so there are functions for them.

This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from plastic_rl.ops.plastic_rnn.numba import simd
from plastic_rl.ops.plastic_rnn.numba.simd import LANES, inner, load, positive, store
from plastic_rl.ops.plastic_rnn.rules import ACTIVATIONS

TANH, SIGMOID, RELU = (ACTIVATIONS[name].code for name in ("tanh", "sigmoid", "relu"))
ONE = np.float32(1.0)
ZERO = np.float32(0.0)
UNBOUNDED = np.float32(np.inf)


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
def set_clamped(value, mask, vector):
    """The clamp's values where its mask is true; (0,) each where there is no clamp."""
    for j in range(mask.size):
        if mask[j]:
            vector[j] = value[j]


@inner
def release(mask, dpre):
    """Zero dL/dpre where the clamp holds a neuron. mask: (N,), empty where there is no clamp."""
    for j in range(mask.size):
        if mask[j]:
            dpre[j] = ZERO


@inner
def presynaptic(t, b, history, out):
    """Into out (N,): what the last inner step of step t reads, the presynaptic activations of its update."""
    reads_of(t, history.recalls.shape[1], b, history, out)


@inner
def reads_of(t, s, b, history, out):
    """Into out (N,): what inner step s of step t reads, s = 0 being the first."""
    if s > 0:
        copy(history.recalls[t, s - 1, b], out)
    else:
        first_reads(t, b, history, out)


@inner
def first_reads(t, b, history, out):
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
