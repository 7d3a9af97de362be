"""What the kernels are given: the network as they know it, block sizes, which traces are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from plastic_rl.ops.plastic_rnn.cells import get_cell
from plastic_rl.ops.plastic_rnn.rules import ACTIVATIONS, get_rule
from plastic_rl.ops.plastic_rnn.types import PlasticParams

NO_RULE = -1
# Of what the device has free, so much may go into stored traces: the rest of a training has to live, too.
SHARE = 0.5


# Of the same, so much into the traces of one graph, which holds them for good.
GRAPH_SHARE = 1 / 16
# Beyond so many bytes of traces of all environments, kernels take longer than launching them.
LARGEST_TRACES = 2**26


class Blocks(NamedTuple):
    """How much of the matrices a program has: of so many environments so many rows and columns, powers of 2.

    Forward the environments are side by side, back they come one after the other.
    """

    environments: int
    rows: int
    columns: int
    warps: int


# The fastest of those tried on an H200 for 100 to 400 neurons.
FORWARD = Blocks(4, 32, 64, 4)
UPDATE = Blocks(1, 32, 64, 4)
BACK = Blocks(16, 16, 32, 4)


class Network(NamedTuple):
    """What is the same for all steps, in the codes of the kernels.

    second: whether there is a second trace
    gates: number K of them
    """

    cell: int
    rule: int
    activation: int
    gates: int
    memory: bool
    plastic: bool
    clip: float
    clipped: bool
    second: bool
    core_steps: int

    @classmethod
    def of(cls, params: PlasticParams) -> Network:
        """Of a network whose cell, rule and activation have codes."""
        cell, rule = get_cell(params.cell), get_rule(params.rule)
        activation = ACTIVATIONS[params.activation]
        assert cell.code is not None
        assert rule.code is not None
        assert activation.code is not None
        return cls(
            cell.code,
            rule.code if params.plastic else NO_RULE,
            activation.code,
            cell.gates,
            cell.memory,
            params.plastic,
            params.trace_clip,
            params.plastic and rule.trace_clip,
            params.plastic and rule.eligibility,
            params.core_steps,
        )


class Weights(NamedTuple):
    """The parameters in dense memory, alpha (N, N); w stands in the place of those that there are not."""

    w: Tensor
    alpha: Tensor
    eta: Tensor
    w_m: Tensor
    b_m: Tensor
    fan_out: Tensor
    w_gates: Tensor
    b_u: Tensor

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Weights:
        """Of a network, by their names; others may be among them."""
        named = {name: tensors[name].detach().contiguous() for name in cls._fields if name in tensors}
        w = named["w"]
        if "alpha" in named:
            named["alpha"] = named["alpha"].expand_as(w).contiguous()
        return cls(*(named.get(name, w) for name in cls._fields))


def spacing(trace: Tensor, steps: int, second: bool, given: int | None) -> int:
    """Every how many steps a trace is kept for the backward pass, from 1 for all of them.

    With k above 1 a window of k traces is rolled forward at a time, so T / k + k of them have to fit. It is
    the smallest k with which they do, and where there is none the one with which they are fewest.

    trace: (B, N, N), one of them
    given: what the user wants, or None
    """
    if given is not None:
        return min(given, steps)
    if trace.device.type != "cuda":
        return 1
    return spacing_within(SHARE * _free(trace.device) / (4 * trace.numel() * (2 if second else 1)), steps)


def _free(device: torch.device) -> int:
    """Bytes that can be had."""
    free, _ = torch.cuda.mem_get_info(device)
    # What torch has taken from the device and does not use.
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def spacing_within(traces: float, steps: int) -> int:
    """The same for memory of so many traces."""
    if steps <= traces:
        return 1
    fewest = max(1, round(math.sqrt(steps)))
    return next((k for k in range(2, fewest + 1) if -(-steps // k) + k <= traces), fewest)


def launching_takes_longer(trace: Tensor) -> bool:
    """Whether launching kernels takes longer than running them, so that a graph is worth its memory.

    trace: (B, N, N), one of them
    """
    return 4 * trace.numel() <= LARGEST_TRACES


def may_be_kept(trace: Tensor, stored: int) -> bool:
    """Whether a graph may hold so many traces. trace: (B, N, N), one of them."""
    return trace.device.type != "cuda" or 4 * trace.numel() * stored <= GRAPH_SHARE * _free(trace.device)
