"""The fused backends as operators of torch, which ``torch.compile`` and ``torch.export`` take whole.

Eager code does not come by here, see ``api``. A compiled sequence keeps nothing for its gradients: the
backward pass runs it again, as ``torch.utils.checkpoint`` does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from plastic_rl.ops.plastic_rnn import backends, checks, reference
from plastic_rl.ops.plastic_rnn.cells import zeros
from plastic_rl.ops.plastic_rnn.types import PlasticParams, PlasticState

# The fields of PlasticParams that are no tensors, with their types in the operators' schemas.
_CONSTANTS = {
    "rule": "str",
    "activation": "str",
    "trace_clip": "float",
    "cell": "str",
    "core_steps": "SymInt",
}
# The schemas stand here, not in annotations: the functions hand on most of their arguments as they are.
_OTHERS = ", ".join(f"{kind} {name}" for name, kind in _CONSTANTS.items()) + ", str backend"
_GIVEN = (
    "Tensor[] tensors, str names, Tensor? episode_starts, Tensor? values, Tensor? mask, Tensor? repeats, "
    + _OTHERS
)


def sequence(
    x: Tensor,
    params: PlasticParams,
    state: PlasticState | None,
    episode_starts: Tensor | None,
    clamp: tuple[Tensor, Tensor] | None,
    repeats: Tensor | None,
    backend: str,
) -> tuple[Tensor, PlasticState]:
    """``plastic_rnn`` in a graph: one node, or the reference's own."""
    checks.check_layout(x, params, state, episode_starts, clamp)
    state = zeros(params, x.shape[1]) if state is None else state
    if _seen_through(backend):
        starts = None if episode_starts is None else episode_starts.bool()
        y, after = reference.run(x, params, state, starts, clamp, repeats)
        # torch.compile forgets the parts that a state was made without.
        return y, PlasticState(after.hidden, after.trace, after.cell, after.eligibility)
    # Not _asdict, which torch 2.8 does not look into.
    parts_before = zip(PlasticState._fields, state, strict=True)
    named = {"x": x, **dict(parts_before), **params.tensors()}
    values, mask = (None, None) if clamp is None else clamp
    optional = episode_starts, values, mask, repeats
    y, *parts = _sequence(list(named.values()), ",".join(named), *optional, *_constants(params), backend)
    return y, PlasticState(*parts)


def step_(
    x: Tensor,
    params: PlasticParams,
    state: PlasticState,
    episode_start: Tensor | None,
    clamp: tuple[Tensor, Tensor] | None,
    backend: str,
) -> Tensor:
    """``plastic_rnn_step_`` in a graph."""
    checks.check_layout(x, params, state, episode_start, clamp)
    if _seen_through(backend):
        start = None if episode_start is None else episode_start.bool()
        return backends.BACKENDS["reference"].step(x, params, state, start, clamp)
    named = params.tensors()
    values, mask = (None, None) if clamp is None else clamp
    weights, names = list(named.values()), ",".join(named)
    return _step(x, *state, weights, names, episode_start, values, mask, *_constants(params), backend)


def _seen_through(backend: str) -> bool:
    """Whether the nodes are the reference's: what is exported should run where this package is not."""
    return backend == "reference" or (backend == "auto" and torch.compiler.is_exporting())


def _constants(params: PlasticParams) -> tuple[Any, ...]:
    return tuple(getattr(params, name) for name in _CONSTANTS)


def _params(named: dict[str, Tensor], constants: Sequence[Any]) -> PlasticParams:
    """The inverse of ``tensors`` and ``_constants``."""
    fields: dict[str, Any] = named | dict(zip(_CONSTANTS, constants, strict=True))
    return PlasticParams(**fields)


def _clamp(values: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor] | None:
    return None if values is None or mask is None else (values, mask)


def _run(
    tensors: Sequence[Tensor],
    names: str,
    episode_starts: Tensor | None,
    values: Tensor | None,
    mask: Tensor | None,
    repeats: Tensor | None,
    *others: Any,
) -> tuple[Tensor, ...]:
    """The activations and the parts of the final state. names: of the tensors, with commas between them."""
    *constants, backend = others
    named = dict(zip(names.split(","), tensors, strict=True))
    x = named.pop("x")
    state = PlasticState(*(named.pop(part) for part in PlasticState._fields))
    params, clamp = _params(named, constants), _clamp(values, mask)
    chosen = backends.choose_backend(backend, x, params)
    checks.check_sequence(x, params, state, episode_starts, clamp, repeats)
    starts = None if episode_starts is None else episode_starts.bool()
    y, after = chosen.sequence(x, params, state, starts, clamp, repeats)
    # Empty parts may be views of others, which an operator must not return.
    return y, *after.map(lambda part: part if part.numel() else part.clone())


