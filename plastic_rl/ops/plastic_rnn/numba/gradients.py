"""The gradients of a sequence that the numba backend has run, on the torch side.

This module imports numba: it is imported only when the backend is used.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from plastic_rl.ops.plastic_rnn.numba import backward as backward_kernels
from plastic_rl.ops.plastic_rnn.numba import forward as kernels
from plastic_rl.ops.plastic_rnn.numba import memory
from plastic_rl.ops.plastic_rnn.numba.packed import ROWS
from plastic_rl.ops.plastic_rnn.numba.simd import LANES
from plastic_rl.ops.plastic_rnn.numba.structs import Downstream, History, Scratch, Upstream
from plastic_rl.ops.plastic_rnn.threads import in_chunks
from plastic_rl.ops.plastic_rnn.types import PlasticParams, PlasticState


class Inputs(NamedTuple):
    """What gradients flow to, in the order in which autograd knows it; None where there is no such tensor."""

    x: Tensor | None
    hidden: Tensor | None
    trace: Tensor | None
    w: Tensor | None
    alpha: Tensor | None = None
    eta: Tensor | None = None
    w_m: Tensor | None = None
    b_m: Tensor | None = None
    fan_out: Tensor | None = None

    @classmethod
    def of(cls, x: Tensor, params: PlasticParams, state: PlasticState | None) -> Inputs:
        """All tensors of a sequence; a recording's state is a constant."""
        hidden, trace = (None, None) if state is None else (state.hidden, state.trace)
        return cls(x, hidden, trace, **params.tensors())


class Outgoing(NamedTuple):
    """The gradients of what a sequence gives back, None where it went nowhere."""

    y: Tensor | None
    hidden: Tensor | None
    trace: Tensor | None


def gradients(
    params: PlasticParams,
    prepared: memory.Prepared,
    history: History,
    undo: bool,
    masks: np.ndarray,
    outgoing: Outgoing,
    wanted: Inputs,
) -> Inputs:
    """The gradient of every tensor that there is. wanted: whether autograd asks for it."""
    steps, batch, n = history.y.shape
    y = torch.from_numpy(history.y)
    up = upstream(y, outgoing)
    chunks = memory.chunks_for(batch, steps * n * n)
    down = downstream(
        y, chunks, prepared.weights.alpha.size, with_trace=bool(wanted.trace), with_w=bool(wanted.w)
    )
    size = memory.packed_size(n)
    scratch = Scratch(
        memory.staggered(2, chunks, size),
        memory.staggered(3, chunks, size),
        memory.staggered(5, chunks, n * LANES),
        memory.staggered(4, chunks, n * LANES),
        memory.staggered(4, chunks, n * LANES),
        memory.staggered(2, chunks, 0 if undo else np.bincount(history.places).max(), size),
    )
    in_chunks(backward_kernels.backward, chunks, batch, up, masks, history, *prepared, undo, scratch, down)
    # One row per thread, added up in a fixed order.
    deta, db_m, dplasticity = (torch.tensor(total, dtype=torch.float32) for total in down.scalars.sum(0))
    dalpha = dplasticity
    if prepared.weights.alpha.size > 0:
        dalpha = torch.empty(1, n, n, dtype=torch.float32)
        kernels.unpack_matrices(down.alpha.sum(0, keepdims=True), dalpha.numpy())
        dalpha = dalpha[0]
    of_parameters = {
        "w": torch.from_numpy(down.w.sum(0)[:n, :n].copy()) if wanted.w else None,
        "alpha": dalpha,
        "eta": deta,
        "w_m": torch.from_numpy(down.w_m.sum(0)[:n]),
        "b_m": db_m,
        "fan_out": torch.from_numpy(down.fan_out.sum(0)[:n]),
    }
    return Inputs(
        torch.from_numpy(down.pre),
        torch.from_numpy(down.hidden),
        torch.from_numpy(down.trace) if wanted.trace else None,
        **{name: of_parameters[name] for name in params.tensors()},
    )


def reads(history: History) -> Tensor:
    """The activations that every inner step reads, (T, core_steps, B, N)."""
    before = torch.cat((torch.from_numpy(history.hidden)[None], torch.from_numpy(history.y)[:-1]))
    before[torch.from_numpy(history.starts)] = 0.0
    return torch.cat((before.unsqueeze(1), torch.from_numpy(history.recalls)), dim=1)


def upstream(y: Tensor, outgoing: Outgoing) -> Upstream:
    """The gradients that come in, zeros where autograd has None. y: (T, B, N)."""
    dy, dhidden, dtrace = outgoing
    return Upstream(
        memory.as_array(torch.zeros_like(y) if dy is None else dy),
        memory.as_array(y.new_zeros(y.shape[1:]) if dhidden is None else dhidden),
        memory.no_traces() if dtrace is None else memory.as_array(dtrace),
    )


def downstream(
    y: Tensor, chunks: int, size: int, *, with_trace: bool, with_w: bool, gates: int = 0
) -> Downstream:
    """Room for the gradients that go out; ``size`` is that of a packed dalpha. y: (T, B, N)."""
    steps, batch, n = y.shape
    width = memory.padded(n)
    dalpha = memory.staggered(4, chunks, size)
    dalpha.fill(0)
    return Downstream(
        np.empty((steps, batch, n), np.float32),
        np.empty((batch, n), np.float32),
        np.empty((batch, n, n) if with_trace else (0, 0, 0), np.float32),
        np.zeros((chunks, -(-n // ROWS) * ROWS if with_w else 0, (1 + gates) * width), np.float32),
        dalpha,
        np.zeros((chunks, 3)),
        np.zeros((chunks, width), np.float32),
        np.zeros((chunks, width), np.float32),
    )
