"""How the numba backend lays out memory, and how much of it and how many threads it takes.

This module imports numba: it is imported only when the backend is used.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from plastic_rl.ops.plastic_rnn.numba import forward as kernels
from plastic_rl.ops.plastic_rnn.numba.simd import LANES
from plastic_rl.ops.plastic_rnn.numba.structs import Rule, Weights
from plastic_rl.ops.plastic_rnn.rules import ACTIVATIONS, get_rule
from plastic_rl.ops.plastic_rnn.threads import thread_count
from plastic_rl.ops.plastic_rnn.types import PlasticParams

Array = np.ndarray
# Undoing the decay multiplies rounding errors by at most this before a stored trace sets them to nothing.
MAX_AMPLIFICATION = 16.0
# Steps between stored traces where the update cannot be undone (or the square root of T, if that is more).
MIN_WINDOW = 16
# A page of memory and the stride between matrices within it, in floats: six matrices fill the page evenly.
PAGE, STRIDE = 1024, 176
# Matrix elements per thread below which a second thread costs more than it brings.
MIN_WORK = 400_000
_ZERO, _UNBOUNDED = np.float32(0), np.float32(math.inf)


class Prepared(NamedTuple):
    """The parameters as the kernels take them, in memory of their own: later changes do not reach them."""

    weights: Weights
    rule: Rule


def prepare(params: PlasticParams) -> Prepared:
    """Pack the matrices and pad the vectors. The weights of a plain network have an empty ``alpha``."""
    w = staggered(0, packed_size(params.n))
    kernels.pack_matrix(as_array(params.w), w)
    alpha, plasticity = np.empty(0, np.float32), np.float32(0)
    if params.alpha is not None and params.alpha.dim() == 2:
        alpha = staggered(1, packed_size(params.n))
        kernels.pack_matrix(as_array(params.alpha), alpha)
    elif params.alpha is not None:
        plasticity = np.float32(params.alpha.item())
    return Prepared(Weights(w, alpha, plasticity), rule_of(params))


def rule_of(params: PlasticParams) -> Rule:
    """The rule as the kernels take it: zeros for the parameters that it does not have."""
    definition, activation = get_rule(params.rule), ACTIVATIONS[params.activation]
    assert definition.code is not None
    assert activation.code is not None
    clipped = params.plastic and definition.trace_clip
    return Rule(
        definition.code,
        activation.code,
        _scalar(params.eta),
        _scalar(params.b_m),
        np.float32(params.trace_clip) if clipped else _UNBOUNDED,
        pad(params.w_m, params.n),
        pad(params.fan_out, params.n),
    )


class Plan(NamedTuple):
    """Where traces are stored, see ``History``, and whether updates are undone between them."""

    firsts: Array
    places: Array
    undo: bool


def plan(params: PlasticParams, clamp_values: Array, counts: Array) -> Plan:
    """Where to store traces for the backward pass. counts: (T,), as in ``History``.

    Undoing divides by the decay, and so multiplies rounding errors at every update.
    """
    bound = float(np.abs(clamp_values).max()) if clamp_values.size > 0 else 0.0
    every = get_rule(params.rule).span_to_undo(params, bound, MAX_AMPLIFICATION)
    if every <= MIN_WINDOW or every < counts.max():
        window = max(MIN_WINDOW, math.isqrt(counts.size))
        return Plan(np.arange(0, counts.size, window), np.arange(counts.size) // window, False)
    firsts, places, elapsed = [0], [], 0
    for t, count in enumerate(counts.tolist()):
        if elapsed + count > every:
            firsts.append(t)
            elapsed = 0
        elapsed += count
        places.append(len(firsts) - 1)
    return Plan(np.array(firsts), np.array(places), True)


def store(plan: Plan, batch: int, n: int) -> Array:
    """Room for the traces that the plan stores, and for the final one: (K + 1, B, packed)."""
    return staggered(2, plan.firsts.size + 1, batch, packed_size(n))


def recalls(core_steps: int, steps: int, batch: int, n: int) -> Array:
    """Room for the activations of the inner steps before the last: (T, core_steps - 1, B, N)."""
    return np.empty((steps, core_steps - 1, batch, n), np.float32)


def chunks_for(batch: int, work: int) -> int:
    """In how many shares to run, each in a thread; ``work`` is the number of matrix elements per environment.

    The number of threads is torch's, see ``threads.thread_count``.
    """
    return max(1, min(batch, thread_count(), batch * work // MIN_WORK))


def packed_size(n: int) -> int:
    """Length of a packed matrix, rounded up to whole pages."""
    return math.ceil(padded(n) * n / PAGE) * PAGE


def staggered(place: int, *shape: int) -> Array:
    """An array of float32 whose rows start ``place`` strides past a page border.

    Matrices that are read side by side must not lie a whole number of pages apart, as large arrays would by
    themselves: the cache tells addresses apart by their place within the page first.
    """
    length = math.prod(shape)
    buffer = np.empty(length + 2 * PAGE, np.float32)
    first = -(buffer.ctypes.data // 4) % PAGE + place * STRIDE % PAGE
    return buffer[first : first + length].reshape(shape)


def padded(n: int) -> int:
    """N rounded up to whole vectors."""
    return -(-n // LANES) * LANES


def as_array(tensor: Tensor) -> Array:
    """The numbers of a tensor as a contiguous array, without a copy where they are contiguous already."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    return tensor.numpy() if tensor.is_contiguous() else tensor.contiguous().numpy()


def _scalar(tensor: Tensor | None) -> np.float32:
    return _ZERO if tensor is None else np.float32(tensor.item())


def pad(vector: Tensor | None, n: int) -> Array:
    """A vector with zeros behind it, (width,); zeros for None."""
    if vector is None:
        return zeros(padded(n))
    result = np.zeros(padded(n), np.float32)
    result[:n] = as_array(vector)
    return result


def no_clamp(x: Tensor) -> tuple[Tensor, Tensor]:
    """What stands for no clamp beside x (T, B, N): values and mask (T, B, 0)."""
    shape = (*x.shape[:2], 0)
    return torch.empty(shape, dtype=torch.float32), torch.empty(shape, dtype=torch.bool)


@functools.cache
def zeros(size: int) -> Array:
    """Zeros that nobody writes to."""
    return np.zeros(size, np.float32)


@functools.cache
def no_plan(steps: int) -> Plan:
    """What stands for a plan where there will be no backward pass, or none through a trace."""
    return Plan(np.zeros(1, np.int64), np.zeros(steps, np.int64), False)


@functools.cache
def no_repeats(steps: int) -> Array:
    """Every step counts once, (T,)."""
    return np.ones(steps, np.int64)


@functools.cache
def no_starts(batch: int) -> Array:
    """No episode starts, (B,)."""
    return np.zeros(batch, np.bool_)


@functools.cache
def no_step_clamp(batch: int) -> tuple[Array, Array]:
    """What stands for no clamp in a step: values and mask (B, 0)."""
    return np.empty((batch, 0), np.float32), np.empty((batch, 0), np.bool_)


@functools.cache
def no_matrix() -> Array:
    """What stands for no matrix."""
    return np.empty((0, 0), np.float32)


@functools.cache
def no_traces() -> Array:
    """What stands for no traces."""
    return np.empty((0, 0, 0), np.float32)
