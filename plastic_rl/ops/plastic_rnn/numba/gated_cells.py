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
    add,
    copy,
    fill,
    release,
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
    c_after = fired[4]
    for j in range(0, u.size, LANES):
        c_j = load(f, j) * load(c, j) + load(i, j) * load(y, j)
        store(c, j, c_j)
        store(c_after, j, c_j)
        store(u, j, simd.tanh(c_j) * load(o, j))
    copy(u[: out.size], out)


@inner
def cell_backward(code, activation, n, clamp_mask, fired, h, c, dy, dh, dc, da, du, direct):
    """From the gradients of h' and c', and from what the rule sends to y, to those of what the step reads.

    clamp_mask, h: (N,); c: before the step; dy: overwritten, becomes the gradient of the candidate's drive
    dh: zeroed where the clamp holds h'
    dc: of c', becomes that of c; da: (K, width), becomes those of q; du: becomes that of the read-out
    direct: becomes what goes to h straight
    """
    release(clamp_mask, dh)
    if code == GRU:
        gru_backward(activation, n, fired, h, dy, dh, da, du, direct)
        return
    if code == RNN:  # there h' is y, and the clamp holds y, too
        release(clamp_mask, dy)
        add(dh, dy)
        activate_backward(fired[0], dy, activation)
    else:
        lstm_backward(activation, fired, c, dy, dh, dc, da)
    copy(dy, du)
    fill(direct, ZERO)


@inlined
def gru_backward(activation, n, fired, h, dy, dh, da, du, direct):
    """As ``cell_backward``."""
    y, r, z, u = fired[0], fired[1], fired[2], fired[3]
    da_r, da_z = da[0], da[1]
    for j in range(n):
        da_z[j] = h[j] - y[j]
    for j in range(0, du.size, LANES):
        dh_j, z_j = load(dh, j), load(z, j)
        kept = dh_j * z_j
        passed = dh_j - kept
        store(da_z, j, load(da_z, j) * passed * z_j)
        store(direct, j, kept)
        store(dy, j, load(dy, j) + passed)
    activate_backward(y, dy, activation)
    for j in range(0, du.size, LANES):
        r_j = load(r, j)
        du_j = load(dy, j) * r_j
        store(da_r, j, du_j * load(u, j) * (ONE - r_j))
        store(du, j, du_j)


@inlined
def lstm_backward(activation, fired, c, dy, dh, dc, da):
    """As ``cell_backward``."""
    y, i, f, o, c_after = fired[0], fired[1], fired[2], fired[3], fired[4]
    da_i, da_f, da_o = da[0], da[1], da[2]
    for j in range(0, c.size, LANES):
        passed = simd.tanh(load(c_after, j))
        i_j, f_j, o_j = load(i, j), load(f, j), load(o, j)
        through = load(dh, j) * o_j
        dc_j = load(dc, j) + through * (ONE - passed * passed)
        of_input = dc_j * i_j
        of_c = dc_j * f_j
        store(da_o, j, through * passed * (ONE - o_j))
        store(da_i, j, of_input * load(y, j) * (ONE - i_j))
        store(da_f, j, of_c * load(c, j) * (ONE - f_j))
        store(dy, j, load(dy, j) + of_input)
        store(dc, j, of_c)
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
    whole = n // 4 * 4
    for column in range(0, pre_0.size, LANES):
        total_0, total_1 = load(pre_0, column), load(pre_1, column)
        second_0, second_1 = splat(ZERO), splat(ZERO)
        third_0, third_1 = splat(ZERO), splat(ZERO)
        fourth_0, fourth_1 = splat(ZERO), splat(ZERO)
        offset = column * n
        for i in range(0, whole, 4):
            weight = load(w, offset)
            total_0 = total_0 + weight * now_0[i]
            total_1 = total_1 + weight * now_1[i]
            weight = load(w, offset + LANES)
            second_0 = second_0 + weight * now_0[i + 1]
            second_1 = second_1 + weight * now_1[i + 1]
            weight = load(w, offset + 2 * LANES)
            third_0 = third_0 + weight * now_0[i + 2]
            third_1 = third_1 + weight * now_1[i + 2]
            weight = load(w, offset + 3 * LANES)
            fourth_0 = fourth_0 + weight * now_0[i + 3]
            fourth_1 = fourth_1 + weight * now_1[i + 3]
            offset += 4 * LANES
        for i in range(whole, n):
            weight = load(w, offset)
            total_0 = total_0 + weight * now_0[i]
            total_1 = total_1 + weight * now_1[i]
            offset += LANES
        store(pre_0, column, (total_0 + second_0) + (third_0 + fourth_0))
        store(pre_1, column, (total_1 + second_1) + (third_1 + fourth_1))
