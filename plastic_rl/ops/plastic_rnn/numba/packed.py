"""Matrices as the numba backend keeps them, and what it does with one of them alone.

A matrix (N x N) is *packed* in panels of ``LANES`` columns: panel p holds rows 0 to N-1 of its columns one
after the other, so that every pass over it is one contiguous stream and the sums over rows stay in registers.
The last panel is filled up with zeros.

``rows.py`` has the same for row-major matrices.
This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

from plastic_rl.ops.plastic_rnn.numba.simd import LANES, broadcast, clip, inner, load, splat, store
from plastic_rl.ops.plastic_rnn.numba.vectors import ZERO

# Rows of dw that are summed up at a time, and steps that are put together for it.
ROWS, STEPS = 8, 64


@inner
def pack(matrix, packed):
    """Row-major (N, N) to panels."""
    n = matrix.shape[0]
    whole = n // LANES * LANES
    for column in range(0, whole, LANES):
        for i in range(n):
            store(packed, column * n + i * LANES, load(matrix[i], column))
    if whole < n:
        for i in range(n):
            offset = whole * n + i * LANES
            store(packed, offset, splat(ZERO))
            for j in range(n - whole):
                packed[offset + j] = matrix[i, whole + j]


@inner
def unpack(packed, matrix):
    """Panels to row-major (N, N)."""
    n = matrix.shape[0]
    whole = n // LANES * LANES
    for column in range(0, whole, LANES):
        for i in range(n):
            store(matrix[i], column, load(packed, column * n + i * LANES))
    for i in range(n):
        for j in range(n - whole):
            matrix[i, whole + j] = packed[whole * n + i * LANES + j]


@inner
def settle_panel(trace, column, limit, decay, gain, before, result):
    """The update alone, of one panel."""
    n = before.size
    d = load(decay, column)
    g = load(gain, column)
    offset = column * n
    for i in range(n):
        store(result, offset, clip(d * load(trace, offset) + g * before[i], limit))
        offset += LANES


@inner
def settle(trace, bound, decay, gain, before, result):
    """The update alone: result = clip(d H + g y_before). ``result`` may be ``trace``."""
    limit = splat(bound)
    for column in range(0, decay.size, LANES):
        settle_panel(trace, column, limit, decay, gain, before, result)


@inner
def add_outer_products(count, reads, sent, dw):
    """Add to dw the products reads_t^T sent_t of the first ``count`` steps, ``ROWS`` rows at a time.

    reads: (steps, rows); sent: (steps, width); dw: (rows, width), rows a multiple of ``ROWS``
    """
    for i in range(0, dw.shape[0], ROWS):
        for column in range(0, dw.shape[1], LANES):
            dw_0, dw_1 = load(dw[i], column), load(dw[i + 1], column)
            dw_2, dw_3 = load(dw[i + 2], column), load(dw[i + 3], column)
            dw_4, dw_5 = load(dw[i + 4], column), load(dw[i + 5], column)
            dw_6, dw_7 = load(dw[i + 6], column), load(dw[i + 7], column)
            for t in range(count):
                dpre = load(sent[t], column)
                row = reads[t]
                dw_0 = dw_0 + dpre * broadcast(row, i)
                dw_1 = dw_1 + dpre * broadcast(row, i + 1)
                dw_2 = dw_2 + dpre * broadcast(row, i + 2)
                dw_3 = dw_3 + dpre * broadcast(row, i + 3)
                dw_4 = dw_4 + dpre * broadcast(row, i + 4)
                dw_5 = dw_5 + dpre * broadcast(row, i + 5)
                dw_6 = dw_6 + dpre * broadcast(row, i + 6)
                dw_7 = dw_7 + dpre * broadcast(row, i + 7)
            for k, total in enumerate((dw_0, dw_1, dw_2, dw_3, dw_4, dw_5, dw_6, dw_7)):
                store(dw[i + k], column, total)


@inner
def read_out(w, now, pre):
    """Add now w to ``pre`` (4, width) for four environments at once: without a trace they read the same."""
    n = now.shape[1]
    now_0, now_1, now_2, now_3 = now[0], now[1], now[2], now[3]
    zero = splat(ZERO)
    for column in range(0, pre.shape[1], LANES):
        total_0 = load(pre[0], column)
        total_1 = load(pre[1], column)
        total_2 = load(pre[2], column)
        total_3 = load(pre[3], column)
        # Even and odd rows have sums of their own: they would wait for their own last additions.
        odd_0, odd_1, odd_2, odd_3 = zero, zero, zero, zero
        offset = column * n
        for i in range(0, n - 1, 2):
            weight = load(w, offset)
            total_0 = total_0 + weight * now_0[i]
            total_1 = total_1 + weight * now_1[i]
            total_2 = total_2 + weight * now_2[i]
            total_3 = total_3 + weight * now_3[i]
            weight = load(w, offset + LANES)
            odd_0 = odd_0 + weight * now_0[i + 1]
            odd_1 = odd_1 + weight * now_1[i + 1]
            odd_2 = odd_2 + weight * now_2[i + 1]
            odd_3 = odd_3 + weight * now_3[i + 1]
            offset += 2 * LANES
        if n % 2 == 1:
            weight = load(w, offset)
            total_0 = total_0 + weight * now_0[n - 1]
            total_1 = total_1 + weight * now_1[n - 1]
            total_2 = total_2 + weight * now_2[n - 1]
            total_3 = total_3 + weight * now_3[n - 1]
        store(pre[0], column, total_0 + odd_0)
        store(pre[1], column, total_1 + odd_1)
        store(pre[2], column, total_2 + odd_2)
        store(pre[3], column, total_3 + odd_3)
