"""The gradients of a sequence that the numba backend has run, on the torch side.

This module imports numba: it is imported only when the backend is used.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from plastic_rl.ops.plastic_rnn.numba import backward as numba_backward
from plastic_rl.ops.plastic_rnn.numba import forward as numba_kernels
from plastic_rl.ops.plastic_rnn.numba import memory as memory
from plastic_rl.ops.plastic_rnn.numba.backward import Downstream, Upstream
from plastic_rl.ops.plastic_rnn.numba.passes import ROWS
from plastic_rl.ops.plastic_rnn.numba.rules import History, Scratch
from plastic_rl.ops.plastic_rnn.numba.simd import LANES
from plastic_rl.ops.plastic_rnn.threads import in_chunks
from plastic_rl.ops.plastic_rnn.types import PlasticParams


def gradients(
    params: PlasticParams,
    prepared: memory.Prepared,
    history: History,
    undo: bool,
    masks: np.ndarray,
    dy: Tensor | None,
    dhidden: Tensor | None,
    dtrace: Tensor | None,
    wanted: tuple[bool, ...],
) -> tuple[Tensor | None, ...]:
    """Gradients of x, hidden, trace, w, alpha, eta, w_m, b_m, fan_out, None where there is no such tensor."""
    steps, batch, n = history.y.shape
    y = torch.from_numpy(history.y)
    up = upstream(y, dy, dhidden, dtrace)
    chunks = memory.chunks_for(batch, steps * n * n)
    down = downstream(y, chunks, prepared.weights.alpha.size, with_trace=wanted[2], with_w=wanted[3])
    size = memory.packed_size(n)
    scratch = Scratch(
        memory.staggered(2, chunks, size),
        memory.staggered(3, chunks, size),
        memory.staggered(5, chunks, n * LANES),
        memory.staggered(4, chunks, n * LANES),
        memory.staggered(4, chunks, n * LANES),
        memory.staggered(2, chunks, 0 if undo else np.bincount(history.places).max(), size),
    )
    in_chunks(numba_backward.backward, chunks, batch, up, masks, history, *prepared, undo, scratch, down)
    dx = torch.from_numpy(down.pre)
    dw = torch.from_numpy(down.w.sum(0)[:n, :n].copy()) if wanted[3] else None
    # One row per thread, added up in a fixed order.
    deta, db_m, dplasticity = (torch.tensor(total, dtype=torch.float32) for total in down.scalars.sum(0))
    dalpha = dplasticity
    if prepared.weights.alpha.size > 0:
        dalpha = torch.empty(1, n, n)
        numba_kernels.unpack_matrices(down.alpha.sum(0, keepdims=True), dalpha.numpy())
        dalpha = dalpha[0]
    modulated = params.rule == "modulated"
    dw_m, dfan_out = torch.from_numpy(down.w_m.sum(0)[:n]), torch.from_numpy(down.fan_out.sum(0)[:n])
    return (
        dx,
        torch.from_numpy(down.hidden),
        torch.from_numpy(down.trace) if wanted[2] else None,
        dw,
        dalpha,
        None if modulated else deta,
        dw_m if modulated else None,
        db_m if modulated else None,
        dfan_out if modulated else None,
    )


def weight_gradient(history: History, dpre: Tensor) -> Tensor:
    """Gradient dw = sum_t y_{t-1}^T dpre_t, (N, N), of a plain network: as one matrix product."""
    before = torch.cat((torch.from_numpy(history.hidden)[None], torch.from_numpy(history.y)[:-1]))
    before[torch.from_numpy(history.starts)] = 0.0
    return before.flatten(0, 1).t() @ dpre.flatten(0, 1)


def upstream(y: Tensor, dy: Tensor | None, dhidden: Tensor | None, dtrace: Tensor | None) -> Upstream:
    """The gradients that come in, zeros where autograd has None. y: (T, B, N)."""
    return Upstream(
        memory.as_array(torch.zeros_like(y) if dy is None else dy),
        memory.as_array(y.new_zeros(y.shape[1:]) if dhidden is None else dhidden),
        memory.no_traces() if dtrace is None else memory.as_array(dtrace),
    )


def downstream(y: Tensor, chunks: int, size: int, *, with_trace: bool, with_w: bool) -> Downstream:
    """Room for the gradients that go out; ``size`` is that of a packed dalpha. y: (T, B, N)."""
    steps, batch, n = y.shape
    width = memory.padded(n)
    dalpha = memory.staggered(4, chunks, size)
    dalpha.fill(0)
    return Downstream(
        np.empty((steps, batch, n), np.float32),
        np.empty((batch, n), np.float32),
        np.empty((batch, n, n) if with_trace else (0, 0, 0), np.float32),
        np.zeros((chunks, -(-n // ROWS) * ROWS if with_w else 0, width), np.float32),
        dalpha,
        np.zeros((chunks, 3)),
        np.zeros((chunks, width), np.float32),
        np.zeros((chunks, width), np.float32),
    )