_sequence = torch.library.custom_op(
    "plastic_rl::sequence",
    _run,
    mutates_args=(),
    schema=f"({_GIVEN}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)


@_sequence.register_fake
def _(tensors: Sequence[Tensor], names: str, *others: Any) -> tuple[Tensor, ...]:
    named = dict(zip(names.split(","), tensors, strict=True))
    x, n = named["x"], named["w"].shape[0]
    parts = (named[part] for part in PlasticState._fields)
    return x.new_empty(*x.shape[:2], n), *(part.new_empty(part.shape) for part in parts)


@torch.library.custom_op(
    "plastic_rl::sequence_backward",
    mutates_args=(),
    schema=f"(Tensor[] outgoing, bool[] wanted, {_GIVEN}) -> Tensor[]",
)
def _sequence_backward(
    outgoing: Sequence[Tensor], wanted: Sequence[bool], tensors: Sequence[Tensor], *others: Any
) -> list[Tensor]:
    """The gradients of the tensors, empty where they are not wanted."""

    def differentiate() -> list[Tensor]:
        leaves = [tensor.detach().requires_grad_(want) for tensor, want in zip(tensors, wanted, strict=True)]
        outputs = _run(leaves, *others)
        # A clamp may hold all that an output depends on.
        pairs = [(out, grad) for out, grad in zip(outputs, outgoing, strict=True) if out.requires_grad]
        asked = [leaf for leaf in leaves if leaf.requires_grad]
        outputs, grads = zip(*pairs, strict=True)
        found = iter(torch.autograd.grad(outputs, asked, grads, allow_unused=True, materialize_grads=True))
        # An operator must not return what it was given; the zeros of torch 2.8 want a gradient themselves.
        return [next(found).detach().clone() if leaf.requires_grad else leaf.new_empty(0) for leaf in leaves]

    return _with_autograd(differentiate)


@_sequence_backward.register_fake
def _(outgoing: Any, wanted: Sequence[bool], tensors: Sequence[Tensor], *others: Any) -> list[Tensor]:
    pairs = zip(tensors, wanted, strict=True)
    return [tensor.new_empty(tensor.shape if want else 0) for tensor, want in pairs]


def _with_autograd(function: Callable[[], list[Tensor]]) -> list[Tensor]:
    """Call the function where gradients are recorded: in this thread they are not, inside of an operator."""
    result: list[Tensor] = []
    error: list[BaseException] = []

    def call() -> None:
        try:
            result.extend(function())
        except BaseException as raised:
            error.append(raised)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    if error:
        raise error[0]
    return result


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    tensors, names, *others = inputs
    optional, constants = others[:4], others[4:]
    ctx.save_for_backward(*tensors, *(tensor for tensor in optional if tensor is not None))
    ctx.given = [tensor is not None for tensor in optional]
    ctx.names, ctx.constants, ctx.number = names, constants, len(tensors)


def _backward(ctx: Any, *outgoing: Tensor) -> tuple[Any, ...]:
    tensors, rest = ctx.saved_tensors[: ctx.number], iter(ctx.saved_tensors[ctx.number :])
    optional = [next(rest) if given else None for given in ctx.given]
    wanted = list(ctx.needs_input_grad[0])
    outgoing = tuple(grad.contiguous() for grad in outgoing)
    found = _sequence_backward(outgoing, wanted, tensors, ctx.names, *optional, *ctx.constants)
    grads = [grad if want else None for grad, want in zip(found, wanted, strict=True)]
    return grads, *[None] * (1 + len(optional) + len(ctx.constants))


_sequence.register_autograd(_backward, setup_context=_keep)


@torch.library.custom_op(
    "plastic_rl::step",
    mutates_args=("hidden", "trace", "memory", "eligibility"),
    schema="(Tensor x, Tensor(a!) hidden, Tensor(b!) trace, Tensor(c!) memory, Tensor(d!) eligibility, "
    f"Tensor[] weights, str names, Tensor? episode_start, Tensor? values, Tensor? mask, {_OTHERS}) -> Tensor",
)
def _step(
    x: Tensor,
    hidden: Tensor,
    trace: Tensor,
    memory: Tensor,
    eligibility: Tensor,
    weights: Sequence[Tensor],
    names: str,
    episode_start: Tensor | None,
    values: Tensor | None,
    mask: Tensor | None,
    *others: Any,
) -> Tensor:
    """The activations; the state is overwritten. names: of the weights, with commas between them."""
    *constants, backend = others
    named = dict(zip(names.split(","), weights, strict=True))
    params, clamp = _params(named, constants), _clamp(values, mask)
    state = PlasticState(hidden, trace, memory, eligibility)
    chosen = backends.choose_backend(backend, x, params)
    checks.check_step(x, params, state, episode_start, clamp)
    return chosen.step(x, params, state, None if episode_start is None else episode_start.bool(), clamp)


@_step.register_fake
def _(x: Tensor, hidden: Tensor, *others: Any) -> Tensor:
    return hidden.new_empty(hidden.shape)
