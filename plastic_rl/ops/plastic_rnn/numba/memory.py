"""How the numba backend lays out memory, and how much of it and how many threads it takes.

This module imports numba: it is imported only when the backend is used.
"""

from __future__ import annotations

import functools
import logging
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from plastic_rl.ops.plastic_rnn.numba import forward as kernels
from plastic_rl.ops.plastic_rnn.numba.rules import Rule, Weights
from plastic_rl.ops.plastic_rnn.numba.simd import LANES
from plastic_rl.ops.plastic_rnn.threads import thread_count
from plastic_rl.ops.plastic_rnn.types import ACTIVATIONS, RULES, PlasticParams

logger = logging.getLogger(__name__)

Array = np.ndarray
# Undoing the decay multiplies rounding errors by at most this before a stored trace sets them to nothing.
MAX_AMPLIFICATION = 16.0
# Steps between stored traces where the update cannot be undone (or the square root of T, if that is more).
MIN_WINDOW = 16
# A page of memory and the stride between matrices within it, in floats: six matrices fill the page evenly.
PAGE, STRIDE = 1024, 176
# Matrix elements per thread below which a second thread costs more than it brings.
MIN_WORK = 400_000


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
    """The rule as the kernels take it."""
    zero, unbounded = np.float32(0), np.float32(math.inf)
    code, activation = RULES.index(params.rule), ACTIVATIONS.index(params.activation)
    nothing = zeros(padded(params.n))
    if params.rule == "modulated" and params.alpha is not None:
        assert params.b_m is not None
        assert params.w_m is not None
        assert params.fan_out is not None
        b_m, bound = np.float32(params.b_m.item()), np.float32(params.trace_clip)
        return Rule(code, activation, zero, b_m, bound, _pad(params.w_m), _pad(params.fan_out))
    eta = zero if params.eta is None else np.float32(params.eta.item())
    return Rule(code, activation, eta, zero, unbounded, nothing, nothing)


class Plan(NamedTuple):
    """Where traces are stored, see ``History``, and whether updates are undone between them."""

    firsts: Array
    places: Array
    undo: bool


def plan(params: PlasticParams, clamp_values: Array, counts: Array) -> Plan:
    """Where to store traces for the backward pass. counts: (T,), as in ``History``.

    Undoing divides by the decay, at least 1 - eta (for ``oja`` only while no activation exceeds 1), and so
    multiplies rounding errors by up to (1 - eta)^-every over ``every`` updates. It cannot pass a clip.
    """
    every = _span_to_undo(params, clamp_values)
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


def _span_to_undo(params: PlasticParams, clamp_values: Array) -> int:
    """Over how many updates in a row undoing keeps rounding errors small, 0 where it cannot be undone."""
    if params.rule == "modulated" or params.eta is None:
        return 0
    if params.rule == "oja":
        bounded = params.activation in ("tanh", "sigmoid")
        if not bounded or (clamp_values.size > 0 and np.abs(clamp_values).max() > 1):
            return 0
    eta = params.eta.item()
    if not 0 < eta < 1:  # acting does not look at values, and a network that has diverged comes by here
        raise ValueError(f"params.eta must lie strictly between 0 and 1, got {eta!r}")
    return int(math.log(MAX_AMPLIFICATION) / -math.log1p(-eta))


def store(plan: Plan, batch: int, n: int) -> Array:
    """Room for the traces that the plan stores, and for the final one: (K + 1, B, packed)."""
    return staggered(2, plan.firsts.size + 1, batch, packed_size(n))


def chunks_for(batch: int, work: int) -> int:
    """In how many shares to run, each in a thread; ``work`` is the number of matrix elements per environment.

    The number of threads is torch's, see ``threads.thread_count``.
    """
    _announce()
    return max(1, min(batch, thread_count(), batch * work // MIN_WORK))


@functools.cache
def _announce() -> None:
    """Say once, before the first kernel runs, what a first use costs."""
    folder = Path(kernels.forward.stats.cache_path or "")
    if not any(folder.glob(f"forward.forward_{kernels.SOURCES}*.nbi")):
        logger.warning("compiling the CPU kernels of the plastic operator: some twenty seconds, once")


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
    return math.ceil(n / LANES) * LANES


def as_array(tensor: Tensor) -> Array:
    """The numbers of a tensor as a contiguous array, without a copy where they are contiguous already."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    return tensor.numpy() if tensor.is_contiguous() else tensor.contiguous().numpy()


def _pad(vector: Tensor) -> Array:
    result = np.zeros(padded(vector.shape[0]), np.float32)
    result[: vector.shape[0]] = as_array(vector)
    return result


def no_clamp(x: Tensor) -> tuple[Tensor, Tensor]:
    """What stands for no clamp beside x (T, B, N): values and mask (T, B, 0)."""
    shape = (*x.shape[:2], 0)
    return torch.empty(shape), torch.empty(shape, dtype=torch.bool)


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
