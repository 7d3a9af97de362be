"""The compiled entry points that carry gradients back through whole sequences, over chunks of the batch.

This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from plastic_rl.ops.plastic_rnn.numba.bptt import run_back
from plastic_rl.ops.plastic_rnn.numba.compiling import entry
from plastic_rl.ops.plastic_rnn.numba.packed import STEPS
from plastic_rl.ops.plastic_rnn.numba.structs import MOST_HELD, Held, Inner, Later, Room, Sums, Way


@entry
def backward(chunk, low, high, up, clamp_masks, history, weights, rule, undo, scratch, down):
    """Carry the gradients of environments low to high - 1 back through all steps.

    undo: rebuild H_t by undoing the update, H_t = (H_{t+1} - g y_{t-1}) / d, from each stored trace to the
        one before it; else roll forward from the stored traces and keep every step in between.
    """
    n, width = history.y.shape[2], rule.w_m.size
    v = np.zeros((14, width), np.float32)
    reads = np.zeros((3, n), np.float32)
    held_room = np.empty((5, MOST_HELD, width), np.float32)
    outer = np.zeros((STEPS, down.w.shape[1]), np.float32), np.empty((STEPS, width), np.float32)
    core_steps = 1 + history.recalls.shape[1]
    inners = Inner(np.empty(core_steps * width, np.float32), np.empty((core_steps, n), np.float32))
    held = Held(
        held_room[0], held_room[1], held_room[2], np.empty((MOST_HELD + 1, n), np.float32), held_room[3],
        held_room[4], scratch.held_rows[chunk],
    )  # fmt: skip
    way = Way(
        v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[7], v[7], v[8], v[9], v[9], v[9], v[10], v[11],
        reads[0], reads[1],
    )  # fmt: skip
    room = Room(
        scratch.trace[chunk], scratch.grad[chunk], scratch.rows[chunk], scratch.touched[chunk],
        scratch.window[chunk],
    )  # fmt: skip
    sums = Sums(down.w[chunk], down.alpha[chunk], down.scalars[chunk], down.w_m[chunk], down.fan_out[chunk])
    later = Later(v[12], reads[2])
    for b in range(low, high):
        run_back(
            b, up, clamp_masks, history, weights, rule, undo, None, room, way, later, outer, held, inners,
            sums, down,
        )  # fmt: skip
