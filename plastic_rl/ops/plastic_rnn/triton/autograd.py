"""Sequences and steps of the triton backend on the torch side, and their gradients.

This module imports triton: it is imported only when the backend is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from plastic_rl.ops.plastic_rnn.state import put_back
from plastic_rl.ops.plastic_rnn.triton import memory
from plastic_rl.ops.plastic_rnn.triton.backward import Backward
from plastic_rl.ops.plastic_rnn.triton.forward import Forward, Kept
from plastic_rl.ops.plastic_rnn.triton.memory import Network, Weights
from plastic_rl.ops.plastic_rnn.types import PlasticParams, PlasticState
from plastic_rl.ops.plastic_rnn.written_out import repeats_written_out


class Call(NamedTuple):
    """What a sequence is run with beside the tensors that gradients flow to.

    starts: (T, B) bool
    clamp: values and mask, (T, B, N)
    spacing: every how many steps a trace is kept, None to find out
    """

    params: PlasticParams
    starts: Tensor
    clamp: tuple[Tensor, Tensor] | None
    spacing: int | None


def sequence(
    x: Tensor,
    params: PlasticParams,
    state: PlasticState,
    episode_starts: Tensor | None,
    clamp: tuple[Tensor, Tensor] | None,
    repeats: Tensor | None,
    spacing: int | None,
) -> tuple[Tensor, PlasticState]:
    """The sequence form; arguments as in the public function, checked there."""
    if repeats is not None and (repeats > 1).any():
        single = partial(sequence, spacing=spacing)
        return repeats_written_out(single, x, params, state, episode_starts, clamp, repeats)
    starts = _no_starts(x) if episode_starts is None else episode_starts
    call = Call(params, starts, clamp, spacing)
    named = {"x": x, **state._asdict(), **params.tensors()}
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in named.values()):
        y, *parts = _Sequence.apply(call, tuple(named), *named.values())
        return y, PlasticState(*parts)
    forward = _run(call, x, state, keep=False)
    return forward.kept.y, forward.state(len(x), overwrite=True)


def _no_starts(x: Tensor) -> Tensor:
    return torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)


def _run(call: Call, x: Tensor, state: PlasticState, *, keep: bool) -> Forward:
    """The whole forward pass; ``keep`` stores traces for the backward pass."""
    network, weights = Network.of(call.params), Weights.of(call.params)
    steps, batch, _ = x.shape
    spacing = 0
    if keep and network.plastic:
        spacing = memory.spacing(state.trace, steps, network.second, call.spacing)
    dense = state.detach().map(Tensor.contiguous)
    if spacing != 1:  # the current traces are overwritten
        dense = dense._replace(trace=state.trace.detach().clone(memory_format=torch.contiguous_format))
        second = state.eligibility.detach().clone(memory_format=torch.contiguous_format)
        dense = dense._replace(eligibility=second)
    with torch.cuda.device_of(x):
        y = x.new_empty(steps, batch, call.params.n)
        forward = Forward(network, weights, y, call.starts, call.clamp, spacing)
        forward.begin(dense)
        drive = x.detach().contiguous()
        for t in range(steps):
            forward.step(t, drive, t)
    return forward


def step(
    x: Tensor,
    params: PlasticParams,
    state: PlasticState,
    episode_start: Tensor | None,
    clamp: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """The step form; arguments as in the public function, checked there."""
    dense = state.detach().map(Tensor.contiguous)
    with torch.cuda.device_of(x):
        drive = x.detach().contiguous().unsqueeze(0)
        starts = _no_starts(drive) if episode_start is None else episode_start.unsqueeze(0)
        if clamp is not None:
            clamp = clamp[0].unsqueeze(0), clamp[1].unsqueeze(0)
        y = x.new_empty(1, *dense.hidden.shape)
        forward = Forward(Network.of(params), Weights.of(params), y, starts, clamp, spacing=0)
        forward.begin(dense)
        forward.step(0, drive, 0)
        after = forward.state(1, overwrite=True)
    put_back(state, after)
    return after.hidden


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: Call, names: tuple[str, ...], *tensors: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(names, tensors, strict=True))
        state = PlasticState(*(named[part] for part in PlasticState._fields))
        forward = _run(call, named["x"], state, keep=True)
        y, final = forward.kept.y, forward.state(forward.steps)
        # Saved as tensors, so that torch.utils.checkpoint lets go of them, and computes them again.
        ctx.save_for_backward(*forward.kept, *forward.weights)
        ctx.network, ctx.spacing = forward.network, forward.spacing
        ctx.shapes = {name: tensor.shape for name, tensor in named.items()}
        ctx.set_materialize_grads(False)
        return y, *(part if part.numel() else torch.empty_like(part) for part in final)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outgoing: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # a checkpoint gives them once
        kept, weights = Kept(*saved[: len(Kept._fields)]), Weights(*saved[len(Kept._fields) :])
        found = gradients(ctx.network, weights, kept, ctx.spacing, outgoing)
        return None, None, *fitted(found, ctx.shapes, ctx.needs_input_grad[2:])


def gradients(
    network: Network, weights: Weights, kept: Kept, spacing: int, outgoing: tuple[Tensor | None, ...]
) -> dict[str, Tensor]:
    """The gradient of every tensor that there may be, by name."""
    with torch.cuda.device_of(kept.y):
        return Backward(network, weights, kept, spacing, outgoing).run()


def fitted(
    found: dict[str, Tensor], shapes: dict[str, torch.Size], wanted: Sequence[bool]
) -> list[Tensor | None]:
    """The gradients that are wanted, in the shapes of their tensors; what found does not have is empty."""
    empty = found["x"].new_empty(0)
    return [
        (found[name].sum_to_size(shape) if shape.numel() else empty.reshape(shape)) if want else None
        for (name, shape), want in zip(shapes.items(), wanted, strict=True)
    ]
