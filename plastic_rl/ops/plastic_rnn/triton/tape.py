"""A recorded rollout of the triton backend, and its gradients.

This module imports triton: it is imported only when the backend is used.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from plastic_rl.ops.plastic_rnn.triton import memory
from plastic_rl.ops.plastic_rnn.triton.autograd import fitted, gradients
from plastic_rl.ops.plastic_rnn.triton.forward import Forward
from plastic_rl.ops.plastic_rnn.triton.memory import Network, Weights
from plastic_rl.ops.plastic_rnn.types import PlasticParams, PlasticState


class TritonTape:
    """What the steps of a recording leave behind; see ``protocols.Tape``.

    Args:
        starts: (T, B) bool, of the recording.
        y: (T, B, N), of the recording; ``step`` writes into it.
        spacing: every how many steps a trace is kept, None to find out.
    """

    def __init__(self, starts: Tensor, y: Tensor, spacing: int | None) -> None:
        self.starts, self.y, self.spacing = starts, y, spacing
        self.resets = 0
        self.forward: Forward | None = None

    def reset(self, params: PlasticParams, state: PlasticState) -> None:
        """Begin again with these parameters from this state, which is copied."""
        network, weights = Network.of(params), Weights.of(params)
        copy = state.detach().map(lambda part: part.clone(memory_format=torch.contiguous_format))
        if self.forward is None or self.forward.network != network:
            self.forward = None  # its memory is free for the next
            spacing = 1
            if network.plastic:
                spacing = memory.spacing(copy.trace, len(self.y), network.second, self.spacing)
            self.forward = Forward(network, weights, self.y, self.starts, None, spacing)
        self.forward.weights = weights
        self.initial = copy
        self.forward.begin(copy.clone() if self.forward.spacing != 1 else copy)
        self.resets += 1

    def step(self, t: int, x: Tensor) -> None:
        """Step t, with input drive x (B, G N)."""
        assert self.forward is not None
        with torch.cuda.device_of(x):
            self.forward.step(t, x.detach().contiguous().unsqueeze(0), 0)

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
        forward = ctx.tape.forward
        found = gradients(forward.network, forward.weights, forward.kept, forward.spacing, outgoing)
        return None, None, *fitted(found, ctx.shapes, ctx.needs_input_grad[2:])
