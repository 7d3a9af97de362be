"""The gated cells as the numba backend knows them: one step of the neurons, and back.

``u`` is the read-out of the plastic connections, ``y`` the candidate, ``h`` the hidden state before the step
and ``out`` that after it. What a step leaves for the way back is *fired*: rows (width,) of y, the gates, and
last u (gru) or c' (lstm). Vectors (width,) are N numbers padded with zeros to whole vectors.

This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from plastic_rl.ops.plastic_rnn.cells import CELLS
from plastic_rl.ops.plastic_rnn.numba import simd
from plastic_rl.ops.plastic_rnn.numba.simd import LANES, inlined, inner, load, splat, store
from plastic_rl.ops.plastic_rnn.numba.vectors import (
    ONE,
    ZERO,
    activate,
    activate_backward,
    copy,
    fill,
    set_clamped,
)

RNN, GRU = CELLS["rnn"].code, CELLS["gru"].code
# The block of the drive that belongs to the candidate, in every cell with gates; the others are the gates'.
CANDIDATE = 2


class Gates(NamedTuple):
    """What a gated cell has besides the plastic connections.

    code: of the cell
    w: (K, packed), the recurrent weights of each of K gates, on the way back transposed
    b_u: (width,), of a ``gru``
    """

    code: int
    w: np.ndarray
    b_u: np.ndarray


class CellsBack(NamedTuple):
    """The cells of a sequence on the way back.

    gates: with transposed weights
    fired: (T core_steps, B, rows, width), one row for each inner step
    memory: (B, N), c before the first step, or (B, 0)
    dx: (T core_steps, B, (K + 1) N), becomes the gradients of the drive of each inner step
    da: (chunks, K, width), or (K, width) of one of them, room for the gradients of the gates
    """

    gates: Gates
    fired: np.ndarray
    memory: np.ndarray
    dx: np.ndarray
    da: np.ndarray


@inner
def block(k):
    """The place in the drive of gate number k."""
    return k if k < CANDIDATE else k + 1


@inner
def drive(code, x, b_u, u, q):
    """What the parts of the drive x (K + 1 times N,) begin with: u, and the gates' q (K, width)."""
    n = x.size // (q.shape[0] + 1)
    if code == GRU:
        copy(b_u, u)
    elif code == RNN:
        copy(x, u)
    else:
        copy(x[CANDIDATE * n : CANDIDATE * n + n], u)
    for k in range(q.shape[0]):
        copy(x[block(k) * n : block(k) * n + n], q[k])


@inner
def fire_cell(code, activation, x, q, u, h, c, clamp_value, clamp_mask, fired, out):
    """One step of an environment's neurons.

    x: (K + 1 times N,); q: (K, width), before the logistic function; u: overwritten
    h: (N,); c: becomes c'; fired: (rows, width), filled; out: (N,), becomes h', clamped
    """
    for k in range(q.shape[0]):
        for j in range(0, u.size, LANES):
            store(fired[k + 1], j, simd.sigmoid(load(q[k], j)))
    if code == GRU:
        fire_gru(activation, x, u, h, fired, out)
    elif code == RNN:
        activate(u, fired[0], out.size, activation)
        set_clamped(clamp_value, clamp_mask, fired[0])
        copy(fired[0, : out.size], out)
    else:
        fire_lstm(activation, u, c, fired, out)
    set_clamped(clamp_value, clamp_mask, out)


@inlined
def fire_gru(activation, x, u, h, fired, out):
    """The candidate and h' = z h + (1 - z) y."""
    n = out.size
    y, r, z = fired[0], fired[1], fired[2]
    copy(u, fired[3])
    first = CANDIDATE * n
    for j in range(n):
        u[j] = x[first + j] + r[j] * u[j]
    activate(u, y, n, activation)
    for j in range(n):
        out[j] = z[j] * h[j] + (ONE - z[j]) * y[j]


@inlined
def fire_lstm(activation, u, c, fired, out):
    """The candidate, c' = f c + i y and h' = o tanh(c')."""
    y, i, f, o = fired[0], fired[1], fired[2], fired[3]
    activate(u, y, out.size, activation)
    for j in range(u.size):
        c[j] = f[j] * c[j] + i[j] * y[j]
    copy(c, fired[4])
    for j in range(0, u.size, LANES):
        store(u, j, simd.tanh(load(c, j)))
    for j in range(out.size):
        out[j] = o[j] * u[j]


