"""The cells: how the read-out of the plastic connections becomes the next hidden state.

In every cell one recurrent matrix is plastic, and h is what it reads:

    u_j = sum_i h_i (w_ij + alpha_ij H_ij)

The gates, s(x + h W) with the logistic function s, are plain. A cell is one definition in `CELLS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from plastic_rl.ops.plastic_rnn.rules import activate, get_rule
from plastic_rl.ops.plastic_rnn.types import Cell, PlasticParams, PlasticState


class Fired(NamedTuple):
    """What a step gives.

    y: (B, N), the postsynaptic activities of the rules
    hidden: (B, N), h', which leaves the step
    cell: (B, N), c', or (B, 0) in a cell without such a state
    """

    y: Tensor
    hidden: Tensor
    cell: Tensor


CellStep = Callable[[Tensor, Tensor, Tensor, PlasticState, PlasticParams], Fired]


@dataclass(frozen=True)
class CellDefinition:
    """All that is known about a cell.

    Args:
        name: what users call it.
        step: from the drive x (B, G N), the plastic read-out u (B, N), the gates' recurrent products h W
            (B, (G - 1) N) and the state before.
        parts: the G parts of the drive, in the order of their blocks of N columns.
        candidate: which of them is the candidate's; the others are gates.
        reset_bias: whether ``b_u`` is part of it.
        memory: whether the state has a ``cell``.
        code: the number by which the fused kernels know the cell, None where they do not.
    """

    name: str
    step: CellStep
    parts: tuple[str, ...]
    candidate: str
    reset_bias: bool = False
    memory: bool = False
    code: int | None = None

    @property
    def gates(self) -> int:
        """Number of gates: all parts of the drive but the candidate's."""
        return len(self.parts) - 1


def rnn(x: Tensor, u: Tensor, gates: Tensor, before: PlasticState, params: PlasticParams) -> Fired:
    """ICML 2018, Eq. 1: h' = y = sigma(x + u)."""
    y = activate(x + u, params.activation)
    return Fired(y, y, before.cell)


def gru(x: Tensor, u: Tensor, gates: Tensor, before: PlasticState, params: PlasticParams) -> Fired:
    """A gated recurrent unit as in ``torch.nn.GRU``, its candidate plastic; parts r, z, n of the drive.

    r = s(x_r + h W_r), z = s(x_z + h W_z), y = sigma(x_n + r (u + b_u)), h' = z h + (1 - z) y
    """
    assert params.b_u is not None
    x_r, x_z, x_n = x.chunk(3, dim=-1)
    h_r, h_z = gates.chunk(2, dim=-1)
    r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
    y = activate(x_n + r * (u + params.b_u), params.activation)
    return Fired(y, z * before.hidden + (1 - z) * y, before.cell)


def lstm(x: Tensor, u: Tensor, gates: Tensor, before: PlasticState, params: PlasticParams) -> Fired:
    """A long short-term memory as in ``torch.nn.LSTM``, its candidate plastic; parts i, f, g, o of the drive.

    i, f, o = s(x + h W), y = sigma(x_g + u), c' = f c + i y, h' = o tanh(c') (Backpropamine, ICLR 2019)
    """
    x_i, x_f, x_g, x_o = x.chunk(4, dim=-1)
    h_i, h_f, h_o = gates.chunk(3, dim=-1)
    i, f, o = torch.sigmoid(x_i + h_i), torch.sigmoid(x_f + h_f), torch.sigmoid(x_o + h_o)
    y = activate(x_g + u, params.activation)
    cell = f * before.cell + i * y
    return Fired(y, o * torch.tanh(cell), cell)


CELLS: dict[str, CellDefinition] = {
    definition.name: definition
    for definition in (
        CellDefinition("rnn", rnn, ("x",), "x", code=0),
        CellDefinition("gru", gru, ("r", "z", "n"), "n", reset_bias=True, code=1),
        CellDefinition("lstm", lstm, ("i", "f", "g", "o"), "g", memory=True, code=2),
    )
}


def get_cell(cell: Cell, argument: str = "cell") -> CellDefinition:
    """The definition of a cell.

    Raises:
        ValueError: no such cell; the message calls it ``argument``.
    """
    if cell not in CELLS:
        raise ValueError(f"{argument} must be one of {', '.join(CELLS)}, got {cell!r}")
    return CELLS[cell]


def gate_values(x: Tensor, hidden: Tensor, params: PlasticParams) -> dict[str, Tensor]:
    """How far each gate of a cell is open, (B, N) in (0, 1) by its name; none in the cell ``rnn``.

    x: (B, G N), the drive
    hidden: (B, N), the hidden state before
    """
    cell = get_cell(params.cell)
    if params.w_gates is None:
        return {}
    drives = dict(zip(cell.parts, x.chunk(len(cell.parts), dim=-1), strict=True))
    names = [name for name in cell.parts if name != cell.candidate]
    recurrent = (hidden @ params.w_gates).chunk(cell.gates, dim=-1)
    return {name: torch.sigmoid(drives[name] + part) for name, part in zip(names, recurrent, strict=True)}


def drive_size(params: PlasticParams) -> int:
    """How many numbers drive an environment's network at every step: N for each part of the cell's drive."""
    return len(get_cell(params.cell).parts) * params.n


def state_shapes(params: PlasticParams, batch_size: int) -> dict[str, tuple[int, ...]]:
    """The shape of each part of the state; parts that the network does not have are empty."""
    n = params.n
    m = n if params.plastic else 0
    k = n if params.plastic and get_rule(params.rule).eligibility else 0
    return {
        "hidden": (batch_size, n),
        "trace": (batch_size, m, m),
        "cell": (batch_size, n if get_cell(params.cell).memory else 0),
        "eligibility": (batch_size, k, k),
    }


def zeros(params: PlasticParams, batch_size: int) -> PlasticState:
    """The state at the start of an episode."""
    shapes = state_shapes(params, batch_size)
    return PlasticState(**{name: params.w.new_zeros(shape) for name, shape in shapes.items()})
