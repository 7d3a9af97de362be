"""A recorded rollout of the triton backend, and its gradients.

This module imports triton: it is imported only when the backend is used.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from plastic_rl.ops.plastic_rnn.triton import memory
from plastic_rl.ops.plastic_rnn.triton.autograd import BackwardGraphs, Outgoing, fitted, gradients
from plastic_rl.ops.plastic_rnn.triton.forward import Forward
from plastic_rl.ops.plastic_rnn.triton.graphs import Graph, Graphs
from plastic_rl.ops.plastic_rnn.triton.memory import Network, Weights
from plastic_rl.ops.plastic_rnn.types import PlasticParams, PlasticState


class TritonTape:
    """What the steps of a recording leave behind; see ``protocols.Tape``.

    Args:
        starts: (T, B) bool, of the recording.
        y: (T, B, N), of the recording; ``step`` writes into it.
        spacing: every how many steps a trace is kept, None to find out.
        graphs: whose primitives capture the steps and the way back; None to launch kernel by kernel.
    """

    def __init__(self, starts: Tensor, y: Tensor, spacing: int | None, graphs: Graphs | None) -> None:
        self.starts, self.y, self.spacing, self.graphs = starts, y, spacing, graphs
        self.resets = 0
        self.forward: Forward | None = None

    def reset(self, params: PlasticParams, state: PlasticState) -> None:
        """Begin again with these parameters from this state, which is copied."""
        network, weights, state = Network.of(params), Weights.of(params.tensors()), state.detach()
        if self.forward is None or self.forward.network != network:
            self.forward = None  # its memory is free for the next
            self._make(network, weights, state)
        assert self.forward is not None
        # Always in the same memory, where graphs read it.
        for own, given in zip((*self.forward.weights, *self.initial), (*weights, *state), strict=True):
            own.copy_(given)
        if self.current is not self.initial:
            self.current.trace.copy_(self.initial.trace)
            self.current.eligibility.copy_(self.initial.eligibility)
        self.forward.begin(self.current)
        self.resets += 1

    def _make(self, network: Network, weights: Weights, state: PlasticState) -> None:
        """Memory for a recording of such a network from such a state."""
        spacing = 1
        if network.plastic:
            spacing = memory.spacing(state.trace, len(self.y), network.second, self.spacing)
        own = Weights(*map(torch.empty_like, weights))
        self.forward = Forward(network, own, self.y, self.starts, None, spacing)
        self.initial = state.map(lambda part: torch.empty_like(part, memory_format=torch.contiguous_format))
        self.current = self.initial
        if spacing != 1:  # the current traces are overwritten
            self.current = self.initial._replace(
                trace=torch.empty_like(self.initial.trace),
                eligibility=torch.empty_like(self.initial.eligibility),
            )
        self._steps: list[Graph] = []
        self._back: BackwardGraphs | None = None
        if self.graphs is not None and memory.launching_takes_longer(state.trace):
            self._steps = [
                Graph(partial(_launch, self.forward, t), self.graphs.primitives) for t in range(len(self.y))
            ]
            self._back = BackwardGraphs(self.graphs)

    def step(self, t: int, x: Tensor) -> None:
        """Step t, with input drive x (B, G N)."""
        if self._steps and self.graphs is not None and self.graphs.primitives.place(x) is not None:
            self._steps[t](x)
        else:
            assert self.forward is not None
            _launch(self.forward, t, x.detach().contiguous())

    def state(self, t: int) -> PlasticState:
        """A copy of the state before step t: the first, or that after the last step taken."""
        if t == 0:
            return self.initial.clone()
        assert self.forward is not None
        with torch.cuda.device_of(self.y):
            return self.forward.state(t)

    def replay(self, x: Tensor, params: PlasticParams) -> tuple[Tensor, PlasticState]:
        """The recorded activations and the final state, as functions of x and the parameters."""
        named = {"x": x, **params.tensors()}
        y, *parts = _Replay.apply(self, tuple(named), *named.values())
        return y, PlasticState(*parts)

    def gradients(self, outgoing: Outgoing) -> dict[str, Tensor]:
        """The gradient of every tensor that there may be, by name."""
        forward = self.forward
        assert forward is not None
        differentiate = gradients if self._back is None else self._back.gradients
        return differentiate(forward.network, forward.weights, forward.kept, forward.spacing, outgoing)


def _launch(forward: Forward, t: int, x: Tensor) -> None:
    with torch.cuda.device_of(x):
        forward.step(t, x.unsqueeze(0), 0)


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tape: TritonTape, names: tuple[str, ...], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.tape, ctx.resets = tape, tape.resets
        ctx.shapes = {name: tensor.shape for name, tensor in zip(names, tensors, strict=True)}
        ctx.set_materialize_grads(False)
        return tape.y.detach(), *tape.state(len(tape.y))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outgoing: Tensor | None) -> tuple[Tensor | None, ...]:
        if ctx.tape.resets != ctx.resets:
            raise RuntimeError("the recording was reset before the backward pass of its replay")
        found = ctx.tape.gradients(outgoing)
        return None, None, *fitted(found, ctx.shapes, ctx.needs_input_grad[2:])
