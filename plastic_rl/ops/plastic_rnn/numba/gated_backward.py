"""The compiled entry points that carry gradients back through gated cells.

Like ``backward.py``; the gradient of the read-out, du, takes the place of dpre there.

This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from plastic_rl.ops.plastic_rnn.numba.bptt import memory_before, run_back
from plastic_rl.ops.plastic_rnn.numba.compiling import entry
from plastic_rl.ops.plastic_rnn.numba.gated_cells import CellsBack, cell_backward, send_drive
from plastic_rl.ops.plastic_rnn.numba.packed import STEPS, read_out
from plastic_rl.ops.plastic_rnn.numba.structs import Held, Inner, Later, Room, Sums, Way
from plastic_rl.ops.plastic_rnn.numba.vectors import ZERO, add, copy, fill, presynaptic, release


@entry
def gated_backward(
    chunk, low, high, up, clamp_masks, history, weights, rule, undo, cells, scratch, up_cell, down, down_cell
):
    """Carry the gradients of environments low to high - 1 back through all steps.

    cells: one place for each chunk in its ``da``
    up_cell, down_cell: (B, N), the gradients of the cell state, or (B, 0)
    down: its ``pre`` becomes du; the rest as in ``backward``
    """
    n, width = history.y.shape[2], rule.w_m.size
    v = np.zeros((18, width), np.float32)
    reads = np.zeros((3, n), np.float32)
    nothing, no_reads = np.empty((0, width), np.float32), np.empty((0, n), np.float32)
    no_held = Held(nothing, nothing, nothing, no_reads, nothing, nothing, scratch.held_rows[chunk])
    core_steps = 1 + history.recalls.shape[1]
    inners = Inner(np.empty(core_steps * width, np.float32), np.empty((core_steps, n), np.float32))
    way = Way(
        v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12], v[13], v[14], v[15],
        reads[0], reads[1],
    )  # fmt: skip
    room = Room(
        scratch.trace[chunk], scratch.grad[chunk], scratch.rows[chunk], scratch.touched[chunk],
        scratch.window[chunk],
    )  # fmt: skip
    sums = Sums(down.w[chunk], down.alpha[chunk], down.scalars[chunk], down.w_m[chunk], down.fan_out[chunk])
    outer = np.zeros((STEPS, down.w.shape[1]), np.float32), np.empty((STEPS, down.w.shape[2]), np.float32)
    later = Later(v[16], reads[2])
    own = CellsBack(cells.gates, cells.fired, cells.memory, cells.dx, cells.da[chunk])
    for b in range(low, high):
        copy(up_cell[b], way.dc)
        run_back(
            b, up, clamp_masks, history, weights, rule, undo, own, room, way, later, outer, no_held,
            inners, sums, down,
        )  # fmt: skip
        copy(way.dc[: down_cell.shape[1]], down_cell[b])


@entry
def gated_plain_backward(
    chunk, low, high, up, clamp_masks, history, cells, w_transposed, rule, up_cell, down, down_cell
):
    """Without a trace: the gradients of environments low to high - 1, four at a time."""
    steps, _, n = history.y.shape
    gates, da = cells.gates, cells.da[chunk]
    width, count = rule.w_m.size, gates.w.shape[0]
    carry, dc = np.zeros((4, width), np.float32), np.zeros((4, width), np.float32)
    sent = np.zeros((count + 1, 4, n), np.float32)
    vectors = np.zeros((5, width), np.float32)
    dy, dh, c, du, direct = vectors[0], vectors[1], vectors[2], vectors[3], vectors[4]
    now = np.zeros(n, np.float32)
    for first in range(low, high, 4):
        group = first, min(first + 1, high - 1), min(first + 2, high - 1), min(first + 3, high - 1)
        for e, b in enumerate(group):
            copy(up.hidden[b], carry[e])
            copy(up_cell[b], dc[e])
        for t in range(steps - 1, -1, -1):
            for e, b in enumerate(group):
                presynaptic(t, b, history, now)
                copy(carry[e], dh)
                add(up.y[t, b], dh)
                fill(dy, ZERO)
                release(clamp_masks[t, b], dh)
                memory_before(t, 0, b, history, cells, c)
                cell_backward(
                    gates.code, rule.activation, n, cells.fired[t, b], now, c, dy, dh, dc[e], da, du, direct
                )
                copy(du[:n], down.pre[t, b])
                send_drive(da, dy, cells.dx[t, b])
                copy(direct, carry[e])
                copy(du[:n], sent[count, e])
                for k in range(count):
                    copy(da[k, :n], sent[k, e])
            read_out(w_transposed, sent[count], carry)
            for k in range(count):
                read_out(gates.w[k], sent[k], carry)
            for e, b in enumerate(group):
                if history.starts[t, b]:
                    fill(carry[e], ZERO)
                    fill(dc[e], ZERO)
        for e, b in enumerate(group):
            copy(carry[e, :n], down.hidden[b])
            copy(dc[e, : down_cell.shape[1]], down_cell[b])
