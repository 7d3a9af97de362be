"""The compiled entry points that carry gradients back through gated cells.

Like ``backward.py``; the gradient of the read-out, du, takes the place of dpre there.

This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from plastic_rl.ops.plastic_rnn.numba.bptt import run_back
from plastic_rl.ops.plastic_rnn.numba.compiling import entry
from plastic_rl.ops.plastic_rnn.numba.gated_cells import CellsBack
from plastic_rl.ops.plastic_rnn.numba.packed import STEPS
from plastic_rl.ops.plastic_rnn.numba.structs import Held, Inner, Later, Room, Sums, Way
from plastic_rl.ops.plastic_rnn.numba.vectors import copy


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
