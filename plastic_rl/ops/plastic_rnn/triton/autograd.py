"""Sequences and steps of the triton backend on the torch side, and their gradients.

This module imports triton: it is imported only when the backend is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from plastic_rl.ops.plastic_rnn.state import put_back
from plastic_rl.ops.plastic_rnn.triton import memory
from plastic_rl.ops.plastic_rnn.triton.backward import Backward
from plastic_rl.ops.plastic_rnn.triton.forward import Forward, Kept
from plastic_rl.ops.plastic_rnn.triton.graphs import Graph, Graphs
from plastic_rl.ops.plastic_rnn.triton.memory import Network, Weights
from plastic_rl.ops.plastic_rnn.types import PlasticParams, PlasticState
from plastic_rl.ops.plastic_rnn.written_out import repeats_written_out

# The gradients of y and of the final state's parts, None for zero.
Outgoing: TypeAlias = tuple[Tensor | None, ...]


class Call(NamedTuple):
    """What a sequence is run with beside its tensors.

    spacing: every how many steps the user wants a trace kept, None to find out
    graphs: those that are kept, None to launch kernel by kernel
    """

    network: Network
    spacing: int | None
    graphs: Graphs | None


class Ran(NamedTuple):
    """What a forward pass leaves.

    kept, weights, spacing: for the way back; spacing is every how many steps a trace is kept, 0 for none
    graph: that it was a call of, or None
    """

    y: Tensor
    state: PlasticState
    kept: Kept
    weights: Weights
    spacing: int
    graph: SequenceGraph | None = None


def sequence(
    x: Tensor,
    params: PlasticParams,
    state: PlasticState,
    episode_starts: Tensor | None,
    clamp: tuple[Tensor, Tensor] | None,
    repeats: Tensor | None,
    spacing: int | None,
    graphs: Graphs | None,
) -> tuple[Tensor, PlasticState]:
    """The sequence form; arguments as in the public function, checked there."""
    if repeats is not None and (repeats > 1).any():
        single = partial(sequence, spacing=spacing, graphs=graphs)
        return repeats_written_out(single, x, params, state, episode_starts, clamp, repeats)
    call = Call(Network.of(params), spacing, graphs)
    constants = {"starts": _no_starts(x) if episode_starts is None else episode_starts}
    if clamp is not None:
        constants |= {"values": clamp[0], "mask": clamp[1]}
    named = {"x": x, **state._asdict(), **params.tensors()}
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in named.values()):
        y, *parts = _Sequence.apply(call, constants, tuple(named), *named.values())
        return y, PlasticState(*parts)
    ran = _run(call, named | constants, keep=False)
    return ran.y, ran.state


def _no_starts(x: Tensor) -> Tensor:
    return torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)


def _run(call: Call, named: dict[str, Tensor], *, keep: bool) -> Ran:
    """The whole forward pass; ``keep`` stores traces for the way back."""
    network, graphs, trace = call.network, call.graphs, named["trace"]

    def spacing() -> int:
        if not keep or not network.plastic:
            return 0
        return memory.spacing(trace, len(named["x"]), network.second, call.spacing)

    place = None if graphs is None else graphs.primitives.place(named["x"])
    if graphs is None or place is None or not memory.launching_takes_longer(trace):
        return _launch(network, spacing(), named)

    def make() -> SequenceGraph | None:
        k = spacing()
        stored = -(-len(named["x"]) // k) * (2 if network.second else 1) if k else 0
        if not memory.may_be_kept(trace, stored):
            return None
        return SequenceGraph(network, k, tuple(named), graphs)

    shapes = tuple((name, tensor.shape, tensor.dtype) for name, tensor in named.items())
    with graphs.lock:
        graph: SequenceGraph | None = graphs.find((place, network, call.spacing, keep, shapes), make)
        return _launch(network, spacing(), named) if graph is None else graph.run(named, keep=keep)


def _launch(network: Network, spacing: int, named: dict[str, Tensor]) -> Ran:
    """The launches of a forward pass."""
    named = {name: tensor.detach() for name, tensor in named.items()}
    x, weights = named["x"], Weights.of(named)
    state = PlasticState(*(named[part] for part in PlasticState._fields))
    dense = state.map(Tensor.contiguous)
    if spacing != 1:  # the current traces are overwritten
        dense = dense._replace(trace=state.trace.clone(memory_format=torch.contiguous_format))
        second = state.eligibility.clone(memory_format=torch.contiguous_format)
        dense = dense._replace(eligibility=second)
    clamp = (named["values"], named["mask"]) if "values" in named else None
    with torch.cuda.device_of(x):
        y = x.new_empty(*x.shape[:2], len(weights.w))
        forward = Forward(network, weights, y, named["starts"], clamp, spacing)
        forward.begin(dense)
        drive = x.contiguous()
        for t in range(len(x)):
            forward.step(t, drive, t)
        return Ran(y, forward.state(len(x), overwrite=True), forward.kept, weights, spacing)


class SequenceGraph(Graph):
    """The graph of a forward pass, with those of the ways back through it.

    Args:
        network: that is run.
        spacing: every how many steps a trace is kept.
        names: of the tensors that it is given.
        graphs: among which it is.
    """

    def __init__(self, network: Network, spacing: int, names: tuple[str, ...], graphs: Graphs) -> None:
        def launch(*tensors: Tensor) -> Ran:
            return _launch(network, spacing, dict(zip(names, tensors, strict=True)))

        super().__init__(launch, graphs.primitives)
        self.network = network
        self.back = BackwardGraphs(graphs)

    def run(self, named: dict[str, Tensor], *, keep: bool) -> Ran:
        """The forward pass, with y and state as copies; what is kept for the way back is lent."""
        ran: Ran = self(*named.values())
        copies = ran._replace(y=ran.y.clone(), state=ran.state.clone(), graph=self)
        if not keep:
            return copies
        lent = self.lend((*ran.kept, *ran.weights))
        number = len(ran.kept)
        return copies._replace(kept=Kept(*lent[:number]), weights=Weights(*lent[number:]))

    def gradients(self, kept: Kept, outgoing: Outgoing) -> dict[str, Tensor] | None:
        """``gradients`` of what its forward pass has kept, or None of what another one has."""
        if not self.is_captured or self.outputs.kept.pre.data_ptr() != kept.pre.data_ptr():
            return None
        ran: Ran = self.outputs
        return self.back.gradients(self.network, ran.weights, ran.kept, ran.spacing, outgoing)


class BackwardGraphs:
    """The ways back through one forward pass that is always in the same memory.

    Args:
        graphs: whose primitives and lock are theirs, too.
    """

    def __init__(self, graphs: Graphs) -> None:
        self.primitives, self.lock = graphs.primitives, graphs.lock
        self._graphs: dict[tuple[bool, ...], Graph] = {}

    def gradients(
        self, network: Network, weights: Weights, kept: Kept, spacing: int, outgoing: Outgoing
    ) -> dict[str, Tensor]:
        """``gradients``, in memory of their own."""
        if self.primitives.place(kept.y) is None:
            return gradients(network, weights, kept, spacing, outgoing)
        given = tuple(grad is not None for grad in outgoing)

        def launch(*grads: Tensor) -> dict[str, Tensor]:
            rest = iter(grads)
            again = tuple(next(rest) if there else None for there in given)
            return gradients(network, weights, kept, spacing, again)

        with self.lock:
            graph = self._graphs.setdefault(given, Graph(launch, self.primitives))
            found = graph(*(grad for grad in outgoing if grad is not None))
            return {name: grad.clone() for name, grad in found.items()}


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
        forward = Forward(Network.of(params), Weights.of(params.tensors()), y, starts, clamp, spacing=0)
        forward.begin(dense)
        forward.step(0, drive, 0)
        after = forward.state(1, overwrite=True)
    put_back(state, after)
    return after.hidden


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, call: Call, constants: dict[str, Tensor], names: tuple[str, ...], *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        named = dict(zip(names, tensors, strict=True))
        ran = _run(call, named | constants, keep=True)
        # Saved as tensors, so that torch.utils.checkpoint lets go of them, and computes them again.
        ctx.save_for_backward(*ran.kept, *ran.weights)
        ctx.network, ctx.spacing, ctx.graph = call.network, ran.spacing, ran.graph
        ctx.shapes = {name: tensor.shape for name, tensor in named.items()}
        ctx.set_materialize_grads(False)
        return ran.y, *(part if part.numel() else torch.empty_like(part) for part in ran.state)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outgoing: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # a checkpoint gives them once
        kept, weights = Kept(*saved[: len(Kept._fields)]), Weights(*saved[len(Kept._fields) :])
        found = None if ctx.graph is None else ctx.graph.gradients(kept, outgoing)
        if found is None:
            found = gradients(ctx.network, weights, kept, ctx.spacing, outgoing)
        return None, None, None, *fitted(found, ctx.shapes, ctx.needs_input_grad[3:])


def gradients(
    network: Network, weights: Weights, kept: Kept, spacing: int, outgoing: Outgoing
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