@inner
def cell_backward(code, activation, n, fired, h, c, dy, dh, dc, da, du, direct):
    """From the gradients of h' and c', and from what the rule sends to y, to those of what the step reads.

    h: (N,); c: before the step; dy: overwritten, becomes the gradient of the candidate's drive
    dh: without gates, where h' is y, all of it is in dy
    dc: of c', becomes that of c; da: (K, width), becomes those of q; du: becomes that of the read-out
    direct: becomes what goes to h straight
    """
    if code == GRU:
        gru_backward(activation, n, fired, h, dy, dh, da, du, direct)
        return
    if code == RNN:
        activate_backward(fired[0], dy, activation)
    else:
        lstm_backward(activation, n, fired, c, dy, dh, dc, da, du)
    copy(dy, du)
    fill(direct, ZERO)


@inlined
def gru_backward(activation, n, fired, h, dy, dh, da, du, direct):
    """As ``cell_backward``."""
    y, r, z, u = fired[0], fired[1], fired[2], fired[3]
    for j in range(n):
        da[1, j] = dh[j] * (h[j] - y[j]) * z[j] * (ONE - z[j])
        direct[j] = dh[j] * z[j]
        dy[j] += dh[j] * (ONE - z[j])
    activate_backward(y, dy, activation)
    for j in range(n):
        da[0, j] = dy[j] * u[j] * r[j] * (ONE - r[j])
        du[j] = dy[j] * r[j]


@inlined
def lstm_backward(activation, n, fired, c, dy, dh, dc, da, passed):
    """As ``cell_backward``. passed: (width,), becomes tanh(c')."""
    y, i, f, o = fired[0], fired[1], fired[2], fired[3]
    for j in range(0, passed.size, LANES):
        store(passed, j, simd.tanh(load(fired[4], j)))
    for j in range(n):
        da[2, j] = dh[j] * passed[j] * o[j] * (ONE - o[j])
        dc_j = dc[j] + dh[j] * o[j] * (ONE - passed[j] * passed[j])
        da[0, j] = dc_j * y[j] * i[j] * (ONE - i[j])
        da[1, j] = dc_j * c[j] * f[j] * (ONE - f[j])
        dy[j] += dc_j * i[j]
        dc[j] = dc_j * f[j]
    activate_backward(y, dy, activation)


@inner
def send_drive(da, dy, dx):
    """The gradient of the drive, dx (K + 1 times N,), from those of its parts."""
    n = dx.size // (da.shape[0] + 1)
    first = CANDIDATE * n if da.shape[0] > 0 else 0
    copy(dy[:n], dx[first : first + n])
    for k in range(da.shape[0]):
        copy(da[k, :n], dx[block(k) * n : block(k) * n + n])


# Products with a packed matrix, without a trace


@inner
def read_out_one(w, now, pre):
    """Add now w to ``pre`` (width,). Four sums, since one would wait for its own last addition."""
    n = now.size
    whole = n // 4 * 4
    for column in range(0, pre.size, LANES):
        total_0, total_1, total_2, total_3 = load(pre, column), splat(ZERO), splat(ZERO), splat(ZERO)
        offset = column * n
        for i in range(0, whole, 4):
            total_0 = total_0 + load(w, offset) * now[i]
            total_1 = total_1 + load(w, offset + LANES) * now[i + 1]
            total_2 = total_2 + load(w, offset + 2 * LANES) * now[i + 2]
            total_3 = total_3 + load(w, offset + 3 * LANES) * now[i + 3]
            offset += 4 * LANES
        for i in range(whole, n):
            total_0 = total_0 + load(w, offset) * now[i]
            offset += LANES
        store(pre, column, (total_0 + total_1) + (total_2 + total_3))


@inner
def read_out_two(w, now_0, now_1, pre_0, pre_1):
    """The same of two environments, which share every load of w."""
    n = now_0.size
    for column in range(0, pre_0.size, LANES):
        even_0, even_1 = load(pre_0, column), load(pre_1, column)
        odd_0, odd_1 = splat(ZERO), splat(ZERO)
        offset = column * n
        for i in range(0, n - 1, 2):
            weight = load(w, offset)
            even_0 = even_0 + weight * now_0[i]
            even_1 = even_1 + weight * now_1[i]
            weight = load(w, offset + LANES)
            odd_0 = odd_0 + weight * now_0[i + 1]
            odd_1 = odd_1 + weight * now_1[i + 1]
            offset += 2 * LANES
        if n % 2 == 1:
            weight = load(w, offset)
            even_0 = even_0 + weight * now_0[n - 1]
            even_1 = even_1 + weight * now_1[n - 1]
        store(pre_0, column, even_0 + odd_0)
        store(pre_1, column, even_1 + odd_1)
